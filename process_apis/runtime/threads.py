"""Threads that are there for as long as their process is: a fault of ours ends a loop, and it is begun again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic
from typing import Any

import structlog

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 60.0
"""Seconds before a loop that has ended is begun again: each time twice as long as the last."""
STEADY = 120.0
"""Seconds that a loop has to run for its last end to be of the past."""
log = structlog.get_logger("tiergate.engine")


class KeptThread:
    """A loop in a thread of its own. Others look after it: one that cannot run cannot see to itself."""

    def __init__(self, name: str, loop: Callable[..., None], *arguments: Any) -> None:
        self.name = name
        self._loop = loop
        self._arguments = arguments
        self._pause = FIRST_PAUSE
        self._ended_at: float | None = None
        self._thread = self._begin()

    def keep(self) -> None:
        """Begin the loop again if it has ended, not before its pause is over. Python writes what ended it to the
        log."""
        now = monotonic()
        if self._thread.is_alive():
            return
        if self._ended_at is None:
            self._pause = FIRST_PAUSE if now - self._began > STEADY else self._pause
            self._ended_at = now
            log.error("a thread has ended, it is begun again", thread=self.name, pause=self._pause)
        elif now - self._ended_at > self._pause:
            self._ended_at = None
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
            self._thread = self._begin()

    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def join(self) -> None:
        self._thread.join()

    def _begin(self) -> threading.Thread:
        self._began = monotonic()
        thread = threading.Thread(target=self._loop, args=self._arguments, name=self.name, daemon=True)
        thread.start()
        return thread
