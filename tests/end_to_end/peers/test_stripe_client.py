"""The Stripe stand-in, driven by Stripe's own Python library: all that the connector uses, and how it fails."""

from __future__ import annotations

from uuid import uuid4

import pytest
import stripe

from tests.support.environment import Environment
from tests.support.platforms import wait_until
from tests.support.webhook_receiver import receiving


@pytest.fixture
def api(environment: Environment) -> stripe.StripeClient:
    return environment.stripe


def fresh(word: str) -> str:
    return f"{word}_{uuid4().hex[:12]}"


def customer(api: stripe.StripeClient, card: str | None = "pm_card_visa") -> stripe.Customer:
    made = api.v1.customers.create(
        {"name": "Peer GmbH", "email": "peer@example.com", "metadata": {"key": fresh("peer")}}
    )
    if card:
        method = api.v1.payment_methods.attach(card, {"customer": made.id})
        api.v1.customers.update(made.id, {"invoice_settings": {"default_payment_method": method.id}})
    return api.v1.customers.retrieve(made.id)


def price(api: stripe.StripeClient, amount: int, *, recurring: bool = True) -> stripe.Price:
    product = api.v1.products.create({"id": fresh("prod"), "name": "Seat"})
    if recurring:
        return api.v1.prices.create(
            {"product": product.id, "currency": "eur", "unit_amount": amount, "recurring": {"interval": "year"}}
        )
    return api.v1.prices.create({"product": product.id, "currency": "eur", "unit_amount": amount})


def test_a_customer_is_created_found_by_metadata_changed_and_deleted(api: stripe.StripeClient) -> None:
    made = customer(api)
    key = made.metadata["key"] if made.metadata else ""

    found = api.v1.customers.search({"query": f"metadata['key']:'{key}'"}).data
    changed = api.v1.customers.update(made.id, {"name": "Peer AG", "metadata": {"other": "1"}})
    api.v1.customers.delete(made.id)

    assert [each.id for each in found] == [made.id]
    assert changed.name == "Peer AG"
    assert changed.metadata is not None
    assert (changed.metadata["key"], changed.metadata["other"]) == (key, "1")
    assert api.v1.customers.retrieve(made.id).deleted


def test_tax_ids_and_rates_are_kept_and_listed(api: stripe.StripeClient) -> None:
    made = api.v1.customers.create(
        {"name": "Taxed", "tax_id_data": [{"type": "eu_vat", "value": "DE129273398"}], "tax_exempt": "reverse"}
    )
    rate = api.v1.tax_rates.create({"display_name": "VAT", "inclusive": False, "percentage": 19})

    assert [each.value for each in api.v1.customers.tax_ids.list(made.id).data] == ["DE129273398"]
    assert made.tax_exempt == "reverse"
    assert rate.percentage == 19
    assert rate.id in [each.id for each in api.v1.tax_rates.list({"active": True, "limit": 100}).auto_paging_iter()]


def test_products_take_their_own_id_once_and_prices_a_lookup_key_once(api: stripe.StripeClient) -> None:
    sku, key = fresh("sku"), fresh("key")
    api.v1.products.create({"id": sku, "name": "Seat"})
    made = api.v1.prices.create({"product": sku, "currency": "eur", "unit_amount": 500, "lookup_key": key})

    with pytest.raises(stripe.InvalidRequestError) as twice:
        api.v1.products.create({"id": sku, "name": "Seat"})
    with pytest.raises(stripe.InvalidRequestError) as again:
        api.v1.prices.create({"product": sku, "currency": "eur", "unit_amount": 500, "lookup_key": key})

    assert (twice.value.code, again.value.code) == ("resource_already_exists", "resource_already_exists")
    assert [each.id for each in api.v1.prices.list({"lookup_keys": [key]}).data] == [made.id]


