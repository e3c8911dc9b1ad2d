"""Processes of ours: started by their commands, waited for, and stopped by their own process ids."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterable
from http import HTTPStatus
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import httpx

from policies.catalogue.model import Layer
from tiergate.settings import NotReady

STOP_SECONDS = 15
"""Seconds that a process has to end by itself: longer than a layer needs for what it is at."""


class Child:
    """A process of ours: started by its command, stopped by its own process id."""

    def __init__(
        self, name: str, command: list[str], log: Path, stdin: bytes | None = None, extra: dict[str, str] | None = None
    ) -> None:
        """`stdin` is what its standard input begins with: it ends when this process does, however that ends. Without
        it there is none."""
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
            self.process.stdin.flush()

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    def stop(self) -> None:
        if not self.ended:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.process.stdin:
            self.process.stdin.close()


@contextlib.contextmanager
def stopped_at_the_end() -> Generator[list[Child]]:
    """Yield a list for children, which are stopped, the last started first, however the block ends: by an exception,
    Ctrl-C, SIGTERM, or with the terminal."""
    children: list[Child] = []
    before = handle_signals(_interrupt, signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    try:
        yield children
    finally:
        stop_all(reversed(children))
        for number, handler in before.items():
            signal.signal(number, handler)


def handle_signals(handler: Callable[[int, FrameType | None], Any], *numbers: signal.Signals) -> dict[int, Any]:
    """Handle signals, but for the end of the terminal where that is ignored, as under `nohup`. Return the handlers
    before, by signal.

    A shell lets what it starts in the background ignore SIGINT: who sends it all the same wants an end.
    """
    wanted = [each for each in numbers if each is not signal.SIGHUP or signal.getsignal(each) is not signal.SIG_IGN]
    return {each: signal.signal(each, handler) for each in wanted}


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def stop_all(children: Iterable[Child]) -> None:
    """Stop children, which may all come to their end at once; those that come first are asked first."""
    stopping = list(children)
    for child in stopping:
        if not child.ended:
            child.process.terminate()
    for child in stopping:
        child.stop()


def layer_process(layer: Layer, config: Path, folder: Path, extra: dict[str, str] | None = None) -> Child:
    """Start one layer as a process of its own, which ends with this one."""
    command = [sys.executable, "-m", "tiergate", "serve", layer, "--config", str(config), "--until-input-ends"]
    return Child(layer, command, folder / "logs" / f"{layer}.log", stdin=b"", extra=extra)


def wait_for(url: str, child: Child, seconds: float) -> None:
    """Wait until `url` answers. Raises `NotReady` when the child ends first or the time is over."""
    deadline = time.monotonic() + seconds
    with httpx.Client(timeout=2) as client:  # one for all looks: to make it costs more than a look
        while time.monotonic() < deadline:
            if child.ended:
                raise NotReady(f"{child.name} ended with {child.process.returncode}; see {child.log}")
            with contextlib.suppress(httpx.HTTPError):
                if client.get(url).status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
                    return
            time.sleep(0.05)
    raise NotReady(f"{child.name} did not answer within {seconds:.0f} s; see {child.log}")
