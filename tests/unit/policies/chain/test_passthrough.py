"""Which reads are passed through: those of lists and of one record, and nothing that is written in another way."""

from __future__ import annotations

from pathlib import Path

import pytest
from litestar.params import FromPath

from policies.chain.passthrough import Passthrough, passthrough_routes
from policies.contract.operation import operation
from policies.contract.parameters import CanonicalId
from policies.identity.authentication import Principal
from policies.outbound.layer_client import LayerResponse
from tests.support.governed_app import Door, sees

ORDER = "ord_" + "0" * 32


@operation("left", "GET", "/shop/v1/orders/{order_id:str}", summary="Read", passes="process/v1/{id}")
async def one(order_id: FromPath[CanonicalId]) -> str:
    return order_id


async def fetch(_: Principal, target: str) -> LayerResponse:
    return LayerResponse(200, target.encode(), "text/plain", None)


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/shop/v1/sees", "sees"),
        (f"/shop/v1/orders/{ORDER}", f"process/v1/{ORDER}"),
        (f"/shop/v1/orders/{ORDER}\n", None),
        ("/shop/v1/orders/ord_1", None),
        (f"/shop/v1/orders//{ORDER}", None),
        (f"//shop/v1/orders/{ORDER}", None),
        ("/shop/v1/sees/", None),
        ("/shop/v1/%73ees", None),
    ],
)
def test_a_read_of_a_list_or_of_a_record_is_passed_through(tmp_path: Path, path: str, target: str | None) -> None:
    door = Door(tmp_path, handlers=[sees, one])
    found = Passthrough(door.app, door.gate, passthrough_routes(door.app), fetch).passage(path, "")

    assert (found[1] if found else None) == target
