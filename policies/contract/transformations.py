"""What is different between two neighbouring major versions of an API, as named changes: each can read the older
request, write the older answer, and describe itself in the older contract. So an older version is one small file and no
copy of a route."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec import inspect

from policies.contract.bodies import described
from policies.contract.conformance import unfit

Json = Any
Object = dict[str, Any]
Fields = Mapping[str, inspect.Type]
"""The type of each field of an object, by its name in JSON."""


class Unreadable(ValueError):
    """An older request has something that its contract does not allow; the message says what it should be.

    `field` is the field in question, as the older version calls it; empty for the whole value.
    """

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class Change(msgspec.Struct, frozen=True):
    """One difference in the values of `kind`, a struct of the newest version. What a change does not override is the
    same.

    `summary` is what the guide says of it. All values inside of the one that a change gets are as the newer version has
    them.
    """

    summary: str
    kind: type

    def read(self, value: Json) -> Json:
        """Return the newer version's value for an older one. Raises `Unreadable`."""
        return value

    def write(self, value: Json) -> Json:
        """Return the older version's value for a newer one."""
        return value

    def describe(self, schema: Object) -> Object:
        """Return the older version's JSON Schema, made from the newer one's."""
        return schema

    def fields(self, fields: Fields) -> Fields:
        """Return the older version's fields, made from the newer one's."""
        return fields

    def name(self, name: str) -> str:
        """Return the older version's name of the newer one's field `name`."""
        return name


class FieldRenamed(Change, frozen=True):
    """The field `new` was called `old`."""

    old: str
    new: str

    def read(self, value: Json) -> Json:
        return {self.new if name == self.old else name: inner for name, inner in value.items()}

    def write(self, value: Json) -> Json:
        return {self.name(name): inner for name, inner in value.items()}

    def describe(self, schema: Object) -> Object:
        properties = {self.name(name): inner for name, inner in schema["properties"].items()}
        return schema | {"properties": properties, "required": [*map(self.name, schema.get("required", ()))]}

    def fields(self, fields: Fields) -> Fields:
        return {self.name(name): inner for name, inner in fields.items()}

    def name(self, name: str) -> str:
        return self.old if name == self.new else name


class FieldAdded(Change, frozen=True):
    """The field `added` was not there. An older answer leaves it out; an older request gets `default`, or what the
    struct has as its default when there is none."""

    added: str
    default: Json = msgspec.UNSET

    def read(self, value: Json) -> Json:
        return value if self.default is msgspec.UNSET else value | {self.added: self.default}

    def write(self, value: Json) -> Json:
        return {name: inner for name, inner in value.items() if name != self.added}

    def describe(self, schema: Object) -> Object:
        properties = {name: inner for name, inner in schema["properties"].items() if name != self.added}
        required = [name for name in schema.get("required", ()) if name != self.added]
        return schema | {"properties": properties, "required": required}

    def fields(self, fields: Fields) -> Fields:
        return {name: inner for name, inner in fields.items() if name != self.added}


class FieldRemoved(Change, frozen=True):
    """The field `removed` of type `of` was there. An older answer has it still, as `computed` says from the newer one,
    and so has the example of an older request, which has to have it, though it does nothing any more."""

    removed: str
    of: Any
    computed: Callable[[Object], Json]

    def read(self, value: Json) -> Json:
        if self.removed not in value:
            raise Unreadable("it is missing", self.removed)
        for each in unfit(self.of, value[self.removed]):
            place = each.path.removeprefix("$").removeprefix(".")
            raise Unreadable(f"{place}: {each.reason}" if place else each.reason, self.removed)
        return {name: inner for name, inner in value.items() if name != self.removed}

    def write(self, value: Json) -> Json:
        return value | {self.removed: self.computed(value)}

    def describe(self, schema: Object) -> Object:
        (described,), _ = msgspec.json.schema_components([self.of], ref_template="#/components/schemas/{name}")
        properties = schema["properties"] | {self.removed: described}
        return schema | {"properties": properties, "required": [*schema.get("required", ()), self.removed]}

    def fields(self, fields: Fields) -> Fields:
        return {**fields, self.removed: described(self.of)}


class ValueRewritten(Change, frozen=True):
    """The value was something else altogether: `schema` describes it, `reads` and `writes` translate."""

    schema: Object
    reads: Callable[[Json], Json]
    writes: Callable[[Json], Json]

    def read(self, value: Json) -> Json:
        return self.reads(value)

    def write(self, value: Json) -> Json:
        return self.writes(value)

    def describe(self, schema: Object) -> Object:
        return {name: schema[name] for name in ("title", "description") if name in schema} | self.schema


class OperationAdded(msgspec.Struct, frozen=True):
    """The operation was not there: the older version has no route for it, and answers 404."""

    summary: str
    operation_id: str


class OlderVersion(msgspec.Struct, frozen=True):
    """What an older version is: all `changes` that lead from it to the next newer one, in the order in which they were
    made."""

    version: str
    newer: str
    changes: tuple[Change | OperationAdded, ...]

    @property
    def summaries(self) -> tuple[str, ...]:
        """Return what the guide to the newer version says, each once."""
        return tuple(dict.fromkeys(each.summary for each in self.changes))
