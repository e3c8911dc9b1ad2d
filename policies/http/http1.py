"""Requests between our layers over open HTTP/1.1 connections: `AsyncHttpClient` in the event loop, `HttpClient` in the thread that asks.

A client with threads of its own hands every answer from one thread to another, which on one core costs as much as all of
the chain (docs/performance.md). The parser is httptools' (llhttp); this is the pool around it.
"""

from __future__ import annotations

import asyncio
import re
import select
import socket
import ssl
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from time import monotonic
from typing import Any, Generic, TypeVar, cast
from urllib.parse import quote, urlsplit

import httptools

from policies.http.client import CONNECTING, LONGEST, RESERVED, HttpResponse, TransportFailure

IDLE = 64
"""Connections that are kept for the next request…"""
LONGEST_LIFE = 60.0
"""…and the seconds from its beginning after which one takes no further request: a name that has moved is followed, however
busy the connection is. Shorter than our layers keep an idle one, so that no write meets its end."""
PACE = 0.1
"""The part of the time-out after which somebody looks whether it is over…"""
LOOK = 0.25
"""…and the most seconds."""
PIECE = 64 * 1024
"""Bytes that are read at once."""
PATH = re.compile(r"[!-~]+")


class BaseConnection(ABC):
    """What both kinds of connection know: how answers are told apart on one."""

    __slots__ = ("_ends", "_headers", "_parser", "_parts", "_size", "closed", "fresh", "keeps", "made_at", "waits")

    def __init__(self, made_at: float) -> None:
        """`made_at` is in seconds, of the pool's clock."""
        self.made_at = made_at
        self.closed = False
        self.keeps = True
        self.fresh = True
        """Nothing has come of the present answer yet."""
        self.waits = False
        """It was asked, and has not answered."""
        self._parts: list[bytes] = []
        self._headers: dict[bytes, bytes] = {}
        self._size = 0
        self._ends = False
        """The answer ends with the connection."""
        self._parser = httptools.HttpResponseParser(self)

    @abstractmethod
    def answered(self, reply: HttpResponse) -> None:
        """The answer is here."""

    @abstractmethod
    def broken(self, reason: str) -> None:
        """There will be none."""

    @abstractmethod
    def close(self) -> None:
        """Nobody asks it any more."""

    def begin(self) -> None:
        self.waits, self.fresh, self._parts, self._headers, self._size, self._ends = True, True, [], {}, 0, False

    def data_received(self, data: bytes) -> None:
        if not self.waits:
            self.broken("it speaks without being asked")
            return
        self.fresh = False
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.broken(f"it does not speak HTTP ({type(error).__name__})")

    def end(self) -> None:
        """Nothing more will come."""
        if self._ends:
            self.on_message_complete()

    # ---- the parser's side

    def on_message_begin(self) -> None:
        if not self.waits:
            self.keeps = False  # more than one answer: what comes next would be taken for that of the next request

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        found = self._headers
        self._ends = b"content-length" not in found and b"transfer-encoding" not in found

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        if self._size > LONGEST:
            self.broken("the answer is too long")
        self._parts.append(body)

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < HTTPStatus.OK:
            self._headers = {}  # a word on the way: the answer is still to come
            return
        if self.waits:
            self.waits, self.keeps = False, self._parser.should_keep_alive()
            self.answered(HttpResponse(status, self._headers, b"".join(self._parts)))


C = TypeVar("C", bound=BaseConnection)


