"""Proration by rule: how much of a price belongs to a part of its period.

It checks and explains what a platform charged or credited, and never charges: systems count days in different ways, so
that one change has several right answers, and an amount says whose rule it follows.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, tzinfo
from fractions import Fraction
from typing import Literal

import msgspec

from canonical.money import Money

ProrationRule = Literal["seconds", "days", "days_of_30", "days_of_30_strict", "whole_months", "none", "period_end"]
RULES: dict[ProrationRule, str] = {
    "seconds": "the seconds that are left, of those of the period",
    "days": "the days that are left, of those of the period",
    "days_of_30": "the days that are left, of thirty for each month",
    "days_of_30_strict": "the days that are left where each month has thirty, of thirty for each month",
    "whole_months": "the months that are left, one that has begun counted as whole, of those of the period",
    "none": "nothing: the change counts from now on, and the period that runs is paid as it was",
    "period_end": "nothing: the change waits for the end of the period",
}
"""The rules by which platforms prorate, as people read them."""
THIRTY = 30


class Period(msgspec.Struct, frozen=True):
    """What one price pays for: from `start` up to `end`, which is the start of the next.

    Both are moments with a zone. `months` are those of the price, 12 for a yearly one; 0 for one that is not counted
    in months (a week), which has no months to divide by.
    """

    start: datetime
    end: datetime
    months: int = 1

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.end.tzinfo is None:
            raise ValueError("a period begins and ends at moments with a zone")
        if self.start >= self.end:
            raise ValueError(f"a period that begins at {self.start} cannot end at {self.end}")


class Share(msgspec.Struct, frozen=True):
    """How much of a period a part of it is, and how it was counted: `counted` of `of` units."""

    rule: ProrationRule
    counted: int
    of: int
    unit: Literal["second", "day", "month"]

    @property
    def fraction(self) -> Fraction:
        return Fraction(self.counted, self.of)

    def of_price(self, price: Money, step: int = 1) -> Money:
        """Return the share of a price for the whole period, rounded half up once to a multiple of `step` minor units.

        It is 1 but for a currency of which the last digit cannot be charged (`canonical.money.smallest_charge`).
        """
        return Money(price.times(self.fraction / step).amount * step, price.currency)

    def in_words(self) -> str:
        """Return how it was counted, as people read it: `9 of 31 days`."""
        return f"{self.counted} of {self.of} {self.unit}{'' if self.of == 1 else 's'}"


def share(rule: ProrationRule, period: Period, since: datetime, until: datetime, zone: tzinfo = UTC) -> Share:
    """Return how much of `period` the time from `since` up to `until` is, by a rule.

    Days and months are those of `zone`, the one that the platform counts in: a day in which clocks change is a day. The
    time may begin before the period or end after it, as one that a platform prices by the period does. A rule that
    counts thirty days a month counts a whole month of 31 as 31/30: whole periods are not prorated. Raises `ValueError`
    for a time that ends before it begins, and for a rule by months of a period that has none.
    """
    if since > until:
        raise ValueError(f"{until} is before {since}")
    return COUNTING[rule](rule, period, since.astimezone(zone), until.astimezone(zone))


def _seconds(rule: ProrationRule, period: Period, since: datetime, until: datetime) -> Share:
    whole = period.end.astimezone(UTC) - period.start.astimezone(UTC)
    part = until.astimezone(UTC) - since.astimezone(UTC)
    return Share(rule, part // timedelta(seconds=1), whole // timedelta(seconds=1), "second")


def _days(rule: ProrationRule, period: Period, since: datetime, until: datetime) -> Share:
    zone = since.tzinfo
    whole = period.end.astimezone(zone).date() - period.start.astimezone(zone).date()
    return Share(rule, (until.date() - since.date()).days, max(whole.days, 1), "day")


def _of_thirty(rule: ProrationRule, period: Period, since: datetime, until: datetime) -> Share:
    return Share(rule, (until.date() - since.date()).days, THIRTY * _months_of(period), "day")


def _of_thirty_strict(rule: ProrationRule, period: Period, since: datetime, until: datetime) -> Share:
    """Count as 30/360 does: the last day of a month, its 28th in February, is the 30th."""
    if since.date() == until.date():
        return Share(rule, 0, THIRTY * _months_of(period), "day")
    first, last = since.date(), until.date() - timedelta(days=1)
    months = 12 * (last.year - first.year) + last.month - first.month
    days = THIRTY * months + _day_of_thirty(last) - min(first.day, THIRTY) + 1
    return Share(rule, days, THIRTY * _months_of(period), "day")


def _day_of_thirty(day: date) -> int:
    is_last = (day + timedelta(days=1)).month != day.month
    return THIRTY if is_last else min(day.day, THIRTY)


def _whole_months(rule: ProrationRule, period: Period, since: datetime, until: datetime) -> Share:
    months = 12 * (until.year - since.year) + until.month - since.month
    if (until.day, until.time()) > (since.day, since.time()):
        months += 1
    return Share(rule, months, _months_of(period), "month")


def _nothing(rule: ProrationRule, period: Period, since: datetime, until: datetime) -> Share:
    del period, since, until
    return Share(rule, 0, 1, "month")


def _months_of(period: Period) -> int:
    if not period.months:
        raise ValueError("a period that is not counted in months cannot be prorated by months of thirty days")
    return period.months


COUNTING: dict[ProrationRule, Callable[[ProrationRule, Period, datetime, datetime], Share]] = {
    "seconds": _seconds,
    "days": _days,
    "days_of_30": _of_thirty,
    "days_of_30_strict": _of_thirty_strict,
    "whole_months": _whole_months,
    "none": _nothing,
    "period_end": _nothing,
}
