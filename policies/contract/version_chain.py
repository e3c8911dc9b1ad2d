"""All major versions of an API alive at once: the routes are those of the newest, and an older version is a chain of
steps, each to the next newer one. A request goes up the chain, an answer comes down."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from itertools import pairwise
from pkgutil import iter_modules
from typing import Any, cast

import msgspec
from litestar import Litestar, Router
from litestar.handlers import HTTPRouteHandler
from litestar.middleware import DefineMiddleware
from litestar.types import ASGIApp, Receive, Scope, Send
from msgspec import inspect

from policies.contract.bodies import (
    CapturedResponse,
    captured,
    decoded_body,
    described,
    read_body,
    replayed,
    send_response,
)
from policies.contract.operation import answer_type
from policies.contract.transformations import (
    Change,
    Fields,
    Json,
    Object,
    OlderVersion,
    OperationAdded,
    Unreadable,
    ValueRewritten,
)
from policies.contract.versions import named_in
from policies.problems import CONTENT_TYPE, INVALID, UNFIT, FieldError, ProblemError

SUCCESS = range(200, 300)
VERSION_MODULE = re.compile(r"v[1-9][0-9]*")
CHAIN = "version_chain"
"""Where the routes of an older version have its chain, in Litestar's `opt`."""
Visit = Callable[[inspect.StructType, Json, str], Json]


class BrokenChain(ValueError):
    """The older versions of an API do not lead one to the next. Such an app does not start."""


