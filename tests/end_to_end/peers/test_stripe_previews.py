"""What the Stripe stand-in previews is what it then bills, as Stripe's own Python client sees it."""

from __future__ import annotations

from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

import pytest
import stripe
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.stripe_shop import AUGUST, BACKDATED, CHANGE, SEPTEMBER, Shop, first, lines, seconds

DAY = 24 * 3600
MODES = pytest.mark.parametrize("mode", ["flexible", "classic"])


@pytest.fixture
def shop(api: stripe.StripeClient) -> Shop:
    return Shop(api)


def preview(shop: Shop, **params: Any) -> stripe.Invoice:
    return shop.api.v1.invoices.create_preview(params)  # pyright: ignore[reportArgumentType]


def amounts(invoice: stripe.Invoice) -> tuple[Any, ...]:
    """Return what an invoice says of money."""
    taxes = sum(each.amount for each in invoice.total_taxes or ())
    return (
        [
            (each.description, each.amount, each.quantity, each.period.start, each.period.end)
            for each in invoice.lines.data
        ],
        [each.amount for each in invoice.total_discount_amounts or ()],
        (invoice.subtotal, taxes, invoice.total, invoice.amount_due, invoice.starting_balance, invoice.ending_balance),
    )


@MODES
def test_the_worked_examples_are_previewed_before_they_are_charged(shop: Shop, mode: str) -> None:
    """P01 and section 8, by docs.stripe.com/billing/subscriptions/prorations: Preview a proration."""
    running = shop.subscribe(shop.price(1_000), billing_mode={"type": mode})
    change = {"id": first(running).id, "price": shop.price(2_000)}
    half = (seconds(AUGUST) + seconds(SEPTEMBER)) // 2

    def asked(at: int | None, behavior: str) -> list[int]:
        details: Any = {"items": [change], "proration_behavior": behavior}
        if at is not None:
            details["proration_date"] = at
        found = preview(shop, subscription=running.id, subscription_details=details)
        assert (found.status, found.billing_reason, found.number) == ("draft", "upcoming", None)
        return [each.amount for each in found.lines.data]

    assert asked(half, "create_prorations") == [2_000, -500, 1_000]
    assert asked(half, "always_invoice") == [-500, 1_000]
    assert asked(seconds(CHANGE), "always_invoice") == [-290, 581]
    assert asked(None, "none") == [2_000]
    with pytest.raises(stripe.InvalidRequestError, match="proration_behavior"):
        asked(half, "none")
    assert shop.pending() == []
    assert [each.total for each in shop.invoices()] == [1_000]
    assert first(shop.api.v1.subscriptions.retrieve(running.id)).price.unit_amount == 1_000


@pytest.mark.parametrize(("start", "anchor", "cost"), BACKDATED)
def test_a_new_subscription_with_a_part_of_a_month_is_previewed(
    api: stripe.StripeClient, start: datetime, anchor: datetime, cost: int
) -> None:
    """P02 and P03 (stripe.com/docs/billing/subscriptions/backdating)."""
    shop = Shop(api, start.replace(day=20))
    details = {
        "items": [{"price": shop.price(10_000)}],
        "start_date": seconds(start),
        "billing_cycle_anchor": {"type": "timestamp", "timestamp": seconds(anchor)},
    }

    assert preview(shop, customer=shop.customer, subscription_details=details).total == cost
    assert preview(shop, customer=shop.customer, subscription_details=details, preview_mode="recurring").total == 10_000
    assert api.v1.subscriptions.list({"customer": shop.customer}).data == []


CURRENCIES = st.sampled_from(
    [("usd", 1_999), ("eur", 5), ("jpy", 777), ("ugx", 123_400), ("isk", 99_900), ("kwd", 12_340), ("bhd", 70)]
)
STARTS = st.sampled_from(
    [(2024, 1, 31), (2024, 2, 29), (2023, 2, 28), (2023, 12, 31), (2024, 1, 30), (2024, 2, 1), (2023, 11, 15)]
)


