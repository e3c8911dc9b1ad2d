"""Three major versions of one API, alive at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from litestar.openapi.config import OpenAPIConfig

from policies.contract import version_chain
from policies.contract.transformations import OlderVersion
from policies.contract.version_chain import BrokenChain, VersionChain, chains
from tests.support.governed_app import CATALOGUE, WRITER, Door
from tests.unit.policies.contract.shop import api, v2
from tests.unit.policies.contract.shop.api import Line, Placed, Price, Wanted
from tiergate.contracts import checks, examples
from tiergate.contracts.openapi import documents_of

TIERED = CATALOGUE.replace("service_tiers.t", "service_tiers.real_time").replace('tier = "t"', 'tier = "real_time"')
FIRST = 'state = "deprecated", deprecated_on = 2025-01-01, sunset_on = 2026-06-01, successor = "v3"'
HEAD, _, REST = TIERED.partition('versions.v1 = { state = "active" }')
SHOP = f"""{HEAD}
versions.v1 = {{ {FIRST}, guide = "/docs/shop-v2" }}
versions.v2 = {{ state = "deprecated", deprecated_on = 2026-01-01, sunset_on = 2027-06-01, successor = "v3" }}
versions.v3 = {{ state = "active" }}

[apis.shop.operations]
shop_place_order = {{ scope = "shop:write", tier = "real_time", idempotency = "key" }}
shop_get_order = {{ scope = "shop:read", tier = "real_time", idempotency = "safe" }}
shop_return = {{ scope = "shop:write", tier = "real_time", idempotency = "natural" }}

