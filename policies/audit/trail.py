"""What a layer records of its calls: all that its clients do, and samples of what it turns away at the door.

Who has not proved who it is can send as much as it likes. Of its refusals the first few of a kind in a minute are
recorded whole, then one record says how many more there were. So it is with refusals because the log itself cannot be
written.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from shutil import disk_usage
from typing import NamedTuple

import structlog
from msgspec.structs import replace

from canonical.ids import Clock
from policies.audit.log import LATE, AuditLog
from policies.audit.records import AuditEntry
from policies.audit.samples import FEW, Samples
from policies.background import rest

PACE = 1.0
"""Seconds between two looks at what was counted, and at a log that cannot be written."""
LITTLE = 4 * 2**20
"""Bytes of free room below which readiness says so."""
NEVER = datetime.min.replace(tzinfo=UTC)
log = structlog.get_logger("tiergate.audit")


class AuditCounts(NamedTuple):
    """Records that were written and that could not be, refusals that were counted and not recorded whole, and the
    seconds that records have waited: since this process began."""

    written: int
    failed: int
    sampled: int
    waited: float


class AuditTrail:
    """The audit log of one layer, on its event loop."""

    def __init__(self, audit: AuditLog, clock: Clock) -> None:
        self._audit = audit
        self._clock = clock
        self._refusals: Samples[AuditEntry] = Samples()
        self._sampled = 0

    def trouble(self) -> str:
        """Return why nothing may be begun that needs a record; empty when it may."""
        return self._audit.trouble()

    def little_room(self) -> str:
        """Return how much room there is on the disk of the log, when that is next to nothing; else an empty string.
        A thread may ask."""
        try:
            free = disk_usage(self._audit.files.log.parent).free
        except OSError as error:
            return f"its free room is not known ({type(error).__name__})"
        return f"{free // 1024} KiB are free" if free < LITTLE else ""

    def counts(self) -> AuditCounts:
        """Return how much was recorded."""
        return AuditCounts(self._audit.written, self._audit.failed, self._sampled, self._audit.waited)

    def record(self, entry: AuditEntry) -> asyncio.Future[None]:
        """Return what to await until a record is written; it raises `OSError` when it could not be."""
        return self._audit.record(entry)

    def sample(self, entry: AuditEntry) -> asyncio.Future[None] | None:
        """Record a refusal as `record` does, or count it."""
        kind = replace(entry, at=NEVER, object="", correlation_id="")
        few = 0 if self._audit.trouble() else FEW
        if self._refusals.take(kind, entry.at, few):
            return self._audit.record(entry)
        self._sampled += 1
        return None

    async def watch(self) -> None:
        """Record what was counted, and try a log again that cannot be written, for as long as the layer runs."""
        try:
            while True:
                await rest(PACE)
                if self._audit.trouble():
                    await self._audit.try_again()
                await self.count(self._clock())
        finally:
            await self.count(None)
            await self._audit.drained(LATE)

    async def count(self, now: datetime | None) -> None:
        """Record what was counted in the windows that are over by `now`; without `now` in all."""
        if self._audit.trouble():
            return
        for kind, times in self._refusals.ended(now):
            try:
                await self._audit.record(replace(kind, at=self._clock(), times=times))
            except OSError as error:
                log.warning("refusals could not be recorded", times=times, reason=type(error).__name__)
