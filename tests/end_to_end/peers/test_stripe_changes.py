"""How the Stripe stand-in changes a running subscription, as Stripe's own Python client sees it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import stripe

from tests.support.stripe_shop import AUGUST, BACKDATED, CHANGE, SEPTEMBER, Shop, first, lines, seconds


@pytest.fixture
def shop(api: stripe.StripeClient) -> Shop:
    return Shop(api)


MODES = pytest.mark.parametrize("mode", ["flexible", "classic"])


@MODES
def test_a_change_halfway_credits_half_and_charges_half_with_the_next_invoice(shop: Shop, mode: str) -> None:
    """P01 (docs.stripe.com/billing/subscriptions/prorations): 10 to 20 a month, halfway: -5 and +10."""
    running = shop.subscribe(shop.price(1_000), billing_mode={"type": mode})
    half = (seconds(AUGUST) + seconds(SEPTEMBER)) // 2

    changed = shop.change(running, items=[{"id": first(running).id, "price": shop.price(2_000)}], proration_date=half)

    assert [each.amount for each in shop.pending()] == [-500, 1_000]
    assert first(changed).id == first(running).id
    assert [each.total for each in shop.invoices()] == [1_000]
    shop.until(datetime(2021, 9, 26, tzinfo=UTC))
    following = shop.invoices()[-1]
    assert (following.total, following.billing_reason, following.status) == (2_500, "subscription_cycle", "paid")
    assert shop.pending() == []


@MODES
def test_nine_days_of_31_are_rounded_for_each_line_and_named_as_stripe_names_them(shop: Shop, mode: str) -> None:
    """Section 8, Stripe's rule (docs.stripe.com/billing/subscriptions/prorations): -2.90 and +5.81, net 2.91."""
    running = shop.subscribe(shop.price(1_000), billing_mode={"type": mode})
    shop.until(CHANGE)

    shop.change(
        running,
        items=[{"id": first(running).id, "price": shop.price(2_000, "Desk"), "quantity": 1}],
        proration_behavior="always_invoice",
    )

    invoice = shop.invoices()[-1]
    assert lines(invoice) == [
        ("Unused time on Seat after 16 Sep 2021", -290),
        ("Remaining time on Desk after 16 Sep 2021", 581),
    ]
    assert (invoice.total, invoice.status, invoice.billing_reason) == (291, "paid", "subscription_update")
    credit, debit = (each.parent for each in invoice.lines.data)
    assert credit is not None
    assert debit is not None
    assert credit.type == debit.type == "subscription_item_details"
    assert credit.subscription_item_details is not None
    assert credit.subscription_item_details.proration
    assert credit.subscription_item_details.proration_details is not None
    credited = credit.subscription_item_details.proration_details.credited_items
    assert credited is not None
    original = shop.invoices()[0]
    assert (credited.invoice, credited.invoice_line_items) == (original.id, [original.lines.data[0].id])
    assert debit.subscription_item_details is not None
    assert debit.subscription_item_details.proration_details is not None
    assert debit.subscription_item_details.proration_details.credited_items is None
    assert [(each.period.start, each.period.end) for each in invoice.lines.data] == [
        (seconds(CHANGE), seconds(SEPTEMBER))
    ] * 2


@pytest.mark.parametrize(("start", "anchor", "cost"), BACKDATED)
def test_a_first_part_of_a_month_is_measured_by_the_month_that_is_imagined_from_its_start(
    api: stripe.StripeClient, start: datetime, anchor: datetime, cost: int
) -> None:
    """P02 and P03 (stripe.com/docs/billing/subscriptions/backdating): 14/28 and 17/31 of a month."""
    shop = Shop(api, start.replace(day=20))
    monthly = shop.price(10_000)

    shop.subscribe(monthly, backdate_start_date=seconds(start), billing_cycle_anchor=seconds(anchor))
    shop.until(anchor.replace(day=2))

    part, whole = shop.invoices()
    assert (part.total, whole.total) == (cost, 10_000)
    assert part.lines.data[0].parent is not None
    assert part.lines.data[0].parent.subscription_item_details is not None
    assert part.lines.data[0].parent.subscription_item_details.proration