[clients.{REST.partition("[clients.")[2]}"""
PRICE = {"amount": 500, "currency": "EUR"}
V3: dict[str, Any] = {
    "customer_id": "c",
    "lines": [{"sku": "A", "quantity": 2, "price": PRICE}],
    "purchase_order": "none",
}
V2: dict[str, Any] = {"customer_id": "c", "lines": [{"sku": "A", "count": 2, "price": PRICE}], "ceiling": PRICE}
V1: dict[str, Any] = {"customer_id": "c", "items": [{"sku": "A", "number": 2, "price": "500 EUR"}], "limit": "500 EUR"}
BODIES = {"v1": V1, "v2": V2, "v3": V3}
FEE = {"amount": 100, "currency": "EUR"}
ANSWERS: dict[str, dict[str, Any]] = {
    "v1": {"id": "ord-1", "customer_id": "c", "items": V1["items"], "fee": "100 EUR"},
    "v2": {"id": "ord-1", "customer_id": "c", "lines": V2["lines"], "fee": FEE},
    "v3": {"id": "ord-1", "remark": None} | V3,
}


class Shop:
    """The shop behind a test client."""

    def __init__(self, folder: Path, openapi: OpenAPIConfig | None = None) -> None:
        book = api.Book()
        self.orders = book.orders
        provided = {"book": book}
        self.door = Door(folder, catalogue=SHOP, handlers=api.routers, provided=provided, openapi=openapi)

    def place(self, version: str, body: Any, key: str = "a-key") -> Any:
        headers = self.door.headers(WRITER) | {"idempotency-key": key}
        return self.door.client.post(f"/shop/{version}/orders", json=body, headers=headers)

    def get(self, version: str, order_id: str = "ord-1") -> Any:
        return self.door.client.get(f"/shop/{version}/orders/{order_id}", headers=self.door.headers(WRITER))


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


@pytest.mark.parametrize("version", BODIES)
def test_a_request_and_its_answer_go_through_all_steps_between_their_version_and_the_newest(
    shop: Shop, version: str
) -> None:
    placed = shop.place(version, BODIES[version])

    assert (placed.status_code, placed.json()) == (HTTPStatus.CREATED, ANSWERS[version])
    assert shop.orders["ord-1"] == Placed("ord-1", "c", (Line("A", 2, Price(500, "EUR")),), "none", None)
    for each, answer in ANSWERS.items():
        assert shop.get(each).json() == answer


@pytest.mark.parametrize(
    ("version", "change", "path", "reason"),
    [
        ("v3", {"fee": FEE}, "$.fee", "unknown field"),
        ("v2", {"remark": "r"}, "$.remark", "unknown field"),
        ("v2", {"items": []}, "$.items", "unknown field"),
        ("v1", {"remark": "r"}, "$.remark", "unknown field"),
        ("v1", {"lines": []}, "$.lines", "unknown field; v1 calls it items"),
        ("v1", {"items": [V3["lines"][0]]}, "$.items[0].quantity", "unknown field; v1 calls it number"),
        ("v1", {"items": [V2["lines"][0]]}, "$.items[0].count", "unknown field; v1 calls it number"),
    ],
)
def test_a_version_refuses_fields_that_it_does_not_have_also_those_of_other_versions(
    shop: Shop, version: str, change: dict[str, Any], path: str, reason: str
) -> None:
    refused = shop.place(version, BODIES[version] | change)

    assert refused.status_code == HTTPStatus.UNPROCESSABLE_ENTITY
    assert {"path": path, "reason": reason} in refused.json()["errors"]
    assert shop.orders == {}


def without(body: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in body.items() if key != name}


@pytest.mark.parametrize(
    ("version", "body", "path", "reason"),
    [
        ("v3", V3 | {"lines": [V3["lines"][0] | {"quantity": 0}]}, "$.lines[0].quantity", "at least 1"),
        ("v2", V2 | {"lines": [V2["lines"][0] | {"count": 0}]}, "$.lines[0].count", "at least 1"),
        ("v1", V1 | {"items": [V1["items"][0] | {"number": 0}]}, "$.items[0].number", "at least 1"),
        ("v1", V1 | {"items": [V1["items"][0] | {"price": 5}]}, "$.items[0].price", '"100 EUR"'),
        ("v1", V1 | {"items": [V1["items"][0] | {"price": "99999 EUR"}]}, "$.items[0].price", "at most 10000"),
        ("v1", V1 | {"items": "none"}, "$.items", "array"),
        ("v1", V1 | {"limit": "99999 EUR"}, "$.limit", "at most 10000"),
        ("v2", without(V2, "ceiling"), "$.ceiling", "missing"),
        ("v1", without(V1, "limit"), "$.limit", "missing"),
        ("v1", without(V1, "items"), "$.items", "missing"),
    ],
)
def test_what_is_wrong_is_named_as_the_callers_version_calls_it(
    shop: Shop, version: str, body: Any, path: str, reason: str
) -> None:
    refused = shop.place(version, body)

    assert refused.status_code == HTTPStatus.UNPROCESSABLE_ENTITY
    (error,) = refused.json()["errors"]
    assert error["path"] == path
    assert reason in error["reason"]


def test_a_body_that_is_no_json_is_refused_in_each_version(shop: Shop) -> None:
    for version in BODIES:
        headers = shop.door.headers(WRITER) | {"idempotency-key": f"none-{version}"}
        refused = shop.door.client.post(f"/shop/{version}/orders", content=b"{", headers=headers)
        assert refused.status_code == HTTPStatus.UNPROCESSABLE_ENTITY


@pytest.mark.parametrize("version", BODIES)
def test_a_write_is_replayed_in_the_words_of_its_version_and_is_another_request_in_another_one(
    shop: Shop, version: str
) -> None:
    first = shop.place(version, BODIES[version])
    again = shop.place(version, BODIES[version])

    assert again.headers["idempotency-replayed"] == "true"
    assert again.content == first.content
    for other in BODIES.keys() - {version}:
        assert shop.place(other, BODIES[other]).json()["type"] == "/problems/idempotency-key-reused"
    assert list(shop.orders) == ["ord-1"]


def test_each_version_tells_of_its_own_life(shop: Shop) -> None:
    shop.place("v3", V3)
    first, second, third = (shop.get(version).headers for version in BODIES)

    assert (first["deprecation"], second["deprecation"]) == ("@1735689600", "@1767225600")
    assert first["sunset"] == "Mon, 01 Jun 2026 00:00:00 GMT"
    assert second["sunset"] == "Tue, 01 Jun 2027 00:00:00 GMT"
    assert '</docs/reference/shop.v3>; rel="successor-version"' in first["link"]
    assert {"deprecation", "sunset", "link"}.isdisjoint(third)


def test_a_version_that_has_ended_does_not_take_the_next_one_along(shop: Shop) -> None:
    shop.place("v3", V3)
    shop.door.now = datetime(2026, 6, 1, tzinfo=UTC)

    statuses = [shop.get(version).status_code for version in BODIES]

    assert statuses == [HTTPStatus.GONE, HTTPStatus.OK, HTTPStatus.OK]


def test_an_operation_that_was_added_is_not_there_in_older_versions(shop: Shop) -> None:
    def ask(version: str) -> int:
        return shop.door.client.delete(f"/shop/{version}/returns/x", headers=shop.door.headers(WRITER)).status_code

    assert [ask(version) for version in BODIES] == [HTTPStatus.NOT_FOUND, HTTPStatus.NOT_FOUND, HTTPStatus.OK]


def test_the_steps_between_versions_are_found_beside_the_routes(shop: Shop) -> None:
    found = chains(shop.door.app)["shop"]

    assert {version: [step.version for step in chain.steps] for version, chain in found.items()} == {
        "v1": ["v1", "v2"],
        "v2": ["v2"],
    }


def test_versions_that_do_not_lead_one_to_the_next_are_refused() -> None:
    with pytest.raises(BrokenChain, match="v1 leads to v3, and the next version is v2"):
        VersionChain([OlderVersion("v1", "v3", ()), OlderVersion("v2", "v3", ())])


def test_a_module_that_declares_another_version_than_its_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(v2, "VERSION", OlderVersion("v4", "v3", ()))

    with pytest.raises(BrokenChain, match=r"shop\.v2 declares v4"):
        version_chain.older_versions(api.__name__.rpartition(".")[0])


# ---- contracts


@pytest.fixture
def contracts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the document of each version, released as they are."""
    line = Line("A", 2, Price(500, "EUR"))
    for each in (Wanted("c", (line,), "none"), Placed("ord-1", "c", (line,), "none", None)):
        monkeypatch.setitem(examples.SAMPLES, type(each), each)
    monkeypatch.setitem(examples.SAMPLES, str, "ord-1")
    shop = Shop(tmp_path, OpenAPIConfig(title="Shop", version="v3"))
    folder = tmp_path / "contracts"
    folder.mkdir()
    for name, document in documents_of(shop.door.app, shop.door.live_catalogue.current, "shop"):
        (folder / name).write_text(json.dumps(document))
    checks.release(folder)
    return folder


def read(folder: Path, version: str) -> dict[str, Any]:
    return json.loads((folder / f"shop.{version}.json").read_text())


def test_there_is_a_well_made_document_of_each_version_in_its_own_words(contracts: Path) -> None:
    assert checks.style(contracts) == []
    for version, body in BODIES.items():
        document = read(contracts, version)
        (media,) = document["paths"][f"/shop/{version}/orders"]["post"]["requestBody"]["content"].values()
        schema = document["components"]["schemas"]["Wanted"]
        assert schema["properties"].keys() - {"remark"} == body.keys()
        assert media["schema"] == {"$ref": "#/components/schemas/Wanted"}
        answer = document["paths"][f"/shop/{version}/orders"]["post"]["responses"]["201"]["content"]
        assert answer["application/json"]["examples"]["usual"]["value"] == ANSWERS[version]
    assert "/shop/v2/returns/{order_id}" not in read(contracts, "v2")["paths"]
    assert "/shop/v3/returns/{order_id}" in read(contracts, "v3")["paths"]
    assert read(contracts, "v1")["components"]["schemas"]["Price"]["type"] == "string"


BREAKS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "v1": lambda it: it["components"]["schemas"]["Placed"]["properties"].pop("items"),
    "v2": lambda it: it["components"]["schemas"]["Placed"]["properties"].pop("fee"),
    "v3": lambda it: it["paths"].pop("/shop/v3/returns/{order_id}"),
}


def test_a_break_is_seen_in_whichever_version_it_is(contracts: Path) -> None:
    assert checks.breaks(contracts) == []
    for version, change in BREAKS.items():
        document = read(contracts, version)
        change(document)
        (contracts / f"shop.{version}.json").write_text(json.dumps(document))

    assert {each.document for each in checks.breaks(contracts)} == {f"shop.{version}.json" for version in BREAKS}
