"""A quantity is exact to its last digit, a level is averaged by second, and periods are those of billing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canonical.usage import (
    MICROSECONDS,
    MOST_NAMED,
    SCALE,
    Level,
    UsageError,
    UsageReceipt,
    period_at,
    scaled,
    unscaled,
    weighted,
)
from sandbox.stripe.periods import next_after

QUANTITIES = st.decimals(0, Decimal("999999999999.999999"), places=6)
SECONDS = st.integers(0, 1000)
MOMENTS = st.integers(1_577_836_800, 1_830_297_600).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
"""Any second of 2020 to 2027."""


@given(QUANTITIES)
def test_a_quantity_is_kept_to_its_last_digit(quantity: Decimal) -> None:
    assert unscaled(scaled(f"{quantity:f}")) == quantity


@pytest.mark.parametrize(
    "text", ["", "-1", "+1", "1e3", ".5", "1.", "01", "1.1234567", "1000000000000", "NaN", "١", "1,5", " 1", "1\n"]
)
def test_what_is_no_plain_decimal_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="number such as"):
        scaled(text)


@given(st.integers(0, 10**30), st.integers(1, 10**6))
def test_a_quotient_is_rounded_half_up_once(numerator: int, denominator: int) -> None:
    found = unscaled(Fraction(numerator, denominator))

    off = Fraction(found) * SCALE - Fraction(numerator, denominator)
    assert Fraction(-1, 2) < off <= Fraction(1, 2)


@given(st.lists(st.tuples(SECONDS, st.integers(0, 10**9))), SECONDS, st.integers(1, 1000))
def test_a_level_is_averaged_over_each_second_of_the_time(
    levels: list[tuple[int, int]], since: int, seconds: int
) -> None:
    ordered = sorted(levels)
    until = since + seconds

    def at(second: int) -> int:
        return next((level for moment, level in reversed(ordered) if moment <= second), 0)

    expected = Fraction(sum(map(at, range(since, until))), seconds)
    assert weighted((Level(at * MICROSECONDS + 1, level) for at, level in ordered), since, until) == expected


def test_a_time_without_a_second_has_no_level() -> None:
    assert weighted([Level(0, 5)], 10, 10) == 0


@given(
    MOMENTS,
    st.sampled_from([1, 3, 6, 12]),
    st.timedeltas(timedelta(), timedelta(days=4000)),
)
def test_the_period_of_a_moment_is_the_one_that_billing_has(anchor: datetime, months: int, later: timedelta) -> None:
    moment = anchor + later

    start, end = period_at(anchor, months, moment)

    assert start <= moment < end
    first, recurring = int(anchor.timestamp()), {"interval": "month", "interval_count": months}
    assert end.timestamp() == next_after(first, int(moment.timestamp()), recurring)
    assert start.timestamp() == (
        first if moment < _after(first, recurring) else next_after(first, int(start.timestamp()) - 1, recurring)
    )


def _after(first: int, recurring: dict[str, Any]) -> datetime:
    return datetime.fromtimestamp(next_after(first, first, recurring), UTC)


def test_periods_of_a_month_that_lacks_the_day_end_on_its_last() -> None:
    anchor = datetime(2027, 1, 31, 9, tzinfo=UTC)

    ends = [period_at(anchor, 1, anchor + timedelta(days=30 * turn))[1].date().isoformat() for turn in range(4)]

    assert ends == ["2027-02-28", "2027-03-31", "2027-04-30", "2027-05-31"]


@given(MOMENTS)
def test_each_period_begins_where_the_one_before_ends(anchor: datetime) -> None:
    found = [period_at(anchor, 1, anchor)]
    for _ in range(15):
        found.append(period_at(anchor, 1, found[-1][1]))

    assert all(before[1] == after[0] for before, after in pairwise(found))


def test_a_moment_before_the_first_period_is_refused() -> None:
    anchor = datetime(2026, 3, 1, tzinfo=UTC)

    with pytest.raises(ValueError, match="before the first period"):
        period_at(anchor, 1, anchor - timedelta(seconds=1))


def test_a_receipt_of_many_parts_adds_up_and_names_the_first_errors() -> None:
    one = UsageReceipt(1, 2, 80, tuple(UsageError(each, "$", "no") for each in range(80)))

    both = one.plus(one)

    assert (both.taken, both.repeated, both.refused) == (2, 4, 160)
    assert len(both.errors) == MOST_NAMED
