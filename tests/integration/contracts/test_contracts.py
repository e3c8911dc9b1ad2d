"""The committed contracts are those of the routes, are well made, and do not break what was released."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from string import ascii_uppercase
from typing import Any, get_args

import msgspec
import pytest

from canonical.states import OrderState
from policies.business.events import EVENTS
from policies.catalogue.check import load
from policies.catalogue.model import SHIPPED
from tiergate.contracts import checks, descriptions, diagrams
from tiergate.contracts.write import write_schema

COMMITTED = Path("openapi")
PARTNERS = "partners.v2.json"
Json = dict[str, Any]
Change = Callable[[Json], Any]


def copied(target: Path) -> Path:
    """Copy the contracts to where they can be spoilt, released as they are."""
    shutil.copytree(COMMITTED, target, ignore=shutil.ignore_patterns("node_modules", "released"))
    checks.release(target)
    return target


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return copied(tmp_path / "openapi")


def changed(folder: Path, *changes: Change, name: str = PARTNERS) -> Path:
    """Write a changed copy of the partners' contract over it, or under another name."""
    document = json.loads((folder / PARTNERS).read_text())
    for change in changes:
        change(document)
    path = folder / name
    path.write_text(json.dumps(document))
    return path


def test_a_contract_says_what_each_state_of_an_order_means_and_where_tokens_are_got() -> None:
    document = json.loads((COMMITTED / PARTNERS).read_text())
    described = schema(document, "PartnerOrder")["properties"]["state"]["description"].splitlines()[2:]
    flow = document["components"]["securitySchemes"]["client"]["flows"]["clientCredentials"]

    assert len(described) == len(get_args(OrderState))
    assert "- `on_hold`: a person has to decide or to correct something" in described
    assert flow["tokenUrl"] == "/oauth/token"
    assert document["paths"]["/partners/v2/orders"]["post"]["security"] == [{"client": ["orders:place"]}, {"token": []}]
    assert set(flow["scopes"]) >= {"orders:place", "orders:read"}


def test_a_contract_says_what_a_call_counts() -> None:
    paths = json.loads((COMMITTED / PARTNERS).read_text())["paths"]
    place, read = paths["/partners/v2/orders"]["post"], paths["/partners/v2/orders"]["get"]

    assert (place["x-cost"], read["x-cost"]) == (5, 1)
    assert place["description"].endswith("Each call counts 5 of your limits.")


def schema(document: Json, name: str) -> Json:
    return document["components"]["schemas"][name]


def legal_entity(document: Json) -> Json:
    return schema(document, "PartnerOrderRequest")["properties"]["legal_entity"]


SPOILT_STYLE: list[tuple[Change, str]] = [
    (lambda it: it["paths"]["/partners/v2/orders"]["get"].pop("operationId"), "operation-operationId"),
    (lambda it: it["paths"]["/partners/v2/orders"]["get"].pop("summary"), "operation-summary"),
    (lambda it: it["paths"]["/partners/v2/orders"]["get"].pop("description"), "operation-description"),
    (lambda it: it["paths"]["/partners/v2/orders"]["get"].pop("x-service-tier"), "rule/tier-is-said"),
    (
        lambda it: it["paths"].update({"/partners/orders": it["paths"].pop("/partners/v2/orders")}),
        "rule/paths-name-their-version",
    ),
    (
        lambda it: schema(it, "PartnerOrder")["properties"].update(placedAt={"type": "string"}),
        "rule/properties-are-snake-case",
    ),
    (lambda it: schema(it, "Money")["properties"].update(amount={"type": "boolean"}), "no-invalid-media-type-examples"),
    (
        lambda it: [
            it["paths"]["/partners/v2/orders"]["get"]["responses"].pop(each) for each in ("401", "403", "422", "429")
        ],
        "operation-4xx-response",
    ),
    (lambda it: schema(it, "Money").update(required=["amount", "nothing"]), "no-required-schema-properties-undefined"),
]
BREAKING: list[tuple[Change, str, str]] = [
    (
        lambda it: schema(it, "PartnerContract")["properties"].pop("lines"),
        "`lines` of `PartnerContract` was removed",
        "named change",
    ),
    (lambda it: schema(it, "PartnerOrderRequest")["required"].append("term_months"), "became required", "optional"),
    (lambda it: it["paths"].pop("/partners/v2/invoices"), "/partners/v2/invoices` was removed", "keep the operation"),
    (
        lambda it: schema(it, "Money")["properties"].update(amount={"type": "string"}),
        "Type of `amount`",
        "another name",
    ),
    (
        lambda it: schema(it, "PartnerOrder")["properties"]["state"]["enum"].append("lost"),
        "gained values",
        "an old one in its place",
    ),
    (lambda it: legal_entity(it).update(pattern="^[A-Z]{2}$"), "to '^[A-Z]{2}$'", "keep the bound in this version"),
]
COMPATIBLE: list[Change] = [
    lambda it: schema(it, "PartnerContract")["properties"].update(remark={"type": "string"}),
    lambda it: schema(it, "PartnerOrderRequest")["properties"].update(remark={"type": "string"}),
    lambda it: it["paths"].update({"/partners/v2/statements": it["paths"]["/partners/v2/invoices"]}),
]