@pytest.mark.parametrize(("behavior", "cost"), [("create_prorations", 2_000 + 484 + 1_000), ("none", 1_000)])
def test_time_that_has_passed_is_charged_beside_the_first_period(shop: Shop, behavior: str, cost: int) -> None:
    """stripe.com/docs/billing/subscriptions/backdating: two months and 15 days of 31 until now, without an anchor."""
    start = seconds(datetime(2021, 6, 10, tzinfo=UTC))

    made = shop.subscribe(shop.price(1_000), backdate_start_date=start, proration_behavior=behavior)

    assert (made.start_date, first(made).current_period_start) == (start, seconds(AUGUST))
    assert shop.invoices()[0].total == cost


def test_a_credit_in_flexible_mode_is_of_what_was_billed_and_in_classic_mode_of_what_the_item_is(shop: Shop) -> None:
    """docs.stripe.com/billing/subscriptions/billing-mode/compare: credit proration calculations."""
    amounts: dict[str, list[int]] = {}
    for mode in ("flexible", "classic"):
        running = shop.subscribe(shop.price(3_100), billing_mode={"type": mode})
        item = first(running).id
        shop.change(running, items=[{"id": item, "quantity": 3}], proration_behavior="none")
        shop.change(
            running,
            items=[{"id": item, "quantity": 1}],
            proration_date=seconds(AUGUST),
            proration_behavior="always_invoice",
        )
        amounts[mode] = [each.amount for each in shop.invoices()[-1].lines.data]

    assert amounts == {"flexible": [-3_100, 3_100], "classic": [-9_300, 3_100]}


def test_a_second_change_credits_what_the_first_one_charged(shop: Shop) -> None:
    running = shop.subscribe(shop.price(3_100))
    item = first(running).id
    for day, quantity in ((5, 2), (15, 1)):
        shop.change(
            running,
            items=[{"id": item, "quantity": quantity}],
            proration_date=seconds(datetime(2021, 9, day, tzinfo=UTC)),
        )

    pending = shop.pending()
    assert [each.amount for each in pending] == [-2_000, 4_000, -2_000, 1_000]
    assert [each.description for each in pending][1:3] == [
        "Remaining time on 2 × Seat after 05 Sep 2021",
        "Unused time on 2 × Seat after 15 Sep 2021",
    ]
    details = pending[2].proration_details
    assert details is not None
    assert details.credited_items is not None
    assert (details.credited_items.type, details.credited_items.invoice_item) == ("invoice_item", pending[1].id)


def test_items_are_added_and_deleted_in_one_change(shop: Shop) -> None:
    seat, desk = shop.price(3_100), shop.price(6_200, "Desk")
    running = shop.subscribe(seat)
    shop.until(CHANGE)

    changed = shop.change(running, items=[{"id": first(running).id, "deleted": True}, {"price": desk, "quantity": 2}])

    assert [(each.price.id, each.quantity) for each in changed["items"].data] == [(desk, 2)]
    assert [each.amount for each in shop.pending()] == [-900, 3_600]


def test_the_items_of_a_subscription_have_requests_of_their_own(shop: Shop) -> None:
    items = shop.api.v1.subscription_items
    running = shop.subscribe(shop.price(3_100))
    shop.until(CHANGE)

    made = items.create({"subscription": running.id, "price": shop.price(6_200, "Desk"), "quantity": 2})
    changed = items.update(made.id, {"quantity": 1, "proration_behavior": "none"})
    gone = items.delete(first(running).id, {"proration_behavior": "always_invoice"})

    assert (made.quantity, changed.quantity, gone.deleted) == (2, 1, True)
    assert items.retrieve(made.id).subscription == running.id
    assert [each.id for each in items.list({"subscription": running.id}).data] == [made.id]
    assert lines(shop.invoices()[-1]) == [
        ("Remaining time on 2 × Desk after 16 Sep 2021", 3_600),
        ("Unused time on Seat after 16 Sep 2021", -900),
    ]
    with pytest.raises(stripe.InvalidRequestError, match="clear_usage"):
        items.delete(made.id, {"clear_usage": True})
    with pytest.raises(stripe.InvalidRequestError, match="at least one active plan"):
        items.delete(made.id)


