"""The bounds of what a connection may cost before anybody knows who calls: bytes, time, and how many there are.

`BoundedProtocol` is uvicorn's HTTP/1.1 protocol with a bound for each part of a request: its head, what frames its
body, the time that each of them takes, the time that an answer waits to be read. What goes beyond one is refused with a
problem, and the connection ends. What is ambiguous between two readers of HTTP is refused too: trailers, versions other
than 1.0 and 1.1, a transfer coding other than `chunked`.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import Counter
from http import HTTPStatus
from typing import Any, Literal, cast

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from canonical.ids import identifiers
from policies.chain.gate import refusals_of, streamed_by
from policies.chain.passthrough import Passthrough
from policies.contract.bodies import MAX_BODY
from policies.contract.operation import MAX_STREAM
from policies.problems import (
    HEAD_TOO_LARGE,
    OVERLOADED,
    REQUEST,
    REQUEST_TIMEOUT,
    TOO_LARGE,
    Headers,
    ProblemError,
    ProblemType,
    as_answer,
)
from tiergate.settings import Server

HEAD = 32 * 1024
"""Bytes that a request's line and headers may have."""
PIECE = 16 * 1024
"""Bytes that the parser gets at once: so much of a head can be gathered before it is counted."""
FRAMING = 8
"""How many times as long as its data the framing of a body may be; chunks of one byte have six."""
SURPLUS = 2 * MAX_BODY
"""Bytes of a body after which the connection ends, whether anybody reads them or not."""
PROGRESS = 64 * 1024
"""Bytes of a streamed body that come in the time for a whole one of another: its caller goes on sending."""
LOOKS = 30
"""How many such times a streamed body may take in all."""
PIPELINED = 64
"""Requests that may wait on one connection for the answer to the one before."""
LINES = {each.value: f"HTTP/1.1 {each.value} {each.phrase}\r\n".encode() for each in HTTPStatus}
CHUNKED = (b"chunked", "1.1")
"""The only transfer coding that is taken, and the version of HTTP that has it."""
VERSIONS = ("1.0", "1.1")
METHODS: dict[type, tuple[str, ...]] = {
    HttpToolsProtocol: (
        "connection_made",
        "connection_lost",
        "data_received",
        "on_message_begin",
        "on_message_complete",
        "on_url",
        "on_header",
        "on_headers_complete",
        "on_body",
        "on_response_complete",
        "pause_writing",
        "resume_writing",
        "_unset_keepalive_if_required",
    ),
}
"""The methods of uvicorn that `BoundedProtocol` overrides or calls."""
ATTRIBUTES: dict[type, tuple[str, ...]] = {
    HttpToolsProtocol: ("loop", "transport", "flow", "cycle", "parser", "pipeline", "client", "connections", "scope"),
    RequestResponseCycle: ("response_complete", "response_started", "disconnected", "message_event"),
}
"""The attributes of uvicorn that it reads."""
PARAMETERS = ("config", "server_state", "app_state", "_loop")
Part = Literal["head", "body"]
"""The part of a request that is still to come."""


def lacking(methods: dict[type, tuple[str, ...]], attributes: dict[type, tuple[str, ...]]) -> list[str]:
    """Return which of these methods and attributes this uvicorn does not have, and whether a protocol is made
    otherwise; empty when nothing is missing."""
    found = [
        f"{owner.__name__}.{name}" for owner, names in methods.items() for name in names if not hasattr(owner, name)
    ]
    for owner, names in attributes.items():
        known = {*dir(owner), *owner.__init__.__code__.co_names}  # what its beginning sets
        found += [f"{owner.__name__}.{name}" for name in names if name not in known]
    if not set(PARAMETERS) <= inspect.signature(HttpToolsProtocol).parameters.keys():
        found.append("HttpToolsProtocol.__init__")
    return found


def missing() -> list[str]:
    """Return what `BoundedProtocol` needs and this uvicorn does not have; empty when nothing is missing."""
    return lacking(METHODS, ATTRIBUTES)


class LayerConfig(Config):
    """uvicorn's configuration, the bounds of the settings, and how many connections each address has."""

    def __init__(self, app: Any, server: Server, **options: Any) -> None:
        super().__init__(app, host=server.host, timeout_keep_alive=int(server.idle_seconds), **options)
        self.bounds = server
        self.refusals = app.refusals if isinstance(app, Passthrough) else refusals_of(app)
        self.streamed = app.streamed if isinstance(app, Passthrough) else streamed_by(app)
        self.by_address: Counter[str] = Counter()
        self.new_id = identifiers()
        self._usual: Headers = []
        self._usual_head = b""

    def usual_head(self, usual: Headers) -> bytes:
        """Return the headers of every answer as they are sent. uvicorn makes a new list of them every second."""
        if usual is not self._usual:
            self._usual, self._usual_head = usual, b"".join([b"%b: %b\r\n" % each for each in usual])
        return self._usual_head


