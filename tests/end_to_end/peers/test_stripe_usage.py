"""What usage costs in the Stripe stand-in, as Stripe's own Python client sees it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
import stripe

from tests.support.stripe_account import StripeAccount
from tests.support.stripe_shop import AUGUST, CHANGE, SEPTEMBER, Shop, seconds

DRAFTED, FINAL = SEPTEMBER + timedelta(minutes=10), SEPTEMBER + timedelta(hours=2)
OCTOBER = datetime(2021, 10, 25, 2, tzinfo=UTC)
VOLUME: list[dict[str, Any]] = [
    {"up_to": 10_000, "unit_amount_decimal": "0.10", "flat_amount": 1_000},
    {"up_to": 50_000, "unit_amount_decimal": "0.08", "flat_amount": 1_000},
    {"up_to": 100_000, "unit_amount_decimal": "0.06", "flat_amount": 1_000},
    {"up_to": "inf", "unit_amount_decimal": "0.04", "flat_amount": 1_000},
]
"""The tiers of worked example U01, in cents."""
PERCENTAGES: list[dict[str, Any]] = [
    {"up_to": 1_000, "unit_amount_decimal": "1", "flat_amount": 20_000},
    {"up_to": 10_000, "unit_amount_decimal": "2", "flat_amount": 30_000},
    {"up_to": "inf", "unit_amount_decimal": "3", "flat_amount": 40_000},
]
"""The tiers of worked example U04: per cents of what is counted in whole dollars."""


class Caller:
    """A customer on a test clock who pays for what it uses."""

    def __init__(self, account: StripeAccount, formula: str = "sum") -> None:
        self.account = account
        self.shop = Shop(account.api)
        self.api = account.api.v1
        meter: Any = {"display_name": "Calls", "event_name": "call", "default_aggregation": {"formula": formula}}
        self.meter = self.api.billing.meters.create(meter).id

    def price(self, **values: Any) -> str:
        recurring = {"interval": "month", "usage_type": "metered", "meter": self.meter}
        product = self.api.products.create({"name": "Call"}).id
        asked: Any = {"currency": "usd", "product": product, "recurring": recurring} | values
        return self.api.prices.create(asked).id

    def tiered(self, mode: str, tiers: list[dict[str, Any]]) -> str:
        return self.price(billing_scheme="tiered", tiers_mode=mode, tiers=tiers)

    def use(self, value: float, at: datetime | None = None) -> str:
        payload = {"stripe_customer_id": self.shop.customer, "value": str(value)}
        asked: Any = {"event_name": "call", "payload": payload} | ({"timestamp": seconds(at)} if at else {})
        return self.api.billing.meter_events.create(asked).identifier

    def preview(self, subscription: stripe.Subscription, **values: Any) -> stripe.Invoice:
        asked: Any = {"subscription": subscription.id} | values
        return self.api.invoices.create_preview(asked)


@pytest.fixture
def caller(account: StripeAccount) -> Caller:
    return Caller(account)


def rows(invoice: stripe.Invoice) -> list[tuple[str | None, str, int]]:
    return [(each.description, str(each.quantity_decimal), each.amount) for each in invoice.lines.data]


def test_usage_is_billed_at_the_end_of_its_period_beside_the_next_one(caller: Caller) -> None:
    seat = caller.shop.price(1_000)
    running = caller.shop.subscribe(seat, caller.price(unit_amount_decimal="0.5"))
    caller.use(100)
    caller.shop.until(CHANGE)
    caller.use(301)
    seen = caller.preview(running)

    caller.shop.until(FINAL)

    first, second = caller.shop.invoices()
    assert rows(first) == [("1 × Seat", "1", 1_000)]
    assert rows(second) == [("1 × Seat", "1", 1_000), ("401 × Call (at $0.005 / month)", "401", 201)]
    assert (rows(seen), seen.total, second.total, second.status) == (rows(second), 1_201, 1_201, "paid")
    seat_line, used = second.lines.data
    assert (used.period.start, used.period.end) == (seconds(AUGUST), seconds(SEPTEMBER))
    assert seat_line.period.start == seconds(SEPTEMBER)
    assert used.pricing is not None
    assert str(used.pricing.unit_amount_decimal) == "0.5"


def test_each_period_has_its_own_usage(caller: Caller) -> None:
    caller.shop.subscribe(caller.price(unit_amount=10))
    caller.use(3)
    caller.shop.until(FINAL)
    caller.use(4)
    caller.shop.until(OCTOBER)

    assert [each.total for each in caller.shop.invoices()] == [30, 40]


def test_usage_that_is_reported_while_the_invoice_is_a_draft_is_on_it(caller: Caller) -> None:
    caller.shop.subscribe(caller.price(unit_amount=10))
    caller.use(3)
    caller.shop.until(DRAFTED)
    (draft,) = caller.shop.invoices()
    caller.use(4, SEPTEMBER - timedelta(minutes=1))
    caller.use(8)
    caller.shop.until(FINAL)
    caller.use(16, SEPTEMBER - timedelta(minutes=1))
    caller.shop.until(OCTOBER)

    first, second = caller.shop.invoices()
    assert (draft.status, draft.total, first.total, second.total) == ("draft", 30, 70, 80)
    assert [each.id for each in first.lines.data] == [each.id for each in draft.lines.data]


def test_volume_tiers_charge_all_at_the_price_of_the_tier_that_is_reached(caller: Caller) -> None:
    """Worked example U01: getlago.com/docs/guide/plans/charges/charge-models/volume."""
    running = caller.shop.subscribe(caller.tiered("volume", VOLUME))
    caller.use(65_000)

    assert rows(caller.preview(running)) == [
        ("65000 × Call (Tier 3 at $0.0006 / month)", "65000", 3_900),
        ("Call (Tier 3 at $10.00 / month)", "1", 1_000),
    ]
    assert caller.preview(running).total == 4_900


@pytest.mark.parametrize(
    ("used", "total"), [(10_000, 2_000), (10_001, 1_800), (50_000, 5_000), (100_000, 7_000), (100_001, 5_000)]
)
def test_the_end_of_a_tier_belongs_to_it(caller: Caller, used: int, total: int) -> None:
    running = caller.shop.subscribe(caller.tiered("volume", VOLUME))
    caller.use(used)

    assert caller.preview(running).total == total


def test_graduated_tiers_charge_each_part_at_its_own_price(caller: Caller) -> None:
    """Worked example U04: getlago.com/docs/guide/plans/charges/charge-models/graduated-percentage. Stripe has no
    percentages: what is counted is the money of the transactions in dollars, at so many cents for each."""
    running = caller.shop.subscribe(caller.tiered("graduated", PERCENTAGES))
    totals = [0]
    for amount in (500, 550, 4_000):
        caller.use(amount)
        totals.append(caller.preview(running).total)

    assert [after - before for before, after in pairwise(totals)] == [20_500, 30_600, 8_000]
    caller.shop.until(FINAL)
    assert rows(caller.shop.invoices()[0]) == [
        ("1000 × Call (Tier 1 at $0.01 / month)", "1000", 1_000),
        ("Call (Tier 1 at $200.00 / month)", "1", 20_000),
        ("4050 × Call (Tier 2 at $0.02 / month)", "4050", 8_100),
        ("Call (Tier 2 at $300.00 / month)", "1", 30_000),
    ]


def test_what_was_used_is_charged_after_the_period_beside_the_fee_of_the_next(caller: Caller) -> None:
    """Worked example U05: killbill-docs, consumable_in_arrear.adoc. 30 a month, and of 13 videos five at 2, eight at
    1."""
    videos = [{"up_to": 5, "unit_amount": 200}, {"up_to": "inf", "unit_amount": 100}]
    caller.shop.subscribe(caller.shop.price(3_000, "Platform"), caller.tiered("graduated", videos))
    caller.use(13)

    caller.shop.until(FINAL)

    first, second = caller.shop.invoices()
    assert (first.total, second.total) == (3_000, 3_000 + 1_800)


def test_a_package_is_charged_for_every_part_of_it(caller: Caller) -> None:
    by_thousand: Any = {"unit_amount": 500, "transform_quantity": {"divide_by": 1_000, "round": "up"}}
    running = caller.shop.subscribe(caller.price(**by_thousand))
    caller.use(2_001)

    assert rows(caller.preview(running)) == [("3 × Call (at $5.00 / month)", "3", 1_500)]


def test_nothing_used_costs_nothing_and_less_than_nothing_neither(caller: Caller) -> None:
    plain, tiered = caller.price(unit_amount=10), caller.tiered("graduated", PERCENTAGES)
    running = caller.shop.subscribe(plain, tiered)

    none = rows(caller.preview(running))
    caller.use(-5)

    assert none == [("0 × Call (at $0.10 / month)", "0", 0), ("0 × Call (Tier 1 at $0.01 / month)", "0", 0)]
    assert caller.preview(running).total == 0


def test_a_cancelled_event_is_not_billed(caller: Caller) -> None:
    running = caller.shop.subscribe(caller.price(unit_amount=10))
    caller.use(3)
    wrong = caller.use(100)
    asked: Any = {"event_name": "call", "type": "cancel", "cancel": {"identifier": wrong}}
    caller.api.billing.meter_event_adjustments.create(asked)

    assert caller.preview(running).total == 30


def test_tax_and_discounts_are_those_of_the_line(caller: Caller) -> None:
    rate = caller.api.tax_rates.create({"display_name": "VAT", "inclusive": False, "percentage": 19}).id
    half = caller.api.coupons.create({"percent_off": 50, "duration": "forever"}).id
    item: Any = {"price": caller.price(unit_amount=10), "tax_rates": [rate]}
    running = caller.shop.subscribe(item, discounts=[{"coupon": half}])
    caller.use(1_000)

    seen = caller.preview(running)

    assert (seen.subtotal, seen.total_excluding_tax, seen.total) == (10_000, 5_000, 5_950)


def test_the_last_usage_is_billed_with_a_cancellation_where_that_is_asked_for(account: StripeAccount) -> None:
    totals: list[list[int]] = []
    for params in ({"invoice_now": True}, {}):
        caller = Caller(account)
        running = caller.shop.subscribe(caller.price(unit_amount=10))
        caller.use(7)
        caller.shop.until(CHANGE)
        asked: Any = params
        caller.api.subscriptions.cancel(running.id, asked)
        totals.append([each.total for each in caller.shop.invoices()])
        caller.api.billing.meters.deactivate(caller.meter)

    assert totals == [[70], []]


def test_a_subscription_that_ends_with_its_period_is_billed_its_last_usage(caller: Caller) -> None:
    running = caller.shop.subscribe(caller.price(unit_amount=10), caller.shop.price(1_000), cancel_at_period_end=True)
    caller.use(7)
    seen = caller.preview(running, subscription_details={"cancel_now": True, "proration_behavior": "none"})

    caller.shop.until(FINAL)

    last = caller.shop.invoices()[-1]
    assert (seen.total, rows(last), last.status) == (70, [("7 × Call (at $0.10 / month)", "7", 70)], "paid")
    assert caller.api.subscriptions.retrieve(running.id).status == "canceled"


def test_a_new_billing_cycle_bills_the_usage_until_then(caller: Caller) -> None:
    running = caller.shop.subscribe(caller.price(unit_amount=10), caller.shop.price(1_000))
    caller.use(7)
    caller.shop.until(CHANGE)

    caller.shop.change(running, billing_cycle_anchor={"type": "now"}, proration_behavior="none")
    caller.use(5)

    assert caller.shop.invoices()[-1].total == 1_070
    assert caller.preview(running).total == 1_050


def test_the_tiers_of_a_price_are_shown_when_they_are_asked_for(caller: Caller) -> None:
    key = caller.tiered("graduated", PERCENTAGES)

    plain, shown = caller.api.prices.retrieve(key), caller.api.prices.retrieve(key, {"expand": ["tiers"]})

    assert "tiers" not in plain.to_dict()
    assert (plain.billing_scheme, plain.tiers_mode, plain.unit_amount) == ("tiered", "graduated", None)
    assert shown.tiers is not None
    tiers = [(each.up_to, each.unit_amount, each.flat_amount) for each in shown.tiers]
    assert tiers == [(1_000, 1, 20_000), (10_000, 2, 30_000), (None, 3, 40_000)]


LAST: Any = {"up_to": "inf", "unit_amount": 1}


@pytest.mark.parametrize(
    "values",
    [
        {"unit_amount": 1, "recurring": {"interval": "month", "usage_type": "metered"}},
        {"unit_amount": 1, "recurring": {"interval": "month", "meter": "METER"}},
        {"unit_amount": 1, "recurring": {"interval": "month", "usage_type": "metered", "meter": "mtr_none"}},
        {"unit_amount": 1, "recurring": {"interval": "month", "usage_type": "counted"}},
        {"billing_scheme": "tiered", "tiers_mode": "volume"},
        {"billing_scheme": "tiered", "tiers": [LAST]},
        {"billing_scheme": "tiered", "tiers": [LAST], "tiers_mode": "stairs"},
        {"billing_scheme": "tiered", "tiers": [LAST], "tiers_mode": "volume", "unit_amount": 1},
        {"billing_scheme": "tiered", "tiers": [{"up_to": 5, "unit_amount": 1}], "tiers_mode": "volume"},
        {"billing_scheme": "tiered", "tiers": [LAST, LAST], "tiers_mode": "volume"},
        {"billing_scheme": "tiered", "tiers": [{"up_to": "inf"}], "tiers_mode": "volume"},
        {"billing_scheme": "tiered", "tiers_mode": "volume"}
        | {"tiers": [{"up_to": 5, "unit_amount": 1}, {"up_to": 5, "unit_amount": 1}, LAST]},
        {"unit_amount": 1, "transform_quantity": {"divide_by": 10, "round": "half"}},
        {"unit_amount": 1, "transform_quantity": {"divide_by": 0, "round": "up"}},
        {},
    ],
)
def test_a_price_that_says_nothing_or_two_things_is_refused(caller: Caller, values: dict[str, Any]) -> None:
    recurring = dict(values.get("recurring", {}))
    if recurring.get("meter") == "METER":
        values = values | {"recurring": recurring | {"meter": caller.meter}}

    with pytest.raises(stripe.InvalidRequestError):
        caller.price(**values)


@pytest.mark.parametrize(("mode", "totals"), [("flexible", []), ("classic", [0])])
def test_a_subscription_of_usage_alone_has_an_empty_first_invoice_in_classic_mode_and_none_in_flexible(
    caller: Caller, mode: str, totals: list[int]
) -> None:
    items = [{"price": caller.price(unit_amount_decimal="0.5")}]
    asked: Any = {"customer": caller.shop.customer, "items": items, "billing_mode": {"type": mode}}

    made = caller.api.subscriptions.create(asked)

    issued = caller.api.invoices.list({"subscription": made.id}).data
    assert (made.status, [each.total for each in issued]) == ("active", totals)
    assert bool(made.latest_invoice) == bool(totals)


def test_a_schedule_bills_usage_beside_a_fee_without_a_quantity_and_takes_none(caller: Caller) -> None:
    by_use = caller.price(unit_amount_decimal="0.5")
    items: list[dict[str, Any]] = [{"price": caller.shop.price(1_000), "quantity": 2}, {"price": by_use}]
    asked: Any = {"customer": caller.shop.customer, "start_date": "now", "phases": [{"items": items}]}
    counted: Any = asked | {"phases": [{"items": [items[0], items[1] | {"quantity": 1}]}]}

    with pytest.raises(stripe.InvalidRequestError, match="quantity for metered plans"):
        caller.api.subscription_schedules.create(counted)
    made = caller.api.subscription_schedules.create(asked)

    found = caller.api.subscriptions.retrieve(str(made.subscription))["items"].data
    assert [each.to_dict().get("quantity") for each in found] == [2, None]
    (first,) = caller.api.invoices.list({"subscription": str(made.subscription)}).data
    assert first.subtotal == 2_000