def test_a_negative_invoice_is_paid_at_once_and_goes_to_the_balance_of_the_customer(shop: Shop) -> None:
    running = shop.subscribe({"price": shop.price(3_100), "quantity": 3})
    shop.until(CHANGE)

    shop.change(running, items=[{"id": first(running).id, "quantity": 1}], proration_behavior="always_invoice")

    invoice = shop.invoices()[-1]
    assert (invoice.total, invoice.amount_due, invoice.status) == (-1_800, 0, "paid")
    assert shop.api.v1.customers.retrieve(shop.customer).balance == -1_800


def test_a_change_that_cannot_be_paid_is_refused_where_that_is_asked(shop: Shop) -> None:
    """docs.stripe.com/api/subscriptions/update: `payment_behavior`."""
    running = shop.subscribe(shop.price(3_100))
    item = first(running).id
    poor = shop.api.v1.payment_methods.attach("pm_card_chargeCustomerFail", {"customer": shop.customer}).id
    shop.change(running, default_payment_method=poor)
    change: Any = {"items": [{"id": item, "quantity": 2}], "proration_behavior": "always_invoice"}

    with pytest.raises(stripe.CardError):
        shop.change(running, payment_behavior="error_if_incomplete", **change)
    with pytest.raises(stripe.CardError):
        shop.api.v1.subscription_items.update(
            item, {"quantity": 2, "proration_behavior": "always_invoice", "payment_behavior": "error_if_incomplete"}
        )
    with pytest.raises(stripe.InvalidRequestError, match="knows no payment_behavior"):
        shop.change(running, payment_behavior="pending_if_incomplete", **change)
    assert first(shop.api.v1.subscriptions.retrieve(running.id)).quantity == 1
    assert len(shop.invoices()) == 1

    assert shop.change(running, **change).status == "past_due"
    assert [each.status for each in shop.invoices()] == ["paid", "open"]


def test_a_new_billing_cycle_begins_now_with_a_credit_and_a_whole_period(shop: Shop) -> None:
    running = shop.subscribe(shop.price(3_100))
    shop.until(CHANGE)

    changed = shop.change(running, billing_cycle_anchor={"type": "now"})

    assert (changed.billing_cycle_anchor, first(changed).current_period_start) == (seconds(CHANGE), seconds(CHANGE))
    assert first(changed).current_period_end == seconds(datetime(2021, 10, 16, tzinfo=UTC))
    assert [each.amount for each in shop.invoices()[-1].lines.data] == [3_100, -900]
    with pytest.raises(stripe.InvalidRequestError, match="billing_cycle_anchor"):
        shop.change(running, billing_cycle_anchor="now")


def test_another_interval_begins_a_new_cycle_too(shop: Shop) -> None:
    running = shop.subscribe(shop.price(3_100))
    yearly = shop.price(31_000, recurring={"interval": "year"})
    shop.until(CHANGE)

    changed = shop.change(running, items=[{"id": first(running).id, "price": yearly}])

    assert first(changed).current_period_end == seconds(datetime(2022, 9, 16, tzinfo=UTC))
    assert shop.invoices()[-1].total == 31_000 - 900


def test_a_period_ends_on_the_day_of_the_anchor_or_the_last_of_a_shorter_month(api: stripe.StripeClient) -> None:
    """docs.stripe.com/billing/subscriptions/billing-cycle: a subscription of the 31st."""
    shop = Shop(api, datetime(2024, 1, 31, tzinfo=UTC))
    running = shop.subscribe(shop.price(1_000))
    ends: list[datetime] = []
    for month in (3, 4, 5):
        shop.until(datetime(2024, month, 1, tzinfo=UTC))
        end = first(api.v1.subscriptions.retrieve(running.id)).current_period_end
        ends.append(datetime.fromtimestamp(end, UTC))

    assert [(each.month, each.day) for each in ends] == [(3, 31), (4, 30), (5, 31)]


