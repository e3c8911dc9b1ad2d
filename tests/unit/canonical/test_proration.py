"""Proration by rule: the figures that platforms publish, each with its source, and what holds for every rule."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import get_args
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canonical.money import Money, smallest_charge
from canonical.proration import RULES, Period, ProrationRule, Share, share

BERLIN = ZoneInfo("Europe/Berlin")
DAYS = st.dates(date(2016, 1, 1), date(2032, 12, 31))
CURRENCIES = st.sampled_from(["JPY", "EUR", "KWD"])


def at(day: str) -> datetime:
    """Return the start of a day, or a moment of it, in UTC."""
    return datetime.fromisoformat(day).replace(tzinfo=UTC)


def period(start: str, end: str, months: int = 1) -> Period:
    return Period(at(start), at(end), months)


def of_month(rule: ProrationRule, since: str, until: str, start: str, end: str) -> Share:
    return share(rule, period(start, end), at(since), at(until))


# ---- what platforms publish


def test_half_of_a_month_is_half_of_its_price() -> None:
    """Stripe, Prorations: 10 to 20 USD a month halfway, −5.00 and +10.00."""
    half = of_month("seconds", "2026-04-16", "2026-05-01", "2026-04-01", "2026-05-01")

    assert (-half.of_price(Money(1000, "USD")), half.of_price(Money(2000, "USD"))) == (
        Money(-500, "USD"),
        Money(1000, "USD"),
    )


@pytest.mark.parametrize(
    ("since", "end", "fraction"),
    [("2026-02-15", "2026-03-15", Fraction(14, 28)), ("2026-01-15", "2026-02-15", Fraction(17, 31))],
)
def test_what_comes_before_an_anchor_is_a_part_of_the_month_from_its_own_first_day(
    since: str, end: str, fraction: Fraction
) -> None:
    """Stripe, Backdating: from 15 February to an anchor on the 1st 0.500 of a month, from 15 January 0.548."""
    until = "2026-03-01" if since == "2026-02-15" else "2026-02-01"

    assert of_month("days", since, until, since, end).fraction == fraction


@pytest.mark.parametrize(
    ("price", "since", "until", "start", "end", "charged"),
    [
        ("24.95", "2021-09-16", "2021-09-25", "2021-08-25", "2021-09-25", "7.24"),
        ("24.95", "2021-09-30", "2021-10-25", "2021-09-25", "2021-10-25", "20.79"),
        ("17.95", "2021-09-30", "2021-10-20", "2021-09-20", "2021-10-20", "11.97"),
    ],
)
def test_a_first_part_is_one_of_the_month_that_ends_with_it(
    price: str, since: str, until: str, start: str, end: str, charged: str
) -> None:
    """Kill Bill, catalog examples: a billing day in the month, and an add-on that is aligned with its bundle."""
    part = of_month("days", since, until, start, end)

    assert part.of_price(Money.of(price, "USD")) == Money.of(charged, "USD")


@pytest.mark.parametrize(("rule", "charged"), [("days_of_30", "146.67"), ("days", "145.16")])
def test_a_month_and_a_part_of_one(rule: ProrationRule, charged: str) -> None:
    """Zuora, total amount with partial period proration: 100 a month from 1 January, billing day 15, to 14 February."""
    part = of_month(rule, "2018-01-01", "2018-01-15", "2017-12-15", "2018-01-15")

    assert Money(10000, "USD").times(1 + part.fraction) == Money.of(charged, "USD")


def test_a_week_is_prorated_by_its_days() -> None:
    """Zuora, the same page: 100 a week from a Monday, billing day Wednesday: two days and five weeks."""
    part = share("days", period("2017-12-27", "2018-01-03", 0), at("2018-01-01"), at("2018-01-03"))

    assert Money(10000, "USD").times(5 + part.fraction) == Money(52857, "USD")


@pytest.mark.parametrize(
    ("first", "last", "days", "of_30", "strict"),
    [
        ("2021-01-27", "2021-01-31", (5, 31), 5, 4),
        ("2021-02-27", "2021-02-28", (2, 28), 2, 4),
        ("2020-02-01", "2020-02-29", (29, 29), 29, 30),
        ("2021-04-21", "2021-04-29", (9, 30), 9, 9),
    ],
)
def test_three_ways_to_count_the_same_days(
    first: str, last: str, days: tuple[int, int], of_30: int, strict: int
) -> None:
    """Zuora, when prorating a month: the last day belongs to it. Actual days, of 30, and 30/360."""
    start = date.fromisoformat(first).replace(day=1)
    month = Period(
        datetime.combine(start, time(), UTC),
        datetime.combine((start + timedelta(days=31)).replace(day=1), time(), UTC),
    )
    until = at(last) + timedelta(days=1)

    counted = {rule: share(rule, month, at(first), until) for rule in ("days", "days_of_30", "days_of_30_strict")}

    assert {rule: (each.counted, each.of) for rule, each in counted.items()} == {
        "days": days,
        "days_of_30": (of_30, 30),
        "days_of_30_strict": (strict, 30),
    }


@pytest.mark.parametrize(
    ("rule", "until", "months", "multiplier"),
    [("days", "2019-04-11", 12, "2.2740"), ("whole_months", "2019-12-01", 12, "2.9167")],
)
def test_a_term_as_a_multiple_of_the_price_of_a_year(
    rule: ProrationRule, until: str, months: int, multiplier: str
) -> None:
    """Salesforce CPQ, Subscription Prorate Precision: 830 days of 365, 35 months of 12."""
    whole = Period(at("2017-01-01"), at("2018-01-01"), months)

    counted = share(rule, whole, at("2017-01-01"), at(until))

    assert round(Decimal(counted.counted) / counted.of, 4) == Decimal(multiplier)


def test_a_month_that_has_begun_is_a_whole_one_by_months() -> None:
    """Salesforce CPQ, the same page: 2017-01-01 to 2018-01-10 with precision Month is 13 of 12."""
    year = period("2017-01-01", "2018-01-01", 12)

    assert share("whole_months", year, at("2017-01-01"), at("2018-01-10")).in_words() == "13 of 12 months"


def test_an_upgrade_credits_the_days_that_are_left_and_charges_them_at_the_new_price() -> None:
    """Lago, Upgrades and downgrades: 20 to 40 a month on 11 May, 21 days left: 27.10, and 13.55 credited."""
    left = of_month("days", "2023-05-11", "2023-06-01", "2023-05-01", "2023-06-01")

    new, old = left.of_price(Money(4000, "EUR")), left.of_price(Money(2000, "EUR"))

    assert (new, old, new - old) == (Money(2710, "EUR"), Money(1355, "EUR"), Money(1355, "EUR"))
    assert left.in_words() == "21 of 31 days"


def test_a_quarter_that_has_begun_is_prorated_in_its_first_month() -> None:
    """ERPNext, pull request 36953: 3,950 a month, billed by three, from 8 April: 10,928.33."""
    gone = of_month("days", "2023-04-01", "2023-04-08", "2023-04-01", "2023-05-01")

    assert Money(395000, "INR").times(3 - gone.fraction) == Money.of("10928.33", "INR")


def test_a_period_that_is_whole_is_not_a_day_more_or_less() -> None:
    """ERPNext, issue 23681 (92 days of three months) and pull request 49635 (a year): the price itself."""
    quarter = share("days", period("2023-07-01", "2023-10-01", 3), at("2023-07-01"), at("2023-10-01"))
    year = share("days", period("2025-09-26", "2026-09-26", 12), at("2025-09-26"), at("2026-09-26"))

    assert quarter.of_price(Money(109900000, "INR")) == Money(109900000, "INR")
    assert year.fraction == 1


def test_a_change_on_the_twelfth_of_thirty_days() -> None:
    """teamcoby.com, a second opinion: 99 to 249 on day 12 of 30: −59.40 and +149.40."""
    left = of_month("days", "2026-04-13", "2026-05-01", "2026-04-01", "2026-05-01")

    assert left.of_price(Money(9900, "USD")) == Money(5940, "USD")
    assert left.of_price(Money(24900, "USD")) == Money(14940, "USD")


def test_a_change_that_is_billed_with_the_next_charge() -> None:
    """Baremetrics: 12 to 24 a month after a quarter of the period: 24 + 18 − 9."""
    left = of_month("seconds", "2026-02-08", "2026-03-01", "2026-02-01", "2026-03-01")

    due = Money(2400, "USD") + left.of_price(Money(2400, "USD")) - left.of_price(Money(1200, "USD"))

    assert due == Money(3300, "USD")


def test_a_downgrade_at_the_end_of_the_period_adjusts_nothing() -> None:
    """Broadleaf Commerce, prepaid actions: 300 to 150 halfway; taken at once it would be 75 back."""
    half = of_month("days", "2026-04-16", "2026-05-01", "2026-04-01", "2026-05-01")
    deferred = of_month("period_end", "2026-04-16", "2026-05-01", "2026-04-01", "2026-05-01")

    assert half.of_price(Money(30000 - 15000, "USD")) == Money(7500, "USD")
    assert deferred.of_price(Money(15000, "USD")) == Money(0, "USD")


def test_a_change_by_charge_pays_the_days_that_are_left() -> None:
    """Samsung, subscription plan examples: 30 to 60 a month with half of it used: 15 by charge."""
    left = of_month("days", "2026-09-16", "2026-10-01", "2026-09-01", "2026-10-01")

    assert left.of_price(Money(6000 - 3000, "USD")) == Money(1500, "USD")


@pytest.mark.parametrize(
    ("since", "until", "start", "end", "words"),
    [
        ("2026-09-15", "2026-10-01", "2026-09-01", "2026-10-01", "16 of 30 days"),
        ("2026-10-01", "2026-10-23", "2026-10-01", "2026-11-01", "22 of 31 days"),
    ],
)
def test_a_unit_that_comes_and_goes_counts_both_of_its_days(
    since: str, until: str, start: str, end: str, words: str
) -> None:
    """Lago, recurring count: a user from 15 September who leaves on 22 October."""
    assert of_month("days", since, until, start, end).in_words() == words


@pytest.mark.parametrize(
    ("rule", "old", "new"),
    [
        ("seconds", "2.90", "5.81"),
        ("days", "2.90", "5.81"),
        ("days_of_30", "3.00", "6.00"),
        ("whole_months", "10.00", "20.00"),
        ("period_end", "0.00", "0.00"),
        ("none", "0.00", "0.00"),
    ],
)
def test_one_change_has_several_right_answers(rule: ProrationRule, old: str, new: str) -> None:
    """10 to 20 a month on 16 September of a period from 25 August to 25 September 2021, under every rule."""
    left = of_month(rule, "2021-09-16", "2021-09-25", "2021-08-25", "2021-09-25")

    assert (left.of_price(Money(1000, "USD")), left.of_price(Money(2000, "USD"))) == (
        Money.of(old, "USD"),
        Money.of(new, "USD"),
    )


def test_two_parts_that_are_rounded_can_differ_by_a_cent_from_their_difference_that_is() -> None:
    left = of_month("days", "2021-09-16", "2021-09-25", "2021-08-25", "2021-09-25")
    old, new = Money(1000, "USD"), Money(2000, "USD")

    assert left.of_price(new) - left.of_price(old) == Money(291, "USD")
    assert left.of_price(new - old) == Money(290, "USD")


@pytest.mark.parametrize(("amount", "charged"), [(10_000, 2_900), (-10_000, -2_900), (99_990, 29_030), (0, 0)])
def test_what_cannot_be_charged_to_the_last_digit_is_rounded_once_to_what_can(amount: int, charged: int) -> None:
    """Stripe, Supported currencies: the last digit of an amount of three has to be 0."""
    left = of_month("seconds", "2021-09-16", "2021-09-25", "2021-08-25", "2021-09-25")

    assert left.of_price(Money(amount, "KWD"), smallest_charge("KWD").amount) == Money(charged, "KWD")


# ---- what holds for every rule


@given(DAYS, st.integers(1, 366), st.data(), st.sampled_from(["seconds", "days"]))
def test_the_parts_of_a_period_are_the_whole(start: date, days: int, data: st.DataObject, rule: ProrationRule) -> None:
    first = datetime.combine(start, time(), UTC)
    whole = Period(first, first + timedelta(days=days))
    middle = first + timedelta(days=data.draw(st.integers(0, days)))

    parts = (share(rule, whole, first, middle), share(rule, whole, middle, whole.end))

    assert sum(each.fraction for each in parts) == 1


@given(DAYS, st.integers(0, 400), st.integers(0, 400), st.sampled_from(get_args(ProrationRule)))
def test_a_longer_time_is_no_smaller_share(start: date, short: int, more: int, rule: ProrationRule) -> None:
    first = datetime.combine(start, time(), UTC)
    month = Period(first, first + timedelta(days=31))

    shorter = share(rule, month, first, first + timedelta(days=short))
    longer = share(rule, month, first, first + timedelta(days=short + more))

    assert 0 <= shorter.fraction <= longer.fraction


@given(st.integers(1900, 2100), st.integers(1, 12))
def test_a_whole_month_is_thirty_days_where_each_month_has_thirty(year: int, month: int) -> None:
    first = datetime(year, month, 1, tzinfo=UTC)
    whole = Period(first, (first + timedelta(days=31)).replace(day=1))

    assert share("days_of_30_strict", whole, whole.start, whole.end).fraction == 1


def test_a_day_in_which_clocks_change_is_a_day_and_has_its_own_seconds() -> None:
    start, end = datetime(2026, 3, 1, tzinfo=BERLIN), datetime(2026, 4, 1, tzinfo=BERLIN)
    change = datetime(2026, 3, 30, tzinfo=BERLIN)  # the day after the night of 23 hours

    by_day = share("days", Period(start, end), start, change, BERLIN)
    by_second = share("seconds", Period(start, end), start, change, BERLIN)

    assert (by_day.counted, by_day.of) == (29, 31)
    assert (by_second.counted, by_second.of) == (29 * 86400 - 3600, 31 * 86400 - 3600)


def test_the_days_are_those_of_the_zone_that_the_platform_counts_in() -> None:
    late = datetime(2026, 4, 15, 23, 30, tzinfo=UTC)  # the 16th in Berlin
    month = Period(datetime(2026, 4, 1, tzinfo=BERLIN), datetime(2026, 5, 1, tzinfo=BERLIN))

    assert share("days", month, late, month.end, BERLIN).counted == 15
    assert share("days", month, late, month.end, UTC).counted == 15


@given(st.integers(-(10**9), 10**9), CURRENCIES, st.fractions(0, 2))
def test_a_share_of_an_amount_is_rounded_once_and_half_up(amount: int, currency: str, fraction: Fraction) -> None:
    rounded = Money(amount, currency).times(fraction).amount

    assert abs(rounded - amount * fraction) <= Fraction(1, 2)
    if abs(amount * fraction) % 1 == Fraction(1, 2):
        assert abs(rounded) > abs(amount * fraction)


def test_what_is_no_period_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot end"):
        period("2026-02-01", "2026-02-01")
    with pytest.raises(ValueError, match="zone"):
        Period(datetime(2026, 2, 1), datetime(2026, 3, 1))  # noqa: DTZ001 - that is what is refused
    with pytest.raises(ValueError, match="before"):
        of_month("days", "2026-02-10", "2026-02-09", "2026-02-01", "2026-03-01")
    with pytest.raises(ValueError, match="not counted in months"):
        share("days_of_30", period("2026-02-01", "2026-02-08", 0), at("2026-02-01"), at("2026-02-03"))


def test_each_rule_is_named_for_people() -> None:
    assert set(RULES) == set(get_args(ProrationRule))