class VersionChain:
    """An older version of an API, by the steps that lead from it to the newest."""

    def __init__(self, steps: Sequence[OlderVersion]) -> None:
        """`steps` begin with the version itself. Raises `BrokenChain`."""
        for step, after in pairwise(steps):
            if step.newer != after.version:
                raise BrokenChain(f"{step.version} leads to {step.newer}, and the next version is {after.version}")
        self.steps = tuple(steps)
        self.version = steps[0].version
        self.newest = steps[-1].newer

    def serves(self, operation_id: object) -> bool:
        """Say whether an operation of the newest version is in this one."""
        changes = (change for step in self.steps for change in step.changes)
        return not any(isinstance(each, OperationAdded) and each.operation_id == operation_id for each in changes)

    def removed_types(self) -> list[Any]:
        """Return the types of the fields that newer versions do not have any more."""
        return [kind for step in self.steps for change in step.changes if (kind := getattr(change, "of", None))]

    def read(self, kind: Any, value: Json) -> Json:
        """Return a request's body as the newest version has it. Raises `ProblemError` (422) with this version's
        paths."""
        expected = described(kind)
        for place in range(len(self.steps)):
            wrong: list[FieldError] = []
            value = self._walk(expected, value, "$", self._reading(place, wrong))
            if wrong:
                raise ProblemError(INVALID, UNFIT, wrong)
        return value

    def write(self, kind: Any, value: Json) -> Json:
        """Return an answer's body as this version writes it."""
        expected = described(kind)
        for place in reversed(range(len(self.steps))):
            value = self._walk(expected, value, "$", self._writing(place))
        return value

    def error(self, kind: Any, error: FieldError) -> FieldError:
        """Return an error of the newest version in the words of this one."""
        return FieldError(self._path(described(kind), error.path), error.reason)

    def describe(self, document: Object, kinds: dict[str, type]) -> Object:
        """Return the OpenAPI document of this version, from the newest one's. `kinds` names the struct of each
        schema."""
        made = copy.deepcopy(document)
        made["info"]["version"] = self.version
        paths = made["paths"].items()
        made["paths"] = {path.replace(f"/{self.newest}/", f"/{self.version}/", 1): item for path, item in paths}
        schemas: Object = made["components"]["schemas"]
        for name in schemas.keys() & kinds.keys():
            for change in self._from_the_newest(kinds[name], 0):
                schemas[name] = change.describe(schemas[name])
        return made

    # ---- what a struct looks like at one place of the chain

    def _changes(self, kind: type, place: int) -> list[Change]:
        return [each for each in self.steps[place].changes if isinstance(each, Change) and each.kind is kind]

    def _from_the_newest(self, kind: type, place: int) -> Iterable[Change]:
        """Return all changes of a struct between the newest version and the one at `place`, the last one first."""
        for each in reversed(range(place, len(self.steps))):
            yield from reversed(self._changes(kind, each))

    def _fields(self, struct: inspect.StructType, place: int) -> Fields | None:
        """Return the fields of a struct in the version at `place`, its tag among them; None when it is something else
        altogether there."""
        fields: Fields = {field.encode_name: field.type for field in struct.fields}
        if struct.tag_field is not None:
            fields[struct.tag_field] = inspect.AnyType()
        for change in self._from_the_newest(struct.cls, place):
            if isinstance(change, ValueRewritten):
                return None
            fields = change.fields(fields)
        return fields

    def _name(self, kind: type, name: str, place: int) -> str:
        """Return what this version calls the field `name` of the version at `place`."""
        for each in reversed(range(place)):
            for change in reversed(self._changes(kind, each)):
                name = change.name(name)
        return name

    # ---- the walk through a value

    def _reading(self, place: int, wrong: list[FieldError]) -> Visit:
        def visit(struct: inspect.StructType, value: Json, path: str) -> Json:
            fields = self._fields(struct, place)
            if fields is not None:
                if not isinstance(value, dict):
                    return value  # the route says what it should be
                members = cast("Object", value)
                if place == 0 and (unknown := members.keys() - fields.keys()):
                    wrong.extend(self._unknown(struct, path, each) for each in sorted(unknown))
                    return members
                value = {
                    name: self._walk(fields[name], inner, f"{path}.{self._name(struct.cls, name, place)}", visit)
                    for name, inner in members.items()
                }
            try:
                for change in self._changes(struct.cls, place):
                    value = change.read(value)
            except Unreadable as error:
                field = f".{self._name(struct.cls, error.field, place)}" if error.field else ""
                wrong.append(FieldError(path + field, str(error)))
            return value

        return visit

    def _unknown(self, struct: inspect.StructType, path: str, name: str) -> FieldError:
        ours = self._name(struct.cls, name, len(self.steps))
        hint = f"; {self.version} calls it {ours}" if ours != name else ""
        return FieldError(f"{path}.{name}", f"unknown field{hint}")

    def _writing(self, place: int) -> Visit:
        def visit(struct: inspect.StructType, value: Json, path: str) -> Json:
            for change in reversed(self._changes(struct.cls, place)):
                value = change.write(value)
            fields = self._fields(struct, place)
            if fields is None:
                return value
            return {
                name: self._walk(fields[name], inner, path, visit) if name in fields else inner
                for name, inner in value.items()
            }

        return visit

    def _walk(self, expected: inspect.Type, value: Json, path: str, visit: Visit) -> Json:
        match expected:
            case inspect.StructType():
                return visit(expected, value, path)
            case inspect.ListType() | inspect.VarTupleType() if isinstance(value, list):
                items = enumerate(cast("list[Any]", value))
                return [self._walk(expected.item_type, each, f"{path}[{index}]", visit) for index, each in items]
            case inspect.UnionType() if value is not None:
                chosen = next((each for each in expected.types if _may_be(each, value)), None)
                return self._walk(chosen, value, path, visit) if chosen else value
            case _:
                return value

    def _path(self, expected: inspect.Type, path: str) -> str:
        """Return where this version has what the newest one has at `path`."""
        made = "$"
        for part in re.findall(r"\.[^.\[]+|\[[^\]]*\]", path):
            if isinstance(expected, inspect.UnionType):
                expected = next((each for each in expected.types if _may_hold_structs(each)), expected)
            match expected:
                case inspect.StructType():
                    if self._fields(expected, 0) is None:
                        return made
                    made += f".{self._name(expected.cls, part[1:], len(self.steps))}"
                    fields = {field.encode_name: field.type for field in expected.fields}
                    expected = fields.get(part[1:], inspect.AnyType())
                case inspect.ListType() | inspect.VarTupleType():
                    made += part
                    expected = expected.item_type
                case _:
                    made += part
        return made


