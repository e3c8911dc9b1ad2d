"""Reports of a layer's jobs: one that stands still is to be a case for people, and that it runs again closes it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from math import inf
from time import monotonic

import structlog

from canonical.faults import PlatformFault
from canonical.ids import NewId
from canonical.jobs import JobsReport
from policies.background import Course, rest

LOOK_EVERY = 5.0
"""Seconds between two looks at how the jobs go on."""
AGAIN = 300.0
"""Seconds after which it is reported again that a job stands still: the process that closed its case was another."""
SendReport = Callable[[JobsReport, str], Awaitable[None]]
"""Takes a report and its correlation id. Raises a leaf of `PlatformFault` when it cannot be taken now."""
log = structlog.get_logger("tiergate.background")


class JobReports:
    """Report how the jobs of this process go on, once they have run steadily and whenever that changes."""

    def __init__(
        self,
        courses: Callable[[], Iterable[Course]],
        report: SendReport,
        new_id: NewId,
        host: str,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """`clock` returns seconds, and never goes back."""
        self._courses = courses
        self._report = report
        self._new_id = new_id
        self._host = host
        self._clock = clock
        self._reported: dict[str, bool] = {}
        """Which jobs were reported, and whether as one that stands still."""
        self._at = -inf

    async def watch(self) -> None:
        """Report again and again, for as long as the layer runs."""
        while True:
            await rest(LOOK_EVERY)
            await self.look()

    async def look(self) -> None:
        """Report how the jobs go on, if that has changed since it was reported, or some still stand still."""
        states = {each.name: each.state() for each in self._courses()}
        jobs = {name: reason for name, (word, reason) in states.items() if word}
        latest = self._reported | {name: bool(reason) for name, reason in jobs.items()}
        if latest == self._reported and not (any(jobs.values()) and self._clock() - self._at > AGAIN):
            return
        try:
            await self._report(JobsReport(self._host, jobs), self._new_id("cor"))
        except PlatformFault as fault:
            log.warning("it cannot be reported how jobs go on, it is tried again", reason=fault.reason)
        else:
            self._reported, self._at = latest, self._clock()
