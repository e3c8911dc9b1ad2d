"""Jobs that run beside the requests, from an app's start to its end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from time import monotonic
from typing import Any

import structlog

Job = Callable[[], Coroutine[Any, Any, None]]
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
"""Seconds before a job that has ended is begun again: each time twice as long as the last."""
STEADY = 120.0
"""Seconds that a job has to run for its last end to be of the past."""
log = structlog.get_logger("tiergate.background")


class Background:
    """Run endless jobs: one that ends, by whatever fault, is begun again. `start` and `stop` are an app's hooks."""

    def __init__(self, *jobs: Job, first_pause: float = FIRST_PAUSE) -> None:
        """`first_pause` is in seconds."""
        self._jobs = jobs
        self._first_pause = first_pause
        self._tasks: list[asyncio.Task[None]] = []
        self._ends: dict[Job, tuple[str, float]] = {}
        """Why each job has ended the last time, and when."""

    def trouble(self) -> str:
        """Return which jobs have ended not long ago, by which faults; empty when all run steadily."""
        ages = [(job, why, monotonic() - at) for job, (why, at) in self._ends.items()]
        return ", ".join(f"{_name(job)} ended by {why} {age:.0f} s ago" for job, why, age in ages if age < STEADY)

    async def start(self) -> None:
        self._tasks = [asyncio.create_task(self._keep(job)) for job in self._jobs]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _keep(self, job: Job) -> None:
        pause = self._first_pause
        while True:
            began, task = monotonic(), asyncio.create_task(job())
            try:
                await asyncio.wait({task})
            finally:
                task.cancel()
                await asyncio.wait({task})
            fault = None if task.cancelled() else task.exception()
            why = type(fault).__name__ if fault else "itself"
            if monotonic() - began > STEADY:
                pause = self._first_pause
            self._ends[job] = why, monotonic()
            log.error("a background job has ended, it is begun again", job=_name(job), pause=pause, exc_info=fault)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)


def _name(job: Job) -> str:
    """Return what a job is called: what it is of, and what it does."""
    of, does = getattr(job, "__self__", None), getattr(job, "__name__", "job")
    return does if of is None else f"{getattr(of, 'name', type(of).__name__)} {does}"