def _may_be(kind: inspect.Type, value: Any) -> bool:
    """Return whether a value may be of a type that holds structs: of several structs, the one that its tag names."""
    if isinstance(kind, inspect.StructType) and kind.tag_field is not None and isinstance(value, dict):
        return cast("dict[str, Any]", value).get(kind.tag_field) == kind.tag
    return _may_hold_structs(kind)


def _may_hold_structs(kind: inspect.Type) -> bool:
    return isinstance(kind, inspect.StructType | inspect.ListType | inspect.VarTupleType)


# ---- routes


def versioned(name: str, module: str, handlers: Sequence[HTTPRouteHandler]) -> tuple[Router, ...]:
    """Return the routers of an API: `handlers` are the routes of the newest version, and each module `v1`, `v2`, …
    beside `module` declares an older one as `VERSION`. An API without any is in v1. Raises `BrokenChain`."""
    older = older_versions(module.rpartition(".")[0])
    newest = older[-1].newer if older else "v1"
    routers = [Router(f"/{name}/{newest}", route_handlers=handlers, tags=[name])]
    for place in range(len(older)):
        chain = VersionChain(older[place:])
        routers.append(
            Router(
                f"/{name}/{chain.version}",
                route_handlers=[each for each in handlers if chain.serves(each.operation_id)],
                tags=[name],
                middleware=[DefineMiddleware(Translation, chain=chain)],
                opt={CHAIN: chain},
                include_in_schema=False,
            )
        )
    return tuple(routers)


def older_versions(package: str) -> tuple[OlderVersion, ...]:
    """Return what the modules `v1`, `v2`, … of a package declare as `VERSION`, oldest first. Raises `BrokenChain`."""
    path = import_module(package).__path__
    names = [each.name for each in iter_modules(path) if VERSION_MODULE.fullmatch(each.name)]
    found: list[OlderVersion] = []
    for name in sorted(names, key=lambda each: int(each[1:])):
        declared: OlderVersion = import_module(f"{package}.{name}").VERSION
        if declared.version != name:
            raise BrokenChain(f"the module {package}.{name} declares {declared.version}")
        found.append(declared)
    return tuple(found)


def chains(app: Litestar) -> dict[str, dict[str, VersionChain]]:
    """Return the older versions of each API of an app, oldest first."""
    found: dict[str, dict[str, VersionChain]] = {}
    for route in app.routes:
        for handler in getattr(route, "route_handlers", ()):
            if chain := handler.opt.get(CHAIN):
                found.setdefault(route.path.split("/", 2)[1], {})[named_in(route.path)] = chain
    return {api: dict(sorted(of.items(), key=lambda each: int(each[0][1:]))) for api, of in found.items()}


class Translation:
    """ASGI middleware of an older version's routes: what comes in is read as old, what goes out is written as old."""

    def __init__(self, app: ASGIApp, chain: VersionChain) -> None:
        self.app = app
        self.chain = chain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        handler = cast("HTTPRouteHandler", scope["route_handler"])
        takes = handler.parsed_data_field.annotation if handler.parsed_data_field else None
        if takes is not None:
            receive = await self._read(takes, receive)
        answer = await captured(self.app, scope, receive)
        await send_response(send, answer.status, answer.headers, self._written(handler, takes, answer))

    async def _read(self, kind: Any, receive: Receive) -> Receive:
        body = await read_body(receive)
        try:
            value = decoded_body(body)
        except ProblemError:
            pass  # the route refuses it in its own words
        else:
            body = msgspec.json.encode(self.chain.read(kind, value))
        return replayed(body)

    def _written(self, handler: HTTPRouteHandler, takes: Any, answer: CapturedResponse) -> bytes:
        if dict(answer.headers).get(b"content-type", b"").startswith(CONTENT_TYPE.encode()):
            problem = msgspec.json.decode(answer.body)
            if takes is not None:
                given = msgspec.convert(problem.get("errors", ()), tuple[FieldError, ...])
                problem["errors"] = [self.chain.error(takes, each) for each in given]
            return msgspec.json.encode(problem)
        if answer.status not in SUCCESS or not answer.body:
            return answer.body
        return msgspec.json.encode(self.chain.write(answer_type(handler), msgspec.json.decode(answer.body)))
