"""Reads a TOML document that people write: each flaw of its shape with its line, its key and the remedy."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from functools import cache, lru_cache
from typing import Any, TypeVar

import msgspec

from policies.catalogue.locate import located
from policies.catalogue.model import Path, Report, Violation

T = TypeVar("T")
LEAST = {"minimum": "write {} or more", "exclusiveMinimum": "write more than {}"}
KINDS = {"object": "a table", "array": "a list", "string": "a text", "integer": "a whole number", "date": "a date"}


def read(raw: bytes, kind: type[T], see: str) -> tuple[T | None, str, list[Violation]]:
    """Return the document as a `kind`, or None, its text, and what is wrong with its shape. `see` is where its shape
    is described."""
    try:
        text = text_of(raw)
        document = _parsed(text)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        at = re.search(r"line (\d+)", str(error))
        line = int(at[1]) if at else 1
        return None, "", [Violation(line, "(file)", f"it is not TOML: {error}", "fix the syntax")]
    try:
        return msgspec.convert(document, kind), text, []
    except msgspec.ValidationError as error:
        reports = dict.fromkeys(_misshapen(document, kind, see)) or [_by_msgspec(error, see)]
        return None, text, located(text, reports)


@lru_cache(maxsize=8)
def _parsed(text: str) -> dict[str, Any]:
    """Return what a text says, which nobody changes: what is made of it is new each time. A process reads the same
    catalogue more than once, and to parse it is four fifths of the work."""
    return tomllib.loads(text)


def text_of(raw: bytes) -> str:
    """Return the text of a file that people write: UTF-8, with or without the byte-order mark that some editors put in
    front. Raises `UnicodeDecodeError`."""
    return raw.decode("utf-8-sig")


def schema(kind: type[Any], title: str) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a `kind` of document."""
    made = msgspec.json.schema(kind)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **made}


@cache
def _validator(kind: type[Any]) -> Any:
    from jsonschema import Draft202012Validator  # costs a tenth of a second, and only a wrong document needs it

    return Draft202012Validator(schema(kind, ""), format_checker=Draft202012Validator.FORMAT_CHECKER)


def _misshapen(document: dict[str, Any], kind: type[Any], see: str) -> Iterator[Report]:
    for error in _validator(kind).iter_errors(msgspec.to_builtins(document)):
        yield from _shape(error, see)


def _by_msgspec(error: msgspec.ValidationError, see: str) -> Report:
    """Return what the schema does not tell: that the name of a key is none of the choices."""
    reason, _, where = str(error).partition(" - at ")
    at = re.search(r"\$\.?([^`]*)", where)
    remedy = f"see {see} for the choices"
    return tuple(at[1].split(".")) if at and at[1] else (), reason, remedy


def _shape(error: Any, see: str) -> Iterator[Report]:
    path: Path = tuple(map(str, error.absolute_path))
    match error.validator:
        case "additionalProperties":
            known = sorted(error.schema.get("properties", ()))
            for key in sorted(set(error.instance) - set(known)):
                yield (*path, key), "there is no such key", f"remove it, or use one of {', '.join(known)}"
        case "required":
            for key in sorted(set(error.validator_value) - set(error.instance)):
                yield (*path, key), "it is missing", f"add {key} = …"
        case "enum":
            yield path, f"{error.instance!r} is none of the choices", f"use one of {', '.join(error.validator_value)}"
        case "anyOf" | "oneOf":
            yield from _of_several(error, path, see)
        case "type" | "format":
            wanted = KINDS.get(str(error.validator_value), str(error.validator_value))
            yield path, f"{error.instance!r} is not {wanted}", f"write {wanted}"
        case "minimum" | "exclusiveMinimum":
            yield path, f"{error.instance} is too small", LEAST[error.validator].format(error.validator_value)
        case "minLength" | "minItems":
            yield path, "it is too short", "say more: " + error.message
        case _:
            yield path, error.message, f"see {see}"


def _of_several(error: Any, path: Path, see: str) -> Iterator[Report]:
    """Report what fits none of several shapes."""
    for each in _meant(error):
        yield from _shape(each, see)
    if not _meant(error):
        inner = sorted(error.context, key=lambda each: len(each.absolute_path), reverse=True)
        yield path, f"{error.instance!r} does not fit", f"{inner[0].message}" if inner else "see the schema"


def _meant(error: Any) -> list[Any]:
    """Return what is wrong by the one shape among several that has the type of what is written, if it is one."""
    by_shape: dict[int, list[Any]] = {}
    for each in error.context:
        by_shape.setdefault(each.relative_schema_path[0], []).append(each)
    of_the_type = [
        errors for errors in by_shape.values() if not any(e.validator == "type" and not e.relative_path for e in errors)
    ]
    return of_the_type[0] if len(of_the_type) == 1 else []
