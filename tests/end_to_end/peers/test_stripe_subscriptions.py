"""What Stripe refuses of subscriptions and schedules, as its own Python client sees it."""

from __future__ import annotations

from typing import Any

import pytest
import stripe


def price(api: stripe.StripeClient, amount: int = 1_000, currency: str = "eur", interval: str | None = "month") -> str:
    product = api.v1.products.create({"name": "Seat"}).id
    params: Any = {"product": product, "currency": currency, "unit_amount": amount}
    return api.v1.prices.create(params | ({"recurring": {"interval": interval}} if interval else {})).id


def phase(*prices: str, extra: tuple[str, ...] = ()) -> Any:
    return {"items": [{"price": each} for each in prices], "add_invoice_items": [{"price": each} for each in extra]}


def schedule(api: stripe.StripeClient, customer: str, *phases: Any) -> stripe.SubscriptionSchedule:
    params: Any = {"customer": customer, "start_date": 4_000_000_000, "phases": list(phases)}
    return api.v1.subscription_schedules.create(params)


def test_a_customer_that_pays_in_one_currency_is_not_billed_in_another_until_that_has_ended(
    api: stripe.StripeClient,
) -> None:
    buyer, euros, dollars = api.v1.customers.create().id, price(api), price(api, currency="usd")
    first = schedule(api, buyer, phase(euros))

    with pytest.raises(stripe.InvalidRequestError, match=r"cannot combine currencies .* currency eur") as no:
        schedule(api, buyer, phase(dollars))
    with pytest.raises(stripe.InvalidRequestError, match="cannot combine currencies"):
        api.v1.subscriptions.create({"customer": buyer, "items": [{"price": dollars}]})
    api.v1.subscription_schedules.cancel(first.id)

    assert no.value.http_status == 400
    assert schedule(api, buyer, phase(dollars)).phases[0].currency == "usd"


def test_a_phase_has_one_currency_with_all_that_is_charged_once(api: stripe.StripeClient) -> None:
    buyer = api.v1.customers.create().id
    setup = price(api, currency="usd", interval=None)

    with pytest.raises(stripe.InvalidRequestError, match="cannot combine currencies"):
        schedule(api, buyer, phase(price(api), extra=(setup,)))


def test_the_same_price_is_refused_twice_in_a_subscription_and_in_a_phase(api: stripe.StripeClient) -> None:
    buyer, seat = api.v1.customers.create().id, price(api)

    with pytest.raises(stripe.InvalidRequestError, match=f"multiple subscription items with the same plan: {seat}"):
        api.v1.subscriptions.create({"customer": buyer, "items": [{"price": seat}, {"price": seat}]})
    with pytest.raises(stripe.InvalidRequestError, match="multiple subscription items with the same plan"):
        schedule(api, buyer, phase(seat, seat))


def test_an_invoice_that_is_sent_is_due_some_day_and_one_that_is_charged_is_not(api: stripe.StripeClient) -> None:
    buyer, seat = api.v1.customers.create().id, price(api)
    sent: Any = {"customer": buyer, "collection_method": "send_invoice"}
    charged: Any = {"customer": buyer, "days_until_due": 0}
    items: Any = {"items": [{"price": seat}]}

    for refused in (sent, charged):
        with pytest.raises(stripe.InvalidRequestError, match="days_until_due"):
            api.v1.invoices.create(refused)
        with pytest.raises(stripe.InvalidRequestError, match="days_until_due"):
            api.v1.subscriptions.create(refused | items)
    made = api.v1.invoices.create(sent | {"days_until_due": 0})
    subscription = api.v1.subscriptions.create(sent | items | {"days_until_due": 0})

    assert made.due_date == made.created
    assert subscription.days_until_due == 0


def test_twenty_items_are_taken_and_one_more_is_refused(api: stripe.StripeClient) -> None:
    buyer, prices = api.v1.customers.create().id, [price(api) for _ in range(21)]
    once = [price(api, interval=None) for _ in range(21)]

    taken = schedule(api, buyer, phase(*prices[:20], extra=tuple(once[:20])))

    assert (len(taken.phases[0]["items"]), len(taken.phases[0].add_invoice_items)) == (20, 20)
    with pytest.raises(stripe.InvalidRequestError, match="up to 20") as items:
        schedule(api, buyer, phase(*prices))
    with pytest.raises(stripe.InvalidRequestError, match="up to 20") as extra:
        schedule(api, buyer, phase(prices[0]), phase(prices[0], extra=tuple(once)))
    assert items.value.error
    assert extra.value.error
    assert (items.value.error.param, extra.value.error.param) == ("phases[0][items]", "phases[1][add_invoice_items]")


def test_all_that_a_customer_owes_is_collected_no_more_when_one_of_its_subscriptions_is_cancelled(
    api: stripe.StripeClient,
) -> None:
    buyer, seat, platform = api.v1.customers.create().id, price(api), price(api)
    sent: Any = {"customer": buyer, "collection_method": "send_invoice", "days_until_due": 30}
    kept = api.v1.subscriptions.create(sent | {"items": [{"price": seat}]})
    ended = api.v1.subscriptions.create(sent | {"items": [{"price": platform}]})
    owed = [str(each.latest_invoice) for each in (kept, ended)]
    for each in owed:
        if api.v1.invoices.retrieve(each).status == "draft":
            api.v1.invoices.finalize_invoice(each)
    assert [api.v1.invoices.retrieve(each).auto_advance for each in owed] == [True, True]

    api.v1.subscriptions.cancel(ended.id)

    assert [api.v1.invoices.retrieve(each).auto_advance for each in owed] == [False, False]
    assert api.v1.invoices.update(owed[0], {"auto_advance": True}).auto_advance
    api.v1.invoices.void_invoice(owed[1])
    with pytest.raises(stripe.InvalidRequestError, match="draft or open"):
        api.v1.invoices.update(owed[1], {"auto_advance": True})
