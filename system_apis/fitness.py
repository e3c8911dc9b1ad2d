"""Whether a platform answers and has what is needed of it, as readiness says it."""

from __future__ import annotations

from datetime import timedelta
from typing import Protocol

import structlog

from canonical.faults import PlatformFault
from canonical.ids import Clock
from system_apis.connector import Comparable

COMPARE_EVERY = timedelta(minutes=30)
"""Between two comparisons: each costs requests of the platform's quota."""
COMPARE_AGAIN = timedelta(minutes=1)
"""Until the next, after one that failed."""
log = structlog.get_logger("tiergate.fitness")


class Checked(Protocol):
    """A connector that can be checked for whether its platform answers, raising a `PlatformFault` when not."""

    async def check(self) -> None: ...


class Fitness:
    """Check one connector: each time whether its platform answers, and seldom whether it has what is needed.

    What it lacks is no reason to take the whole layer away, which serves other companies and takes in webhooks.
    """

    def __init__(self, name: str, connector: Checked, clock: Clock) -> None:
        self._name = name
        self._connector = connector
        self._clock = clock
        self._next = clock()
        self._lacks: tuple[str, ...] = ()

    async def check(self) -> str:
        """Return what is to be known of a platform that answers, often nothing. Raises leaves of `PlatformFault`.

        What it lacks may name companies, and everybody may ask: it is in the log.
        """
        await self._connector.check()
        if isinstance(self._connector, Comparable) and self._clock() >= self._next:
            await self._compare(self._connector)
        if not self._lacks:
            return ""
        return f"but what is needed is missing there ({len(self._lacks)}): the log and `tiergate doctor` say what"

    async def _compare(self, connector: Comparable) -> None:
        self._next = self._clock() + COMPARE_AGAIN
        try:
            found = await connector.misfits()
        except PlatformFault as fault:
            log.warning("cannot be compared", platform=self._name, reason=fault.reason)
            return
        self._next = self._clock() + COMPARE_EVERY
        lacks = tuple(each.what for each in found if each.blocks)
        if lacks != self._lacks:
            log.warning("compared with what is needed", platform=self._name, lacks=lacks)
        self._lacks = lacks
