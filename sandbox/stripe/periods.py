"""Billing periods: when they end, and how long a whole one is (Billing: Set the subscription billing cycle)."""

from __future__ import annotations

import calendar
from datetime import UTC, datetime
from decimal import Decimal

from sandbox.stripe.objects import Object

DAY = 24 * 3600
HOUR = 3600
MONTHS = {"month": 1, "year": 12}
SECONDS = {"day": DAY, "week": 7 * DAY, "month": 28 * DAY, "year": 365 * DAY}
"""The shortest that an interval can be."""


def later(start: int, interval: str, count: int) -> int:
    """Return the time `count` intervals after `start`, on the same day of the month or its last day.

    Times are in seconds since 1970, UTC. A negative count is before `start`.
    """
    if interval in ("day", "week"):
        return start + count * SECONDS[interval]
    at = datetime.fromtimestamp(start, UTC)
    month = at.month - 1 + count * MONTHS[interval]
    year, month = at.year + month // 12, month % 12 + 1
    day = min(at.day, calendar.monthrange(year, month)[1])
    return int(at.replace(year=year, month=month, day=day).timestamp())


def next_after(anchor: int, at: int, recurring: Object) -> int:
    """Return the first boundary after `at` of the cycle through `anchor`, which keeps the anchor's day of the month.

    A month that lacks that day ends on its last one (Set the subscription billing cycle).
    """
    interval, count = recurring["interval"], recurring["interval_count"]
    turns = (at - anchor) // (SECONDS[interval] * count) + 1
    while later(anchor, interval, turns * count) > at:
        turns -= 1
    while later(anchor, interval, turns * count) <= at:
        turns += 1
    return later(anchor, interval, turns * count)


def whole(anchor: int, start: int, recurring: Object) -> int:
    """Return how many seconds the whole period from `start` has, of which a part is charged.

    Where `start` is no boundary of the cycle, that is the period which is imagined from there: of 15 February to
    1 March it is the 28 days until 15 March (Backdate subscriptions).
    """
    if next_after(anchor, start - 1, recurring) == start:
        return next_after(anchor, start, recurring) - start
    return later(start, recurring["interval"], recurring["interval_count"]) - start


def times(anchor: int, start: int, end: int, recurring: Object) -> Decimal:
    """Return how many periods there are from `start` to `end`: whole ones, and a part of one that is the last."""
    found = 0
    while end - start > (full := whole(anchor, start, recurring)):
        start, found = start + full, found + 1
    return found + Decimal(end - start) / full