def test_a_price_keeps_its_amount_and_gives_its_lookup_key_to_the_next_one_that_asks(api: stripe.StripeClient) -> None:
    sku, key = fresh("sku"), fresh("key")
    api.v1.products.create({"id": sku, "name": "Seat"})
    first = api.v1.prices.create({"product": sku, "currency": "eur", "unit_amount": 500, "lookup_key": key})

    with pytest.raises(stripe.InvalidRequestError) as other_amount:
        api.v1.prices.update(first.id, {"unit_amount": 600})  # pyright: ignore[reportArgumentType]
    second = api.v1.prices.create(
        {"product": sku, "currency": "eur", "unit_amount": 600, "lookup_key": key, "transfer_lookup_key": True}
    )

    assert other_amount.value.code == "parameter_unknown"
    assert api.v1.prices.retrieve(first.id).lookup_key is None
    assert (second.lookup_key, [each.id for each in api.v1.prices.list({"lookup_keys": [key]}).data]) == (
        key,
        [second.id],
    )
    with pytest.raises(stripe.InvalidRequestError, match="already uses that lookup key"):
        api.v1.prices.update(first.id, {"lookup_key": key})
    assert api.v1.prices.update(first.id, {"lookup_key": key, "transfer_lookup_key": True}).lookup_key == key


def test_the_default_price_of_a_product_stays_in_use_and_a_product_with_prices_is_not_deleted(
    api: stripe.StripeClient,
) -> None:
    seat, other = price(api, 500), price(api, 600)
    sku = str(seat.product)
    api.v1.products.update(sku, {"default_price": seat.id})

    with pytest.raises(stripe.InvalidRequestError, match="default price of its product"):
        api.v1.prices.update(seat.id, {"active": False})
    with pytest.raises(stripe.InvalidRequestError, match="not of this product"):
        api.v1.products.update(sku, {"default_price": other.id})
    with pytest.raises(stripe.InvalidRequestError, match="user-created prices"):
        api.v1.products.delete(sku)

    api.v1.products.update(sku, {"default_price": ""})
    assert not api.v1.prices.update(seat.id, {"active": False}).active
    bare = api.v1.products.create({"id": fresh("sku"), "name": "Bare"})
    assert api.v1.products.delete(bare.id).deleted


def test_nothing_new_is_sold_of_what_is_out_of_use_and_what_runs_goes_on(api: stripe.StripeClient) -> None:
    buyer, seat = customer(api), price(api, 500)
    running = api.v1.subscriptions.create({"customer": buyer.id, "items": [{"price": seat.id, "quantity": 1}]})
    api.v1.products.update(str(seat.product), {"active": False})
    sold = {"customer": buyer.id, "items": [{"price": seat.id, "quantity": 1}]}

    with pytest.raises(stripe.InvalidRequestError, match="marked as inactive"):
        api.v1.subscriptions.create(sold)  # pyright: ignore[reportArgumentType]
    api.v1.products.update(str(seat.product), {"active": True})
    api.v1.prices.update(seat.id, {"active": False})
    with pytest.raises(stripe.InvalidRequestError, match="only accepts active prices"):
        api.v1.subscription_schedules.create(
            {"customer": buyer.id, "start_date": "now", "phases": [{"items": [{"price": seat.id, "quantity": 1}]}]}
        )

    item = running["items"].data[0].id
    more = api.v1.subscriptions.update(running.id, {"items": [{"id": item, "quantity": 2}]})
    assert more["items"].data[0].quantity == 2


