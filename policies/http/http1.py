"""HTTP/1.1 clients for requests between our layers.

`AsyncHttpClient` works in the event loop, `HttpClient` in the caller's thread: a client with threads of its own passes
every answer from one thread to another, which on one core costs as much as the whole chain of policies
(docs/performance.md). The parser is httptools' (llhttp); this is the connection pool around it.

An answer belongs to its request, or the connection is closed. Each request names its exchange, and a layer answers with
the same name; a connection on which something has arrived that was not asked for takes no request.
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
from itertools import count
from secrets import token_hex
from time import monotonic
from typing import Any, Generic, TypeVar, cast
from urllib.parse import quote, urlsplit

import httptools

from policies.http.client import (
    CONNECTING,
    EXCHANGE,
    EXCHANGE_MARK,
    LONGEST,
    RESERVED,
    HttpResponse,
    TransportFailure,
)

IDLE = 64
"""Connections that stay open for the next request."""
LONGEST_LIFE = 60.0
"""Seconds from its beginning after which a connection takes no further request.

So a changed address of a name is followed, however busy the connection is. Shorter than our layers keep an idle
connection open, so that no write meets its end.
"""
PACE = 0.1
"""The part of the time-out after which time-outs are checked again."""
LOOK = 0.25
"""The most seconds between two checks of time-outs."""
PIECE = 64 * 1024
"""Bytes that are read at once."""
HEAD = 64 * 1024
"""Bytes that may come before the headers of an answer are whole, 1xx responses included."""
PATH = re.compile(r"[!-~]+")


class BaseConnection(ABC):
    """What both kinds of connection share: how the bytes that arrive become answers."""

    __slots__ = (
        "_before",
        "_ends",
        "_exchange",
        "_headed",
        "_headers",
        "_parser",
        "_parts",
        "_reason",
        "_size",
        "closed",
        "fresh",
        "made_at",
        "reusable",
        "waits",
    )

    def __init__(self, made_at: float) -> None:
        """Create an open connection. `made_at` is in seconds of the pool's clock."""
        self.made_at = made_at
        self.closed = False
        self.reusable = True
        self.fresh = True
        """No byte of the present answer has arrived yet."""
        self.waits = False
        """A request was sent, and its answer has not arrived."""
        self._parts: list[bytes] = []
        self._headers: dict[bytes, bytes] = {}
        self._size = 0
        self._ends = False
        """The answer ends with the connection."""
        self._headed = False
        """The headers of the answer are whole."""
        self._before = 0
        """Bytes that came before they were."""
        self._exchange = b""
        self._reason = ""
        """Why what arrived is not taken."""
        self._parser = httptools.HttpResponseParser(self)

    @abstractmethod
    def answered(self, reply: HttpResponse) -> None:
        """Take the complete answer."""

    @abstractmethod
    def broken(self, reason: str) -> None:
        """Fail the present request: there will be no answer."""

    @abstractmethod
    def close(self) -> None:
        """Close the connection, which gets no further request."""

    def begin(self, exchange: str) -> None:
        """Wait for the answer to a request that names its `exchange`."""
        self.waits, self.fresh, self._parts, self._headers, self._size, self._ends = True, True, [], {}, 0, False
        self._headed, self._before, self._exchange = False, 0, exchange.encode()

    def data_received(self, data: bytes) -> None:
        if not self.waits:
            self.broken("it speaks without being asked")
            return
        self.fresh = False
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self.reusable = False
            if self.waits:  # else it is answered, and what came after the answer is not taken
                self.broken(self._reason or f"it does not speak HTTP ({type(error).__name__})")
        if self.waits and not self._headed and not self.closed:
            self._before += len(data)
            if self._before > HEAD:
                self.broken("the head of the answer is too long")

    def end(self) -> None:
        """Complete an answer that ends with the connection."""
        if self._ends:
            self.on_message_complete()

    # ---- the parser's side

    def on_message_begin(self) -> None:
        if not self.waits:
            self.reusable = False  # more than one answer: the second would be taken for that of the next request

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.waits and not self._headed:  # trailers are none
            self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        found = self._headers
        if not self.waits or self._parser.get_status_code() < HTTPStatus.OK:
            return
        self._headed = True
        if found.get(EXCHANGE_MARK) != self._exchange:
            self.fresh = True  # what has arrived is no part of the present answer
            raise self._refused("the answer is not one of the layer's to this request")
        self._ends = b"content-length" not in found and b"transfer-encoding" not in found

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        if self._size > LONGEST:
            raise self._refused("the answer is too long")
        self._parts.append(body)

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < HTTPStatus.OK:
            self._headers = {}  # a 1xx response: the final one is still to come
            return
        if self.waits:
            self.waits, self.reusable = False, self._parser.should_keep_alive()
            self.answered(HttpResponse(status, self._headers, b"".join(self._parts)))

    def _refused(self, reason: str) -> ValueError:
        """Return what stops the parser."""
        self._reason = reason
        return ValueError(reason)


