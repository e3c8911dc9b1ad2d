"""What the properties of a contract are: the docstrings under the fields of the structs that they are made from."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Mapping
from functools import cache
from itertools import pairwise
from typing import Any

import msgspec


def describe(schemas: Mapping[str, Any], structs: Mapping[str, type[msgspec.Struct]]) -> None:
    """Add a description to each property whose field has a docstring. Schemas and structs are by the same names."""
    for name in schemas.keys() & structs.keys():
        said = said_of(structs[name])
        for key, schema in schemas[name].get("properties", {}).items():
            if key in said:
                schema["description"] = said[key]


@cache
def said_of(struct: type[msgspec.Struct]) -> dict[str, str]:
    """Return the docstrings of a struct's fields, its own and those that it inherits, by their names in a document,
    and what its tag is."""
    names = {each.name: each.encode_name for each in msgspec.structs.fields(struct)}
    found: dict[str, str] = {}
    for kind in reversed(struct.__mro__):
        if issubclass(kind, msgspec.Struct) and kind is not msgspec.Struct:
            found |= {names[name]: text for name, text in _docstrings(kind).items() if name in names}
    if tag_field := struct.__struct_config__.tag_field:
        found[tag_field] = f"Tells this from the others: it is `{struct.__struct_config__.tag}`."
    return found


def _docstrings(kind: type) -> dict[str, str]:
    (made,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(made, ast.ClassDef)
    return {
        field.target.id: " ".join(text.value.value.split())
        for field, text in pairwise(made.body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant) and isinstance(text.value.value, str)
    }