def test_a_held_schedule_bills_nothing_until_it_is_started(api: stripe.StripeClient) -> None:
    buyer, seat, setup = customer(api), price(api, 24_000), price(api, 150_000, recurring=False)
    rate = api.v1.tax_rates.create({"display_name": "VAT", "inclusive": False, "percentage": 19})
    schedule = api.v1.subscription_schedules.create(
        {
            "customer": buyer.id,
            "start_date": 4_000_000_000,
            "end_behavior": "release",
            "phases": [{"items": [{"price": seat.id, "quantity": 25}], "default_tax_rates": [rate.id]}],
        }
    )
    assert (schedule.status, schedule.subscription) == ("not_started", None)
    assert api.v1.invoices.list({"customer": buyer.id}).data == []

    started = api.v1.subscription_schedules.update(
        schedule.id,
        {
            "phases": [
                {
                    "items": [{"price": seat.id, "quantity": 25}],
                    "add_invoice_items": [{"price": setup.id}],
                    "default_tax_rates": [rate.id],
                    "start_date": "now",
                }
            ]
        },
    )
    assert started.status == "active"
    subscription = api.v1.subscriptions.retrieve(str(started.subscription), {"expand": ["latest_invoice"]})
    draft = subscription.latest_invoice
    assert isinstance(draft, stripe.Invoice)
    assert (draft.status, draft.subtotal, draft.total) == ("draft", 750_000, 892_500)

    final = api.v1.invoices.finalize_invoice(str(draft.id))
    paid = api.v1.invoices.pay(str(final.id), {"expand": ["payments"]})
    assert (paid.status, paid.amount_paid, paid.amount_remaining) == ("paid", 892_500, 0)
    assert paid.payments is not None
    assert paid.payments.data[0].payment.type == "payment_intent"
    intent = api.v1.payment_intents.retrieve(str(paid.payments.data[0].payment.payment_intent))
    assert (intent.status, intent.amount_received) == ("succeeded", 892_500)


def test_a_subscription_of_its_own_is_charged_at_once_and_can_be_cancelled(api: stripe.StripeClient) -> None:
    buyer, seat = customer(api), price(api, 1_000)

    made = api.v1.subscriptions.create({"customer": buyer.id, "items": [{"price": seat.id, "quantity": 3}]})
    invoice = api.v1.invoices.retrieve(str(made.latest_invoice))
    cancelled = api.v1.subscriptions.cancel(made.id)

    assert made.status == "active"
    assert (invoice.status, invoice.total, invoice.billing_reason) == ("paid", 3_000, "subscription_create")
    assert cancelled.status == "canceled"


@pytest.mark.parametrize(
    ("card", "reason"),
    [
        ("pm_card_chargeCustomerFail", "generic_decline"),
        ("pm_card_visa_chargeDeclinedInsufficientFunds", "insufficient_funds"),
    ],
)
def test_a_card_that_declines_leaves_the_invoice_open_and_raises_a_card_error(
    api: stripe.StripeClient, card: str, reason: str
) -> None:
    buyer, seat = customer(api, card), price(api, 1_000)
    made = api.v1.subscriptions.create({"customer": buyer.id, "items": [{"price": seat.id}]})
    invoice = str(made.latest_invoice)

    with pytest.raises(stripe.CardError) as refused:
        api.v1.invoices.pay(invoice)

    assert refused.value.code == "card_declined"
    assert refused.value.error is not None
    assert refused.value.error.decline_code == reason
    assert (made.status, api.v1.invoices.retrieve(invoice).status) == ("incomplete", "open")
    assert {each.status for each in api.v1.charges.list({"customer": buyer.id}).data} == {"failed"}


def test_a_card_that_is_refused_cannot_be_attached(api: stripe.StripeClient) -> None:
    with pytest.raises(stripe.CardError):
        customer(api, "pm_card_chargeDeclined")


def test_an_open_invoice_can_be_voided_and_a_paid_one_cannot(api: stripe.StripeClient) -> None:
    buyer, seat = customer(api, "pm_card_chargeCustomerFail"), price(api, 1_000)
    made = api.v1.subscriptions.create({"customer": buyer.id, "items": [{"price": seat.id}]})

    voided = api.v1.invoices.void_invoice(str(made.latest_invoice))

    assert voided.status == "void"
    with pytest.raises(stripe.InvalidRequestError):
        api.v1.invoices.void_invoice(str(made.latest_invoice))