def rounded(amount: Fraction, currency: str) -> int:
    """Return an amount rounded half up to what can be charged (docs.stripe.com/currencies)."""
    step = {"ugx": 100, "isk": 100, "kwd": 10, "bhd": 10}.get(currency, 1)
    return int(amount / step + Fraction(1, 2)) * step


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    currency=CURRENCIES,
    start=STARTS,
    part=st.integers(0, 10_000),
    quantities=st.tuples(st.integers(1, 40), st.integers(0, 40), st.integers(1, 9)),
    other=st.integers(1, 9),
    mode=st.sampled_from(["classic", "included", "itemized"]),
    behavior=st.sampled_from(["create_prorations", "always_invoice", "none"]),
    interval=st.sampled_from(["week", "month", "year"]),
    coupon=st.sampled_from([None, {"percent_off": 12.5}, {"amount_off": 1_000}]),
    again=st.booleans(),
)
def test_a_preview_is_the_invoice_that_then_comes(
    api: stripe.StripeClient,
    currency: tuple[str, int],
    start: tuple[int, int, int],
    part: int,
    quantities: tuple[int, int, int],
    other: int,
    mode: str,
    behavior: str,
    interval: str,
    coupon: Any,
    *,
    again: bool,
) -> None:
    name, amount = currency
    shop = Shop(api, datetime(*start, 10, 30, 7, tzinfo=UTC))
    rate = api.v1.tax_rates.create({"display_name": "VAT", "inclusive": False, "percentage": 19})
    sold: Any = {"currency": name, "recurring": {"interval": interval}}
    seat, desk = shop.price(amount, **sold), shop.price(amount * other, "Desk", **sold)
    billing: Any = {"type": "classic"} if mode == "classic" else {"type": "flexible"}
    if mode != "classic":
        billing["flexible"] = {"proration_discounts": mode}
    params: Any = {"billing_mode": billing, "default_tax_rates": [rate.id]}
    if coupon:
        params["discounts"] = [{"coupon": api.v1.coupons.create(coupon | {"currency": name, "duration": "forever"}).id}]
    running = shop.subscribe({"price": seat, "quantity": quantities[0]}, **params)
    begins, ends = first(running).current_period_start, first(running).current_period_end
    if again:
        early = begins + (ends - begins) * part // 20_000
        shop.change(running, items=[{"id": first(running).id, "quantity": quantities[2]}], proration_date=early)
    rows: Any = [{"price": desk, "quantity": quantities[2]}, {"id": first(running).id, "quantity": quantities[1]}]
    if not quantities[1]:
        rows[1] = {"id": first(running).id, "deleted": True}
    at = begins + (ends - begins) * part // 10_000
    details: Any = {"items": rows, "proration_behavior": behavior}
    if behavior != "none":
        details["proration_date"] = at

    seen = preview(shop, subscription=running.id, subscription_details=details)
    whole = preview(shop, subscription=running.id, subscription_details=details, preview_mode="recurring")
    shop.change(running, **details)
    present = shop.invoices()
    if len(present) == 1:
        shop.until(datetime.fromtimestamp(ends + 2 * 3600, UTC))
    billed = shop.invoices()[1]

    assert amounts(seen) == amounts(billed)
    if not (again or coupon) and behavior != "none" and quantities[0] != quantities[1]:
        left = Fraction(ends - at, ends - begins)
        old, new, kept = (
            amount * quantities[0] * left,
            amount * other * quantities[2] * left,
            amount * quantities[1] * left,
        )
        assert sorted(each.amount for each in seen.lines.data if each.period.start < ends) == sorted(
            each for each in (-rounded(old, name), rounded(new, name), rounded(kept, name)) if each
        )
    shop.until(datetime.fromtimestamp(ends + 3 * 3600, UTC))
    following = shop.invoices()[-1]
    once = [each for each in following.lines.data if each.period.start < ends]
    assert whole.subtotal == following.subtotal - sum(each.amount for each in once)


def test_a_preview_of_an_end_now_credits_what_is_left(shop: Shop) -> None:
    running = shop.subscribe(shop.price(3_100))
    shop.until(CHANGE)

    now = preview(shop, subscription=running.id, subscription_details={"cancel_now": True})
    shop.api.v1.subscriptions.cancel(running.id, {"prorate": True, "invoice_now": True})

    assert amounts(now) == amounts(shop.invoices()[-1])
    assert now.total == -900