class Refused(ValueError):
    """What a connection brings is not taken. uvicorn's parser stops at it."""

    def __init__(self, problem: ProblemType, detail: str) -> None:
        super().__init__(detail)
        self.problem = problem
        self.detail = detail


class BoundedProtocol(HttpToolsProtocol):
    """Answer the requests of one connection, within bounds."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._config = cast("LayerConfig", config)
        self._bounds = self._config.bounds
        self._part: Part | None = None
        self._begun = 0
        """Requests that have begun."""
        self._size = 0
        """Bytes of the head at hand, as far as the parser has handed them out."""
        self._raw = 0
        """Bytes of the part at hand that came in pieces of their own."""
        self._data = 0
        """Bytes of the body at hand, without what frames it."""
        self._most = SURPLUS
        """Bytes that it may have."""
        self._fault: Refused | None = None
        self._counted = False
        self._ended_at = self.loop.time()
        self._idle: asyncio.TimerHandle | None = None
        self._late: asyncio.TimerHandle | None = None
        """Ends a connection whose request does not become whole in time."""
        self._late_for: tuple[int, Part] | None = None
        self._looks = 0
        """How often a streamed body was checked while it came."""
        self._seen = 0
        """Bytes of it that had come by then."""
        self._stuck: asyncio.TimerHandle | None = None
        """Ends a connection whose caller does not read what it is answered."""

    # ---- the connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast("asyncio.Transport", transport))
        address = self.client[0] if self.client else ""
        self._counted = True
        self._config.by_address[address] += 1
        if len(self.connections) > self._bounds.connections:
            self._refuse(Refused(OVERLOADED, "Too many connections are open."))
        elif self._config.by_address[address] > self._bounds.connections_per_address:
            self._refuse(Refused(OVERLOADED, "Too many connections from this address are open."))
        else:
            self._idle = self.loop.call_later(self._bounds.head_seconds, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._counted:
            address = self.client[0] if self.client else ""
            self._config.by_address[address] -= 1
            if not self._config.by_address[address]:
                del self._config.by_address[address]
        for timer in (self._idle, self._late, self._stuck):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def _look(self) -> None:
        """Close an idle connection. There is one timer for a connection, not one for each request."""
        longest = self._bounds.idle_seconds if self._begun else self._bounds.head_seconds
        busy = self._part is not None or self._busy()
        left = longest - (self.loop.time() - self._ended_at)
        if busy or left > 0:
            self._idle = self.loop.call_later(longest if busy else left, self._look)
        else:
            self._close()

    def _busy(self) -> bool:
        """Return whether a request is being answered."""
        return not getattr(self.cycle, "response_complete", True)  # there is no cycle before the first request

    def _close(self) -> None:
        """Close the connection when what was answered has been read, or some time later."""
        self.transport.close()
        self._read_or_abort()

    def _read_or_abort(self) -> None:
        if self._stuck is None:
            self._stuck = self.loop.call_later(self._bounds.write_seconds, self.transport.abort)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._read_or_abort()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stuck is not None and not self.transport.is_closing():
            self._stuck.cancel()
            self._stuck = None

    # ---- what arrives

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        for start in range(0, len(data), PIECE):
            piece = data[start : start + PIECE]
            while piece and not self.transport.is_closing():
                piece = self._feed(piece)
        self._set_late()

    def _feed(self, piece: bytes) -> bytes:
        """Let the parser read what arrived. Return what it has not read: an upgrade is not taken, and HTTP goes on."""
        before = (self._begun, self._part)
        known = self._data
        try:
            self._reader().feed_data(piece)
        except httptools.HttpParserUpgrade as upgrade:
            return piece[upgrade.args[0] :]
        except httptools.HttpParserError:
            self._refuse(self._fault or Refused(REQUEST, "What came is not a request of HTTP/1.1."))
            return b""
        if self._part is not None and before == (self._begun, self._part):
            self._raw += len(piece) - (self._data - known)
            if self._part == "head" and self._raw > HEAD:
                self._refuse(too_long())
            elif self._part == "body" and self._raw > HEAD + FRAMING * self._data:
                self._refuse(Refused(HEAD_TOO_LARGE, "What frames the chunks of the body is too long."))
        return b""

    def _reader(self) -> httptools.HttpRequestParser:
        """Return the parser, which is there until the connection is lost."""
        assert self.parser is not None
        return self.parser

    def _set_late(self) -> None:
        """Give the part of a request that is still to come its time. One that comes at once needs no timer."""
        waits = None if self._part is None or self.transport.is_closing() else (self._begun, self._part)
        if waits == self._late_for:
            return
        if self._late is not None:
            self._late.cancel()
        self._late_for, self._late, self._looks, self._seen = waits, None, 0, 0
        if waits is not None:
            self._late = self.loop.call_later(self._seconds_for(waits[1]), self._too_late)

    def _seconds_for(self, part: Part) -> float:
        return self._bounds.head_seconds if part == "head" else self._bounds.body_seconds

    def _too_late(self) -> None:
        if self._part is None:
            return
        if getattr(self.flow, "read_paused", False):  # it is we who do not read
            self._late = self.loop.call_later(self._seconds_for(self._part), self._too_late)
            return
        if self._part == "body" and self._goes_on():
            self._late = self.loop.call_later(self._bounds.body_seconds, self._too_late)
            return
        self._refuse(Refused(REQUEST_TIMEOUT, f"The {self._part} of the request did not come whole in time."))

    def _goes_on(self) -> bool:
        """Return whether a body that is streamed comes on: so many bytes of it since the check before."""
        came, self._seen = self._data - self._seen, self._data
        self._looks += 1
        return self._most == MAX_STREAM and self._looks < LOOKS and came >= PROGRESS

    def _refuse(self, refused: Refused) -> None:
        """Answer that what came is not taken, unless another answer has begun, and end the connection. A request whose
        body is not whole is broken off."""
        if self.transport.is_closing():
            return
        waiting = self._part == "body" and self._busy()
        """The request at hand is being worked on, or waits for those before it."""
        if self._part == "body":
            unanswered = waiting and not self.cycle.response_started and not self.pipeline
        else:
            unanswered = not self._busy()
        if unanswered:
            status, fields, body = self._problem(refused)
            self._write(status, [*fields, (b"connection", b"close")], body)
        if waiting:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._close()

    def _problem(self, refused: Refused) -> tuple[int, Headers, bytes]:
        correlation_id = self._config.new_id("cor")
        if self._config.refusals is not None:
            self._config.refusals.note_unrouted(refused.problem.name, refused.problem.status, correlation_id)
        return as_answer(ProblemError(refused.problem, refused.detail), correlation_id)

    def _write(self, status: int, fields: Headers, body: bytes) -> None:
        usual = self._config.usual_head(self.server_state.default_headers)
        own = b"".join([b"%b: %b\r\n" % each for each in fields])
        self.transport.write(b"%b%b%bcontent-length: %d\r\n\r\n%b" % (LINES[status], usual, own, len(body), body))

    # ---- what the parser finds in it

    def on_message_begin(self) -> None:
        self._begun += 1
        self._part, self._size, self._raw, self._data = "head", 0, 0, 0
        if len(self.pipeline) >= PIPELINED:
            raise self._faulty(Refused(REQUEST, "Too many requests were sent without waiting for an answer."))
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._bounded(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._part == "body":
            raise self._faulty(Refused(REQUEST, "Trailers are not taken: send them as headers."))
        self._bounded(len(name) + len(value))
        if name.lower() == b"transfer-encoding" and (value.lower(), self._reader().get_http_version()) != CHUNKED:
            raise self._faulty(Refused(REQUEST, "The only transfer coding that is taken is chunked, of HTTP/1.1."))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._reader().get_http_version() not in VERSIONS:
            raise self._faulty(Refused(REQUEST, "The version of HTTP is not taken: use HTTP/1.1."))
        super().on_headers_complete()
        self._part, self._raw = "body", 0
        self._most = MAX_STREAM if self.scope["path"] in self._config.streamed else SURPLUS

    def on_body(self, body: bytes) -> None:
        self._data += len(body)
        if self._data > self._most:
            raise self._faulty(Refused(TOO_LARGE, TOO_LARGE.title + "."))
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._part = None
        super().on_message_complete()

    def on_response_complete(self) -> None:
        self._ended_at = self.loop.time()
        super().on_response_complete()
        if self.transport.is_closing():
            self._read_or_abort()

    def _bounded(self, more: int) -> None:
        self._size += more
        if self._size > HEAD:
            raise self._faulty(too_long())

    def _faulty(self, refused: Refused) -> Refused:
        self._fault = refused
        return refused


def too_long() -> Refused:
    return Refused(HEAD_TOO_LARGE, f"The head of the request has more than {HEAD // 1024} KiB.")