def test_a_subscription_that_ends_with_its_period_is_cancelled_then_and_bills_what_is_pending(shop: Shop) -> None:
    running = shop.subscribe(shop.price(3_100))
    changed = shop.change(running, cancel_at_period_end=True)
    assert (changed.cancel_at_period_end, changed.cancel_at) == (True, seconds(SEPTEMBER))
    shop.until(CHANGE)
    shop.change(running, items=[{"id": first(running).id, "quantity": 2}])

    shop.until(datetime(2021, 9, 26, tzinfo=UTC))

    over = shop.api.v1.subscriptions.retrieve(running.id)
    assert (over.status, over.ended_at) == ("canceled", seconds(SEPTEMBER))
    assert [each.total for each in shop.invoices()] == [3_100, 900]
    noted = shop.change(running, metadata={"why": "over"}).metadata
    assert noted is not None
    assert noted["why"] == "over"
    with pytest.raises(stripe.InvalidRequestError, match="can only update its cancellation_details and metadata"):
        shop.change(running, description="x")
    with pytest.raises(stripe.InvalidRequestError, match="No such subscription"):
        shop.api.v1.subscriptions.cancel(running.id)


def test_an_end_within_the_period_is_credited_and_taken_back(shop: Shop) -> None:
    running = shop.subscribe(shop.price(3_100))

    changed = shop.change(running, cancel_at=seconds(CHANGE))
    assert first(changed).current_period_end == seconds(CHANGE)
    assert [each.amount for each in shop.pending()] == [-900]
    again = shop.change(running, cancel_at="")

    assert (again.cancel_at, first(again).current_period_end) == (None, seconds(SEPTEMBER))
    assert [each.amount for each in shop.pending()] == [-900, 900]
    with pytest.raises(stripe.InvalidRequestError, match="in the future"):
        shop.change(running, cancel_at=1)


def test_an_end_in_a_later_period_shortens_that_period(shop: Shop) -> None:
    running = shop.subscribe(shop.price(3_000))
    shop.change(running, cancel_at=seconds(datetime(2021, 10, 10, tzinfo=UTC)))

    shop.until(datetime(2021, 10, 11, tzinfo=UTC))

    assert [each.total for each in shop.invoices()] == [3_000, 1_500]
    assert shop.api.v1.subscriptions.retrieve(running.id).status == "canceled"


def test_a_cancellation_credits_and_invoices_as_asked_for(shop: Shop) -> None:
    left = shop.subscribe(shop.price(3_100))
    credited = shop.subscribe(shop.price(3_100))
    billed = shop.subscribe(shop.price(3_100))
    shop.until(CHANGE)

    shop.api.v1.subscriptions.cancel(left.id)
    assert shop.pending() == []
    shop.api.v1.subscriptions.cancel(credited.id, {"prorate": True})
    assert [each.amount for each in shop.pending()] == [-900]
    over = shop.api.v1.subscriptions.cancel(
        billed.id, {"prorate": True, "invoice_now": True, "cancellation_details": {"comment": "too much"}}
    )

    assert over.cancellation_details is not None
    assert (over.cancellation_details.comment, over.cancellation_details.reason) == (
        "too much",
        "cancellation_requested",
    )
    assert shop.invoices()[-1].total == -900
    assert len(shop.pending()) == 1


def test_a_cancellation_that_neither_credits_nor_invoices_removes_pending_prorations(shop: Shop) -> None:
    """docs.stripe.com/api/subscriptions/cancel."""
    running = shop.subscribe(shop.price(3_100))
    shop.until(CHANGE)
    shop.change(running, items=[{"id": first(running).id, "quantity": 2}])
    assert len(shop.pending()) == 2

    shop.api.v1.subscriptions.cancel(running.id)

    assert shop.pending() == []
    assert [each.total for each in shop.invoices()] == [3_100]