C = TypeVar("C", bound=BaseConnection)


class ConnectionPool(Generic[C]):
    """Hold connections for the next request, the latest first. Threads may share it."""

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

    def put(self, connection: C) -> None:
        if len(self._idle) < IDLE and self._is_young(connection):
            self._idle.append(connection)
        else:
            connection.close()

    def _is_young(self, connection: C) -> bool:
        return self._clock() - connection.made_at < LONGEST_LIFE

    def close(self) -> None:
        while (connection := self.take()) is not None:
            connection.close()


def ended_before(reused: BaseConnection | None, error: OSError) -> bool:
    """Return whether a reused connection was closed by the remote side before any byte of the answer, or brought
    that of another request.

    A read may then be sent again, on another connection.
    """
    return reused is not None and reused.fresh and isinstance(error, ConnectionError)


class Origin:
    """The address that requests go to, and how requests to it are written."""

    def __init__(self, base_url: str) -> None:
        self._exchanges = map(f"{token_hex(8)}-{{}}".format, count())
        """The names of exchanges, which nobody else can guess. Threads may share them."""
        parts = urlsplit(base_url)
        self.host = parts.hostname or ""
        self.port = parts.port or (443 if parts.scheme == "https" else 80)
        self.tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._prefix = parts.path.rstrip("/")
        self._head = f" HTTP/1.1\r\nhost: {parts.netloc}\r\n"

    def exchange(self) -> str:
        """Return the name of the next exchange."""
        return next(self._exchanges)

    def written(self, method: str, path: str, headers: dict[str, str] | None, content: bytes) -> bytes:
        """Return the bytes of a request.

        Raises `ValueError` for a header with a control character or one beyond ASCII.
        """
        lines = [f"{name}: {value}" for name, value in (headers or {}).items()]
        if not all(each.isprintable() for each in lines):
            raise ValueError("a line end or a control character in a header")
        if content or method != "GET":
            lines.append(f"content-length: {len(content)}")
        return self.head(method, path, "".join(f"{each}\r\n" for each in lines)) + content

    def head(self, method: str, path: str, headers: str) -> bytes:
        """Return the bytes of a request line and headers. `headers` are written out, each with its line end.

        A character that may not be in a path is percent-encoded (RFC 3986, 2.1).
        """
        if not PATH.fullmatch(path):
            path = quote(path, safe=RESERVED)
        return f"{method} {self._prefix}{path}{self._head}{headers}\r\n".encode("ascii")


# ---- in the event loop