def test_an_idempotency_key_repeats_the_answer_and_refuses_other_parameters(api: stripe.StripeClient) -> None:
    key = fresh("idem")

    first = api.v1.customers.create({"name": "Once"}, {"idempotency_key": key})
    second = api.v1.customers.create({"name": "Once"}, {"idempotency_key": key})

    assert first.id == second.id
    assert second.last_response is not None
    assert second.last_response.headers["idempotent-replayed"] == "true"
    with pytest.raises(stripe.IdempotencyError):
        api.v1.customers.create({"name": "Twice"}, {"idempotency_key": key})


def test_a_request_that_failed_validation_does_not_use_up_its_key(api: stripe.StripeClient) -> None:
    key = fresh("idem")
    with pytest.raises(stripe.InvalidRequestError):
        api.v1.prices.create({"product": "prod_nowhere", "currency": "eur", "unit_amount": 1}, {"idempotency_key": key})

    assert api.v1.customers.create({"name": "Free"}, {"idempotency_key": key}).name == "Free"


def test_lists_come_newest_first_in_pages(api: stripe.StripeClient) -> None:
    buyer = customer(api)
    made = [
        api.v1.subscriptions.create({"customer": buyer.id, "items": [{"price": price(api, 100).id}]}).id
        for _ in range(5)
    ]

    page = api.v1.subscriptions.list({"customer": buyer.id, "limit": 2})

    assert [each.id for each in page.data] == made[:2:-1]
    assert page.has_more
    assert [each.id for each in page.auto_paging_iter()] == made[::-1]


def test_expansion_puts_objects_in_the_place_of_ids_however_deep(api: stripe.StripeClient) -> None:
    buyer, seat = customer(api), price(api, 100)
    made = api.v1.subscriptions.create(
        {"customer": buyer.id, "items": [{"price": seat.id}], "expand": ["latest_invoice.customer", "customer"]}
    )

    assert isinstance(made.customer, stripe.Customer)
    assert isinstance(made.latest_invoice, stripe.Invoice)
    assert isinstance(made.latest_invoice.customer, stripe.Customer)
    with pytest.raises(stripe.InvalidRequestError, match="cannot be expanded"):
        api.v1.subscriptions.retrieve(made.id, {"expand": ["nonsense"]})


def test_errors_come_as_stripes_own_classes(environment: Environment, api: stripe.StripeClient) -> None:
    with pytest.raises(stripe.InvalidRequestError) as unknown:
        api.v1.customers.create({"nom": "X"})  # pyright: ignore[reportArgumentType]
    stranger = stripe.StripeClient("sk_test_wrong", base_addresses={"api": environment.sandbox.url("billing")})
    with pytest.raises(stripe.AuthenticationError):
        stranger.v1.customers.list()
    environment.fault("billing", kind="status", status=429, matching="GET /v1/customers")
    with pytest.raises(stripe.RateLimitError):
        api.v1.customers.list()

    assert unknown.value.code == "parameter_unknown"


def test_webhooks_are_signed_so_that_stripes_library_accepts_them_and_are_sent_again_when_refused(
    api: stripe.StripeClient,
) -> None:
    with receiving(refusals=2) as target:
        endpoint = api.v1.webhook_endpoints.create({"url": target.url, "enabled_events": ["customer.created"]})
        made = api.v1.customers.create({"name": "Reported"})

        wait_until(lambda: len(target.got) >= 3, 20, "three deliveries")
        api.v1.webhook_endpoints.delete(endpoint.id)

        secret = str(endpoint.secret)
        events = [stripe.Webhook.construct_event(body, header, secret) for body, header in target.got]
        assert {each.id for each in events} == {events[0].id}
        assert events[0].type == "customer.created"
        assert events[0].data.object["id"] == made.id
        with pytest.raises(stripe.SignatureVerificationError):
            stripe.Webhook.construct_event(target.got[0][0] + b" ", target.got[0][1], secret)
        assert events[0].id in [each.id for each in api.v1.events.list({"limit": 100}).data]