def test_what_is_shown_on_invoices_is_changed_and_taken_away(shop: Shop) -> None:
    """docs.stripe.com/api/subscriptions/update: `invoice_settings`."""
    running = shop.subscribe(shop.price(3_100))
    item = first(running).id

    for settings in ({"description": "2 seats", "footer": "Thank you"}, {"description": ""}):
        shop.change(
            running,
            items=[{"id": item, "quantity": 2 if settings["description"] else 1}],
            proration_behavior="always_invoice",
            invoice_settings=settings,
        )

    shown = [(each.description, each.footer) for each in shop.invoices()]
    assert shown == [(None, None), ("2 seats", "Thank you"), (None, "Thank you")]
    with pytest.raises(stripe.InvalidRequestError, match="unknown parameter"):
        shop.change(running, invoice_settings={"days_until_due": 3})


@pytest.mark.parametrize(
    ("behavior", "status"), [("void", "void"), ("mark_uncollectible", "uncollectible"), ("keep_as_draft", "draft")]
)
def test_a_paused_collection_leaves_no_invoice_to_pay_until_it_resumes(shop: Shop, behavior: str, status: str) -> None:
    """docs.stripe.com/billing/subscriptions/pause-payment: the status stays as it is, and no `paused` is reported."""
    running = shop.subscribe(shop.price(3_100))
    resumes = seconds(datetime(2021, 10, 1, tzinfo=UTC))
    paused = shop.change(running, pause_collection={"behavior": behavior, "resumes_at": resumes})

    shop.until(CHANGE)
    shop.until(datetime(2021, 10, 26, tzinfo=UTC))

    assert paused.status == "active"
    assert [each.status for each in shop.invoices()] == ["paid", status, "paid"]
    assert shop.api.v1.subscriptions.retrieve(running.id).pause_collection is None
    assert shop.events("customer.subscription.paused") == []
    with pytest.raises(stripe.InvalidRequestError, match="behavior"):
        shop.change(running, pause_collection={"behavior": "wait"})


def test_what_is_void_while_collection_is_paused_uses_no_credit_of_the_customer(shop: Shop) -> None:
    """docs.stripe.com/billing/subscriptions/pause-payment: with `behavior=void`, and until it is unset."""
    running = shop.subscribe(shop.price(3_100))
    credit = {"amount": -5_000, "currency": "usd"}
    shop.api.v1.customers.balance_transactions.create(shop.customer, credit)  # pyright: ignore[reportArgumentType]
    past = seconds(datetime(2021, 8, 1, tzinfo=UTC))
    for wanted in ({"behavior": "void", "resumes_at": past}, {"resumes_at": seconds(CHANGE)}, {"until": past}):
        with pytest.raises(stripe.InvalidRequestError, match=r"in the future|behavior|unknown parameter"):
            shop.change(running, pause_collection=wanted)
    paused = shop.change(running, pause_collection={"behavior": "void"})
    assert paused.pause_collection
    assert (paused.pause_collection.behavior, paused.pause_collection.resumes_at) == ("void", None)

    shop.until(CHANGE)
    shop.until(datetime(2021, 10, 26, tzinfo=UTC))
    assert [each.status for each in shop.invoices()] == ["paid", "void", "void"]
    assert [(each.amount_remaining, each.amount_paid) for each in shop.invoices()[1:]] == [(0, 0), (0, 0)]
    assert shop.api.v1.customers.retrieve(shop.customer).balance == -5_000

    assert shop.change(running, pause_collection="").pause_collection is None
    assert shop.events("customer.subscription.updated")[-1]["previous_attributes"].keys() == {"pause_collection"}
    shop.until(datetime(2021, 11, 26, tzinfo=UTC))
    assert [each.status for each in shop.invoices()] == ["paid", "void", "void", "paid"]
    assert shop.api.v1.customers.retrieve(shop.customer).balance == -1_900


def test_an_event_names_what_was_before(shop: Shop) -> None:
    running = shop.subscribe({"price": shop.price(3_100), "quantity": 2})

    shop.change(running, items=[{"id": first(running).id, "quantity": 5}], metadata={"a": "b"})

    data = shop.events("customer.subscription.updated")[-1]
    assert data["previous_attributes"].keys() == {"items", "metadata"}
    assert data["previous_attributes"]["items"]["data"][0]["quantity"] == 2
    assert data["object"]["items"]["data"][0]["quantity"] == 5