class AsyncConnection(BaseConnection, asyncio.Protocol):
    """A connection in the event loop, with at most one request on it."""

    __slots__ = ("_answer", "_polling", "transport")

    def __init__(self, made_at: float) -> None:
        super().__init__(made_at)
        self._answer: asyncio.Future[HttpResponse] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._polling = select.poll()
        self._polling.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is None:
            self.end()
        self.broken("the connection was closed" if exc is None else f"the connection broke ({type(exc).__name__})")

    @property
    def stale(self) -> bool:
        """Return whether bytes have arrived without a request, also such as the loop has not read yet."""
        return bool(self._polling.poll(0))

    def ask(self, request: bytes, exchange: str, answer: asyncio.Future[HttpResponse]) -> None:
        self.begin(exchange)
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
    """Send requests to one origin from the event loop."""

    def __init__(self, base_url: str, longest: float, clock: Callable[[], float] = monotonic) -> None:
        """Create a client of `base_url`, with no connection yet.

        `longest` is the usual time-out in seconds, which decides how often time-outs are checked. `clock` returns
        seconds, and never goes back.
        """
        self._origin = Origin(base_url)
        self._pace = min(longest * PACE, LOOK)
        self._clock = clock
        self._pool: ConnectionPool[AsyncConnection] = ConnectionPool(clock)
        self._running: dict[AsyncConnection, tuple[float, asyncio.Future[HttpResponse]]] = {}
        self._timer_set = False

    def get(self, path: str, headers: str, seconds: float) -> Coroutine[Any, Any, HttpResponse]:
        """Return the answer to a read. `headers` are written out, each with its line end.

        Raises `TransportFailure`.
        """
        exchange = self._origin.exchange()
        request = self._origin.head("GET", path, f"{headers}{EXCHANGE}: {exchange}\r\n")
        return self._ask(request, exchange, seconds, read=True)

    def request(
        self, method: str, path: str, *, seconds: float, content: bytes = b"", headers: dict[str, str] | None = None
    ) -> Coroutine[Any, Any, HttpResponse]:
        """Return the answer, with its body. `seconds` bounds the whole exchange.

        Raises `TransportFailure`, and `ValueError` for a header with a control character or one beyond ASCII.
        """
        exchange = self._origin.exchange()
        request = self._origin.written(method, path, {**(headers or {}), EXCHANGE: exchange}, content)
        return self._ask(request, exchange, seconds, read=method == "GET")

    async def close(self) -> None:
        self._pool.close()

    async def _ask(self, request: bytes, exchange: str, seconds: float, *, read: bool) -> HttpResponse:
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while True:
            # a read that meets the answer to another is sent again, so only a write must know before
            while (reused := self._pool.take()) is not None and not read and reused.stale:
                reused.close()
            connection = reused or await self._connect(loop, min(seconds, CONNECTING))
            answer: asyncio.Future[HttpResponse] = loop.create_future()
            self._running[connection] = (until, answer)
            if not self._timer_set:
                self._timer_set = True
                loop.call_later(self._pace, self._look, loop)
            connection.ask(request, exchange, answer)
            reply: HttpResponse | None = None
            try:
                reply = await answer
                return reply
            except (ConnectionError, TimeoutError) as error:
                if not (read and ended_before(reused, error)):
                    raise TransportFailure(str(error), request_sent=True) from error
            finally:
                del self._running[connection]
                if reply is not None and connection.reusable:
                    self._pool.put(connection)
                else:
                    connection.close()  # what may still arrive on it belongs to no request

    async def _connect(self, loop: asyncio.AbstractEventLoop, seconds: float) -> AsyncConnection:
        origin = self._origin
        try:
            async with asyncio.timeout(seconds):
                _, connection = await loop.create_connection(
                    lambda: AsyncConnection(self._clock()), origin.host, origin.port, ssl=origin.tls
                )
        except OSError as error:
            raise TransportFailure(type(error).__name__, request_sent=False) from error
        return connection

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Fail the requests whose time is over.

        There is one timer for all requests: one for each costs a sixth of the request.
        """
        now = loop.time()
        for until, answer in self._running.values():
            if until <= now and not answer.done():
                answer.set_exception(TimeoutError("no answer in time"))
        self._timer_set = bool(self._running)
        if self._timer_set:
            loop.call_later(self._pace, self._look, loop)


# ---- in the caller's thread


class BlockingConnection(BaseConnection):
    """A connection of one thread at a time."""

    __slots__ = ("_reply", "_socket")

    def __init__(self, to: Origin, seconds: float, made_at: float) -> None:
        super().__init__(made_at)
        opened = socket.create_connection((to.host, to.port), seconds)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = to.tls.wrap_socket(opened, server_hostname=to.host) if to.tls else opened
        self._reply: HttpResponse | None = None

    def ask(self, request: bytes, exchange: str, until: float) -> HttpResponse:
        """Send a request and return its answer.

        Raises `ConnectionError`, and `TimeoutError` at `until` (seconds of the monotonic clock).
        """
        self.begin(exchange)
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
                self.reusable = False
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
        """Return whether bytes, or the connection's end, have arrived without a request."""
        polling = select.poll()
        polling.register(self._socket, select.POLLIN)
        return bool(polling.poll(0))

    def answered(self, reply: HttpResponse) -> None:
        self._reply = reply

    def broken(self, reason: str) -> None:
        self.close()
        raise ConnectionError(reason)

    def close(self) -> None:
        self.closed = True
        self._socket.close()


class HttpClient:
    """Send requests to one origin from the caller's thread. Threads may share it."""

    def __init__(self, base_url: str, clock: Callable[[], float] = monotonic) -> None:
        """Create a client of `base_url`, with no connection yet. `clock` is as for `AsyncHttpClient`."""
        self._origin = Origin(base_url)
        self._clock = clock
        self._pool: ConnectionPool[BlockingConnection] = ConnectionPool(clock)

    def request(
        self, method: str, path: str, *, seconds: float, content: bytes = b"", headers: dict[str, str] | None = None
    ) -> HttpResponse:
        """Return the answer, with its body, as `AsyncHttpClient.request` does."""
        exchange = self._origin.exchange()
        request = self._origin.written(method, path, {**(headers or {}), EXCHANGE: exchange}, content)
        until = monotonic() + seconds
        while True:
            while (reused := self._pool.take()) is not None and reused.stale:
                reused.close()
            connection = reused or self._connect(min(seconds, CONNECTING))
            try:
                reply = connection.ask(request, exchange, until)
            except OSError as error:
                connection.close()
                if method == "GET" and ended_before(reused, error):
                    continue
                raise TransportFailure(str(error), request_sent=True) from error
            if connection.reusable:
                self._pool.put(connection)
            else:
                connection.close()
            return reply

    def _connect(self, seconds: float) -> BlockingConnection:
        try:
            return BlockingConnection(self._origin, seconds, self._clock())
        except OSError as error:
            raise TransportFailure(type(error).__name__, request_sent=False) from error

    def close(self) -> None:
        self._pool.close()
