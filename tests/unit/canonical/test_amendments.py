"""Amendments of a contract: what its lines become, and what each action is worth."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from canonical.amendments import (
    Action,
    ActionRefused,
    AddLine,
    Cancel,
    ChangeDiscount,
    ChangePlan,
    ChangePrice,
    ChangeQuantity,
    ChangeTerm,
    Pause,
    RemoveLine,
    Renew,
    Resume,
    Reverse,
    amended,
    changed_by_use,
    contract_value,
    deltas,
    end_after,
    ends_on,
    months_after,
    months_between,
    mrr,
    renewed,
    rest_delta,
    reversal_deltas,
    reversed_lines,
    with_end,
)
from canonical.billing import Contract
from canonical.deals import MONTHS, DealLine, LineTerms, PricedLine, deal_line, nothing_of, priced_line, with_terms
from canonical.money import Money
from policies.contract.conformance import unfit
from policies.problems import FieldError

DAYS = st.dates(date(2016, 1, 1), date(2032, 12, 31))


def line(
    name: str, quantity: str, price: str, interval: str = "month", currency: str = "EUR", listed: str = ""
) -> PricedLine:
    terms = {}
    if listed:
        terms = {"list_price": Decimal(listed), "discount_percent": 100 - 100 * Decimal(price) / Decimal(listed)}
    made = DealLine(name, name.upper(), name.title(), Decimal(quantity), Decimal(price), interval, listed=True, **terms)
    return priced_line(made, currency)


def contract(*lines: PricedLine, starts_on: date = date(2018, 1, 1), term_months: int = 12) -> Contract:
    currency = lines[0].unit_price.currency
    return Contract(
        "con_1", "ord_1", "cus_1", "DE01", currency, starts_on, term_months, lines, "standard", "19", state="active"
    )


def quantity(name: str, wanted: str) -> ChangeQuantity:
    return ChangeQuantity(name, Decimal(wanted))


# ---- what is published


def test_three_units_more_for_the_rest_of_a_year_are_worth_what_zuora_says() -> None:
    """Zuora, Order metrics, part 2: 10 to 13 units at 5.00 (list price 8.00) from 2018-04-01 until 2018-12-31."""
    of = contract(line("seat", "10", "5.00", listed="8.00"))

    (delta,) = deltas(of, (quantity("seat", "13"),), date(2018, 4, 1))

    assert (delta.quantity, delta.mrr) == (3, Money(1500, "EUR"))
    assert (delta.contract_value, delta.list_value) == (Money(13500, "EUR"), Money(21600, "EUR"))


def test_a_yearly_price_is_a_twelfth_of_it_in_each_month_as_chartmogul_counts() -> None:
    """ChartMogul, MRR movements: 4 Gold yearly at 500 are 166.67, 2 Silver monthly at 30 are 60 more; when Silver ends
    and Gold goes on, 60 less."""
    gold, silver = line("gold", "4", "500", "year", "USD"), line("silver", "2", "30", currency="USD")
    assert mrr((gold,), "USD") == Money(16667, "USD")

    (more,) = deltas(
        contract(gold), (AddLine("silver", "SILVER", "Silver", Decimal(2), Decimal(30), "month"),), date(2018, 3, 1)
    )
    (less,) = deltas(contract(gold, silver), (RemoveLine("silver"),), date(2018, 3, 15))

    assert (more.mrr, less.mrr) == (Money(6000, "USD"), Money(-6000, "USD"))


# ---- what an action makes of the lines


@pytest.mark.parametrize(
    ("action", "after"),
    [
        (quantity("seat", "15"), [line("seat", "15", "20.00"), line("support", "1", "99.50")]),
        (ChangePrice("seat", Decimal("21.00")), [line("seat", "10", "21.00"), line("support", "1", "99.50")]),
        (
            ChangePlan("seat", "SEAT-PLUS", "Seat plus", Decimal("30.00")),
            [
                priced_line(
                    DealLine("seat", "SEAT-PLUS", "Seat plus", Decimal(10), Decimal(30), "month", listed=True), "EUR"
                ),
                line("support", "1", "99.50"),
            ],
        ),
        (
            ChangeDiscount("seat", Decimal(25)),
            [line("seat", "10", "15.00", listed="20.00"), line("support", "1", "99.50")],
        ),
        (RemoveLine("seat"), [line("support", "1", "99.50")]),
        (Cancel(), []),
    ],
)
def test_an_action_changes_its_line_alone(action: Action, after: list[PricedLine]) -> None:
    before = (line("seat", "10", "20.00"), line("support", "1", "99.50"))

    assert list(amended(before, (action,), "EUR")) == after


def test_a_discount_that_is_taken_back_leaves_the_list_price() -> None:
    discounted = amended((line("seat", "10", "20.00"),), (ChangeDiscount("seat", Decimal(10)),), "EUR")

    assert amended(discounted, (ChangeDiscount("seat", Decimal(0)),), "EUR") == (line("seat", "10", "20.00"),)


@pytest.mark.parametrize(
    ("action", "field", "reason"),
    [
        (quantity("seats", "15"), "actions[0].line", "the contract has no line seats"),
        (quantity("seat", "10"), "actions[0]", "Seat is that already"),
        (quantity("seat", "0"), "actions[0].quantity", "it has to be more than 0; a line that ends is removed"),
        (ChangePrice("seat", Decimal(-1)), "actions[0].unit_price", "it cannot be less than 0"),
        (quantity("setup", "2"), "actions[0].line", "Setup was charged once, and does not go on"),
        (
            ChangePrice("seat", Decimal(999999999999999)),
            "actions[0]",
            "the line would have an amount of 1000000000000000 or more",
        ),
        (ChangeDiscount("seat", Decimal(101)), "actions[0].discount_percent", "a discount is from 0 to 100 percent"),
        (
            AddLine("seat", "X", "X", Decimal(1), Decimal(1), "month"),
            "actions[0].line",
            "the contract has a line seat already",
        ),
    ],
)
def test_an_action_that_the_contract_does_not_allow_is_refused_with_its_place(
    action: Action, field: str, reason: str
) -> None:
    with pytest.raises(ActionRefused) as refused:
        amended((line("seat", "10", "20.00"), line("setup", "1", "500", "one_time")), (action,), "EUR")

    assert (refused.value.field, refused.value.reason) == (field, reason)


# ---- what holds for all


def test_a_contract_without_end_has_no_value_to_change() -> None:
    (delta,) = deltas(contract(line("seat", "1", "20"), term_months=0), (quantity("seat", "2"),), date(2018, 4, 1))

    assert (delta.mrr, delta.contract_value, delta.list_value) == (Money(2000, "EUR"), None, None)


@pytest.mark.parametrize("field", ["quantity", "unit_price"])
@pytest.mark.parametrize(
    ("number", "reason"),
    [
        ("NaN", "it is to be a number"),
        ("sNaN", "it is to be a number"),
        ("-Infinity", "it is to be a number"),
        ("1E+400", "it is to be less than 1000000000000000"),
        ("1E+9999999", "it is to be less than 1000000000000000"),
        ("-1000000000000000", "it is to be less than 1000000000000000"),
        ("0.1234567890123", "it is to have at most 12 digits after the point"),
        ("1E-9999999", "it is to have at most 12 digits after the point"),
    ],
)
def test_a_number_that_nobody_means_is_refused_before_anything_is_worked_out_with_it(
    field: str, number: str, reason: str
) -> None:
    good = AddLine("seat", "SEAT", "Seat", Decimal(1), Decimal(1), "month")
    value = msgspec.to_builtins(good) | {field: number}

    assert list(unfit(AddLine, value)) == [FieldError(f"$.{field}", reason)]


ACTIONS = st.one_of(
    st.builds(ChangeQuantity, st.just("seat"), st.decimals("0.01", "1000", places=2)),
    st.builds(ChangePrice, st.just("seat"), st.decimals("0", "1000", places=3)),
    st.builds(ChangeDiscount, st.just("seat"), st.decimals("0", "100", places=1)),
    st.builds(
        AddLine,
        st.sampled_from(["a", "b", "c"]),
        st.just("ADDED"),
        st.just("Added"),
        st.decimals("0.01", "1000", places=2),
        st.decimals("0", "1000", places=2),
        st.sampled_from(["month", "quarter", "half_year", "year"]),
    ),
    st.builds(RemoveLine, st.sampled_from(["a", "b", "c"])),
)


def allowed_of(of: Contract, actions: list[Action]) -> list[Action]:
    """Return those of some actions that a contract allows one after the other."""
    allowed: list[Action] = []
    for each in actions:
        try:
            amended(of.lines, (*allowed, each), of.currency)
        except ActionRefused:
            continue
        allowed.append(each)
    return allowed


@given(st.lists(ACTIONS, max_size=8), st.lists(ACTIONS, max_size=4), DAYS, st.sampled_from(["JPY", "EUR", "KWD"]))
def test_the_reversal_of_any_change_leaves_the_former_lines_and_deltas_that_sum_to_nothing(
    actions: list[Action], others: list[Action], since: date, currency: str
) -> None:
    of = contract(
        line("seat", "3", "19", currency=currency), line("a", "2", "7", "year", currency), starts_on=date(2020, 1, 31)
    )
    allowed = allowed_of(of, actions)
    made, after = deltas(of, allowed, since), amended(of.lines, allowed, currency)
    changed = msgspec.structs.replace(of, lines=after)

    former = reversed_lines(after, of.lines, after)
    taken_back = reversal_deltas(changed, Reverse("amd_1"), former, since)

    assert former == of.lines
    every = (*made, *taken_back)
    assert sum(each.mrr.amount for each in every) == 0
    assert sum(each.contract_value.amount for each in every if each.contract_value) == 0
    assert sum(each.list_value.amount for each in every if each.list_value) == 0
    elsewhere = tuple(
        msgspec.structs.replace(each, id=f"other {each.id}")
        for each in amended((), [each for each in others if isinstance(each, AddLine)][:1], currency)
    )
    assert set(reversed_lines((*after, *elsewhere), of.lines, after)) == {*of.lines, *elsewhere}


@given(st.lists(ACTIONS, max_size=8), DAYS, st.sampled_from(["JPY", "EUR", "KWD"]), st.integers(0, 36))
def test_the_deltas_of_actions_add_up_to_the_difference_of_the_contract(
    actions: list[Action], since: date, currency: str, term_months: int
) -> None:
    of = contract(line("seat", "3", "19", currency=currency), starts_on=date(2020, 1, 31), term_months=term_months)
    allowed = allowed_of(of, actions)

    found, after = deltas(of, allowed, since), amended(of.lines, allowed, currency)

    assert sum(each.mrr.amount for each in found) == (mrr(after, currency) - mrr(of.lines, currency)).amount
    if term_months:
        first, until = max(since, of.starts_on), months_after(of.starts_on, term_months)
        whole = contract_value(after, first, until, currency) - contract_value(of.lines, first, until, currency)
        assert sum(each.contract_value.amount for each in found if each.contract_value) == whole.amount


@example(starts_on=date(2026, 1, 31), begins=1, months=1, cents=100)
@given(starts_on=DAYS, begins=st.integers(0, 40), months=st.integers(0, 40), cents=st.integers(0, 10**7))
def test_a_pause_takes_the_revenue_and_the_value_of_its_months_and_its_end_gives_them_back(
    starts_on: date, begins: int, months: int, cents: int
) -> None:
    of = contract(line("seat", "3", str(Decimal(cents) / 100), listed="100000"), starts_on=starts_on, term_months=0)
    since, until = months_after(starts_on, begins), months_after(starts_on, begins + months)

    taken, back = (rest_delta(of, action, since, until) for action in (Pause(until), Resume()))

    assert (taken.mrr, taken.contract_value) == (-mrr(of.lines, "EUR"), mrr(of.lines, "EUR").times(-months))
    assert taken.list_value == Money(-30_000_000 * months, "EUR")
    for which in ("mrr", "contract_value", "list_value"):
        assert getattr(taken, which) + getattr(back, which) == Money(0, "EUR")
    endless = rest_delta(of, Pause(), since, None)
    assert (endless.mrr, endless.contract_value, endless.list_value) == (taken.mrr, None, None)


@given(DAYS, DAYS)
def test_months_are_never_negative_and_grow_with_each_day(since: date, until: date) -> None:
    months = months_between(since, until)

    assert months >= 0
    assert months_between(since, until + timedelta(days=1)) >= months


@given(DAYS, st.integers(0, 60))
def test_the_months_up_to_the_same_day_of_a_later_month_are_whole(since: date, months: int) -> None:
    assert months_between(since, months_after(since, months)) == Fraction(months)


@given(
    starts_on=st.dates(date(2020, 1, 1), date(2032, 12, 31)),
    former=st.integers(1, 60),
    wanted=st.integers(1, 60),
    waited=st.integers(0, 400),
)
@example(starts_on=date(2024, 2, 29), former=12, wanted=24, waited=0)
@example(starts_on=date(2023, 1, 31), former=1, wanted=13, waited=28)
def test_another_end_is_worth_the_months_between_both_ends_and_no_monthly_revenue(
    starts_on: date, former: int, wanted: int, waited: int
) -> None:
    of = contract(line("seat", "3", "20"), starts_on=starts_on, term_months=former)
    day, since = months_after(starts_on, wanted), starts_on + timedelta(days=waited)

    (delta,) = deltas(of, (ChangeTerm(day),), since)

    assert ends_on(with_end(of, day)) == day
    assert (delta.action, delta.line, delta.quantity, delta.mrr) == ("term", "", 0, Money(0, "EUR"))
    left = [contract_value(of.lines, since, each, "EUR") for each in (day, months_after(starts_on, former))]
    assert delta.contract_value == left[0] - left[1]
    if not waited:
        assert delta.contract_value == Money(6000 * (wanted - former), "EUR")


def test_a_contract_without_end_is_worth_no_sum_and_may_have_an_end_again() -> None:
    of = contract(line("seat", "3", "20"))
    endless = with_end(of, None)

    assert ends_on(endless) is None
    assert ends_on(with_end(endless, date(2019, 7, 1))) == date(2019, 7, 1)
    assert [each.contract_value for each in deltas(of, (ChangeTerm(None),), date(2018, 4, 1))] == [None]


@pytest.mark.parametrize(
    ("price", "currency", "percent", "raised"),
    [
        ("20", "EUR", "5", "21.00"),
        ("19.99", "EUR", "5", "20.99"),
        ("0.0333", "EUR", "5", "0.0350"),
        ("150", "JPY", "1.5", "152"),
        ("1.2345", "KWD", "10", "1.3580"),
        ("0.333", "KWD", "0.1", "0.333"),
        ("10", "KWD", "1.25", "10.13"),
        ("5", "MGA", "5", "5"),
        ("20", "EUR", "0", "20"),
    ],
)
def test_an_uplift_is_rounded_half_up_to_the_digits_of_the_price_or_those_of_the_currency(
    price: str, currency: str, percent: str, raised: str
) -> None:
    (after,) = amended(
        (line("seat", "3", price, currency=currency),), (Renew(date(2020, 1, 1), Decimal(percent)),), currency
    )

    assert after.terms.unit_price == Decimal(raised)


def test_what_is_charged_once_and_a_discount_are_no_part_of_an_uplift() -> None:
    before = line("seat", "3", "18", listed="20"), line("setup", "1", "500", "one_time")

    after = amended(before, (Renew(date(2020, 1, 1), Decimal(10)),), "EUR")

    assert after[1] == before[1]
    assert (after[0].terms.unit_price, after[0].terms.list_price) == (Decimal("19.80"), None)


@pytest.mark.parametrize("percent", ["-0.1", "100.1"])
def test_an_uplift_is_no_discount_and_at_most_doubles_a_price(percent: str) -> None:
    with pytest.raises(ActionRefused, match="rise by 0 to 100 percent") as refused:
        amended((line("seat", "3", "20"),), (Renew(date(2020, 1, 1), Decimal(percent)),), "EUR")

    assert refused.value.field == "actions[0].uplift_percent"


@given(
    starts_on=DAYS,
    term=st.integers(1, 60),
    more=st.integers(1, 60),
    percent=st.integers(0, 1000),
    quantity=st.integers(1, 50),
)
def test_a_renewal_adds_the_new_term_at_the_new_prices_and_what_follows_is_worth_the_new_term_too(
    starts_on: date, term: int, more: int, percent: int, quantity: int
) -> None:
    of = contract(line("seat", "3", "20"), line("support", "1", "99.50"), starts_on=starts_on, term_months=term)
    until = ends_on(of)
    assert until is not None
    renew = Renew(months_after(starts_on, term + more), Decimal(percent) / 10)
    actions = (renew, ChangeQuantity("seat", Decimal(quantity))) if quantity != 3 else (renew,)

    made = deltas(of, actions, until)

    after = amended(of.lines, actions, "EUR")
    assert sum((each.contract_value.amount for each in made if each.contract_value), 0) == (
        contract_value(after, until, renew.ends_on, "EUR").amount
    )
    assert sum(each.mrr.amount for each in made) == mrr(after, "EUR").amount - mrr(of.lines, "EUR").amount
    assert ends_on(renewed(with_end(of, starts_on), renew.ends_on)) == renew.ends_on


@pytest.mark.parametrize(
    ("starts_on", "term", "until"),
    [
        (date(2026, 8, 31), 6, date(2027, 8, 31)),
        (date(2026, 1, 15), 12, date(2027, 7, 15)),
        (date(2026, 3, 1), 1, date(2026, 10, 1)),
    ],
)
def test_the_months_of_another_term_are_counted_from_the_first_day(starts_on: date, term: int, until: date) -> None:
    assert end_after(contract(line("seat", "3", "20"), starts_on=starts_on, term_months=term), 6) == until


def test_another_term_after_an_end_inside_of_a_month_is_counted_from_that_end() -> None:
    of = renewed(contract(line("seat", "3", "20"), starts_on=date(2026, 1, 1)), date(2026, 7, 15))

    assert end_after(of, 6) == date(2027, 1, 15)


METERS = {"CALLS": "api_calls", "DISK": "gigabytes"}
UNIT_PRICES = st.decimals(min_value=0, max_value=10_000, places=6)


def by_use(price: str = "0.0049", interval: str = "month", name: str = "calls") -> PricedLine:
    sold = DealLine(name, name.upper(), name.title(), Decimal(1), Decimal(price), interval, listed=True)
    return priced_line(sold, "EUR", meter=METERS[name.upper()])


@given(UNIT_PRICES, st.sampled_from(sorted(MONTHS)), st.integers(0, 99), st.integers(1, 500))
def test_what_is_charged_by_use_is_worth_nothing_in_advance_and_keeps_the_price_of_one_unit(
    price: Decimal, interval: str, discount: int, seats: int
) -> None:
    net, listed = price * (100 - discount) / 100, price if discount else None
    sold = DealLine("calls", "CALLS", "Calls", Decimal(1), net, interval, True, listed, Decimal(discount))
    made, seat = priced_line(sold, "EUR", meter="api_calls"), line("seat", str(seats), "20")
    alone, both = contract(seat), contract(seat, made)

    assert (made.net.amount, made.charge.amount, made.quantity) == (0, 0, 1)
    assert made.terms == LineTerms(Decimal(1), net, listed, Decimal(discount))
    assert (deal_line(made), nothing_of(made).terms.quantity) == (sold, 0)
    assert (both.net, both.gross, mrr(both.lines, "EUR")) == (alone.net, alone.gross, mrr(alone.lines, "EUR"))
    until = months_after(alone.starts_on, 12)
    assert contract_value(both.lines, both.starts_on, until, "EUR") == contract_value(
        alone.lines, alone.starts_on, until, "EUR"
    )


def test_a_product_with_a_meter_is_added_as_one_that_is_charged_by_use_and_removed_without_a_credit() -> None:
    of = contract(line("seat", "10", "20"))
    added = AddLine("calls", "CALLS", "Calls", Decimal(1), Decimal("0.02"), "month")

    after = amended(of.lines, (added,), "EUR", METERS)
    (delta,) = deltas(of, (added,), date(2018, 4, 1), METERS)
    (gone,) = deltas(contract(*after), (RemoveLine("calls"),), date(2018, 4, 1), METERS)

    assert [each.meter for each in after] == ["", "api_calls"]
    for each in (delta, gone):
        assert (each.quantity, each.mrr.amount, each.contract_value) == (0, 0, Money(0, "EUR"))


@pytest.mark.parametrize(
    ("action", "field"),
    [
        (AddLine("more", "CALLS", "Calls", Decimal(1), Decimal(1), "month"), "actions[0].sku"),
        (AddLine("disk", "DISK", "Disk", Decimal(5), Decimal(1), "month"), "actions[0].quantity"),
        (ChangeQuantity("calls", Decimal(2)), "actions[0].quantity"),
        (ChangePlan("calls", "GOLD", "Gold", Decimal(1)), "actions[0].sku"),
        (ChangePlan("seat", "DISK", "Disk", Decimal(1)), "actions[0].sku"),
    ],
)
def test_what_is_charged_by_use_has_one_line_and_no_quantity(action: Action, field: str) -> None:
    with pytest.raises(ActionRefused, match="charged by use") as refused:
        amended((line("seat", "10", "20"), by_use()), (action,), "EUR", METERS)

    assert refused.value.field == field


def test_a_renewal_raises_no_price_of_what_is_charged_by_use() -> None:
    before = (line("seat", "10", "20"), by_use("0.02"))

    after = amended(before, (Renew(date(2020, 1, 1), Decimal(10)),), "EUR", METERS)

    assert after == (line("seat", "10", "22"), by_use("0.02"))
    assert changed_by_use(before, after) == ()


def test_lines_by_use_that_end_or_get_another_price_are_told_from_all_others() -> None:
    seat, calls, disk = line("seat", "10", "20"), by_use(), by_use(name="disk")
    dearer = with_terms(calls, LineTerms(Decimal(1), Decimal("0.01")))

    assert changed_by_use((seat, calls), (line("seat", "11", "20"), calls, disk)) == ()
    assert changed_by_use((seat, calls), (seat, dearer)) == (calls,)
    assert changed_by_use((seat, calls, disk), (seat, disk)) == (calls,)
    assert changed_by_use((seat, calls), ()) == ()
