"""Writes the contracts to a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import msgspec

from policies.catalogue.check import load
from policies.catalogue.check import schema as schema_of_the_catalogue
from tiergate.contracts import asyncapi
from tiergate.contracts.openapi import documents


def write(folder: Path) -> list[Path]:
    """Write the document of every API and version, and that of the events. Return the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    made = [(folder / name, document) for name, document in documents()]
    made.append((folder / asyncapi.NAME, asyncapi.document(load())))
    return [_written(path, document) for path, document in made]


def write_schema(path: Path) -> Path:
    """Return the JSON Schema of the catalogue, for editors."""
    return _written(path, schema_of_the_catalogue())


def _written(path: Path, document: dict[str, Any]) -> Path:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(_in_ecma(document)), indent=2) + b"\n")
    return path


def _in_ecma(value: Any, key: str = "") -> Any:
    """Return a document with its patterns as JSON Schema has them (ECMA-262), where `$` is the end of the text."""
    match value:
        case str() if key == "pattern":
            return value.replace(r"\Z", "$")
        case dict():
            return {name: _in_ecma(each, name) for name, each in cast("dict[str, Any]", value).items()}
        case list():
            return [_in_ecma(each) for each in cast("list[Any]", value)]
        case _:
            return value
