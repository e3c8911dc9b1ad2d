"""docs/guides/adding-a-version.md is followed in a copy of the tree: the partner API gets a v3, beside v2 and v1."""

from __future__ import annotations

import json
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from tests.support.copied_tree import Answered, Asked, CopiedTree, Served

CONTRACT, CATALOGUE = "experience_apis/partners/contract.py", "policies/catalogue/catalogue.toml"
V2 = '''"""The partner API v2: what was different from v3."""

from __future__ import annotations

from experience_apis.partners.contract import PartnerOrder, PartnerOrderRequest
from policies.contract.transformations import FieldRenamed, OlderVersion

VERSION = OlderVersion(
    "v2",
    newer="v3",
    changes=(
        FieldRenamed("The term is `months`; it was `term_months`.", PartnerOrderRequest, "term_months", "months"),
        FieldRenamed("What holds it up is `held_by`; it was `waits_for`.", PartnerOrder, "waits_for", "held_by"),
    ),
)
'''
DEPRECATED = (
    'versions.v{} = {{ state = "deprecated", deprecated_on = {}, sunset_on = {}, successor '
    '= "v3", guide = "/docs/partners-v{}" }}'
)
WANTED: dict[str, Any] = {
    "customer_id": "cus_" + "0" * 32,
    "name": "n",
    "legal_entity": "DE01",
    "currency": "EUR",
    "starts_on": "2026-01-01",
    "lines": [{"sku": "SEAT", "quantity": 1}],
}
OLD = {"customer": WANTED["customer_id"], "items": WANTED["lines"]} | {
    name: value for name, value in WANTED.items() if name not in {"customer_id", "lines"}
}
ASKED = [
    ("v1", OLD | {"term_months": 12}),
    ("v2", WANTED | {"term_months": 12}),
    ("v3", WANTED | {"months": 12}),
    ("v1", OLD | {"term_months": 0}),
    ("v2", WANTED | {"term_months": 0}),
    ("v3", WANTED | {"months": 0}),
    ("v1", OLD | {"months": 12}),
    ("v2", WANTED | {"months": 12}),
    ("v3", WANTED | {"term_months": 12}),
]


def adds_v3(tree: CopiedTree) -> None:
    of_an_order = '    """Where the order is."""\n'
    tree.edit(CONTRACT, f"{of_an_order}    waits_for: str\n", f"{of_an_order}    held_by: str\n")
    tree.edit(
        CONTRACT,
        "term_months: Annotated[int, msgspec.Meta(ge=1, le=120)] = 12",
        'term_months: Annotated[int, msgspec.Meta(ge=1, le=120)] = msgspec.field(default=12, name="months")',
    )
    tree.add("experience_apis/partners/v2.py", V2)
    v1 = DEPRECATED.format(1, "2026-10-01", "2027-10-01", 2)
    tree.edit(CATALOGUE, v1.replace("v3", "v2"), v1)
    v2 = DEPRECATED.format(2, "2026-11-01", "2028-11-01", 3)
    tree.edit(CATALOGUE, 'versions.v2 = { state = "active" }', f'{v2}\nversions.v3 = {{ state = "active" }}')


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> CopiedTree:
    tree = CopiedTree(tmp_path_factory.mktemp("copy"))
    adds_v3(tree)
    return tree


@pytest.fixture(scope="module")
def served(tree: CopiedTree) -> Served:
    orders = [Asked(f"/partners/{version}/orders", "reseller-nord", "POST", body) for version, body in ASKED]
    return tree.serve([*orders, Asked("/docs/partners-v2"), Asked("/docs/partners-v3"), Asked("/docs/partners-v4")])


def errors(answer: Answered) -> list[tuple[str, str]]:
    return [(each["path"], each["reason"]) for each in answer.body["errors"]]


def test_a_version_touches_two_files(tree: CopiedTree) -> None:
    assert tree.touched() == [CONTRACT, CATALOGUE]


@pytest.mark.extended
def test_a_request_of_each_version_is_read_up_to_the_newest(served: Served) -> None:
    unavailable = served.answers[:3]

    assert {each.status for each in unavailable} == {
        HTTPStatus.SERVICE_UNAVAILABLE
    }  # all fit; no process layer answers
    assert {each.body["type"] for each in unavailable} == {"/problems/platform-unavailable"}


@pytest.mark.extended
def test_each_version_names_what_is_wrong_in_its_own_words_and_knows_no_field_of_another(served: Served) -> None:
    wrong, unknown = served.answers[3:6], served.answers[6:9]

    assert [path for each in wrong for path, _ in errors(each)] == ["$.term_months", "$.term_months", "$.months"]
    assert [error for each in unknown for error in errors(each)] == [
        ("$.months", "unknown field; v1 calls it term_months"),
        ("$.months", "unknown field; v2 calls it term_months"),
        ("$.term_months", "unknown field"),
    ]


@pytest.mark.extended
def test_the_headers_tell_of_each_versions_life(served: Served) -> None:
    first, second, third = (each.headers for each in served.answers[:3])

    assert 'rel="successor-version"' in first["link"]
    assert "</docs/partners-v3>" in second["link"]
    assert first["deprecation"] < second["deprecation"]
    assert {"deprecation", "sunset", "link"}.isdisjoint(third)


@pytest.mark.extended
def test_there_is_a_guide_for_each_step(served: Served) -> None:
    to_v2, to_v3, nowhere = served.answers[9:]

    assert "<code>customer_id</code>" in to_v2.body
    assert "/docs/partners-v3" in to_v2.body
    assert "<code>held_by</code>" in to_v3.body
    assert "2028-11-01" in to_v3.body
    assert nowhere.status == HTTPStatus.NOT_FOUND


@pytest.mark.extended
def test_the_contracts_of_the_older_versions_are_what_they_were(tree: CopiedTree, served: Served) -> None:
    assert served.breaks == []
    assert served.style == []
    for version in ("v1", "v2"):
        committed = json.loads(Path(f"openapi/partners.{version}.json").read_text())
        written = tree.contract(f"partners.{version}")
        assert written["components"]["schemas"] == committed["components"]["schemas"]
        assert example(written, version) == example(committed, version)
    assert example(tree.contract("partners.v3"), "v3").keys() - example(tree.contract("partners.v2"), "v2").keys() == {
        "held_by"
    }


def example(document: dict[str, Any], version: str) -> dict[str, Any]:
    answer = document["paths"][f"/partners/{version}/orders/{{order_id}}"]["get"]["responses"]["200"]
    return answer["content"]["application/json"]["examples"]["usual"]["value"]
