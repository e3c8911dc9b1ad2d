"""Who still calls deprecated versions, so that the platform team knows whom to tell."""

from __future__ import annotations

from collections import Counter
from datetime import date

import msgspec
import structlog

from canonical.ids import Clock
from policies.background import rest
from policies.store.documents import StoreAway
from policies.store.shared_store import SharedStore

PACE = 1.0
"""Seconds until a count is seen by all. A replica that dies takes at most so much of it along."""
NAME = "deprecated-calls"
log = structlog.get_logger("tiergate.usage")


class DeprecatedCalls(msgspec.Struct, frozen=True):
    """How often a client called a deprecated version on one day (UTC)."""

    client: str
    api: str
    version: str
    day: date
    calls: int


class DeprecationUsage:
    """Counts here, adds up in the shared store."""

    def __init__(self, shared: SharedStore, clock: Clock) -> None:
        self._shared = shared
        self._clock = clock
        self._new: Counter[str] = Counter()

    def note(self, client: str, api: str, version: str) -> None:
        self._new[f"{client}|{api}|{version}|{self._clock().date()}"] += 1

    async def watch(self) -> None:
        """Hand over what was counted, for as long as the layer runs."""
        while True:
            await rest(PACE)
            await self.hand_over()

    async def hand_over(self) -> None:
        """Hand over what was counted; what cannot be handed over now is kept for the next time."""
        counted, self._new = self._new, Counter()
        if not counted:
            return
        try:
            await self._shared.add(NAME, dict(counted))
        except StoreAway as error:
            self._new.update(counted)
            log.warning("the counts of deprecated calls wait for the store", reason=str(error))

    async def counted(self) -> tuple[DeprecatedCalls, ...]:
        """Return all that was handed over, newest day first. Raises `StoreAway`."""
        found = [_read(field, calls) for field, calls in (await self._shared.counts(NAME)).items()]
        return tuple(sorted(found, key=lambda each: (-each.day.toordinal(), each.client, each.api, each.version)))


def _read(field: str, calls: int) -> DeprecatedCalls:
    client, api, version, day = field.split("|")
    return DeprecatedCalls(client, api, version, date.fromisoformat(day), calls)
