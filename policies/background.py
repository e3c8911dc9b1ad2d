"""Jobs that run beside the requests for as long as their process does, on its event loop or in a thread of their own.

One that ends, by whatever fault, is begun again, each time after a longer pause. One that hangs is noticed: a job says
after each round when the next is due. Nothing can end a hanging thread, so that people have to.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextvars import ContextVar
from math import inf
from time import monotonic
from typing import Any, Literal

import structlog

Job = Callable[[], Coroutine[Any, Any, None]]
Word = Literal["runs", "stopped", ""]
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
"""Seconds before a job that has ended is begun again: each time twice as long as the last."""
STEADY = 120.0
"""Seconds that a job has to run for its last end to be of the past."""
LASTING = 5
"""Ends in a row after which a person has to see to it."""
LATE = 120.0
"""Seconds after the time of its next round from which on readiness names a job."""
HANGS = 600.0
"""Seconds after the time of its next round from which on a person has to see to it."""
LOOK_EVERY = 1.0
"""Seconds between two looks at whether a thread has ended."""
log = structlog.get_logger("tiergate.background")


class Course:
    """How one job goes on: why it has ended, when it may be begun again, and when its next round is due."""

    def __init__(self, name: str, first_pause: float = FIRST_PAUSE, clock: Callable[[], float] = monotonic) -> None:
        """`first_pause` is in seconds. `clock` returns seconds, and never goes back."""
        self.name = name
        self._first_pause = self._pause = first_pause
        self._clock = clock
        self._began = clock()
        self._ends = 0
        """How often it has ended in a row, without having run for `STEADY` in between."""
        self.ended = 0
        """How often it has ended since the start."""
        self._why, self._ended_at = "", -inf
        self._rested = self._began
        self._due = inf
        self._again_at: float | None = None
        """When it may be begun again; None while it runs."""

    def begin(self) -> None:
        """Note that the job begins."""
        self._began, self._again_at = self._clock(), None

    def rest(self, seconds: float) -> None:
        """Note that a round is done, and that the next one is due in `seconds`."""
        self._rested = self._clock()
        self._due = self._rested + seconds

    def end(self, fault: BaseException | None) -> float:
        """Note that the job has ended, by a fault or by itself. Return the seconds until it is to be begun again."""
        now = self._clock()
        if now - self._began > STEADY:
            self._ends, self._pause = 0, self._first_pause
        pause, self._pause = self._pause, min(2 * self._pause, LONGEST_PAUSE)
        self._ends += 1
        self.ended += 1
        self._why, self._ended_at, self._again_at = type(fault).__name__ if fault else "itself", now, now + pause
        log.error("a background job has ended, it is begun again", job=self.name, pause=pause, exc_info=fault)
        return pause

    @property
    def runs(self) -> bool:
        """Return whether the job runs now: it does not while it waits to be begun again."""
        return self._again_at is None

    @property
    def may_begin(self) -> bool:
        """Return whether the pause is over of a job that has ended."""
        return self._again_at is not None and self._clock() >= self._again_at

    @property
    def age(self) -> float:
        """Return the seconds since the job has begun, or done a round."""
        return self._clock() - self._rested

    @property
    def late(self) -> float:
        """Return for how many seconds the next round has been due, 0 when it is not."""
        return max(0.0, self._clock() - self._due) if self.runs else 0.0

    def trouble(self) -> str:
        """Return what readiness says: that it has ended not long ago, or hangs; empty when it runs steadily."""
        if self.late > LATE:
            return f"{self.name} has done nothing for {self.late:.0f} s"
        age = self._clock() - self._ended_at
        return f"{self.name} ended by {self._why} {age:.0f} s ago" if age < STEADY else ""

    def state(self) -> tuple[Word, str]:
        """Return whether the job runs steadily, or has stopped so that a person has to see to it, and why; an empty
        word for what is neither yet."""
        if self.late > HANGS:
            return "stopped", f"it has done nothing for more than {HANGS / 60:.0f} minutes"
        if not self.runs or self._clock() - self._began < STEADY:
            return ("stopped", f"it ends again and again, by {self._why}") if self._ends >= LASTING else ("", "")
        return ("", "") if self.late > LATE else ("runs", "")


_present: ContextVar[Course | None] = ContextVar("present", default=None)
"""The job that the present code belongs to."""


def note_rest(seconds: float) -> None:
    """Note that the present job has done a round, and that its next one is due in `seconds`: infinite for one that says
    itself when it is late."""
    if (course := _present.get()) is not None:
        course.rest(seconds)


async def rest(seconds: float) -> None:
    """Wait for the present job's next round."""
    note_rest(seconds)
    await asyncio.sleep(seconds)


