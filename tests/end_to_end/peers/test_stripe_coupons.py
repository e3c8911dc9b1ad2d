"""Coupons and discounts of the Stripe stand-in, on invoices and in prorations, as Stripe's own client sees them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
import stripe

from tests.support.stripe_shop import CHANGE, Shop, first, lines, seconds


@pytest.fixture
def shop(api: stripe.StripeClient) -> Shop:
    return Shop(api)


def coupon(shop: Shop, **params: Any) -> Any:
    return {"coupon": shop.api.v1.coupons.create(params).id}  # pyright: ignore[reportArgumentType]


def off(invoice: stripe.Invoice) -> list[int]:
    return [each.amount for each in invoice.total_discount_amounts or ()]


def test_a_discount_is_taken_off_every_line_and_tax_is_on_what_is_left(shop: Shop) -> None:
    rate = shop.api.v1.tax_rates.create({"display_name": "VAT", "inclusive": False, "percentage": 20})
    tenth = coupon(shop, percent_off=10, duration="forever")

    running = shop.subscribe(
        {"price": shop.price(1_000), "quantity": 3},
        shop.price(505, "Desk"),
        discounts=[tenth],
        default_tax_rates=[rate.id],
    )

    (invoice,) = shop.invoices()
    found = [each.discount_amounts[0].amount for each in invoice.lines.data if each.discount_amounts]
    assert found == [300, 51]
    assert (invoice.subtotal, off(invoice), invoice.total_excluding_tax) == (3_505, [351], 3_154)
    assert invoice.total == 3_154 + 540 + 91
    seen = shop.api.v1.subscriptions.retrieve(running.id, {"expand": ["discounts.source.coupon"]}).discounts[0]
    assert isinstance(seen, stripe.Discount)
    assert isinstance(seen.source.coupon, stripe.Coupon)
    assert (seen.source.coupon.percent_off, seen.source.coupon.times_redeemed, seen.end) == (10, 1, None)


def test_a_fixed_amount_is_spread_over_the_lines_and_sums_up(shop: Shop) -> None:
    shop.subscribe(
        *(shop.price(1_000, name) for name in ("A", "B", "C")),
        discounts=[coupon(shop, amount_off=1_000, currency="usd")],
    )

    (invoice,) = shop.invoices()
    assert sorted(each.discount_amounts[0].amount for each in invoice.lines.data if each.discount_amounts) == [
        333,
        333,
        334,
    ]
    assert (off(invoice), invoice.total) == ([1_000], 2_000)


def test_a_coupon_is_for_its_products_and_never_takes_off_more_than_there_is(shop: Shop) -> None:
    seat, desk = shop.price(1_000), shop.price(400, "Desk")
    of_desk = str(shop.api.v1.prices.retrieve(desk).product)

    shop.subscribe(
        seat, desk, discounts=[coupon(shop, amount_off=900, currency="usd", applies_to={"products": [of_desk]})]
    )

    assert (off(shop.invoices()[0]), shop.invoices()[0].total) == ([400], 1_000)


def test_discounts_stack_each_on_what_is_left_those_of_an_item_first(shop: Shop) -> None:
    half, tenth = coupon(shop, percent_off=50, duration="forever"), coupon(shop, percent_off=10, duration="forever")

    shop.subscribe({"price": shop.price(1_000), "discounts": [half]}, discounts=[tenth])

    assert (off(shop.invoices()[0]), shop.invoices()[0].total) == ([500, 50], 450)


def test_a_coupon_holds_once_for_some_months_or_for_ever(shop: Shop) -> None:
    once, months = (
        coupon(shop, percent_off=10),
        coupon(shop, percent_off=20, duration="repeating", duration_in_months=2),
    )
    running = shop.subscribe(shop.price(1_000), discounts=[once, months])
    assert len(running.discounts) == 1

    for day in (datetime(2021, 9, 26, tzinfo=UTC), datetime(2021, 10, 26, tzinfo=UTC)):
        shop.until(day)

    assert [each.total for each in shop.invoices()] == [720, 800, 1_000]
    assert shop.api.v1.subscriptions.retrieve(running.id).discounts == []
    assert len(shop.events("customer.discount.deleted")) == 2


def test_discounts_are_replaced_kept_by_an_empty_list_and_ended_by_nothing(shop: Shop) -> None:
    running = shop.subscribe(shop.price(1_000), discounts=[coupon(shop, percent_off=10, duration="forever")])

    replaced = shop.change(running, discounts=[coupon(shop, percent_off=20, duration="forever")])
    kept = shop.change(running, discounts=[])
    again = shop.change(running, discounts=[{"discount": str(kept.discounts[0])}])
    ended = shop.change(running, discounts="")

    assert replaced.discounts == kept.discounts == again.discounts != running.discounts
    assert ended.discounts == []


@pytest.mark.parametrize(
    ("mode", "shown", "amounts"),
    [
        ({"type": "flexible"}, "included", [-810, 1_620]),
        ({"type": "flexible", "flexible": {"proration_discounts": "itemized"}}, "itemized", [-900, 1_800]),
        ({"type": "classic"}, "included", [-810, 1_620]),
    ],
)
def test_a_proration_has_its_discount_in_its_amount_or_beside_it(
    shop: Shop, mode: Any, shown: str, amounts: list[int]
) -> None:
    """docs.stripe.com/changelog/clover/2025-09-30/itemize-proration-discount-amounts."""
    tenth = coupon(shop, percent_off=10, duration="forever")
    running = shop.subscribe(shop.price(3_100), billing_mode=mode, discounts=[tenth])
    shop.until(CHANGE)

    shop.change(running, items=[{"id": first(running).id, "quantity": 2}], proration_behavior="always_invoice")

    invoice = shop.invoices()[-1]
    assert [each.amount for each in invoice.lines.data] == amounts
    assert (invoice.total, {each.discountable for each in invoice.lines.data}) == (810, {False})
    found = [each.discount_amounts[0].amount for each in invoice.lines.data if each.discount_amounts]
    assert found == ([-90, 180] if shown == "itemized" else [0, 0])


def test_a_credit_is_of_what_was_paid_after_a_coupon_that_held_once(shop: Shop) -> None:
    running = shop.subscribe(shop.price(3_100), discounts=[coupon(shop, percent_off=50)])
    shop.until(CHANGE)

    shop.change(running, items=[{"id": first(running).id, "quantity": 2}])

    assert [each.amount for each in shop.pending()] == [-450, 1_800]


def test_an_invoice_item_has_a_discount_of_its_own_and_a_negative_one_takes_none(shop: Shop) -> None:
    shop.subscribe(shop.price(1_000), discounts=[coupon(shop, percent_off=10, duration="forever")])
    create: Any = shop.api.v1.invoice_items.create
    of_customer = {"customer": shop.customer, "currency": "usd"}
    create(of_customer | {"amount": 1_000, "discounts": [coupon(shop, percent_off=50)]})
    create(of_customer | {"amount": -200})

    shop.until(datetime(2021, 9, 26, tzinfo=UTC))

    invoice = shop.invoices()[-1]
    assert [each.amount for each in invoice.lines.data] == [1_000, 1_000, -200]
    assert (sorted(off(invoice)), invoice.total) == ([150, 500], 1_150)


def test_a_coupon_is_listed_renamed_and_deleted_and_what_it_was_redeemed_for_goes_on(shop: Shop) -> None:
    tenth = coupon(shop, percent_off=10, duration="forever", id="TENTH")
    shop.subscribe(shop.price(1_000), discounts=[tenth])
    coupons = shop.api.v1.coupons

    assert coupons.update("TENTH", {"name": "A tenth"}).name == "A tenth"
    assert [each.id for each in coupons.list().data] == ["TENTH"]
    with pytest.raises(stripe.InvalidRequestError, match="unknown parameter: percent_off"):
        coupons.update("TENTH", {"percent_off": 20})  # pyright: ignore[reportArgumentType] - that is what is tried
    assert coupons.delete("TENTH").deleted
    shop.until(datetime(2021, 9, 26, tzinfo=UTC))

    assert [each.total for each in shop.invoices()] == [900, 900]
    with pytest.raises(stripe.InvalidRequestError, match="No such coupon"):
        shop.subscribe(shop.price(1_000), discounts=[tenth])


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"percent_off": 10, "amount_off": 10, "currency": "usd"},
        {"percent_off": 0},
        {"percent_off": 100.5},
        {"amount_off": 100},
        {"amount_off": 0, "currency": "usd"},
        {"percent_off": 10, "duration": "twice"},
        {"percent_off": 10, "duration": "repeating"},
        {"percent_off": 10, "duration": "once", "duration_in_months": 1},
        {"percent_off": 10, "applies_to": {"products": ["prod_none"]}},
    ],
)
def test_a_coupon_that_says_nothing_or_too_much_is_refused(shop: Shop, wrong: Any) -> None:
    with pytest.raises(stripe.InvalidRequestError):
        coupon(shop, **wrong)

    assert shop.api.v1.coupons.list().data == []


def test_a_coupon_that_is_used_up_over_or_of_another_currency_is_not_redeemed(shop: Shop) -> None:
    price = shop.price(1_000)
    used, over = (
        coupon(shop, percent_off=10, max_redemptions=1),
        coupon(shop, percent_off=10, redeem_by=seconds(CHANGE)),
    )
    euros = coupon(shop, amount_off=100, currency="eur")
    shop.subscribe(price, discounts=[used])
    shop.until(CHANGE)

    for each, reason in ((used, "used up"), (over, "expired"), (euros, "is in eur")):
        with pytest.raises(stripe.InvalidRequestError, match=reason):
            shop.subscribe(price, discounts=[each])
    assert not shop.api.v1.coupons.retrieve(used["coupon"]).valid
    assert len(lines(shop.invoices()[-1])) == len(shop.invoices()) == 1
