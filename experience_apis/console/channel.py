"""The channels' own routes as the console asks them: in this process, as the person who is signed in.

Each question passes the same policies as if the person's application had sent it: scopes, limits, the audit. There is
no other way from a page to a record.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import quote, unquote, urlencode

import msgspec
from litestar import Litestar
from litestar.types import Message

from policies.chain.gate import PROVED
from policies.policy import Principal

T = TypeVar("T")
GOOD = range(200, 300)


class Trouble(msgspec.Struct, frozen=True):
    """What a page says where an answer is missing: the problem's title, what is wrong and what to do (RFC 9457)."""

    status: int
    type: str
    title: str
    detail: str = ""
    remedy: str = ""
    correlation_id: str = ""
    errors: tuple[dict[str, str], ...] = ()

    @property
    def is_away(self) -> bool:
        """Return whether what was asked for may be there in a moment."""
        return self.status in {429, 502, 503, 504}


class Answer(msgspec.Struct, frozen=True):
    """What a route answers, as it came."""

    status: int
    headers: dict[bytes, bytes]
    content: bytes


class Channel:
    """Ask the routes of this layer on behalf of one person."""

    def __init__(self, app: Litestar, principal: Principal, correlation_id: str) -> None:
        self._app = app
        self._principal = principal
        self._correlation_id = correlation_id

    async def get(self, path: str, kind: type[T], /, **query: Any) -> T | Trouble:
        """Return what a route answers, or what is wrong with it. Empty values of the query are left out."""
        return _read(await self.fetch("GET", path, _query(query)), kind)

    async def post(self, path: str, body: Any, kind: type[T], *, key: str = "") -> T | Trouble:
        """Return what a route answers to a write; `key` names the write where the route needs that."""
        headers = [(b"idempotency-key", key.encode())] if key else []
        return _read(await self.fetch("POST", path, b"", msgspec.json.encode(body), headers), kind)

    async def put(self, path: str, body: Any, kind: type[T]) -> T | Trouble:
        """Return what a route answers to a write that may be sent again."""
        return _read(await self.fetch("PUT", path, b"", msgspec.json.encode(body)), kind)

    async def fetch(
        self,
        method: str,
        path: str,
        query: bytes = b"",
        body: bytes = b"",
        headers: list[tuple[bytes, bytes]] | None = None,
    ) -> Answer:
        """Return what a route answers, whatever it is."""
        sent = [
            (b"host", b"console"),
            (b"x-correlation-id", self._correlation_id.encode()),
            *([(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))] if body else []),
            *(headers or []),
        ]
        scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(path),  # as ASGI has it: a route is given an id as it is, and not as it is written
            "raw_path": path.encode(),
            "query_string": query,
            "root_path": "",
            "headers": sent,
            "client": None,
            "server": None,
            "extensions": {},
            "state": {PROVED: self._principal},
        }
        received = Received()
        requests = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def receive() -> Any:
            if (message := next(requests, None)) is not None:
                return message
            await asyncio.Future()  # nobody hangs up: the page waits for the answer
            raise AssertionError

        await self._app(scope, receive, received.send)  # pyright: ignore[reportArgumentType]
        return received.answer()


class Received:
    """An answer while it comes."""

    def __init__(self) -> None:
        self._status = 0
        self._headers: dict[bytes, bytes] = {}
        self._parts: list[bytes] = []

    async def send(self, message: Message) -> None:
        """Take a part of the answer."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._headers = dict(message["headers"])
        elif message["type"] == "http.response.body":
            self._parts.append(message["body"])

    def answer(self) -> Answer:
        """Return the whole answer."""
        return Answer(self._status, self._headers, b"".join(self._parts))


def path_to(*parts: str) -> str:
    """Return a path whose parts are written as one segment each, whatever is in them."""
    return "/" + "/".join(quote(part, safe="") for part in parts)


def _query(values: Mapping[str, Any]) -> bytes:
    return urlencode({key: value for key, value in values.items() if value not in (None, "")}).encode()


def _read(answer: Answer, kind: type[T]) -> T | Trouble:
    if answer.status in GOOD:
        return msgspec.json.decode(answer.content, type=kind)
    try:
        return msgspec.json.decode(answer.content, type=Trouble)
    except msgspec.DecodeError:
        return Trouble(answer.status, "about:blank", "No answer that can be read came back")