class ConnectionPool(Generic[C]):
    """Connections that wait for the next request, the latest first. Threads may share it."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._idle: deque[C] = deque()

    def take(self) -> C | None:
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:  # another thread has taken it
                break
            if not connection.closed and self._is_young(connection):
                return connection
            connection.close()
        return None

    def keep(self, connection: C) -> None:
        if len(self._idle) < IDLE and self._is_young(connection):
            self._idle.append(connection)
        else:
            connection.close()

    def _is_young(self, connection: C) -> bool:
        return self._clock() - connection.made_at < LONGEST_LIFE

    def close(self) -> None:
        while (connection := self.take()) is not None:
            connection.close()


def ended_before(kept: BaseConnection | None, error: OSError) -> bool:
    """Whether a kept connection had been closed over there before it was asked: a read may be asked again, on another one."""
    return kept is not None and kept.fresh and isinstance(error, ConnectionError)


class Origin:
    """Where requests go, and how they are written."""

    def __init__(self, base_url: str) -> None:
        parts = urlsplit(base_url)
        self.host = parts.hostname or ""
        self.port = parts.port or (443 if parts.scheme == "https" else 80)
        self.tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._prefix = parts.path.rstrip("/")
        self._head = f" HTTP/1.1\r\nhost: {parts.netloc}\r\n"

    def written(self, method: str, path: str, headers: dict[str, str] | None, content: bytes) -> bytes:
        """A request as it is sent. Raises `ValueError` for what cannot be part of one."""
        lines = [f"{name}: {value}" for name, value in (headers or {}).items()]
        if not all(each.isprintable() for each in lines):
            raise ValueError("a line end or a control character in a header")
        if content or method != "GET":
            lines.append(f"content-length: {len(content)}")
        return self.head(method, path, "".join(f"{each}\r\n" for each in lines)) + content

    def head(self, method: str, path: str, headers: str) -> bytes:
        """`headers` are written out, each with its line end. What may not be in a path is percent-encoded (RFC 3986, 2.1)."""
        if not PATH.fullmatch(path):
            path = quote(path, safe=RESERVED)
        return f"{method} {self._prefix}{path}{self._head}{headers}\r\n".encode("ascii")


# ---- in the event loop


class AsyncConnection(BaseConnection, asyncio.Protocol):
    """One connection, with at most one request on it."""

    __slots__ = ("_answer", "transport")

    def __init__(self, made_at: float) -> None:
        super().__init__(made_at)
        self._answer: asyncio.Future[HttpResponse] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is None:
            self.end()
        self.broken("the connection was closed" if exc is None else f"the connection broke ({type(exc).__name__})")

    def ask(self, request: bytes, answer: asyncio.Future[HttpResponse]) -> None:
        self.begin()
        self._answer = answer
        self.transport.write(request)

    def answered(self, reply: HttpResponse) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(reply)

    def broken(self, reason: str) -> None:
        self.closed = True
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError(reason))
        self.transport.close()

    def close(self) -> None:
        self.closed = True
        self.transport.close()


class AsyncHttpClient:
    """Sends requests to one address."""

    def __init__(self, base_url: str, longest: float, clock: Callable[[], float] = monotonic) -> None:
        """`longest` is the usual time-out, in seconds: by it goes how often somebody looks whether one is over. `clock`
        gives seconds, and never goes back."""
        self._address = Origin(base_url)
        self._pace = min(longest * PACE, LOOK)
        self._clock = clock
        self._kept: ConnectionPool[AsyncConnection] = ConnectionPool(clock)
        self._asked: dict[AsyncConnection, tuple[float, asyncio.Future[HttpResponse]]] = {}
        self._watched = False

    def get(self, path: str, headers: str, seconds: float) -> Coroutine[Any, Any, HttpResponse]:
        """The answer to a read. `headers` are written out, each with its line end. Raises `TransportFailure`."""
        return self._ask(self._address.head("GET", path, headers), seconds, read=True)

    def request(
        self, method: str, path: str, *, seconds: float, content: bytes = b"", headers: dict[str, str] | None = None
    ) -> Coroutine[Any, Any, HttpResponse]:
        """The answer, with its body. `seconds` bounds the whole exchange. Raises `TransportFailure`, and `ValueError` for what
        cannot be part of a request."""
        request = self._address.written(method, path, headers, content)
        return self._ask(request, seconds, read=method == "GET")

    async def close(self) -> None:
        self._kept.close()

    async def _ask(self, request: bytes, seconds: float, *, read: bool) -> HttpResponse:
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while True:
            kept = self._kept.take()
            connection = kept or await self._connect(loop, min(seconds, CONNECTING))
            answer: asyncio.Future[HttpResponse] = loop.create_future()
            self._asked[connection] = (until, answer)
            if not self._watched:
                self._watched = True
                loop.call_later(self._pace, self._look, loop)
            connection.ask(request, answer)
            reply: HttpResponse | None = None
            try:
                reply = await answer
                return reply
            except (ConnectionError, TimeoutError) as error:
                if not (read and ended_before(kept, error)):
                    raise TransportFailure(str(error), request_sent=True) from error
            finally:
                del self._asked[connection]
                if reply is not None and connection.keeps:
                    self._kept.keep(connection)
                else:
                    connection.close()  # what may still come on it belongs to nobody

    async def _connect(self, loop: asyncio.AbstractEventLoop, seconds: float) -> AsyncConnection:
        to = self._address
        try:
            async with asyncio.timeout(seconds):
                _, connection = await loop.create_connection(
                    lambda: AsyncConnection(self._clock()), to.host, to.port, ssl=to.tls
                )
        except OSError as error:
            raise TransportFailure(type(error).__name__, request_sent=False) from error
        return connection

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Give up what has taken too long. One timer for all requests: one for each costs a sixth of the request."""
        now = loop.time()
        for until, answer in self._asked.values():
            if until <= now and not answer.done():
                answer.set_exception(TimeoutError("no answer in time"))
        self._watched = bool(self._asked)
        if self._watched:
            loop.call_later(self._pace, self._look, loop)


