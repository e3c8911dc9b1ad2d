"""docs/guides/adding-a-channel.md is followed in a copy of the tree: the warehouse gets a channel."""

from __future__ import annotations

from http import HTTPStatus

import pytest

from tests.support.copied_tree import Asked, CopiedTree, Served

APP, CATALOGUE = "experience_apis/app.py", "policies/catalogue/catalogue.toml"
API = '''"""The warehouse's governed routes."""

from __future__ import annotations

import msgspec
from litestar import Response
from litestar.di import NamedDependency

from canonical.orders import OrderSummary, Page
from experience_apis.process_client import Process
from policies.chain.gate import Gate
from policies.contract.operation import operation
from policies.contract.parameters import Cursor, Limit
from policies.contract.version_chain import versioned
from policies.identity.authentication import Principal


class Site(msgspec.Struct, frozen=True):
    """A legal entity that ships, and the region of its records."""

    legal_entity: str
    region: str


@operation("warehouse_list_sites", "GET", "/sites", summary="List the sites that ship", sync_to_thread=False)
def list_sites(gate: NamedDependency[Gate]) -> Page[Site]:
    """One entry for each legal entity."""
    regions = gate.live_catalogue.current.regions.items()
    return Page(tuple(Site(each, name) for name, region in regions for each in region.legal_entities))


@operation(
    "warehouse_list_orders", "GET", "/orders", summary="List orders", answers=Page[OrderSummary], passes="orders"
)
async def list_orders(
    process: NamedDependency[Process], principal: NamedDependency[Principal], cursor: Cursor = None, limit: Limit = 25
) -> Response[bytes]:
    """The newest come first."""
    return await process.get(principal, "orders", {"cursor": cursor, "limit": limit})


routers = versioned("warehouse", __name__, [list_sites, list_orders])
'''
EXAMPLES = '''"""One example of everything that the warehouse gets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from experience_apis.warehouse.api import Site


def examples(_: Callable[[Any], Any]) -> tuple[Any, ...]:
    """Return an instance of each type of this channel's contract."""
    return (Site("DE01", "eu"),)
'''
GOVERNED = """[apis.warehouse]
layer = "experience"
owner = "support"
title = "Warehouse"
audit_days = 730
versions.v1 = { state = "active" }

[apis.warehouse.operations]
warehouse_list_sites = { scope = "orders:read", tier = "near_real_time", idempotency = "safe" }
warehouse_list_orders = { scope = "orders:read", tier = "real_time", idempotency = "safe" }

[apis.operations]
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> CopiedTree:
    tree = CopiedTree(tmp_path_factory.mktemp("copy"))
    tree.add("experience_apis/warehouse/__init__.py", '"""What the warehouse works with."""\n')
    tree.add("experience_apis/warehouse/api.py", API)
    tree.add("experience_apis/warehouse/examples.py", EXAMPLES)
    tree.edit(APP, "from policies.chain", "from experience_apis.warehouse import api as warehouse\nfrom policies.chain")
    tree.edit(
        APP, "            *support.routers,\n", "            *support.routers,\n            *warehouse.routers,\n"
    )
    tree.edit(CATALOGUE, "[apis.operations]\n", GOVERNED)
    return tree


@pytest.fixture(scope="module")
def served(tree: CopiedTree) -> Served:
    return tree.serve(
        [
            Asked("/warehouse/v1/sites", "sales-app"),
            Asked("/warehouse/v1/orders?limit=5", "sales-app"),
            Asked("/warehouse/v1/sites", "platform-team"),
            Asked("/warehouse/v1/sites"),
            Asked("/docs"),
            Asked("/docs/reference/warehouse.v1"),
            Asked("/docs/contracts/warehouse.v1.json"),
        ]
    )


def test_a_channel_touches_two_files(tree: CopiedTree) -> None:
    assert tree.touched() == [APP, CATALOGUE]


def test_the_channel_is_served_and_governed(served: Served) -> None:
    sites, orders, without_scope, without_token, *_ = served.answers

    assert sites.status == HTTPStatus.OK
    assert {"legal_entity": "DE01", "region": "eu"} in sites.body["items"]
    assert orders.body["type"] == "/problems/platform-unavailable"  # it asked the process layer, which is not there
    assert [without_scope.status, without_token.status] == [HTTPStatus.FORBIDDEN, HTTPStatus.UNAUTHORIZED]


def test_its_contract_is_written_and_well_made(tree: CopiedTree, served: Served) -> None:
    document = tree.contract("warehouse.v1")

    assert (served.style, served.breaks) == ([], [])
    assert document["paths"].keys() == {"/warehouse/v1/sites", "/warehouse/v1/orders"}
    answer = document["paths"]["/warehouse/v1/sites"]["get"]["responses"]["200"]["content"]["application/json"]
    assert answer["examples"]["usual"]["value"]["items"] == [{"legal_entity": "DE01", "region": "eu"}]


def test_the_portal_shows_it(served: Served) -> None:
    home, reference, contract = served.answers[4:]

    assert "/docs/reference/warehouse.v1" in home.body
    assert reference.status == HTTPStatus.OK
    assert contract.body["info"]["title"] == "Tiergate Warehouse API"
