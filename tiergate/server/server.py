"""Runs a deployable: one process, one event loop, until it is stopped."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import socket
import sys
from collections.abc import Mapping
from types import FrameType
from typing import Literal

import structlog
import uvloop
from litestar.types import ASGIApp
from uvicorn.config import Config
from uvicorn.server import Server

from policies.catalogue.model import Layer
from tiergate import composition
from tiergate.platforms import ConnectedPlatform
from tiergate.server.logs import log_as_json
from tiergate.settings import Settings

COLLECT_AFTER = 100_000
"""Allocations between two garbage collections: fewer pauses, and objects made at the start are not traversed again."""
GRACE = 10
"""Seconds that requests have to end when the layer is stopped."""
IDLE = 75
"""Seconds without a completed request after which a connection is closed: longer than our own clients use one."""
TICKS = 10
"""Uvicorn's count of tenths of a second at which it renews the `Date` header."""
log = structlog.get_logger("tiergate.server.server")


def serve(
    layer: Layer, settings: Settings, platforms: Mapping[str, ConnectedPlatform], *, until_input_ends: bool = False
) -> None:
    """Serve one layer until SIGINT or SIGTERM. The system layer alone has `platforms`."""
    log_as_json()
    app: ASGIApp
    match layer:
        case "system":
            app, port = composition.system_app(settings, platforms), settings.server.system_port
        case "process":
            app, port = composition.process_app(settings, composition.records(settings)), settings.server.process_port
        case "experience":
            app, port = composition.experience_front(settings), settings.server.experience_port
    run(app, settings.server.host, port, fast_path=settings.server.fast_path, until_input_ends=until_input_ends)


def run(app: ASGIApp, host: str, port: int, *, fast_path: bool = True, until_input_ends: bool = False) -> None:
    """Serve an app until SIGINT or SIGTERM, or until the end of standard input. Without `fast_path` uvicorn's own
    protocol takes every request."""
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER)
    gc.enable()
    uvloop.run(_serve(app, host, port, protocol(fast_path=fast_path), until_input_ends=until_input_ends))


def protocol(*, fast_path: bool) -> type[asyncio.Protocol] | Literal["httptools"]:
    """Return uvicorn's `http` setting: the fast path, or uvicorn's own protocol.

    The latter is used when `fast_path` is off, or when this uvicorn lacks something that the fast path needs.
    """
    if not fast_path:
        return "httptools"
    try:
        from tiergate.server.protocol import FastPathProtocol, missing

        lacking = missing()
    except ImportError as error:
        lacking = [str(error)]
    else:
        if not lacking:
            return FastPathProtocol
    log.warning(
        "this uvicorn is not as the fast path takes it: its own protocol answers every request", missing=lacking
    )
    return "httptools"


async def _serve(
    app: ASGIApp,
    host: str,
    port: int,
    http: type[asyncio.Protocol] | Literal["httptools"],
    *,
    until_input_ends: bool,
) -> None:
    config = Config(
        app,  # pyright: ignore[reportArgumentType] - Litestar and uvicorn spell the same ASGI types differently
        host=host,
        port=port,
        http=http,
        ws="none",
        interface="asgi3",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=IDLE,
        reset_contextvars=True,  # a pipelined request is begun by the one before it, and is not governed by it
        timeout_graceful_shutdown=GRACE,
    )
    server = Quiet(config)
    if until_input_ends:
        server.stop_at_the_end_of(sys.stdin.fileno())
    await server.serve()


class Quiet(Server):
    """Wake up once a second instead of ten times, and when it is stopped: a layer at rest costs next to nothing."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._stopping = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        self._loop.call_soon_threadsafe(self._stopping.set)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            log.info("serving", address=f"http://{self.config.host}:{self.config.port}")

    def stop_at_the_end_of(self, pipe: int) -> None:
        """Stop when the process that holds the other end of a pipe, and never writes to it, is gone."""

        def ended() -> None:
            self._loop.remove_reader(pipe)
            self.handle_exit(signal.SIGTERM, None)

        self._loop.add_reader(pipe, ended)

    async def main_loop(self) -> None:
        while not await self.on_tick(TICKS):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._stopping.wait()
