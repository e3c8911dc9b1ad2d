"""The periods of a subscription, as Stripe counts them."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

from canonical.amendments import months_after
from system_apis.billing.stripe import mapping

Row = dict[str, Any]


def period_of(row: Row) -> tuple[int, int]:
    """Return the seconds since 1970 at which the present period of a subscription starts and ends."""
    first: Row = row["items"]["data"][0]
    return first["current_period_start"], first["current_period_end"]


def months_of(row: Row) -> int:
    """Return the months of each period of a subscription."""
    return mapping.months_of(row["items"]["data"][0]["price"])


def ends_near(anchor: datetime, step: int, day: date) -> list[datetime]:
    """Return the ends of periods of so many months round a day, which count from their anchor (Billing cycle)."""
    near = (12 * (day.year - anchor.year) + day.month - anchor.month) // step
    counts = (each for each in range(near - 1, near + 3) if each > 0)
    return [datetime.combine(months_after(anchor.date(), each * step), anchor.timetz()) for each in counts]


def moment_of(seconds: int) -> datetime:
    """Return the moment that Stripe says in seconds since 1970."""
    return datetime.fromtimestamp(seconds, UTC)
