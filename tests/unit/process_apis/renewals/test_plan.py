"""What a next term is: as many months as the policy says, at prices that are so much higher, in every currency."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from canonical.amendments import AmendmentPreview, Delta, Renew, ends_on, months_after, mrr, renewed
from canonical.deals import PricedLine
from canonical.money import Money
from canonical.orders import Order, Plan
from canonical.parties import Address, Customer
from canonical.renewals import RenewalMode
from policies.business.renewals import RenewalPolicy
from process_apis.amendments.contract import RunningContract
from process_apis.records.amendments import Applied
from process_apis.records.renewals import renewal_id
from process_apis.renewals.plan import Standing, Verdict, next_term, offered, together, verdict, worth
from tests.support.process_context import contract_of

NOW = datetime(2027, 1, 10, 12, tzinfo=UTC)
CHARGED = {"JPY": 0, "EUR": 2, "KWD": 2}
"""The digits of what is charged in each currency; KWD has three, of which billing takes two."""
PERCENT = st.integers(0, 10_000).map(lambda hundredths: Decimal(hundredths) / 100)


def running(lines: tuple[PricedLine, ...], currency: str = "EUR", **more: Any) -> RunningContract:
    """Return a contract of a year from 1 March 2026 on, as it is on 10 January 2027."""
    contract = msgspec.structs.replace(contract_of("con_1", "ord_1", "cus_1", lines), currency=currency, **more)
    plan = Plan(Customer("cus_1", "Buyer", Address()), contract_of("con_1", "ord_1", "cus_1", lines), "001")
    order = Order("ord_1", "006", 1, "Seats", "active", "", "cor_1", NOW, NOW, plan=plan)
    zone, since = ZoneInfo("Europe/Berlin"), datetime(2026, 3, 1, tzinfo=UTC)
    return RunningContract(order, contract, since, "", zone, frozenset(), {}, (), NOW, NOW.date())


def line(amount: int, currency: str = "EUR", quantity: int = 10) -> PricedLine:
    return PricedLine("seat", "SEAT", "Seat", quantity, Money(amount, currency), "month")


def standing(found: RunningContract, mode: RenewalMode = "quoted", **more: Any) -> Standing:
    usual: dict[str, Any] = {"found_at": datetime(2026, 12, 31, tzinfo=UTC), "policy": RenewalPolicy(mode)}
    return Standing(found, date(2027, 3, 1), mode, **(usual | more))


@given(
    st.integers(0, 10**9),
    st.integers(1, 10_000),
    PERCENT,
    st.sampled_from(sorted(CHARGED)),
)
def test_a_price_rises_by_the_percentage_to_the_digits_that_are_charged_or_that_it_has(
    amount: int, quantity: int, percent: Decimal, currency: str
) -> None:
    found = running((line(amount, currency, quantity),), currency)
    policy = RenewalPolicy("quoted", uplift_percent=float(percent))

    term = next_term(found, policy)
    deal = offered(found, term, "key", "rnw_1")

    before = Money(amount, currency).decimal
    digits = max(CHARGED[currency], -int(before.normalize().as_tuple().exponent))
    price = (before * (100 + percent) / 100).quantize(Decimal(1).scaleb(-digits), rounding=ROUND_HALF_UP)
    assert [each.unit_price for each in deal.lines] == [price]
    said = worth(standing(found, policy=policy, next_ends_on=term.ends_on), Verdict("quoted"))
    assert said
    assert said[0] == mrr(found.contract.lines, currency)
    assert said[1] == Money.of(deal.lines[0].unit_price * quantity, currency)


@given(st.integers(1, 120), st.integers(0, 120), st.dates(date(2020, 1, 1), date(2030, 12, 31)))
def test_the_next_term_has_the_months_of_the_policy_or_those_of_the_present_term(
    months: int, wanted: int, starts_on: date
) -> None:
    found = running((line(100),), starts_on=starts_on, term_months=months)
    plan = found.order.plan
    assert plan
    first = msgspec.structs.replace(plan.contract, starts_on=starts_on, term_months=months)
    order = msgspec.structs.replace(found.order, plan=msgspec.structs.replace(plan, contract=first))
    found = msgspec.structs.replace(found, order=order)

    policy = RenewalPolicy("quoted", term_months=wanted)
    until = next_term(found, policy).ends_on

    assert until == months_after(starts_on, months + (wanted or months))
    assert offered(found, next_term(found, policy), "key", "rnw_1").term_months == (wanted or months)


def test_a_term_that_was_renewed_has_the_months_of_that_renewal() -> None:
    lines = (line(100),)
    after = date(2027, 9, 1)
    said = AmendmentPreview(
        "con_1", NOW, lines, lines, (Delta("renew", "", Decimal(0), Money(0, "EUR")),), ends_on=after
    )
    found = running(lines)
    made = Applied("amd_1", datetime(2027, 2, 26, 23, tzinfo=UTC), said, False)  # billing's period ends earlier
    found = msgspec.structs.replace(found, contract=renewed(found.contract, after), versions=(made,))

    assert next_term(found, RenewalPolicy("automatic")).ends_on == date(2028, 3, 1)


@given(st.lists(st.dates(date(2026, 3, 1), date(2030, 3, 1)), max_size=5), st.integers(1, 36))
def test_a_term_that_ends_with_another_contract_is_shorter_and_never_over_before_it_begins(
    ends: list[date], months: int
) -> None:
    found, policy = running((line(100),)), RenewalPolicy("quoted", term_months=months, co_term=True)
    last = next_term(found, policy).ends_on

    anyday = together(found, policy, ends, "automatic")
    whole = together(found, policy, ends, "quoted")

    possible = [each for each in ends if date(2027, 3, 1) < each < last]
    assert anyday == max(possible, default=None)
    if whole is not None:
        assert whole in possible
        assert whole.day == 1
        renew = Renew(whole)
        assert months_after(date(2027, 3, 1), offered(found, renew, "key", "rnw_1").term_months) == whole


def test_one_term_is_one_renewal_and_another_end_is_another() -> None:
    ids = {renewal_id(contract, date(2027, 3, day)) for contract in ("con_1", "con_2") for day in (1, 2)}

    assert len(ids) == 4
    assert renewal_id("con_1", date(2027, 3, 1)) in ids


FLAGS = st.fixed_dictionaries(
    {
        "first": st.sampled_from(("", "amd_1")),
        "renewal": st.sampled_from(("", "amd_1")),
        "lapse": st.sampled_from(("", "amd_2")),
        "withdrawn": st.sampled_from((frozenset[str](), frozenset({"amd_1"}), frozenset({"amd_2"}))),
        "is_under_way": st.booleans(),
        "open_deal": st.sampled_from(("", "006R", "006X")),
        "open_case": st.sampled_from(("", "cas_1")),
        "deal_id": st.sampled_from(("", "006R")),
        "deal_lost": st.booleans(),
        "asked_again": st.booleans(),
    }
)


@given(FLAGS, st.sampled_from(("quoted", "automatic", "lapse")), st.integers(-60 * 24, 24 * 3))
def test_what_is_undecided_is_never_overtaken_and_nothing_goes_on_past_its_last_call(
    flags: dict[str, Any], mode: RenewalMode, hours: int
) -> None:
    found = running((line(100),))
    until = ends_on(found.contract)
    assert until
    now = standing(found, mode, **flags)
    at = now.ends_at - timedelta(days=4) + timedelta(hours=hours)
    now = msgspec.structs.replace(now, found=msgspec.structs.replace(found, read_at=at))

    said = verdict(now)

    if now.first or (now.open_deal and now.open_deal != now.deal_id):
        assert said.needs == "nothing"
    if now.is_last_call and not now.lapse:
        assert said.state in ("blocked", "lapsing", "scheduled")
        is_carried_out = now.is_under_way and now.first and now.first == now.renewal
        assert said.state != "scheduled" or mode == "automatic" or is_carried_out
        assert said.state == "scheduled" or not is_carried_out
        assert said.state != "blocked" or said.needs_case
    if said.needs == "lapse":
        assert now.is_last_call or now.deal_lost
    if said.needs == "quote":
        assert (mode, now.deal_id, now.is_last_call) == ("quoted", "", False)
    if said.needs == "renew":
        assert mode == "automatic"
        assert now.renewal not in now.withdrawn


@pytest.mark.parametrize("mode", ["quoted", "automatic", "lapse"])
def test_without_a_policy_any_more_a_renewal_is_dropped(mode: RenewalMode) -> None:
    assert verdict(standing(running((line(100),)), mode, policy=None)).state == "dropped"
