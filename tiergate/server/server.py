"""Runs a deployable: one process, one event loop, until it is stopped."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import resource
import signal
import socket
import sys
from collections.abc import Mapping
from types import FrameType

import structlog
import uvloop
from litestar.types import ASGIApp
from uvicorn.config import Config
from uvicorn.server import Server

from policies.catalogue.model import Layer
from tiergate import composition
from tiergate.platforms import ConnectedPlatform
from tiergate.server import bounded, decoders
from tiergate.server.bounded import BoundedProtocol, LayerConfig
from tiergate.server.logs import log_as_json
from tiergate.settings import NotReady, Settings
from tiergate.settings import Server as ServerSettings

COLLECT_AFTER = 5_000
"""Allocations between two garbage collections. Each takes as long as it finds objects alive, which is some 45 ms for
100,000 of work in the background, and everybody waits meanwhile. Objects made at the start are not traversed again."""
SWITCH_AFTER = 0.001
"""Seconds for which a thread that works in the background keeps the interpreter from the one that answers: Python's own
5 ms add up where several work."""
GRACE = 10
"""Seconds that requests have to end when the layer is stopped."""
OTHER_FILES = 256
"""Files that are open besides the connections of callers: databases, logs, connections to the next layer."""
TICKS = 10
"""Uvicorn's count of tenths of a second at which it renews the `Date` header."""
log = structlog.get_logger("tiergate.server.server")


def serve(
    layer: Layer, settings: Settings, platforms: Mapping[str, ConnectedPlatform], *, until_input_ends: bool = False
) -> None:
    """Serve one layer until SIGINT or SIGTERM. The system layer alone has `platforms`."""
    log_as_json()
    if settings.governance.clock_file:
        log.warning("time is set forward by a file, which is for sandboxes alone", file=settings.governance.clock_file)
    composition.trace(layer, settings)
    app: ASGIApp
    match layer:
        case "system":
            app, port = composition.system_app(settings, platforms), settings.server.system_port
        case "process":
            app, port = composition.process_app(settings, composition.records(settings)), settings.server.process_port
        case "experience":
            app, port = composition.experience_front(settings), settings.server.experience_port
    run(app, port, settings.server, until_input_ends=until_input_ends)


def run(app: ASGIApp, port: int, server: ServerSettings, *, until_input_ends: bool = False) -> None:
    """Serve an app until SIGINT or SIGTERM, or until the end of standard input. Raises `NotReady` when this uvicorn is
    not the one that the layers are made for."""
    if lacks := bounded.missing():
        raise NotReady(f"this uvicorn lacks {', '.join(lacks)}: install the packages that Tiergate names")
    _allow_files(server.connections + OTHER_FILES)
    decoders.build()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER)
    sys.setswitchinterval(SWITCH_AFTER)
    gc.enable()
    uvloop.run(_serve(app, port, server, until_input_ends=until_input_ends))


def protocol(*, fast_path: bool) -> type[BoundedProtocol]:
    """Return what reads requests: the fast path, or uvicorn's own protocol within our bounds.

    The latter is used when `fast_path` is off, or when this uvicorn lacks something that the fast path needs.
    """
    if not fast_path:
        return BoundedProtocol
    try:
        from tiergate.server.protocol import FastPathProtocol, missing

        lacks = missing()
    except ImportError as error:
        lacks = [str(error)]
    else:
        if not lacks:
            return FastPathProtocol
    log.warning("this uvicorn is not as the fast path takes it: its own protocol answers every request", missing=lacks)
    return BoundedProtocol


def _allow_files(count: int) -> None:
    """Let this process have so many files and connections open, as far as the machine lets it."""
    least, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if most == resource.RLIM_INFINITY else min(count, most)
    if least != resource.RLIM_INFINITY and least < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
    if wanted < count:
        log.warning("fewer files may be open than server.connections needs: raise the limit (ulimit -n)", limit=wanted)


async def _serve(app: ASGIApp, port: int, server: ServerSettings, *, until_input_ends: bool) -> None:
    config = LayerConfig(
        app,
        server,
        port=port,
        http=protocol(fast_path=server.fast_path),
        ws="none",
        interface="asgi3",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        reset_contextvars=True,  # a pipelined request is begun by the one before it, and is not governed by it
        timeout_graceful_shutdown=GRACE,
    )
    quiet = Quiet(config)
    if until_input_ends:
        quiet.stop_at_the_end_of(sys.stdin.fileno())
    await quiet.serve()
    if not quiet.started:
        raise NotReady("the layer cannot start: the log says why; repair it, and start the layer again")


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