def test_a_pattern_that_was_widened_takes_all_that_it_took() -> None:
    ((before, after),) = checks.WIDENED
    codes = [f"{first}{second}{n:02}" for first in ascii_uppercase for second in ascii_uppercase for n in range(100)]

    assert all(map(re.compile(before).fullmatch, codes))
    assert all(map(re.compile(after).fullmatch, codes))


def test_the_committed_documents_are_what_the_routes_say() -> None:
    assert checks.drift(COMMITTED) == [], "run `make openapi`"


def test_the_committed_schema_of_the_catalogue_is_the_catalogues(tmp_path: Path) -> None:
    made = write_schema(tmp_path / "schema.json")

    assert made.read_text() == SHIPPED.with_name("catalogue.schema.json").read_text(), "run `make openapi`"


def test_the_diagrams_of_the_documentation_are_those_of_the_tables() -> None:
    assert [each for path in (diagrams.DOCUMENT, *diagrams.GUIDES) for each in diagrams.stale(path)] == []


def test_the_documents_are_well_made() -> None:
    assert checks.style(COMMITTED) == []


@pytest.fixture
def spoilt_diagram(tmp_path: Path) -> Path:
    """A copy of the documentation in which a diagram lacks a line of its table."""
    path = tmp_path / diagrams.DOCUMENT.name
    path.write_text(diagrams.DOCUMENT.read_text().replace("    received --> validating\n", ""))
    return path


def test_a_diagram_that_is_not_that_of_its_table_is_drawn_anew(spoilt_diagram: Path) -> None:
    diagrams.draw(spoilt_diagram)

    assert spoilt_diagram.read_text() == diagrams.DOCUMENT.read_text()


def test_a_document_without_a_place_for_a_diagram_is_refused() -> None:
    with pytest.raises(ValueError, match="no place for the states of an order"):
        diagrams.drawn("# Architecture\n")


def test_there_is_a_document_for_each_api_and_version_and_one_of_the_events() -> None:
    versions = {f"{name}.{version}.json" for name, api in load().apis.items() for version in api.versions}

    assert {path.name for path in COMMITTED.glob("*.json")} == versions | {"events.v1.json"}


def test_every_governed_operation_is_in_the_document_of_each_version() -> None:
    for name, api in load().apis.items():
        for version in api.versions:
            document = json.loads((COMMITTED / f"{name}.{version}.json").read_text())
            found = [operation["operationId"] for item in document["paths"].values() for operation in item.values()]
            assert set(found) <= set(api.operations)
            assert len(found) == len(set(found))
            if version == max(api.versions, key=lambda each: int(each[1:])):  # an older one may lack what was added
                assert set(found) == set(api.operations)


def test_every_event_of_the_catalogue_is_in_the_events_document() -> None:
    document = json.loads((COMMITTED / "events.v1.json").read_text())

    named = {each["name"] for each in document["components"]["messages"].values()}
    assert set(EVENTS.of(load())) <= named


