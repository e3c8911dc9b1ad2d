"""A platform's change feed: checked again and again, whatever happens, and seen by people when it cannot be."""

from __future__ import annotations

import asyncio
from math import inf
from traceback import extract_tb
from typing import Protocol

import msgspec
import structlog

from canonical.events import FEED_RESUMED, FEED_STOPPED, Event
from canonical.faults import (
    Conflict,
    Misconfigured,
    NotFound,
    PlatformFault,
    Rejected,
    Throttled,
    Unavailable,
    UnknownOutcome,
)
from canonical.ids import Clock, NewId
from policies.background import note_rest, rest
from policies.chain.readiness import OK
from policies.store.leases import KeptLease
from system_apis.intake import Intake

FIRST = 0.5
"""Seconds after a look that failed until the next: they double with each that fails."""
LONGEST = 30.0
DOUBT = 30.0
"""Seconds without a good look for which readiness waits: a restart of the process layer is no trouble."""
TELL_EVERY = 5.0
WHY: dict[type[PlatformFault], str] = {
    Unavailable: "it does not answer as it should",
    UnknownOutcome: "it does not answer as it should",
    Throttled: "it takes no more requests now",
    Rejected: "it refuses what is asked",
    NotFound: "it does not have what is asked for",
    Conflict: "somebody else is at it",
}
"""What readiness, which is open to everybody, says of a fault: its reason may name addresses, and is in the log."""
log = structlog.get_logger("tiergate.feed")


class Look(msgspec.Struct, frozen=True):
    """What a good look leaves: the seconds until the next, and what people should know about the pace."""

    pause: float
    note: str = ""


class Reader(Protocol):
    """What a connector with a change feed does. Both raise leaves of `PlatformFault`."""

    async def begin(self) -> None:
        """Begin at the stored position: another process may have read on since this one did."""
        ...

    async def look(self, intake: Intake) -> Look:
        """Offer to `intake` what is new since the last look. Return when to look again."""
        ...


class Feed:
    """Look at one instance's changes for as long as the layer runs, while no other replica does."""

    def __init__(
        self, source: str, reader: Reader, lease: KeptLease, intake: Intake, clock: Clock, new_id: NewId, silence: float
    ) -> None:
        """`source` is that of the events. After `silence` seconds without a good look a case is opened."""
        self.name = source
        self._reader = reader
        self._lease = lease
        self._intake = intake
        self._clock = clock
        self._new_id = new_id
        self._longest_silence = silence
        self._since = clock()
        """When the last good look was; before the first, when this began."""
        self._note = ""
        self._has_read = False
        self._reads = self._stands_by = False
        """Whether this replica has begun to read, or leaves it to another that does."""
        self._failures = 0
        self._reason = self._why = ""
        self._reported: bool | None = None
        """Whether it was reported as standing still; None when a former process may have done so."""

    async def keep_looking(self) -> None:
        while True:
            note_rest(inf)  # a look at many changes is long, and `found` says how old the last one is
            pause = await self.look_once()
            await asyncio.sleep(pause)

    async def look_once(self) -> float:
        """Look at the changes, if it is for this replica to do. Return the seconds until the next look."""
        if not self._lease.is_held:
            return await self._wait_for_lease()
        try:
            if not self._reads:
                await self._reader.begin()
                self._reads, self._stands_by = True, False
            done = await self._reader.look(self._intake)
        except PlatformFault as fault:
            known = isinstance(fault, Misconfigured)
            why = f"{fault.platform}: {fault.reason if known else WHY.get(type(fault), WHY[Rejected])}"
            return max(self._failed(fault.platform, fault.reason, why), fault.retry_after or 0.0)
        except Exception as error:  # noqa: BLE001 - a feed that ends takes in nothing more, and nobody would notice
            return self._failed("tiergate", f"{type(error).__name__} in {_place(error)}", "a fault of our own")
        if self._failures:
            log.info("change feed goes on", feed=self.name)
        self._since, self._note, self._has_read = self._clock(), done.note, True
        self._failures, self._reason = 0, ""
        return done.pause

    async def _wait_for_lease(self) -> float:
        """Leave the feed to the replica that reads it until the lease was asked for again. Return no pause."""
        self._reads = False
        await self._lease.answer()
        if self._lease.away:
            self._stands_by = False
            self._failed("tiergate", "nobody knows which replica is to read it", "the shared database does not answer")
        elif not self._lease.is_held:
            self._stands_by, self._since = True, self._clock()
            self._failures, self._reason, self._reported = 0, "", None
        return 0.0

    def _failed(self, platform: str, reason: str, why: str) -> float:
        """Keep why a look failed. Return the seconds until the next."""
        self._failures += 1
        self._why = why
        if reason != self._reason:
            log.warning("change feed interrupted", feed=self.name, platform=platform, reason=reason)
        self._reason = reason
        return min(FIRST * 2 ** min(self._failures - 1, 16), LONGEST)

    # ---- what people see

    @property
    def _silent(self) -> float:
        return (self._clock() - self._since).total_seconds()

    @property
    def age(self) -> float | None:
        """Return the seconds since the last good look, None where another replica looks."""
        return None if self._stands_by else self._silent

    def found(self) -> str:
        """Return what readiness says: `ok` with the age of the last good look, or that there is none and why."""
        if self._stands_by:
            return f"{OK}, another replica reads it"
        age = f"{self._silent:.0f} s ago"
        why = f"; the last look failed: {self._why} (the log says more)" if self._failures else ""
        if not self._has_read:
            return f"never read since the start {age}{why}"
        note = f"; {self._note}" if self._note else ""
        if self._silent > DOUBT and self._failures:
            return f"last read {age}{why}"
        return f"{OK}, last read {age}{why}{note}"

    async def keep_telling(self) -> None:
        while True:
            await self.tell()
            await rest(min(TELL_EVERY, self._longest_silence / 4))

    async def tell(self) -> None:
        """Tell the process layer once that the feed stands still, and once that it goes on."""
        if self._stands_by:
            return
        stopped = self._silent > self._longest_silence
        if self._reported is stopped or (self._reported is None and not stopped and not self._has_read):
            return
        kind, word = (FEED_STOPPED, "stopped") if stopped else (FEED_RESUMED, "resumed")
        reason = self._reason or (self._note if stopped else "") or "a look at it does not end"
        event = Event(
            id=f"feed:{word}:{self._since.isoformat()}",
            source=self.name,
            type=kind,
            subject=self.name.partition("/")[2],
            time=self._clock(),
            data={"since": self._since.isoformat(timespec="seconds"), "reason": reason} if stopped else {},
        )
        try:
            await self._intake.offer(event, self._new_id("cor"))
        except PlatformFault as fault:
            log.warning("a change feed cannot be reported", feed=self.name, reason=fault.reason)
        else:
            self._reported = stopped


def _place(error: Exception) -> str:
    """Return where an exception was raised. Its text may hold a record's fields."""
    last = extract_tb(error.__traceback__)[-1]
    return f"{last.name}, line {last.lineno}"