def metered(shop: Shop) -> str:
    meter: Any = {"display_name": "Calls", "event_name": "call", "default_aggregation": {"formula": "sum"}}
    by_usage = {"interval": "month", "usage_type": "metered", "meter": shop.api.v1.billing.meters.create(meter).id}
    return shop.price(1, recurring=by_usage)


REFUSED: list[tuple[str, Callable[[Shop, str], Any]]] = [
    ("No such subscription item", lambda shop, _: {"items": [{"id": first(shop.subscribe(shop.price(1))).id}]}),
    ("doesn't match the expected currency: `usd`", lambda s, _: {"items": [{"price": s.price(1, currency="eur")}]}),
    ("multiple subscription items", lambda _, seat: {"items": [{"price": seat}]}),
    ("outside of current subscription period", lambda _, __: {"proration_date": seconds(AUGUST) - 1}),
    ("outside of current subscription period", lambda _, __: {"proration_date": seconds(SEPTEMBER) + 1}),
    ("quantity for metered plans", lambda s, _: {"items": [{"price": metered(s), "quantity": 1}]}),
    ("up to 20", lambda s, _: {"items": [{"price": s.price(1)} for _ in range(20)]}),
    ("type=one_time", lambda s, _: {"items": [{"price": s.price(1, recurring="")}]}),
    ("same `recurring.interval`", lambda s, _: {"items": [{"price": s.price(1, recurring={"interval": "year"})}]}),
    ("proration_behavior", lambda _, __: {"proration_behavior": "later"}),
    ("only specify one", lambda _, __: {"cancel_at": seconds(SEPTEMBER), "cancel_at_period_end": True}),
    ("unknown parameter: trial_days", lambda _, __: {"trial_days": 1}),
    ("No such coupon", lambda _, __: {"discounts": [{"coupon": "none"}]}),
]


@pytest.mark.parametrize(("reason", "params"), REFUSED)
def test_a_change_that_is_refused_changes_nothing(shop: Shop, reason: str, params: Callable[[Shop, str], Any]) -> None:
    seat = shop.price(3_100)
    running = shop.subscribe(seat)
    wanted = params(shop, seat)
    before = shop.api.v1.subscriptions.retrieve(running.id).to_dict()

    with pytest.raises(stripe.InvalidRequestError, match=reason):
        shop.change(running, **{"description": "x"} | wanted)

    assert shop.api.v1.subscriptions.retrieve(running.id).to_dict() == before
    assert shop.pending() == []


def test_more_time_than_two_intervals_or_less_than_none_does_not_pass_on_a_clock(shop: Shop) -> None:
    """docs.stripe.com/billing/testing/test-clocks: limits."""
    shop.subscribe(shop.price(3_100))

    for moment in (AUGUST, datetime(2021, 10, 26, tzinfo=UTC)):
        with pytest.raises(stripe.InvalidRequestError):
            shop.until(moment)


def test_a_clock_moves_its_own_customers_alone_and_takes_them_with_it(shop: Shop) -> None:
    clocks = shop.api.v1.test_helpers.test_clocks
    other = Shop(shop.api)
    running, apart = shop.subscribe(shop.price(3_100)), other.subscribe(other.price(3_100))
    for _ in range(2):
        shop.api.v1.customers.create({"test_clock": shop.clock})
    with pytest.raises(stripe.InvalidRequestError, match="up to 3 customers"):
        shop.api.v1.customers.create({"test_clock": shop.clock})

    advancing = clocks.advance(shop.clock, {"frozen_time": seconds(datetime(2021, 9, 26, tzinfo=UTC))})

    assert (advancing.status, clocks.retrieve(shop.clock).status) == ("advancing", "ready")
    assert [len(shop.invoices()), len(other.invoices())] == [2, 1]
    assert shop.invoices()[-1].created == seconds(SEPTEMBER)
    assert shop.api.v1.customers.list().data == []
    assert len(shop.api.v1.customers.list({"test_clock": shop.clock}).data) == 3
    assert clocks.delete(shop.clock).deleted
    assert shop.api.v1.subscriptions.retrieve(running.id).status == "canceled"
    assert shop.api.v1.subscriptions.retrieve(apart.id).status == "active"
    assert [each.id for each in clocks.list().data] == [other.clock]