def test_a_preview_of_a_new_billing_cycle_or_an_end_is_what_then_comes(shop: Shop) -> None:
    again, ends = shop.subscribe(shop.price(3_100)), shop.subscribe(shop.price(3_000))
    shop.until(CHANGE)
    anchor: Any = {"billing_cycle_anchor": {"type": "now"}}
    end: Any = {"cancel_at": seconds(datetime(2021, 10, 10, tzinfo=UTC))}

    seen = [
        preview(shop, subscription=again.id, subscription_details=anchor),
        preview(shop, subscription=ends.id, subscription_details=end),
    ]
    shop.change(again, **anchor)
    shop.change(ends, **end)
    billed = shop.invoices()[-1]
    shop.until(datetime(2021, 9, 26, tzinfo=UTC))

    assert [each.total for each in seen] == [3_100 - 900, 1_500]
    assert amounts(seen[0]) == amounts(billed)
    assert amounts(seen[1]) == amounts(shop.invoices()[-1])


def test_what_is_charged_beside_and_the_balance_are_in_the_preview(shop: Shop) -> None:
    running = shop.subscribe(shop.price(3_100))
    shop.api.v1.customers.balance_transactions.create(shop.customer, {"amount": -500, "currency": "usd"})
    extra: Any = [{"amount": 250, "currency": "usd", "description": "Setup"}]

    seen = preview(shop, subscription=running.id, invoice_items=extra)
    shop.api.v1.invoice_items.create(extra[0] | {"customer": shop.customer})
    shop.until(datetime(2021, 9, 26, tzinfo=UTC))

    assert lines(seen) == lines(shop.invoices()[-1])
    assert (seen.total, seen.amount_due) == (3_350, 2_850)
    assert amounts(seen) == amounts(shop.invoices()[-1])


REFUSED: list[tuple[str, Any]] = [
    ("must specify one of", {}),
    ("preview_mode", {"customer": "", "preview_mode": "last"}),
    ("without specifying a subscription", {"customer": "", "subscription_details": {"proration_date": 1}}),
    ("unknown parameter: subscription_details", {"subscription": "", "subscription_details": {"trial": 1}}),
    ("only specify one", {"subscription": "", "schedule": "sub_sched_1"}),
    ("for a subscription that exists", {"subscription": "", "subscription_details": {"start_date": 1}}),
    ("No such subscription", {"subscription": "sub_none"}),
    ("outside of current", {"subscription": "", "subscription_details": {"proration_date": seconds(AUGUST) - 1}}),
]


@pytest.mark.parametrize(("reason", "params"), REFUSED)
def test_a_preview_of_what_cannot_be_is_refused(shop: Shop, reason: str, params: Any) -> None:
    own = {"customer": shop.customer, "subscription": shop.subscribe(shop.price(3_100)).id}

    with pytest.raises(stripe.InvalidRequestError, match=reason):
        preview(shop, **{name: own.get(name) if each == "" else each for name, each in params.items()})


def test_the_lines_of_a_preview_are_read_page_by_page(shop: Shop) -> None:
    running = shop.subscribe(*(shop.price(100 + place, f"Seat {place}") for place in range(12)))

    seen = preview(shop, subscription=running.id)

    assert (len(seen.lines.data), seen.lines.has_more) == (10, True)
    rest = shop.api.v1.invoices.line_items.list(str(seen.id), {"limit": 100, "starting_after": seen.lines.data[-1].id})
    assert [each.amount for each in (*seen.lines.data, *rest.data)] == [100 + place for place in range(12)]


def test_a_subscription_that_ends_has_no_upcoming_invoice(shop: Shop) -> None:
    running = shop.subscribe(shop.price(3_100))
    shop.change(running, cancel_at_period_end=True)

    with pytest.raises(stripe.InvalidRequestError) as none:
        preview(shop, subscription=running.id)

    assert (none.value.code, none.value.http_status) == ("invoice_upcoming_none", 404)
