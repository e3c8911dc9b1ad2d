"""What is passed through the shortest way is answered as the long way answers it."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.support.environment import Environment

OURS = {"x-correlation-id", "date", "ratelimit", "content-length"}
"""Headers that differ from one call to the next."""
CALLS = [
    ("sales-app", "/sales/v1/orders"),
    ("sales-app", "/sales/v1/orders?limit=1"),
    ("sales-app", "/sales/v1/orders?state=active&limit=2"),
    ("sales-app", "/sales/v1/orders/ord_" + "0" * 32),
    ("finance-app", "/finance/v1/postings?state=posted"),
    ("support-desk", "/support/v1/cases?team=sales&state=open&limit=5"),
    ("support-desk", "/support/v1/cases/cas_" + "0" * 32),
    ("support-desk", "/support/v1/customers/cus_" + "0" * 32),
    ("sales-france", "/sales/v1/orders"),
    ("sales-app", "/finance/v1/postings"),
    ("process-layer", "/sales/v1/orders"),
    ("sales-app", "/sales/v1/orders?limit=0"),
    ("sales-app", "/sales/v1/orders?limit=101"),
    ("sales-app", "/sales/v1/orders?limit=٣"),
    ("sales-app", "/sales/v1/orders?state=nothing"),
    ("sales-app", "/sales/v1/orders?cursor=x"),
    ("sales-app", "/sales/v1/orders/nothing"),
    ("sales-app", "/sales/v1/orders?" + "&".join(f"a{number}=1" for number in range(200))),
    ("sales-app", "/sales/v1/orders?limit=1&limit=2"),
]


def reported(answer: httpx.Response) -> tuple[int, Any, dict[str, str]]:
    body: dict[str, Any] = answer.json()
    body.pop("correlation_id", None)
    return answer.status_code, body, {name: value for name, value in answer.headers.items() if name not in OURS}


@pytest.mark.parametrize(("client", "path"), CALLS)
def test_both_ways_give_the_same_answer(environment: Environment, client: str, path: str) -> None:
    headers = environment.channels.headers(client)
    url = environment.sandbox.url("experience")

    thin = httpx.get(f"{url}{path}", headers=headers)
    # So many empty parameters are unusual, so this goes the long way, where they make no difference.
    long = httpx.get(f"{url}{path}{'&' if '?' in path else '?'}{'&' * 20}", headers=headers)

    assert reported(thin) == reported(long)
    assert len(thin.headers.get_list("x-correlation-id")) == 1


def test_without_a_token_the_answer_is_the_same_problem(environment: Environment) -> None:
    url = environment.sandbox.url("experience")
    answer = httpx.get(f"{url}/sales/v1/orders", headers={"x-correlation-id": "my-own-id-1"})

    assert (answer.status_code, answer.json()["type"]) == (401, "/problems/unauthenticated")
    assert answer.headers["x-correlation-id"] == answer.json()["correlation_id"] == "my-own-id-1"
