"""Stripe's own list of events, read beside its webhooks.

A webhook that was answered is not sent again, and one that cannot be delivered is given up after three days (Receive
Stripe events: retries). The list has each event for thirty days (API reference: List all events): it brings what came
while nobody listened for longer, and what was taken after the backup that the process layer was restored from.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import msgspec

from canonical.events import RECORD_REFUSED, Event
from canonical.faults import Misconfigured, NotFound, Rejected, Unavailable
from canonical.ids import Clock, NewId
from system_apis.billing.port import Reported
from system_apis.billing.stripe import webhooks
from system_apis.billing.stripe.client import Row, StripeClient, at
from system_apis.billing.stripe.webhooks import LAST_SECOND, StripeEvent
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

    def __init__(self, client: StripeClient, position: FeedPosition, source: str, clock: Clock, new_id: NewId) -> None:
        """`source` is that of the events."""
        self._client = client
        self._source = source
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
        """Offer what happened since the last look, the oldest first. When a platform or the process layer is away the
        position stays, and the next look begins there again. An event that cannot be read is offered as that, and the
        others are taken."""
        if self._position is None:
            await self.begin()
        begun = self._now()
        for row in await self._events(self._position):
            key = row.get("id")
            if not isinstance(key, str):
                raise Unavailable("billing", "it answered with an event that has no id")
            if key not in self._seen:
                await self._take(key, row, intake, canonical)
                self._seen[key] = _created(row)
        self._seen = {each: created for each, created in self._seen.items() if created >= begun}
        await self._stored.write(str(begun))
        self._position = begun
        return Look(PACE)

    async def _take(
        self, key: str, row: Row, intake: Intake, canonical: Callable[[StripeEvent], Awaitable[Reported | None]]
    ) -> None:
        """Offer an event, or that it cannot be read: else it would keep back all that come after it, for ever."""
        try:
            reported = await _read(row, canonical)
            if reported is not None:
                await intake.offer(reported.event, reported.correlation_id or self._new_id("cor"))
        except Misconfigured:
            raise  # that is about us, and not about the event
        except (Rejected, NotFound) as fault:
            await self._refuse(key, row, fault.field or "event", fault.reason, intake)

    async def _refuse(self, key: str, row: Row, field: str, reason: str, intake: Intake) -> None:
        event = Event(
            id=f"refused:{key}",
            source=self._source,
            type=RECORD_REFUSED,
            subject=key,
            time=datetime.fromtimestamp(_created(row), UTC),
            data={"record": str(row.get("type")), "field": field, "reason": reason},
        )
        await intake.offer(event, self._new_id("cor"))

    async def _events(self, since: int | None) -> list[Row]:
        """Return the events of our types, the oldest first, in as many lists as they need."""
        rows: list[Row] = []
        types = list(webhooks.TYPES)
        for start in range(0, len(types), MOST_TYPES):
            asked = types[start : start + MOST_TYPES]
            rows += reversed(await self._client.listed(at("events"), created={"gte": since}, types=asked))
        return sorted(rows, key=_created)

    def _now(self) -> int:
        return int((self._clock() - OVERLAP).timestamp())


async def _read(row: Row, canonical: Callable[[StripeEvent], Awaitable[Reported | None]]) -> Reported | None:
    """Return the canonical event of one of Stripe's. Raises `Rejected` for one that is not as Stripe documents it."""
    try:
        return await canonical(msgspec.convert(row, StripeEvent))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        what = str(error) if isinstance(error, msgspec.ValidationError) else type(error).__name__
        raise Rejected("billing", f"it is not as Stripe documents it: {what}", field="event") from error


def _created(row: Row) -> int:
    """Return when an event was created, in seconds since 1970; 0 for one that does not say so."""
    created = row.get("created")
    return created if isinstance(created, int) and 0 <= created <= LAST_SECOND else 0
