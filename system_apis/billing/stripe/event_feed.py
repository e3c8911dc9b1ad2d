"""Stripe's own list of events, read beside its webhooks.

A webhook that was answered is not sent again, and one that cannot be delivered is given up after three days (Receive
Stripe events: retries). The list has each event for thirty days (API reference: List all events): it brings what came
while nobody listened for longer, and what was taken after the backup that the process layer was restored from.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

import msgspec

from canonical.events import Event
from canonical.ids import Clock, NewId
from system_apis.billing.port import Reported
from system_apis.billing.stripe import webhooks
from system_apis.billing.stripe.client import Row, StripeClient, at
from system_apis.billing.stripe.webhooks import StripeEvent
from system_apis.feed import Look
from system_apis.feed_position import FeedPosition
from system_apis.intake import Intake

PACE = 60.0
"""Seconds between two looks."""
OVERLAP = timedelta(minutes=5)
"""How far a look goes back before the one before it: what was being written then may have become visible later."""
MOST_TYPES = 20
"""Types that a list may be asked for (API reference: List all events, `types`)."""
MOST = 10_000
"""Events that are known to have been taken."""


class EventFeed:
    """Read the events of one account from where the last look ended."""

    def __init__(self, client: StripeClient, position: FeedPosition, clock: Clock, new_id: NewId) -> None:
        self._client = client
        self._stored = position
        self._clock = clock
        self._new_id = new_id
        self._position: int | None = None
        """From when on events are read, in seconds since 1970; None before it was read."""
        self._seen: dict[str, int] = {}
        """When those events were created that were taken already, in seconds since 1970: they are not offered twice."""

    async def begin(self) -> None:
        """Begin at the stored position: another process may have read on since this one did."""
        position = await self._stored.read("")
        self._position = int(position) if position.isdecimal() else self._now()
        self._seen.clear()

    def taken(self, event: Event) -> None:
        """Do not offer an event that a webhook has brought."""
        self._seen[event.id] = int(event.time.timestamp())
        if len(self._seen) > MOST:  # where another replica looks, nothing here forgets them
            del self._seen[next(iter(self._seen))]

    async def look(self, intake: Intake, canonical: Callable[[StripeEvent], Awaitable[Reported | None]]) -> Look:
        """Offer what happened since the last look, the oldest first. When anything fails the position stays, and the
        next look begins there again."""
        if self._position is None:
            await self.begin()
        begun = self._now()
        for event in await self._events(self._position):
            if event.id in self._seen:
                continue
            reported = await canonical(event)
            if reported is not None:
                await intake.offer(reported.event, reported.correlation_id or self._new_id("cor"))
            self._seen[event.id] = event.created
        self._seen = {each: created for each, created in self._seen.items() if created >= begun}
        await self._stored.write(str(begun))
        self._position = begun
        return Look(PACE)

    async def _events(self, since: int | None) -> list[StripeEvent]:
        """Return the events of our types, the oldest first, in as many lists as they need."""
        rows: list[Row] = []
        types = list(webhooks.TYPES)
        for start in range(0, len(types), MOST_TYPES):
            asked = types[start : start + MOST_TYPES]
            rows += reversed(await self._client.listed(at("events"), created={"gte": since}, types=asked))
        found = [msgspec.convert(row, StripeEvent) for row in rows]
        return sorted(found, key=lambda each: each.created)

    def _now(self) -> int:
        return int((self._clock() - OVERLAP).timestamp())
