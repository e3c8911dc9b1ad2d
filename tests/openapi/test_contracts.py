"""The committed contracts are those of the routes."""

from __future__ import annotations

import json
from pathlib import Path

from policies.catalogue import SHIPPED
from policies.catalogue_check import load
from tiergate.contracts import write, write_schema

COMMITTED = Path("openapi")


def test_the_committed_documents_are_what_the_routes_say(tmp_path: Path) -> None:
    written = write(tmp_path)

    assert {path.name for path in written} == {path.name for path in COMMITTED.glob("*.json")}
    for path in written:
        assert path.read_text() == (COMMITTED / path.name).read_text(), f"run `make openapi`: {path.name} has changed"


def test_the_committed_schema_of_the_catalogue_is_the_catalogues(tmp_path: Path) -> None:
    made = write_schema(tmp_path / "schema.json")

    assert made.read_text() == SHIPPED.with_name("catalogue.schema.json").read_text(), "run `make openapi`"


def test_every_governed_operation_is_in_exactly_one_document() -> None:
    found: list[str] = []
    for path in COMMITTED.glob("*.json"):
        document = json.loads(path.read_text())
        assert document["openapi"].startswith("3.1")
        found += [operation["operationId"] for item in document["paths"].values() for operation in item.values()]

    governed = [name for api in load().apis.values() for name in api.operations]
    assert sorted(found) == sorted(governed)
