"""What a route's declaration allows."""

from __future__ import annotations

from typing import Any

import pytest
from litestar import Litestar
from litestar.routes import HTTPRoute

from policies.contract.operation import Declaration, Method, answer_type, declaration_of, operation
from policies.problems import MISSING


def test_an_option_that_there_is_not_is_refused_where_the_route_is_declared() -> None:
    misspelt: dict[str, Any] = {"asks_platform": True}

    with pytest.raises(TypeError, match="asks_platform"):
        operation("read", "GET", "/read", summary="Read", **misspelt)


@pytest.mark.parametrize(("method", "status"), [("GET", 200), ("PUT", 200), ("DELETE", 200), ("POST", 201)])
def test_success_has_the_status_of_its_method_unless_another_is_said(method: Method, status: int) -> None:
    async def handle() -> str:
        return ""

    assert operation("it", method, "/it", summary="It")(handle).status_code == status
    assert operation("it", method, "/it", summary="It", status=202)(handle).status_code == 202


def test_what_a_route_declares_can_be_read_from_the_app_that_serves_it() -> None:
    @operation("it", "GET", "/it", summary="It", answers=int, problems=(MISSING,), asks_platforms=True, passes="its")
    async def handle() -> str:
        return ""

    (handler,) = next(
        route for route in Litestar([handle]).routes if isinstance(route, HTTPRoute) and route.path == "/it"
    ).route_handlers[:1]

    assert declaration_of(handler) == Declaration((MISSING,), asks_platforms=True, passes="its")
    assert answer_type(handler) is int
