"""How the Stripe stand-in takes subscriptions through the phases of a schedule, as Stripe's own client sees it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
import stripe

from tests.support.stripe_shop import AUGUST, CHANGE, SEPTEMBER, Shop, first, lines, seconds

OCTOBER, NOVEMBER = datetime(2021, 10, 25, tzinfo=UTC), datetime(2021, 11, 25, tzinfo=UTC)
MONTH = {"interval": "month", "interval_count": 1}


@pytest.fixture
def shop(api: stripe.StripeClient) -> Shop:
    return Shop(api)


def phase(price: str, quantity: int = 1, **values: Any) -> Any:
    return {"items": [{"price": price, "quantity": quantity}], **values}


def schedule(shop: Shop, *phases: Any, **values: Any) -> stripe.SubscriptionSchedule:
    params: Any = {"customer": shop.customer, "start_date": "now", "phases": list(phases)}
    return shop.api.v1.subscription_schedules.create(params | values)


def update(shop: Shop, made: stripe.SubscriptionSchedule, **params: Any) -> stripe.SubscriptionSchedule:
    return shop.api.v1.subscription_schedules.update(made.id, params)  # pyright: ignore[reportArgumentType]


def now(shop: Shop, made: stripe.SubscriptionSchedule) -> stripe.SubscriptionSchedule:
    return shop.api.v1.subscription_schedules.retrieve(made.id)


def of(shop: Shop, made: stripe.SubscriptionSchedule) -> stripe.Subscription:
    return shop.api.v1.subscriptions.retrieve(str(made.subscription))


def current(made: stripe.SubscriptionSchedule, **values: Any) -> Any:
    """Return the current phase as an update has to pass it."""
    assert made.current_phase is not None
    start = made.current_phase.start_date
    found = next(each for each in made.phases if each.start_date == start)
    (item,) = found["items"]
    return phase(str(item.price), item.quantity or 1, start_date=start, end_date=found.end_date) | values


def shown(made: stripe.SubscriptionSchedule, place: int) -> dict[str, int]:
    return {"start_date": made.phases[place].start_date, "end_date": made.phases[place].end_date}


def test_a_phase_that_ends_with_a_period_is_followed_without_a_proration(shop: Shop) -> None:
    seat, desk = shop.price(3_100), shop.price(6_200, "Desk")
    made = schedule(shop, phase(seat, duration=MONTH), phase(desk, 2, duration=MONTH), end_behavior="release")
    item = first(of(shop, made))

    shop.until(datetime(2021, 9, 26, tzinfo=UTC))

    later = now(shop, made)
    assert later.current_phase is not None
    assert (
        later.current_phase.to_dict()
        == shown(made, 1)
        == {"start_date": seconds(SEPTEMBER), "end_date": seconds(OCTOBER)}
    )
    assert [lines(each) for each in shop.invoices()] == [[("1 × Seat", 3_100)], [("2 × Desk", 12_400)]]
    assert first(of(shop, made)).id != item.id
    shop.until(datetime(2021, 10, 26, tzinfo=UTC))
    over = now(shop, made)
    assert (over.status, over.subscription, over.released_subscription) == ("released", None, made.subscription)
    assert shop.api.v1.subscriptions.retrieve(str(made.subscription)).schedule is None
    assert [each.total for each in shop.invoices()] == [3_100, 12_400, 12_400]


@pytest.mark.parametrize(
    ("behavior", "totals"),
    [("create_prorations", [3_100, 8_900]), ("always_invoice", [3_100, 2_700, 6_200]), ("none", [3_100, 6_200])],
)
def test_a_phase_that_begins_within_a_period_is_prorated_as_it_says(
    shop: Shop, behavior: str, totals: list[int]
) -> None:
    seat = shop.price(3_100)
    september, october = seconds(datetime(2021, 9, 25, tzinfo=UTC)), seconds(OCTOBER)
    begin = datetime.fromtimestamp(september - 27 * 24 * 3600, UTC)
    made = schedule(
        shop,
        phase(seat, end_date=seconds(begin)),
        phase(seat, 2, end_date=october, proration_behavior=behavior),
    )
    item = first(of(shop, made)).id

    shop.until(datetime(2021, 9, 26, tzinfo=UTC))

    assert first(of(shop, made)).id == item
    assert [each.total for each in shop.invoices()] == totals


def test_the_future_of_a_running_schedule_is_changed_and_its_past_is_not(shop: Shop) -> None:
    seat, desk = shop.price(3_100), shop.price(6_200, "Desk")
    made = schedule(shop, phase(seat, duration=MONTH), phase(seat, 2, duration=MONTH), phase(seat, 3, duration=MONTH))
    shop.until(datetime(2021, 9, 26, tzinfo=UTC))
    made = now(shop, made)

    changed = update(shop, made, phases=[current(made), phase(desk, duration=MONTH)], end_behavior="cancel")

    assert [each["items"][0].price for each in changed.phases] == [seat, seat, desk]
    assert shown(changed, 2) == {"start_date": seconds(OCTOBER), "end_date": seconds(NOVEMBER)}
    with pytest.raises(stripe.InvalidRequestError, match="current phase has to be among"):
        update(shop, made, phases=[phase(desk, duration=MONTH)])
    past = phase(seat, 9, start_date=seconds(AUGUST), end_date=seconds(SEPTEMBER))
    with pytest.raises(stripe.InvalidRequestError, match="already ended"):
        update(shop, made, phases=[past, current(made)])
    with pytest.raises(stripe.InvalidRequestError, match=r"unknown parameter: phases\[1\]\[iterations\]"):
        update(shop, made, phases=[current(made), phase(desk, iterations=2)])
    with pytest.raises(stripe.InvalidRequestError, match="start when the one before it ends"):
        update(shop, made, phases=[current(made), phase(desk, start_date=seconds(NOVEMBER))])
    assert now(shop, made).phases == changed.phases


def test_a_changed_current_phase_changes_the_subscription_now(shop: Shop) -> None:
    seat = shop.price(3_100)
    made = schedule(shop, phase(seat, duration=MONTH))
    shop.until(CHANGE)

    update(
        shop,
        made,
        phases=[current(made, items=[{"price": seat, "quantity": 3}])],
        proration_behavior="always_invoice",
    )

    assert first(of(shop, made)).quantity == 3
    assert [each.total for each in shop.invoices()][-1] == 1_800


def test_a_schedule_that_ends_its_subscription_credits_what_is_left_of_a_period(shop: Shop) -> None:
    made = schedule(shop, phase(shop.price(3_100), end_date=seconds(CHANGE)), end_behavior="cancel")

    shop.until(datetime(2021, 9, 17, tzinfo=UTC))

    over = now(shop, made)
    assert (over.status, over.completed_at) == ("completed", seconds(CHANGE))
    assert of(shop, made).status == "canceled"
    assert [each.total for each in shop.invoices()] == [3_100, -900]
    assert shop.events("subscription_schedule.completed")
    assert shop.events("customer.subscription.deleted")


def test_a_running_subscription_is_put_under_a_schedule_and_released_again(shop: Shop) -> None:
    """docs.stripe.com/billing/subscriptions/subscription-schedules: Create a schedule from a subscription."""
    seat, desk = shop.price(3_100), shop.price(6_200, "Desk")
    running = shop.subscribe({"price": seat, "quantity": 2})
    create: Any = shop.api.v1.subscription_schedules.create

    made: stripe.SubscriptionSchedule = create({"from_subscription": running.id})

    assert (made.status, made.subscription, len(made.phases)) == ("active", running.id, 1)
    assert shown(made, 0) == {"start_date": seconds(AUGUST), "end_date": seconds(SEPTEMBER)}
    assert of(shop, made).schedule == made.id
    with pytest.raises(stripe.InvalidRequestError, match="already attached to a schedule"):
        create({"from_subscription": running.id})
    with pytest.raises(stripe.InvalidRequestError, match="when `from_subscription` is set"):
        create({"from_subscription": running.id, "end_behavior": "cancel"})
    with pytest.raises(stripe.InvalidRequestError, match="managed by the subscription schedule"):
        shop.change(running, cancel_at_period_end=True)
    update(shop, made, phases=[current(made), phase(desk, duration=MONTH)])
    shop.until(datetime(2021, 9, 26, tzinfo=UTC))
    released = shop.api.v1.subscription_schedules.release(made.id)

    assert (released.status, released.released_subscription, released.subscription) == ("released", running.id, None)
    assert [each.total for each in shop.invoices()] == [6_200, 6_200]
    assert first(shop.api.v1.subscriptions.retrieve(running.id)).price.id == desk
    for late in (shop.api.v1.subscription_schedules.release, shop.api.v1.subscription_schedules.cancel):
        with pytest.raises(stripe.InvalidRequestError, match="released"):
            late(made.id)
    with pytest.raises(stripe.InvalidRequestError, match="released"):
        update(shop, made, metadata={"a": "b"})


@pytest.mark.parametrize(
    ("params", "totals"), [({}, [3_100, -900]), ({"prorate": False}, [3_100]), ({"invoice_now": False}, [3_100])]
)
def test_a_cancelled_schedule_cancels_its_subscription_and_credits_it_unless_that_is_declined(
    shop: Shop, params: Any, totals: list[int]
) -> None:
    """docs.stripe.com/api/subscription_schedules/cancel: `invoice_now` and `prorate` are true by default."""
    made = schedule(shop, phase(shop.price(3_100), duration=MONTH))
    shop.until(CHANGE)

    over = shop.api.v1.subscription_schedules.cancel(made.id, params)

    assert (over.status, of(shop, made).status) == ("canceled", "canceled")
    assert [each.total for each in shop.invoices()] == totals
    assert shop.events("subscription_schedule.canceled")


def test_a_subscription_that_is_cancelled_cancels_its_schedule(shop: Shop) -> None:
    made = schedule(shop, phase(shop.price(3_100), duration=MONTH))

    shop.api.v1.subscriptions.cancel(str(made.subscription))

    assert now(shop, made).status == "canceled"


def test_a_phase_brings_its_discounts_its_one_off_prices_and_its_terms(shop: Shop) -> None:
    seat, setup = shop.price(3_000), shop.price(500, "Setup", recurring="")
    tenth = shop.api.v1.coupons.create({"percent_off": 10, "duration": "forever"}).id
    made = schedule(
        shop,
        phase(seat, duration=MONTH),
        phase(
            seat,
            duration=MONTH,
            discounts=[{"coupon": tenth}],
            add_invoice_items=[{"price": setup}],
            metadata={"year": "2"},
        ),
    )
    assert made.phases[1].discounts[0].coupon == tenth

    shop.until(datetime(2021, 9, 26, tzinfo=UTC))

    invoice = shop.invoices()[-1]
    assert (lines(invoice), invoice.total) == ([("1 × Seat", 3_000), ("Setup", 500)], 3_150)
    assert of(shop, made).metadata["year"] == "2"


def test_a_new_billing_cycle_begins_with_a_phase_that_says_so(shop: Shop) -> None:
    seat = shop.price(3_100)
    made = schedule(
        shop,
        phase(seat, end_date=seconds(CHANGE)),
        phase(seat, 2, duration=MONTH, billing_cycle_anchor="phase_start"),
    )

    shop.until(datetime(2021, 9, 17, tzinfo=UTC))

    assert first(of(shop, made)).current_period_start == seconds(CHANGE)
    assert shop.invoices()[-1].total == 6_200 - 900


def test_the_events_of_a_schedule_name_what_was_before(shop: Shop) -> None:
    seat = shop.price(3_100)
    made = schedule(shop, phase(seat, duration=MONTH), phase(seat, 2, duration=MONTH))

    shop.until(datetime(2021, 9, 26, tzinfo=UTC))

    data = shop.events("subscription_schedule.updated")[-1]
    assert data["previous_attributes"] == {"current_phase": shown(made, 0)}
    changes = [each["previous_attributes"] for each in shop.events("customer.subscription.updated")]
    assert {"items"} <= {name for each in changes for name in each}


def test_what_a_schedule_will_bill_is_previewed(shop: Shop) -> None:
    """docs.stripe.com/api/invoices/create_preview: `schedule` and `schedule_details`."""
    seat = shop.price(3_100)
    preview: Any = shop.api.v1.invoices.create_preview
    planned = [phase(seat, duration=MONTH), phase(seat, 2, duration=MONTH)]
    begins_now = [planned[0] | {"start_date": "now"}, planned[1]]
    coming = preview({"customer": shop.customer, "schedule_details": {"phases": begins_now}})
    made = schedule(shop, *planned)
    following = preview({"schedule": made.id})
    other = preview(
        {
            "schedule": made.id,
            "schedule_details": {
                "phases": [current(made, items=[{"price": seat, "quantity": 4}])],
                "proration_behavior": "always_invoice",
            },
        }
    )
    assert shop.invoices()[0].total == coming.total == 3_100
    assert other.total == 9_300

    shop.until(datetime(2021, 9, 26, tzinfo=UTC))

    assert lines(following) == lines(shop.invoices()[-1]) == [("2 × Seat", 6_200)]
    with pytest.raises(stripe.InvalidRequestError, match=r"Missing required param: .*\[start_date\]"):
        preview({"customer": shop.customer, "schedule_details": {"phases": planned}})
    shown = [begins_now[0] | {"invoice_settings": {"footer": "Thank you"}}]
    with pytest.raises(stripe.InvalidRequestError, match=r"unknown parameter: .*\[footer\]"):
        preview({"customer": shop.customer, "schedule_details": {"phases": shown}})
    with pytest.raises(stripe.InvalidRequestError, match="for a schedule that exists"):
        preview({"schedule": made.id, "schedule_details": {"billing_mode": {"type": "classic"}}})


def test_phases_pass_with_the_clock_of_the_sandbox_too(api: stripe.StripeClient, account: Any) -> None:
    buyer = api.v1.customers.create().id
    shop = Shop(api)
    seat = shop.price(3_100)
    params: Any = {
        "customer": buyer,
        "start_date": "now",
        "phases": [phase(seat, 1, duration=MONTH), phase(seat, 2, duration=MONTH)],
    }
    made = api.v1.subscription_schedules.create(params)

    account.wait(32 * 24 * 3600)

    later = api.v1.invoices.list({"customer": buyer}).data
    assert [each.total for each in later] == [6_200, 3_100]
    assert first(of(shop, made)).quantity == 2
