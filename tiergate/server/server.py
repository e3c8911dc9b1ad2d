"""Runs a deployable: one process, one event loop, until it is stopped."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Mapping
from http import HTTPStatus
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import stamina
import structlog
import uvloop
from litestar.types import ASGIApp
from uvicorn.config import Config
from uvicorn.server import Server

from policies.catalogue.model import Layer
from policies.problems import places
from tiergate import composition
from tiergate.platforms import ConnectedPlatform
from tiergate.settings import Settings

COLLECT_AFTER = 100_000
"""Allocations between two garbage collections: fewer pauses, and objects made at the start are not traversed again."""
STOP_SECONDS = 15
IDLE = 75
"""Seconds without a completed request after which a connection is closed: longer than our own clients use one."""
TICKS = 10
"""Uvicorn's count of tenths of a second at which it renews the `Date` header."""


def serve(layer: Layer, settings: Settings, platforms: Mapping[str, ConnectedPlatform]) -> None:
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
    run(app, settings.server.host, port, fast_path=settings.server.fast_path)


def run(app: ASGIApp, host: str, port: int, *, fast_path: bool = True) -> None:
    """Serve an app until SIGINT or SIGTERM. Without `fast_path` uvicorn's own protocol takes every request."""
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER)
    uvloop.run(_serve(app, host, port, protocol(fast_path=fast_path)))


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
    structlog.get_logger("tiergate.server.server").warning(
        "this uvicorn is not as the fast path takes it: its own protocol answers every request", missing=lacking
    )
    return "httptools"


async def _serve(app: ASGIApp, host: str, port: int, http: type[asyncio.Protocol] | Literal["httptools"]) -> None:
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
        timeout_graceful_shutdown=STOP_SECONDS - 5,
    )
    await Quiet(config).serve()


class Quiet(Server):
    """Wake up once a second instead of ten times, and when it is stopped: a layer at rest costs next to nothing."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._stopping = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        self._loop.call_soon_threadsafe(self._stopping.set)

    async def main_loop(self) -> None:
        while not await self.on_tick(TICKS):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._stopping.wait()


def log_as_json() -> None:
    """Log one JSON object a line on standard error; libraries log only when something is wrong."""
    logging.setLogRecordFactory(_without_messages)
    threading.excepthook = _log_end_of_thread
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    stamina.instrumentation.set_on_retry_hooks(())  # they log a fault's message, which may hold personal fields
    logging.getLogger("httpx").setLevel(logging.WARNING)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
    )


def _without_messages(*args: Any, **kwargs: Any) -> logging.LogRecord:
    """Return a log record in which an exception is its type and where it was raised.

    The exception's message is left out: it may hold personal fields.
    """
    record = logging.LogRecord(*args, **kwargs)
    if record.exc_info and (error := record.exc_info[1]) is not None:
        record.msg, record.args = f"{record.getMessage()} {type(error).__name__} at {places(error)}", ()
        record.exc_info = None
    return record


def _log_end_of_thread(broken: threading.ExceptHookArgs) -> None:
    at = places(broken.exc_value) if broken.exc_value else []
    structlog.get_logger("tiergate.server.server").error("a thread ended", fault=broken.exc_type.__name__, at=at)


class Child:
    """A process of ours: started by its command, stopped by its own process id."""

    def __init__(
        self, name: str, command: list[str], log: Path, stdin: bytes | None = None, extra: dict[str, str] | None = None
    ) -> None:
        import os

        log.parent.mkdir(parents=True, exist_ok=True)
        self.name = name
        self.log = log
        with log.open("ab") as sink:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                env=os.environ | (extra or {}),
                start_new_session=True,
            )
        if stdin is not None and self.process.stdin:
            self.process.stdin.write(stdin)
            self.process.stdin.close()

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    def stop(self) -> None:
        if self.ended:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextlib.contextmanager
def stopped_at_the_end() -> Generator[list[Child]]:
    """Yield a list for children, which are stopped, the last started first, however the block ends."""
    children: list[Child] = []
    try:
        yield children
    finally:
        for child in reversed(children):
            child.process.terminate() if not child.ended else None
        for child in reversed(children):
            child.stop()


def layer_process(layer: Layer, config: Path, folder: Path, extra: dict[str, str] | None = None) -> Child:
    """Start one layer as a process of its own."""
    command = [sys.executable, "-m", "tiergate", "serve", layer, "--config", str(config)]
    return Child(layer, command, folder / "logs" / f"{layer}.log", extra=extra)


def wait_for(url: str, child: Child, seconds: float) -> None:
    """Wait until `url` answers. Raises `RuntimeError` when the child ends first or the time is over."""
    import httpx

    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if child.ended:
            raise RuntimeError(f"{child.name} ended with {child.process.returncode}; see {child.log}")
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(url, timeout=2).status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
                return
        time.sleep(0.05)
    raise RuntimeError(f"{child.name} did not answer within {seconds:.0f} s; see {child.log}")