@pytest.fixture(scope="module")
def judged_style(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Lint one document for each rule, together: the linter takes its time to start."""
    folder = copied(tmp_path_factory.mktemp("spoilt") / "openapi")
    spoilt = [changed(folder, spoil, name=f"spoilt-{rule.replace('/', '-')}.json") for spoil, rule in SPOILT_STYLE]
    return checks.style(folder, *spoilt)


@pytest.mark.parametrize("rule", [rule for _, rule in SPOILT_STYLE])
def test_a_document_that_breaks_a_rule_of_style_is_told_so(judged_style: list[str], rule: str) -> None:
    found = [each for each in judged_style if each.startswith(f"spoilt-{rule.replace('/', '-')}.json ")]

    assert any(f"({rule})" in each for each in found), found


@pytest.fixture(scope="module")
def found_breaks(tmp_path_factory: pytest.TempPathFactory) -> list[checks.Break]:
    """Compare a document that has all breaking changes."""
    folder = copied(tmp_path_factory.mktemp("broken") / "openapi")
    changed(folder, *(change for change, _, _ in BREAKING))
    return checks.breaks(folder)


@pytest.mark.parametrize(("message", "remedy"), [each[1:] for each in BREAKING])
def test_a_breaking_change_is_told_with_who_would_notice_and_how_to_do_it_instead(
    found_breaks: list[checks.Break], message: str, remedy: str
) -> None:
    first = next(each for each in found_breaks if message in each.message)

    assert first.document == PARTNERS
    assert {"reseller-nord", "reseller-sued"} <= set(first.clients)
    assert remedy in first.remedy


def test_make_check_tells_of_a_break_together_with_all_else(folder: Path, spoilt_diagram: Path) -> None:
    change, message, remedy = BREAKING[0]
    changed(folder, change)

    reported = checks.judged(folder, spoilt_diagram)

    assert reported[:2] == [
        f"{PARTNERS}: the routes say something else; run `make openapi`",
        "architecture.md: the tables of states say something else; run `make openapi`",
    ]
    assert message in "\n".join(reported)
    assert remedy in "\n".join(reported)


def test_compatible_changes_pass(folder: Path) -> None:
    ((before, _),) = checks.WIDENED
    released = folder / checks.RELEASED / PARTNERS
    document = json.loads(released.read_text())
    legal_entity(document).update(pattern=before)
    released.write_text(json.dumps(document))
    changed(folder, *COMPATIBLE)

    assert checks.breaks(folder) == []


def test_a_version_that_vanishes_breaks_everybody_who_may_call_it(folder: Path) -> None:
    (folder / PARTNERS).unlink()

    (only,) = checks.breaks(folder)

    assert (only.message, only.remedy) == ("the whole version is gone", "let it reach its sunset first")


@pytest.mark.parametrize("path", sorted(COMMITTED.glob("partners.*.json")), ids=lambda path: path.name)
def test_a_contract_for_partners_describes_every_property(path: Path) -> None:
    schemas = json.loads(path.read_text())["components"]["schemas"]
    said = {
        f"{name}.{key}": property_.get("description", "")
        for name, schema in schemas.items()
        for key, property_ in schema.get("properties", {}).items()
    }

    assert len(said) > 50
    assert [name for name, text in said.items() if not text] == []
    assert all(text.partition("\n")[0].endswith(".") for text in said.values())


def test_a_property_is_described_by_the_docstring_under_its_field() -> None:
    class Base(msgspec.Struct):
        left_out: int
        taken: int
        """Of the
        base."""

    class Derived(Base):
        renamed: int = msgspec.field(name="new")
        """Its own."""

    schemas: dict[str, Any] = {"Derived": {"properties": {"left_out": {}, "taken": {}, "new": {}}}, "Other": {}}

    descriptions.describe(schemas, {"Derived": Derived})

    assert schemas["Derived"]["properties"] == {
        "left_out": {},
        "taken": {"description": "Of the base."},
        "new": {"description": "Its own."},
    }


def test_what_is_released_is_what_later_contracts_are_compared_with(folder: Path) -> None:
    changed(folder, lambda it: it["paths"].pop("/partners/v2/invoices"))
    checks.release(folder)

    assert checks.breaks(folder) == []
