"""What of a JSON value does not fit a type: everything at once, each with its place, in the words of JSON."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from types import UnionType
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin

import msgspec

from policies.problems import FieldError

KINDS = {
    "str": "a string",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "an array",
    "object": "an object",
    "null": "null",
    "date": "a date",
    "datetime": "a time",
    "decimal": "a number",
}
"""The types of msgspec in the words of JSON."""
UNITS = {"str": "characters", "array": "items", "object": "members"}
LAST = r"\\Z"
"""How msgspec shows the end of a pattern, which in the contracts is `$`."""
DATES = {
    "Invalid RFC3339 encoded date": "it is no date such as 2026-03-31",
    "Invalid RFC3339 encoded datetime": "it is no time such as 2026-03-31T12:00:00Z",
}
BOUNDS = {">=": "at least", "<=": "at most", ">": "more than", "<": "less than"}


def unfit(kind: Any, value: Any, path: str = "$") -> Iterator[FieldError]:
    """Yield everything of a value that does not fit a type. Fields that the type lacks are among it."""
    found = False
    for each in _inside(kind, value, path):
        found = True
        yield each
    if not found:  # of a whole with a wrong part no more can be said
        yield from _as_a_whole(kind, value, path)


def _inside(kind: Any, value: Any, path: str) -> Iterator[FieldError]:
    """Yield what is wrong with the parts of a value."""
    bare = _bare(kind)
    if isinstance(value, dict) and isinstance(bare, type) and issubclass(bare, msgspec.Struct):
        members = cast("dict[str, Any]", value)
        fields = _fields(bare)
        for name in members.keys() - fields.keys() - {bare.__struct_config__.tag_field}:
            yield FieldError(f"{path}.{name}", "unknown field")
        for name, field in fields.items():
            if name in members:
                yield from unfit(field.type, members[name], f"{path}.{name}")
            elif field.required:
                yield FieldError(f"{path}.{name}", "it is missing")
    elif isinstance(value, dict) and (tagged := _tagged(kind)):
        yield from _of_tagged(tagged, cast("dict[str, Any]", value), path)
    elif isinstance(value, list) and get_origin(bare) in {list, tuple}:
        item = get_args(bare)[0]
        for index, each in enumerate(cast("list[Any]", value)):
            yield from unfit(item, each, f"{path}[{index}]")


def _of_tagged(tagged: dict[str, type[msgspec.Struct]], value: dict[str, Any], path: str) -> Iterator[FieldError]:
    """Yield what is wrong with a value that says by its tag which of several structs it is."""
    field = str(next(iter(tagged.values())).__struct_config__.tag_field)
    meant = tagged.get(str(value.get(field)))
    if meant is not None:
        yield from unfit(meant, value, path)
    elif field in value:
        yield FieldError(f"{path}.{field}", f"'{value[field]}' is not one of {', '.join(tagged)}")
    else:
        yield FieldError(f"{path}.{field}", "it is missing")


@cache
def _tagged(kind: Any) -> dict[str, type[msgspec.Struct]]:
    """Return the structs of a union by their tags; none for any other type."""
    bare = _bare(kind)
    if get_origin(bare) not in {Union, UnionType}:
        return {}
    choices: tuple[Any, ...] = get_args(bare)
    structs = [each for each in choices if isinstance(each, type) and issubclass(each, msgspec.Struct)]
    return {str(each.__struct_config__.tag): each for each in structs if each.__struct_config__.tag_field}


@cache
def _fields(kind: type[msgspec.Struct]) -> dict[str, msgspec.structs.FieldInfo]:
    """Return the fields of a struct by the names under which they are sent."""
    return {each.encode_name: each for each in msgspec.structs.fields(kind)}


@cache
def _bare(kind: Any) -> Any:
    """Return a type without its bounds, and without null where it has one other choice."""
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) in {Union, UnionType}:
        others = [each for each in get_args(kind) if each is not type(None)]
        return _bare(others[0]) if len(others) == 1 else kind
    return kind


def _as_a_whole(kind: Any, value: Any, path: str) -> Iterator[FieldError]:
    try:
        msgspec.convert(value, kind, strict=False, str_keys=True)
    except msgspec.ValidationError as error:
        reason, _, place = str(error).partition(" - at `$")
        member = getattr(error.__cause__, "member", "")
        where = place.rstrip("`") or (f".{member}" if member else "")
        yield FieldError(path + where, in_words(reason, kind))


def in_words(reason: str, kind: Any) -> str:
    """Return what msgspec says of a value that is not of a type, for people who know JSON and not Python."""
    if reason.startswith("Invalid enum value") and (choices := _choices(kind)):
        return f"{reason.removeprefix('Invalid enum value ')} is not one of {', '.join(choices)}"
    if wrong := re.fullmatch(r"Expected `([^`]+)`, got `([^`]+)`", reason):
        return f"it is to be {_kinds(wrong[1])}, and is {_kinds(wrong[2])}"
    if form := re.fullmatch(r"Expected `str` matching regex ['\"](.*)['\"]", reason):
        return f"it does not match the pattern {form[1].replace(LAST, '$')}"
    if long := re.fullmatch(r"Expected `(\w+)` of length (<=|>=) (\d+)", reason):
        units = UNITS.get(long[1], "characters")
        return f"it is to have {BOUNDS[long[2]]} {long[3]} {units.removesuffix('s') if long[3] == '1' else units}"
    if bound := re.fullmatch(r"Expected `(?:int|float)(?: \| null)?` (<=|>=|<|>) (\S+)", reason):
        return f"it is to be {BOUNDS[bound[1]]} {bound[2]}"
    return DATES.get(reason, reason)


def _kinds(names: str) -> str:
    return " or ".join(KINDS.get(each, each) for each in names.split(" | "))


def _choices(kind: Any) -> tuple[str, ...]:
    bare = _bare(kind)
    return tuple(map(str, get_args(bare))) if get_origin(bare) is Literal else ()