# ---- in the thread that asks


class BlockingConnection(BaseConnection):
    """One connection, of one thread at a time."""

    __slots__ = ("_reply", "_socket")

    def __init__(self, to: Origin, seconds: float, made_at: float) -> None:
        super().__init__(made_at)
        opened = socket.create_connection((to.host, to.port), seconds)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = to.tls.wrap_socket(opened, server_hostname=to.host) if to.tls else opened
        self._reply: HttpResponse | None = None

    def ask(self, request: bytes, until: float) -> HttpResponse:
        """Raises `ConnectionError`, and `TimeoutError` at `until`."""
        self.begin()
        self._reply = None
        self._bound(until)
        self._socket.sendall(request)
        while self._reply is None:
            self._bound(until)
            data = self._socket.recv(PIECE)
            if data:
                self.data_received(data)
            else:
                self.end()
                self.keeps = False
                if self._reply is None:
                    self.broken("the connection was closed")
        return self._reply

    def _bound(self, until: float) -> None:
        left = until - monotonic()
        if left <= 0:
            raise TimeoutError("no answer in time")
        self._socket.settimeout(left)

    @property
    def stale(self) -> bool:
        """Its end has come, or something that nobody asked for."""
        looked = select.poll()
        looked.register(self._socket, select.POLLIN)
        return bool(looked.poll(0))

    def answered(self, reply: HttpResponse) -> None:
        self._reply = reply

    def broken(self, reason: str) -> None:
        self.close()
        raise ConnectionError(reason)

    def close(self) -> None:
        self.closed = True
        self._socket.close()


class HttpClient:
    """Sends requests to one address. Threads may share it."""

    def __init__(self, base_url: str, clock: Callable[[], float] = monotonic) -> None:
        """`clock` as for `AsyncHttpClient`."""
        self._address = Origin(base_url)
        self._clock = clock
        self._kept: ConnectionPool[BlockingConnection] = ConnectionPool(clock)

    def request(
        self, method: str, path: str, *, seconds: float, content: bytes = b"", headers: dict[str, str] | None = None
    ) -> HttpResponse:
        """As `AsyncHttpClient.request`."""
        request = self._address.written(method, path, headers, content)
        until = monotonic() + seconds
        while True:
            while (kept := self._kept.take()) is not None and kept.stale:
                kept.close()
            line = kept or self._connect(min(seconds, CONNECTING))
            try:
                reply = line.ask(request, until)
            except OSError as error:
                line.close()
                if method == "GET" and ended_before(kept, error):
                    continue
                raise TransportFailure(str(error), request_sent=True) from error
            if line.keeps:
                self._kept.keep(line)
            else:
                line.close()
            return reply

    def _connect(self, seconds: float) -> BlockingConnection:
        try:
            return BlockingConnection(self._address, seconds, self._clock())
        except OSError as error:
            raise TransportFailure(type(error).__name__, request_sent=False) from error

    def close(self) -> None:
        self._kept.close()
