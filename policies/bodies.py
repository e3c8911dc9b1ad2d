"""What a request may carry: a bounded body, and no field that the contract does not know."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, cast

import msgspec
from litestar import Request
from msgspec import inspect

from policies.problems import INVALID, FieldError, ProblemError

MAX_BODY = 256 * 1024


@lru_cache
def _described(kind: Any) -> inspect.Type:
    return inspect.type_info(kind)


async def refuse_unknown_fields(request: Request[Any, Any, Any]) -> None:
    """Refuse a JSON body with fields that its contract lacks: 422, with the path of each."""
    expected = getattr(request.route_handler, "parsed_data_field", None)
    if expected is None or not (raw := await request.body()):
        return
    try:
        value = msgspec.json.decode(raw)
    except msgspec.DecodeError as error:
        raise ProblemError(INVALID, f"The body is not JSON: {error}.") from error
    unknown = tuple(_unknown(_described(expected.annotation), value, "$"))
    if unknown:
        raise ProblemError(INVALID, "The body has fields that the contract does not know.", unknown)


def names_the_same(in_path: str, in_body: str) -> None:
    """Refuse a body that is about another object than the path: 422."""
    if in_path != in_body:
        raise ProblemError(
            INVALID, f"The path names {in_path}, the body {in_body}.", (FieldError("$.id", "not the path's"),)
        )


def _unknown(expected: inspect.Type, value: Any, path: str) -> Iterator[FieldError]:
    match expected, value:
        case inspect.StructType(), dict():
            members = cast("dict[str, Any]", value)
            fields = {field.encode_name: field.type for field in expected.fields}
            for key, inner in members.items():
                if key in fields:
                    yield from _unknown(fields[key], inner, f"{path}.{key}")
                else:
                    yield FieldError(f"{path}.{key}", "unknown field")
        case ((inspect.ListType() | inspect.VarTupleType()), list()):
            for index, inner in enumerate(cast("list[Any]", value)):
                yield from _unknown(expected.item_type, inner, f"{path}[{index}]")
        case inspect.UnionType(), dict():
            for each in expected.types:
                if isinstance(each, inspect.StructType):
                    yield from _unknown(each, value, path)
        case _:
            return
