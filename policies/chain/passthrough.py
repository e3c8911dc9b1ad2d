"""The shortest way through a layer, for reads whose answer the next layer gives: the policies over the
ASGI scope, bytes through, no handler machinery.

What is unusual in any way (another method, a parameter that does not fit, a path that is not listed) goes to the app
behind it, which has the same routes in full and answers every refusal of its own. So nothing is decided here that is
not decided there.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from http import HTTPStatus
from typing import Any, cast, get_args
from urllib.parse import parse_qsl

import msgspec
from litestar import Litestar
from litestar.routes import HTTPRoute
from litestar.types import ASGIApp, Receive, Scope, Send

from canonical.faults import PlatformFault
from policies.chain.gate import Gate
from policies.context import correlation
from policies.contract.bodies import send_response
from policies.contract.headers import fault_of
from policies.contract.operation import declaration_of
from policies.contract.versions import named_in
from policies.outbound.layer_client import LayerResponse
from policies.policy import Headers, Principal
from policies.problems import NEVER_STORED, ProblemError, as_answer

Fetch = Callable[[Principal, str], Awaitable[LayerResponse]]
"""Asks the next layer, on behalf of the caller, for a path with its query."""
Check = Callable[[str], bool]


class PassthroughRoute(msgspec.Struct, frozen=True):
    """A route that is passed through. `key` is what its last segment must be, if that is a parameter."""

    operation_id: str
    version: str
    target: str
    query: dict[str, Check]
    key: re.Pattern[str] | None = None

    def allows(self, query: str) -> bool:
        """Return whether a query is one that the route would accept, parameter by parameter."""
        if query.count("&") > len(self.query):
            return False
        given = parse_qsl(query, keep_blank_values=True)
        names = {name for name, _ in given}
        return len(names) == len(given) and all(name in self.query and self.query[name](value) for name, value in given)


class Passthrough:
    """Stands before an app and takes what can be passed through."""

    def __init__(self, app: ASGIApp, gate: Gate, passthrough_routes: dict[str, PassthroughRoute], fetch: Fetch) -> None:
        """`passthrough_routes` by path; for one with a `key`, by the path up to the last segment, with its slash."""
        self._app = app
        self._gate = gate
        self._passages = passthrough_routes
        self._fetch = fetch
        self.refusals = gate.refusals
        self.streamed = gate.streamed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "GET":
            path = scope["raw_path"].partition(b"?")[0].decode("latin-1")  # another spelling of it goes the long way
            found = self.passage(path, scope["query_string"].decode("latin-1"))
            if found is not None and not fault_of(scope["headers"], scope["http_version"]):
                status, headers, body = await self.answer(dict(scope["headers"]), path, *found)
                await send_response(send, status, headers, body)
                return
        await self._app(scope, receive, send)

    def passage(self, path: str, query: str) -> tuple[PassthroughRoute, str] | None:
        """Return what a read is passed through to, and where; None for one that goes the long way."""
        passage = self._passages.get(path)
        target = ""
        if passage is None or passage.key is not None:
            cut = path.rfind("/") + 1
            passage = self._passages.get(path[:cut])
            if passage is None or passage.key is None or not passage.key.fullmatch(path[cut:]):
                return None
            target = path[cut:]
        target = passage.target + target
        if not query:
            return passage, target
        return (passage, f"{target}?{query}") if passage.allows(query) else None

    async def answer(
        self, headers: dict[bytes, bytes], path: str, passage: PassthroughRoute, target: str
    ) -> tuple[int, Headers, bytes]:
        """Return (status, headers without the length, body). `headers` are the request's, by their names in lower
        case."""
        pipeline = self._gate.pipelines[passage.operation_id]
        call = self._gate.call(pipeline, path, passage.version, headers)
        try:
            try:
                if (waiting := pipeline.enter(call)) is not None:
                    await waiting
                answer = await self._fetch(cast("Principal", call.principal), target)  # it is never open: it has one
            finally:
                pipeline.leave(call)
            status, body = answer.status, answer.content
            own = [(b"content-type", answer.media_type.encode()), *NEVER_STORED]
        except (ProblemError, PlatformFault) as error:
            status, own, body = as_answer(error, call.correlation_id)
        if status >= HTTPStatus.BAD_REQUEST:
            self.refusals.note_passed(call, status, body)
        if (writing := pipeline.answered(call, status)) is not None:
            await writing
        return status, [*own, *call.marks, (correlation.MARK, call.correlation_id.encode())], body


def passthrough_routes(app: Litestar) -> dict[str, PassthroughRoute]:
    """Return the routes of an app that are marked as passed through."""
    found: dict[str, PassthroughRoute] = {}
    for route in app.routes:
        for handler in route.route_handlers if isinstance(route, HTTPRoute) else ():
            if target := declaration_of(handler).passes:
                path, keyed, name = route.path_format.partition("{")
                parameters = handler.parsed_fn_signature.parameters
                query = {
                    _name(each, parameter): check
                    for each, parameter in parameters.items()
                    if each not in {"state", "principal", name.rstrip("}")} and (check := _check(parameter))
                }
                key = re.compile(_pattern(parameters[name.rstrip("}")])) if keyed else None
                made = PassthroughRoute(str(handler.operation_id), named_in(path), target.partition("{")[0], query, key)
                found[path] = made
    return found


def _name(name: str, parameter: Any) -> str:
    return next((each.name for each in _definitions(parameter) if each.name), name)


def _definitions(parameter: Any) -> Iterable[Any]:
    return [each for each in (parameter.kwarg_definition, *parameter.metadata) if hasattr(each, "pattern")]


def _pattern(parameter: Any) -> str:
    return next(each.pattern for each in _definitions(parameter) if each.pattern)


def _check(parameter: Any) -> Check | None:
    """Return what a value of the parameter must be; None for one that this cannot tell, which then goes the long
    way."""
    choices = frozenset(
        each
        for inner in (parameter.annotation, *get_args(parameter.annotation))
        for each in get_args(inner)
        if isinstance(each, str)
    )
    for each in _definitions(parameter):
        if each.pattern:
            pattern: re.Pattern[str] = re.compile(each.pattern)
            return lambda value: pattern.fullmatch(value) is not None
        if each.le is not None:
            least, most = int(each.ge or 0), int(each.le)
            return lambda value: (
                value.isascii() and value.isdigit() and len(value) <= len(str(most)) and least <= int(value) <= most
            )
    return choices.__contains__ if choices else None
