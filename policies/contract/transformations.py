"""An older major version as the newest one and a list of named changes: each can read the old request, write the old
answer, and describe itself in the old contract. So an old version costs one small file, and no copy of any route.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from typing import Any, Protocol, cast

import msgspec
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp, Receive, Scope, Send
from msgspec import inspect

from policies.contract.bodies import CapturedResponse, captured, described, read_body, replayed, send_response
from policies.problems import CONTENT_TYPE, INVALID, FieldError, ProblemError

Json = Any
SUCCESS = range(200, 300)


class Unreadable(ValueError):
    """An old request has something that the old contract does not allow; the message says what it should be."""


class Change(Protocol):
    """One difference between two neighbouring versions."""

    @property
    def summary(self) -> str:
        """What the migration guide says of it."""
        ...

    def concerns(self, kind: type) -> bool:
        """Whether values of this struct look different in the old version."""
        ...

    def read(self, value: Json) -> Json:
        """An old value as the new version writes it. Raises `Unreadable`."""
        ...

    def write(self, value: Json) -> Json:
        """A new value as the old version wrote it."""
        ...

    def describe(self, schema: dict[str, Any]) -> dict[str, Any]:
        """The old JSON Schema of such values."""
        ...

    def path(self, path: str) -> str:
        """Where the old version has what the new one has at `path`."""
        ...


class FieldRenamed(msgspec.Struct, frozen=True):
    """The field `new` of a struct was called `old`."""

    kind: type
    old: str
    new: str
    summary: str

    def concerns(self, kind: type) -> bool:
        return kind is self.kind

    def read(self, value: Json) -> Json:
        if not isinstance(value, dict):
            return value
        members = cast("dict[str, Any]", value)
        if self.new in members:
            raise Unreadable(f"unknown field {self.new}; this version calls it {self.old}")
        return {self.new if name == self.old else name: inner for name, inner in members.items()}

    def write(self, value: Json) -> Json:
        return {self.old if name == self.new else name: inner for name, inner in value.items()}

    def describe(self, schema: dict[str, Any]) -> dict[str, Any]:
        names = {self.new: self.old}
        properties = {names.get(name, name): inner for name, inner in schema["properties"].items()}
        required = [names.get(name, name) for name in schema.get("required", ())]
        return schema | {"properties": properties, "required": required}

    def path(self, path: str) -> str:
        return re.sub(rf"\.{re.escape(self.new)}(?=[.\[]|$)", f".{self.old}", path)


class ValueRewritten(msgspec.Struct, frozen=True):
    """Values of a struct were something else altogether: `schema` describes it, `reads` and `writes` translate."""

    kind: type
    schema: dict[str, Any]
    reads: Callable[[Json], Json]
    writes: Callable[[Json], Json]
    summary: str

    def concerns(self, kind: type) -> bool:
        return kind is self.kind

    def read(self, value: Json) -> Json:
        return self.reads(value)

    def write(self, value: Json) -> Json:
        return self.writes(value)

    def describe(self, schema: dict[str, Any]) -> dict[str, Any]:
        kept = {name: schema[name] for name in ("title", "description") if name in schema}
        return kept | self.schema

    def path(self, path: str) -> str:
        return path


class OlderVersion:
    """A version that is served by the routes of the next one. `changes` are listed oldest look first."""

    def __init__(self, version: str, newer: str, changes: tuple[Change, ...]) -> None:
        self.version = version
        self.newer = newer
        self.changes = changes

    def read(self, kind: Any, value: Json) -> Json:
        """An old request's body as the newer version takes it. Raises `ProblemError` (422) with the old paths."""
        wrong: list[FieldError] = []
        made = self._walk(described(kind), value, "$", self._reading, wrong)
        if wrong:
            raise ProblemError(INVALID, "The request does not fit the contract.", tuple(wrong))
        return made

    def write(self, kind: Any, value: Json) -> Json:
        """An answer's body as this version writes it."""
        return self._walk(described(kind), value, "$", self._writing, [])

    def path(self, path: str) -> str:
        for change in self.changes:
            path = change.path(path)
        return path

    def describe(self, document: dict[str, Any], kinds: dict[str, type]) -> dict[str, Any]:
        """The OpenAPI document of this version, from the newer one's. `kinds` names the struct of each schema."""
        made = copy.deepcopy(document)
        made["info"]["version"] = self.version
        made["paths"] = {
            path.replace(f"/{self.newer}/", f"/{self.version}/", 1): item for path, item in made["paths"].items()
        }
        schemas: dict[str, Any] = made["components"]["schemas"]
        for name, kind in kinds.items():
            for change in self._of(kind):
                if name in schemas:
                    schemas[name] = change.describe(schemas[name])
        return made

    def _of(self, kind: type) -> list[Change]:
        return [change for change in self.changes if change.concerns(kind)]

    def _reading(self, kind: type, value: Json, go_on: Callable[[Json], Json]) -> Json:
        for change in self._of(kind):
            value = change.read(value)
        return go_on(value)

    def _writing(self, kind: type, value: Json, go_on: Callable[[Json], Json]) -> Json:
        value = go_on(value)
        for change in reversed(self._of(kind)):
            value = change.write(value)
        return value

    def _walk(
        self,
        expected: inspect.Type,
        value: Json,
        path: str,
        turn: Callable[[type, Json, Callable[[Json], Json]], Json],
        wrong: list[FieldError],
    ) -> Json:
        match expected:
            case inspect.StructType():
                fields = {field.encode_name: field.type for field in expected.fields}

                def go_on(members: Json) -> Json:
                    if not isinstance(members, dict):
                        return members
                    return {
                        name: self._walk(fields[name], inner, f"{path}.{name}", turn, wrong)
                        if name in fields
                        else inner
                        for name, inner in cast("dict[str, Any]", members).items()
                    }

                try:
                    return turn(expected.cls, value, go_on)
                except Unreadable as error:
                    wrong.append(FieldError(self.path(path), str(error)))
                    return value
            case inspect.ListType() | inspect.VarTupleType() if isinstance(value, list):
                items = cast("list[Any]", value)
                return [
                    self._walk(expected.item_type, each, f"{path}[{place}]", turn, wrong)
                    for place, each in enumerate(items)
                ]
            case inspect.UnionType() if value is not None:
                return next((self._walk(each, value, path, turn, wrong) for each in _structs(expected)), value)
            case _:
                return value


