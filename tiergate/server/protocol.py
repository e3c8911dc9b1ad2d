"""The short way in front of uvicorn: reads that are passed through.

A read that comes whole and alone is answered in the event loop from its bytes to the answer's bytes, without a scope, a
cycle and messages. Everything else (a body, a pipelined request, a path that is not passed through, something broken)
goes to `BoundedProtocol`, which is uvicorn's, on the same connection. It sees none of the reads that were answered
here.

What it needs of uvicorn is checked at start (`missing`), and a layer with an incompatible uvicorn is served without it.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any, cast

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from policies.chain.passthrough import Passthrough, PassthroughRoute
from policies.context import correlation
from policies.contract.headers import HOST
from policies.problems import INTERNAL, broken
from tiergate.server.bounded import HEAD, BoundedProtocol, lacking

END = b"\r\n\r\n"
VERSION = b" HTTP/1.1\r\n"
KEEP_ALIVE = b"keep-alive"
BODY = {b"content-length", b"transfer-encoding"}
METHODS: dict[type, tuple[str, ...]] = {
    HttpToolsProtocol: ("shutdown",),
    FlowControl: ("pause_reading", "resume_reading"),
}
"""The methods of uvicorn that `FastPathProtocol` overrides or calls, beyond those of `BoundedProtocol`."""
ATTRIBUTES: dict[type, tuple[str, ...]] = {HttpToolsProtocol: ("app", "tasks"), FlowControl: ("write_paused",)}
"""The attributes of uvicorn that it reads."""


def missing() -> list[str]:
    """Return what `FastPathProtocol` needs and this uvicorn does not have; empty when nothing is missing."""
    return lacking(METHODS, ATTRIBUTES)


class _Head:
    """Hold what the parser finds in a request without a body."""

    __slots__ = ("ended", "headers", "repeated", "url")

    def __init__(self) -> None:
        self.url = b""
        self.headers: dict[bytes, bytes] = {}
        self.repeated = False
        self.ended = False

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        lower = name.lower()
        self.repeated = self.repeated or lower in self.headers
        self.headers[lower] = value

    def on_message_complete(self) -> None:
        self.ended = True


class FastPathProtocol(BoundedProtocol):
    """Answer the requests of one connection."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        app = cast("object", self.app)
        self._passthrough = app if isinstance(app, Passthrough) else None
        self._answering: asyncio.Task[None] | None = None
        self._pending = b""
        """Bytes that arrived while a read was being answered here."""
        self._closing = False

    # ---- the connection

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answering is not None:
            self._answering.cancel()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        self._closing = True
        if self._answering is None:
            super().shutdown()

    def _busy(self) -> bool:
        return self._answering is not None or super()._busy()

    # ---- requests

    def data_received(self, data: bytes) -> None:
        if self._answering is not None:
            self._pending += data
            self.flow.pause_reading()
            return
        if self._passthrough is not None and data[:4] == b"GET " and self._free():
            found = self._passed(self._passthrough, data)
            if found is not None:
                self._unset_keepalive_if_required()
                self._answering = self.loop.create_task(self._answer(self._passthrough, *found))
                self.tasks.add(self._answering)
                return
        super().data_received(data)

    def _free(self) -> bool:
        """Return whether the next bytes begin a request, none is being answered, and the caller reads its answers."""
        answered = self._part is None and getattr(self.cycle, "response_complete", True)
        return answered and not self.flow.write_paused

    def _passed(
        self, passthrough: Passthrough, data: bytes
    ) -> tuple[dict[bytes, bytes], str, PassthroughRoute, str] | None:
        """Return the headers, the path, the route and the target of a read that can be answered here, else None."""
        if len(data) > HEAD or data.find(END) != len(data) - len(END):
            return None
        end = data.find(b" ", 4)
        if not data.startswith(VERSION, end):
            return None
        target = data[4:end].decode("latin-1")
        path, _, query = target.partition("?")
        found = passthrough.passage(path, query)
        if found is None:
            return None
        head = _Head()
        try:
            httptools.HttpRequestParser(head).feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            return None
        alone = (
            head.ended
            and not head.repeated
            and HOST in head.headers
            and head.headers.get(b"connection", KEEP_ALIVE).lower() == KEEP_ALIVE
            and not BODY & head.headers.keys()
        )
        return (head.headers, path, *found) if alone and head.url.decode("latin-1") == target else None

    async def _answer(
        self, passthrough: Passthrough, headers: dict[bytes, bytes], path: str, route: PassthroughRoute, target: str
    ) -> None:
        try:
            self._write(*await passthrough.answer(headers, path, route, target))
        finally:
            self._answered(sys.exception())  # a callback of the task would cost another turn of the loop

    def _answered(self, error: BaseException | None) -> None:
        """Continue with bytes that arrived meanwhile. An `error` is a fault of ours: answer and log it here."""
        task, self._answering, self._ended_at = self._answering, None, self.loop.time()
        if task is not None:
            self.tasks.discard(task)
        if self.transport.is_closing():
            return
        if error is not None and task is not None:
            if self._config.refusals is not None:
                self._config.refusals.note_unrouted(INTERNAL.name, INTERNAL.status, correlation.current())
            self._write(*broken(error))
            task.add_done_callback(asyncio.Task[None].exception)  # so that asyncio does not log it again
        if self._closing:
            self.transport.close()
        elif self._pending:
            pending, self._pending = self._pending, b""
            self.flow.resume_reading()
            self.data_received(pending)
