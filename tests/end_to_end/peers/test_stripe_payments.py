"""How invoices of the Stripe stand-in are paid and end, as Stripe's own Python client sees it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import stripe

from tests.support.stripe_account import StripeAccount

DAY = 24 * 3600


def buyer(api: stripe.StripeClient, method: str = "pm_card_visa", **facts: Any) -> str:
    params: Any = {"payment_method": method, "invoice_settings": {"default_payment_method": method}} | facts
    return api.v1.customers.create(params).id


def subscribed(api: stripe.StripeClient, customer: str, amount: int, **facts: Any) -> stripe.Subscription:
    product = api.v1.products.create({"name": "Seat"}).id
    recurring: Any = {"interval": "month"}
    price = api.v1.prices.create({"product": product, "currency": "eur", "unit_amount": amount, "recurring": recurring})
    params: Any = {"customer": customer, "items": [{"price": price.id}]} | facts
    return api.v1.subscriptions.create(params)


def first_invoice(api: stripe.StripeClient, customer: str, amount: int, **facts: Any) -> stripe.Invoice:
    return read(api, str(subscribed(api, customer, amount, **facts).latest_invoice))


def read(api: stripe.StripeClient, invoice: str) -> stripe.Invoice:
    return api.v1.invoices.retrieve(invoice, {"expand": ["payments"]})


def billed(api: stripe.StripeClient, customer: str, amount: int) -> stripe.Invoice:
    """Return an open invoice over one item, which the customer is to pay by itself."""
    draft = api.v1.invoices.create({"customer": customer, "collection_method": "send_invoice", "days_until_due": 30})
    api.v1.invoice_items.create({"customer": customer, "amount": amount, "currency": "eur", "invoice": draft.id})
    return api.v1.invoices.finalize_invoice(draft.id)


def payments(invoice: stripe.Invoice) -> list[tuple[str, int | None]]:
    assert invoice.payments is not None
    return [(each.status, each.amount_paid) for each in invoice.payments.data]


def events(api: stripe.StripeClient, invoice: str) -> list[str]:
    """Return the types of the events about an invoice, the first one first."""
    found = api.v1.events.list({"limit": 100}).auto_paging_iter()
    return [each.type for each in found if each.data.object["id"] == invoice][::-1]


def booked(api: stripe.StripeClient, customer: str) -> list[tuple[str, int, int]]:
    found = api.v1.customers.balance_transactions.list(customer).data[::-1]
    return [(each.type, each.amount, each.ending_balance) for each in found]


def test_an_invoice_of_nothing_is_paid_at_once_without_a_payment(api: stripe.StripeClient) -> None:
    made = first_invoice(api, buyer(api), 0)

    assert (made.status, made.amount_paid, made.attempt_count, payments(made)) == ("paid", 0, 0, [])
    assert events(api, str(made.id)) == [
        "invoice.created",
        "invoice.finalized",
        "invoice.paid",
        "invoice.payment_succeeded",
    ]


def test_less_than_the_minimum_charge_is_carried_over_to_the_next_invoice(api: stripe.StripeClient) -> None:
    customer = buyer(api)

    small = first_invoice(api, customer, 49)
    owed = api.v1.customers.retrieve(customer).balance
    second = first_invoice(api, customer, 30)

    assert (small.status, small.total, small.amount_due, small.ending_balance) == ("paid", 49, 0, 49)
    assert (payments(small), owed) == ([], 49)
    assert (second.total, second.starting_balance, second.amount_due, second.amount_paid) == (30, 49, 79, 79)
    assert booked(api, customer) == [("invoice_too_small", 49, 49), ("applied_to_invoice", -49, 0)]


def test_a_credit_of_the_customer_is_used_before_its_payment_method(api: stripe.StripeClient) -> None:
    customer = buyer(api)
    api.v1.customers.balance_transactions.create(customer, {"amount": -700, "currency": "eur"})

    whole = first_invoice(api, customer, 500)
    rest = first_invoice(api, customer, 1_000)

    assert (whole.status, whole.amount_due, payments(whole)) == ("paid", 0, [])
    assert (rest.status, rest.total, rest.amount_due, payments(rest)) == ("paid", 1_000, 800, [("paid", 800)])
    assert booked(api, customer)[1:] == [("applied_to_invoice", 500, -200), ("applied_to_invoice", 200, 0)]


def test_a_draft_shows_what_is_to_be_paid_after_the_present_balance_and_uses_none_of_it(
    api: stripe.StripeClient,
) -> None:
    customer = buyer(api)
    draft = api.v1.invoices.create({"customer": customer}).id

    def shown() -> tuple[int, int, int, int | None]:
        found = api.v1.invoices.retrieve(draft)
        return found.total, found.starting_balance, found.amount_due, api.v1.customers.retrieve(customer).balance

    api.v1.customers.balance_transactions.create(customer, {"amount": -2_000, "currency": "eur"})
    api.v1.invoice_items.create({"customer": customer, "amount": 10_000, "currency": "eur", "invoice": draft})
    assert shown() == (10_000, -2_000, 8_000, -2_000)
    api.v1.customers.balance_transactions.create(customer, {"amount": -9_000, "currency": "eur"})
    assert shown() == (10_000, -11_000, 0, -11_000)
    api.v1.customers.balance_transactions.create(customer, {"amount": 11_500, "currency": "eur"})
    assert shown() == (10_000, 500, 10_500, 500)
    assert api.v1.invoices.finalize_invoice(draft).amount_due == 10_500


def test_a_balance_that_is_set_is_a_transaction_as_well(api: stripe.StripeClient) -> None:
    customer = buyer(api, balance=-100)

    assert api.v1.customers.update(customer, {"balance": -300}).balance == -300
    assert booked(api, customer) == [("adjustment", -200, -300)]


def test_an_invoice_that_was_paid_outside_of_stripe_has_no_payment_that_succeeded(api: stripe.StripeClient) -> None:
    made = billed(api, buyer(api), 11_900)

    api.v1.invoices.pay(str(made.id), {"paid_out_of_band": True})

    paid = read(api, str(made.id))
    assert (paid.status, paid.amount_paid, paid.amount_remaining) == ("paid", 11_900, 0)
    assert payments(paid) == [("canceled", None)]
    assert events(api, str(made.id))[-1] == "invoice.paid"
    assert api.v1.charges.list({"customer": str(made.customer)}).data == []


def test_an_invoice_is_paid_in_parts_and_what_is_too_much_is_a_credit(api: stripe.StripeClient) -> None:
    customer = buyer(api)
    made = billed(api, customer, 11_900)
    method = str(api.v1.payment_methods.attach("pm_card_visa", {"customer": customer}).id)

    def pay_part(amount: int) -> stripe.Invoice:
        intent = api.v1.payment_intents.create(
            {"amount": amount, "currency": "eur", "customer": customer, "payment_method": method, "confirm": True}
        )
        api.v1.invoices.attach_payment(str(made.id), {"payment_intent": intent.id})
        return read(api, str(made.id))

    part, whole = pay_part(6_000), pay_part(6_000)

    assert (part.status, part.amount_paid, part.amount_remaining) == ("open", 6_000, 5_900)
    assert (whole.status, whole.amount_paid, whole.amount_overpaid) == ("paid", 11_900, 100)
    assert sorted(payments(whole), key=str) == [("canceled", None), ("paid", 5_900), ("paid", 6_000)]
    assert booked(api, customer) == [("invoice_overpaid", -100, -100)]


def record(api: stripe.StripeClient, amount: int, outcome: str = "guaranteed", currency: str = "eur") -> str:
    """Report a bank transfer, and return its id."""
    params: Any = {
        "amount_requested": {"currency": currency, "value": amount},
        "initiated_at": 1_700_000_000,
        "outcome": outcome,
        "payment_method_details": {"type": "custom", "custom": {"display_name": "Bank transfer"}},
    }
    return api.v1.payment_records.report_payment(params).id


def test_a_bank_transfer_that_was_reported_is_a_payment_record_of_the_invoice(api: stripe.StripeClient) -> None:
    made = billed(api, buyer(api), 11_900)
    transfer = record(api, 11_900)

    api.v1.invoices.attach_payment(str(made.id), {"payment_record": transfer})

    paid = read(api, str(made.id))
    assert paid.payments is not None
    (by_transfer,) = (each.payment for each in paid.payments.data if each.status == "paid")
    assert (paid.status, by_transfer.type, by_transfer.payment_record) == ("paid", "payment_record", transfer)


def test_a_payment_that_failed_or_counts_already_or_is_in_another_currency_pays_nothing(
    api: stripe.StripeClient,
) -> None:
    made = billed(api, buyer(api), 11_900)
    counted = record(api, 1_000)
    api.v1.invoices.attach_payment(str(made.id), {"payment_record": counted})

    for payment in (counted, record(api, 1_000, "failed"), record(api, 1_000, currency="usd"), "prec_none"):
        with pytest.raises(stripe.InvalidRequestError):
            api.v1.invoices.attach_payment(str(made.id), {"payment_record": payment})

    assert read(api, str(made.id)).amount_paid == 1_000


def test_a_direct_debit_is_processing_for_days_and_then_paid(api: stripe.StripeClient, account: StripeAccount) -> None:
    subscription = subscribed(api, buyer(api, "pm_success_de"), 1_000)
    invoice = str(subscription.latest_invoice)

    account.wait(4 * DAY)
    processing = read(api, invoice)
    with pytest.raises(stripe.InvalidRequestError, match="processing"):
        api.v1.invoices.pay(invoice)
    account.wait(2 * DAY)
    paid = read(api, invoice)

    assert (processing.status, processing.attempted, payments(processing)) == ("open", True, [("open", None)])
    assert subscription.status == "active"
    assert (paid.status, payments(paid)) == ("paid", [("paid", 1_000)])
    (charge,) = api.v1.charges.list({"customer": str(paid.customer)}).data
    assert charge.payment_method_details
    assert (charge.status, charge.payment_method_details.type) == ("succeeded", "sepa_debit")


def test_a_direct_debit_that_comes_back_leaves_the_invoice_open_and_is_tried_again(
    api: stripe.StripeClient, account: StripeAccount
) -> None:
    subscription = subscribed(api, buyer(api, "pm_failed_de"), 1_000)
    invoice = str(subscription.latest_invoice)

    account.wait(5 * DAY)

    failed = read(api, invoice)
    assert (failed.status, failed.attempt_count, failed.amount_remaining) == ("open", 1, 1_000)
    assert failed.next_payment_attempt
    assert "invoice.payment_failed" in events(api, invoice)
    assert api.v1.subscriptions.retrieve(subscription.id).status == "past_due"


def test_pending_items_are_billed_with_the_next_invoice_of_a_subscription(api: stripe.StripeClient) -> None:
    customer = buyer(api)
    item = api.v1.invoice_items.create({"customer": customer, "amount": 250, "currency": "eur", "description": "Setup"})

    made = first_invoice(api, customer, 1_000)

    assert made.total == 1_250
    assert [each.description for each in made.lines.data][1] == "Setup"
    assert api.v1.invoice_items.retrieve(item.id).invoice == made.id
    assert api.v1.invoice_items.list({"customer": customer, "pending": True}).data == []


def test_a_draft_made_by_hand_takes_items_until_it_is_finalized(api: stripe.StripeClient) -> None:
    customer = buyer(api)
    draft = api.v1.invoices.create({"customer": customer, "currency": "eur"})
    first = api.v1.invoice_items.create({"customer": customer, "amount": 900, "currency": "eur", "invoice": draft.id})
    api.v1.invoice_items.create({"customer": customer, "amount": 100, "currency": "eur", "invoice": draft.id})
    api.v1.invoice_items.delete(first.id)

    final = api.v1.invoices.finalize_invoice(draft.id)

    assert (final.total, final.parent, final.billing_reason) == (100, None, "manual")
    (line,) = final.lines.data
    assert (line.amount, line.quantity, line.pricing, line.description) == (100, None, None, None)
    with pytest.raises(stripe.InvalidRequestError):
        api.v1.invoice_items.create({"customer": customer, "amount": 1, "currency": "eur", "invoice": draft.id})


def test_a_draft_made_by_hand_may_be_deleted_and_one_of_a_subscription_may_not(api: stripe.StripeClient) -> None:
    customer = buyer(api)
    draft = api.v1.invoices.create({"customer": customer})
    made = first_invoice(api, customer, 1_000)

    assert api.v1.invoices.delete(draft.id).deleted
    with pytest.raises(stripe.InvalidRequestError):
        api.v1.invoices.delete(str(made.id))


def void(api: stripe.StripeClient, invoice: str) -> None:
    api.v1.invoices.void_invoice(invoice)


def write_off(api: stripe.StripeClient, invoice: str) -> None:
    api.v1.invoices.mark_uncollectible(invoice)


def pay(api: stripe.StripeClient, invoice: str) -> None:
    api.v1.invoices.pay(invoice, {"paid_out_of_band": True})


def finalize(api: stripe.StripeClient, invoice: str) -> None:
    api.v1.invoices.finalize_invoice(invoice)


Transition = Callable[[stripe.StripeClient, str], None]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (pay, pay),
        (pay, void),
        (pay, write_off),
        (pay, finalize),
        (void, pay),
        (void, void),
        (void, write_off),
        (write_off, write_off),
        (write_off, finalize),
    ],
)
def test_an_invoice_that_has_ended_does_not_go_back(
    api: stripe.StripeClient, first: Transition, second: Transition
) -> None:
    invoice = str(billed(api, buyer(api), 1_000).id)
    first(api, invoice)
    before = read(api, invoice).status

    with pytest.raises(stripe.InvalidRequestError):
        second(api, invoice)
    assert read(api, invoice).status == before


@pytest.mark.parametrize(("then", "status"), [(pay, "paid"), (void, "void")])
def test_an_uncollectible_invoice_may_still_be_paid_or_voided(
    api: stripe.StripeClient, then: Transition, status: str
) -> None:
    invoice = str(billed(api, buyer(api), 1_000).id)

    write_off(api, invoice)
    written_off = read(api, invoice)
    then(api, invoice)

    assert written_off.status == "uncollectible"
    assert written_off.status_transitions.marked_uncollectible_at
    assert events(api, invoice)[-2:] == [
        "invoice.marked_uncollectible",
        "invoice.paid" if status == "paid" else "invoice.voided",
    ]
    assert read(api, invoice).status == status


def test_voiding_gives_back_the_credit_that_was_used_and_cancels_the_payment(api: stripe.StripeClient) -> None:
    customer = buyer(api, balance=-300)
    made = billed(api, customer, 1_000)

    api.v1.invoices.void_invoice(str(made.id))

    assert (made.amount_due, api.v1.customers.retrieve(customer).balance) == (700, -300)
    assert booked(api, customer) == [("applied_to_invoice", 300, 0), ("unapplied_from_invoice", -300, -300)]
    assert payments(read(api, str(made.id))) == [("canceled", None)]
    (intent,) = api.v1.payment_intents.list({"customer": customer}).data
    assert intent.status == "canceled"
