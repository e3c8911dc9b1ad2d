"""Money of charges that were made before Tiergate came, or beside it, goes back: nobody is asked, and nothing is booked
against the contracts that were sold since."""

from __future__ import annotations

from typing import Any

import httpx

from tests.support.environment import Environment
from tests.support.platforms import german_vat, wait_until
from tests.support.sold import TEN_SEATS, Sold


def charged_before(environment: Environment, customer: str, method: str) -> str:
    """Let a customer pay an invoice that the company has made by hand. Return the payment's id."""
    api: Any = environment.stripe.v1
    card = api.payment_methods.attach(method, {"customer": customer}).id
    api.invoice_items.create({"customer": customer, "amount": 50000, "currency": "eur", "description": "Before"})
    made = api.invoices.create({"customer": customer, "pending_invoice_items_behavior": "include"}).id
    api.invoices.finalize_invoice(made)
    api.invoices.pay(made, {"payment_method": card})
    (paid,) = api.invoice_payments.list({"invoice": made}).data
    return str(paid.payment.payment_intent)


def dispute_of(environment: Environment, payment: str) -> str:
    """Return the dispute of a payment, once the bank has opened it."""
    listed: Any = environment.stripe.v1.disputes.list
    (found,) = wait_until(lambda: listed({"payment_intent": payment}).data, 20, "a dispute")
    return str(found.id)


def test_a_refund_and_a_dispute_of_older_charges_are_no_business_of_ours(environment: Environment) -> None:
    name = "Before The Launch"
    number = german_vat(name)
    params: Any = {"name": f"{name} GmbH", "address": {"city": "Bonn"}}
    params["tax_id_data"] = [{"type": "eu_vat", "value": number}]
    api: Any = environment.stripe.v1
    customer = api.customers.create(params).id
    refunded = charged_before(environment, customer, "pm_card_visa")
    inquired = charged_before(environment, customer, "pm_card_createDisputeInquiry")
    sold = Sold(environment, name, lines=TEN_SEATS, tax_number=number)
    assert sold.customer == customer

    api.refunds.create({"payment_intent": refunded, "amount": 20000})
    disputed = charged_before(environment, customer, "pm_card_createDispute")
    _, lost = (dispute_of(environment, each) for each in (inquired, disputed))
    url = f"{environment.sandbox.url('control')}/billing/disputes/{lost}"
    httpx.post(url, json={"outcome": "lost"}).raise_for_status()

    sold.credit(credit_amount=11900)  # what comes after them is booked: they were seen
    sold.booked(3)
    sold.agrees(-11900)
    assert environment.cases_of(sold.order.id) == []
    of_customer = "SELECT COUNT(*) FROM cases WHERE customer_id = ?"
    assert environment.record(of_customer, sold.order.customer_id) == 0
