"""docs/guides/adding-a-channel.md is followed in a copy of the tree: the warehouse gets a channel."""

from __future__ import annotations

from http import HTTPStatus

import pytest

from tests.support.copied_tree import ROOT, Asked, CopiedTree, Served
from tests.unit.extending.test_adding_a_capability import follow

APP, CATALOGUE = "experience_apis/app.py", "policies/catalogue/catalogue.toml"
GUIDE = ROOT / "docs/guides/adding-a-channel.md"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> CopiedTree:
    tree = CopiedTree(tmp_path_factory.mktemp("copy"))
    follow(GUIDE.read_text(), tree.folder)
    return tree


@pytest.fixture(scope="module")
def served(tree: CopiedTree) -> Served:
    return tree.serve(
        [
            Asked("/warehouse/v1/sites", "warehouse-app"),
            Asked("/warehouse/v1/orders?limit=5", "warehouse-app"),
            Asked("/warehouse/v1/sites", "platform-team"),
            Asked("/warehouse/v1/sites"),
            Asked("/docs"),
            Asked("/docs/reference/warehouse.v1"),
            Asked("/docs/contracts/warehouse.v1.json"),
        ]
    )


def test_a_channel_touches_two_files(tree: CopiedTree) -> None:
    assert tree.touched() == [APP, CATALOGUE]


@pytest.mark.extended
def test_the_channel_is_served_and_governed(served: Served) -> None:
    sites, orders, of_another, without_token, *_ = served.answers

    assert sites.status == HTTPStatus.OK
    assert {"legal_entity": "DE01", "region": "eu"} in sites.body["items"]
    assert orders.body["type"] == "/problems/platform-unavailable"  # it asked the process layer, which is not there
    assert [of_another.status, without_token.status] == [HTTPStatus.FORBIDDEN, HTTPStatus.UNAUTHORIZED]


@pytest.mark.extended
def test_its_contract_is_written_and_well_made(tree: CopiedTree, served: Served) -> None:
    document = tree.contract("warehouse.v1")

    assert (served.style, served.breaks) == ([], [])
    assert document["paths"].keys() == {"/warehouse/v1/sites", "/warehouse/v1/orders"}
    answer = document["paths"]["/warehouse/v1/sites"]["get"]["responses"]["200"]["content"]["application/json"]
    assert answer["examples"]["usual"]["value"]["items"] == [{"legal_entity": "DE01", "region": "eu"}]


@pytest.mark.extended
def test_the_portal_shows_it(served: Served) -> None:
    home, reference, contract = served.answers[4:]

    assert "/docs/reference/warehouse.v1" in home.body
    assert reference.status == HTTPStatus.OK
    assert contract.body["info"]["title"] == "Tiergate Warehouse API"
