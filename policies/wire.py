"""Reads from the next layer over kept HTTP/1.1 connections, in the event loop itself.

A client with threads of its own hands every answer from one thread to another, which on one core costs as much as all of
the chain (docs/performance.md). The parser is httptools' (llhttp); this is the pool around it, for GET alone.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from typing import cast
from urllib.parse import urlsplit

import httptools

from canonical.faults import Unavailable

IDLE = 64
"""Connections that are kept for the next request."""
PACE = 0.1
"""The part of the time-out after which somebody looks whether it is over…"""
LOOK = 0.25
"""…and the most seconds."""
LONGEST = 16 * 1024 * 1024
"""Bytes that an answer of one of our layers has at the most."""


class Reply:
    """What came back. Names of headers are in lower case."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: dict[bytes, bytes], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body


class Connection(asyncio.Protocol):
    """One connection, with at most one request on it."""

    __slots__ = ("_answer", "_headers", "_parser", "_parts", "_size", "closed", "fresh", "keeps", "transport")

    def __init__(self) -> None:
        self.closed = False
        self.keeps = True
        self.fresh = True
        """Nothing has come of the present answer yet."""
        self._answer: asyncio.Future[Reply] | None = None
        self._parts: list[bytes] = []
        self._headers: dict[bytes, bytes] = {}
        self._size = 0
        self._parser = httptools.HttpResponseParser(self)

    # ---- asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.fresh = False
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._break(f"it does not speak HTTP ({type(error).__name__})")

    def connection_lost(self, exc: Exception | None) -> None:
        self._break("the connection was closed" if exc is None else f"the connection broke ({type(exc).__name__})")

    def ask(self, request: bytes, answer: asyncio.Future[Reply]) -> None:
        self._answer, self.fresh, self._parts, self._headers, self._size = answer, True, [], {}, 0
        self.transport.write(request)

    def close(self) -> None:
        self.closed = True
        self.transport.close()

    def _break(self, reason: str) -> None:
        self.closed = True
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError(reason))
        self.transport.close()

    # ---- the parser's side

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        if self._size > LONGEST:
            self._break("the answer is too long")
        self._parts.append(body)

    def on_message_complete(self) -> None:
        self.keeps = self._parser.should_keep_alive()
        answer = self._answer
        if answer is not None and not answer.done():
            body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
            answer.set_result(Reply(self._parser.get_status_code(), self._headers, body))
        self._answer = None


class Wire:
    """Reads from one address."""

    def __init__(self, base_url: str, timeout: float) -> None:
        """`timeout` is in seconds, for the whole exchange."""
        parts = urlsplit(base_url)
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._head = f"HTTP/1.1\r\nhost: {parts.netloc}\r\n".encode()
        self._timeout = timeout
        self._pace = min(timeout * PACE, LOOK)
        self._idle: deque[Connection] = deque()
        self._asked: dict[Connection, tuple[float, asyncio.Future[Reply]]] = {}
        self._watched = False

    async def get(self, path: str, headers: bytes, seconds: float | None = None) -> Reply:
        """The answer to a GET. `headers` are written out, each with its line end; `seconds` is less than the time-out
        of all. Raises `Unavailable`."""
        loop = asyncio.get_running_loop()
        until = loop.time() + (self._timeout if seconds is None else seconds)
        request = b"GET %b %b%b\r\n" % (path.encode("ascii"), self._head, headers)
        while True:
            kept = self._kept()
            try:
                connection = kept or await self._connect()
                return await self._exchange(loop, connection, request, until)
            except ConnectionError as error:
                if kept is not None and kept.fresh:
                    continue  # it had been closed over there before it was asked: another one, or a new one
                raise Unavailable("", f"no answer ({error})") from error
            except OSError as error:
                raise Unavailable("", f"no answer ({type(error).__name__})") from error

    async def close(self) -> None:
        while self._idle:
            self._idle.pop().close()

    def _kept(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed:
                return connection
        return None

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(self._timeout):
            _, connection = await loop.create_connection(Connection, self._host, self._port, ssl=self._tls)
        return connection

    async def _exchange(
        self, loop: asyncio.AbstractEventLoop, connection: Connection, request: bytes, until: float
    ) -> Reply:
        answer: asyncio.Future[Reply] = loop.create_future()
        self._asked[connection] = (until, answer)
        if not self._watched:
            self._watched = True
            loop.call_later(self._pace, self._look, loop)
        connection.ask(request, answer)
        reply: Reply | None = None
        try:
            reply = await answer
            return reply
        finally:
            del self._asked[connection]
            if reply is not None and connection.keeps and len(self._idle) < IDLE:
                self._idle.append(connection)
            else:
                connection.close()  # what may still come on it belongs to nobody

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Give up what has taken too long. One timer for all requests: one for each costs a sixth of the request."""
        now = loop.time()
        for until, answer in self._asked.values():
            if until <= now and not answer.done():
                answer.set_exception(TimeoutError("no answer in time"))
        self._watched = bool(self._asked)
        if self._watched:
            loop.call_later(self._pace, self._look, loop)
