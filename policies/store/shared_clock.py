"""The time of what replicas share: the clocks of their machines may differ by hours, or be set back while they run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from time import monotonic

import structlog

from policies.background import rest
from policies.store.documents import StoreAway

ASK_EVERY = 30.0
"""Seconds between two comparisons; a machine's own clock is off by less than a millisecond in between."""
log = structlog.get_logger("tiergate.clock")


class SharedClock:
    """Tell the time of the shared database, and go on by this machine's own seconds while that is away."""

    def __init__(self, read: Callable[[], datetime], seconds: Callable[[], float] = monotonic) -> None:
        """`read` asks the database, and may raise `StoreAway`, as this does. `seconds` never goes back."""
        self._read = read
        self._seconds = seconds
        self._at, self._asked_at = self._asked()

    def __call__(self) -> datetime:
        """Return the moment, UTC."""
        return self._at + timedelta(seconds=self._seconds() - self._asked_at)

    def compare(self) -> None:
        """Ask the database for its time. Raises `StoreAway`."""
        self._at, self._asked_at = self._asked()

    async def watch(self) -> None:
        """Compare again and again, for as long as a layer runs."""
        while True:
            await rest(ASK_EVERY)
            try:
                await asyncio.to_thread(self.compare)
            except StoreAway as error:
                log.warning("the shared clock cannot be read, this machine's seconds go on", reason=str(error))

    def _asked(self) -> tuple[datetime, float]:
        before = self._seconds()
        at = self._read()
        after = self._seconds()
        return at, (before + after) / 2