class Background:
    """Run endless jobs on the event loop. `start` and `stop` are an app's hooks."""

    def __init__(self, *jobs: Job, first_pause: float = FIRST_PAUSE, clock: Callable[[], float] = monotonic) -> None:
        """`first_pause` is in seconds. `clock` returns seconds, and never goes back."""
        self._jobs = [(job, Course(name_of(job), first_pause, clock)) for job in jobs]
        self._tasks: list[asyncio.Task[None]] = []

    def courses(self) -> Iterator[Course]:
        """Yield how each job goes on."""
        return (course for _, course in self._jobs)

    async def start(self) -> None:
        self._tasks = [asyncio.create_task(_keep(*each), name=f"keeps {each[1].name}") for each in self._jobs]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def _keep(job: Job, course: Course) -> None:
    while True:
        task = asyncio.create_task(_ending(job, course), name=course.name)
        try:
            await asyncio.wait({task})
        finally:
            task.cancel()
            await asyncio.wait({task})
        fault = asyncio.CancelledError() if task.cancelled() else task.result()
        await asyncio.sleep(course.end(fault))


async def _ending(job: Job, course: Course) -> BaseException | None:
    """Run a job, and return by what it has ended. No exception leaves: some would end the event loop."""
    _present.set(course)
    course.begin()
    course.rest(0.0)
    try:
        await job()
    except BaseException as fault:  # noqa: BLE001 - it is begun again, and nothing of its fault is lost
        return fault
    return None


class KeptThread:
    """A loop in a thread of its own. `keep` is called again and again, by who looks after it."""

    def __init__(self, name: str, loop: Callable[..., None], *arguments: Any, first_pause: float = FIRST_PAUSE) -> None:
        """Begin the loop. `first_pause` is in seconds."""
        self.course = Course(name, first_pause)
        self._loop = loop
        self._arguments = arguments
        self._fault: BaseException | None = None
        self._thread = self._begun()

    def keep(self) -> None:
        """Begin the loop again if it has ended, not before its pause is over."""
        if self._thread.is_alive():
            return
        if self.course.runs:  # it is not noted yet that it has ended
            self.course.end(self._fault)
        elif self.course.may_begin:
            self._thread = self._begun()

    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def join(self) -> None:
        self._thread.join()

    def _begun(self) -> threading.Thread:
        thread = threading.Thread(target=self._run, name=self.course.name, daemon=True)
        thread.start()
        return thread

    def _run(self) -> None:
        _present.set(self.course)
        self.course.begin()
        self.course.rest(0.0)
        self._fault = None
        try:
            self._loop(*self._arguments)
        except BaseException as fault:  # noqa: BLE001 - it is begun again, and nothing of its fault is lost
            self._fault = fault


class Routine:
    """One of the things that a loop does at each round: its faults keep the loop from nothing else."""

    def __init__(self, act: Callable[[], object], passing: type[Exception], first_pause: float = FIRST_PAUSE) -> None:
        """Faults of the kind `passing` are the loop's: they are of all that it does. `first_pause` is in seconds."""
        self._act = act
        self._passing = passing
        self.course = Course(name_of(act), first_pause)

    def do(self) -> None:
        """Do it, unless it has ended by a fault and its pause is not over."""
        if not self.course.runs:
            if not self.course.may_begin:
                return
            self.course.begin()
        try:
            self._act()
        except self._passing:
            raise
        except BaseException as fault:  # noqa: BLE001 - it is done again, and nothing of its fault is lost
            self.course.end(fault)


def troubles(courses: Iterable[Course]) -> str:
    """Return what readiness says of jobs; empty when all run steadily."""
    return ", ".join(filter(None, (each.trouble() for each in courses)))


def name_of(job: Callable[..., Any]) -> str:
    """Return what a job is called: what it is of, and what it does."""
    of, does = getattr(job, "__self__", None), getattr(job, "__name__", "job")
    return does if of is None else f"{getattr(of, 'name', type(of).__name__)} {does}"