def _structs(union: inspect.UnionType) -> Iterator[inspect.Type]:
    return (each for each in union.types if isinstance(each, inspect.StructType))


class Translation:
    """ASGI middleware of an older version's routes: what comes in is read as old, what goes out is written as old."""

    def __init__(self, app: ASGIApp, older: OlderVersion) -> None:
        self.app = app
        self.older = older

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        handler = cast("HTTPRouteHandler", scope["route_handler"])
        if handler.parsed_data_field is not None:
            receive = await self._read(handler.parsed_data_field.annotation, receive)
        answer = await captured(self.app, scope, receive)
        await send_response(send, answer.status, answer.headers, self._written(handler, answer))

    async def _read(self, kind: Any, receive: Receive) -> Receive:
        body = await read_body(receive)
        try:
            value = msgspec.json.decode(body)
        except msgspec.DecodeError:
            pass  # told in the route's own words
        else:
            body = msgspec.json.encode(self.older.read(kind, value))
        return replayed(body)

    def _written(self, handler: HTTPRouteHandler, answer: CapturedResponse) -> bytes:
        if dict(answer.headers).get(b"content-type", b"").startswith(CONTENT_TYPE.encode()):
            problem = msgspec.json.decode(answer.body)
            for error in problem.get("errors", ()):
                error["path"] = self.older.path(error["path"])
            return msgspec.json.encode(problem)
        if answer.status not in SUCCESS or not answer.body:
            return answer.body
        kind = cast("Any", (handler.responses or {})[answer.status]).data_container
        return msgspec.json.encode(self.older.write(kind, msgspec.json.decode(answer.body)))
