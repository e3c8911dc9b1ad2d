"""An invoice that is paid in parts, and too much: each part is booked when it arrives, once, and the rest is the
customer's."""

from __future__ import annotations

from decimal import Decimal

import httpx

from sandbox.salesperson import SaleLine
from tests.support.environment import Environment
from tests.support.platforms import wait_until
from tests.support.stripe_account import bank_transfer


def test_each_part_is_booked_when_it_arrives_and_what_is_too_much_is_the_customers_credit(
    environment: Environment,
) -> None:
    sale = environment.sale("Parts and more", lines=(SaleLine("SEAT", 1, 1000.0),), payment_method=None)
    _, deal = environment.sell(sale)
    order = environment.order_in(deal, "active")
    assert order.plan
    contract, invoice = order.plan.contract.id, order.plan.contract.references["invoice"]

    def booked(parts: int) -> None:
        def all_posted() -> bool:
            states = [each.state for each in environment.channels.postings(contract)]
            return states == ["posted"] * (1 + parts)

        wait_until(all_posted, 30, f"an invoice and {parts} payments")

    def payments() -> list[Decimal]:
        (posted,) = environment.in_erp("account.invoice", ("reference", "=", invoice))
        return [posted.amount_to_pay, *sorted(each.credit for each in posted.payment_lines)]

    booked(0)
    first = bank_transfer(environment.stripe, invoice, 400_00)
    booked(1)
    assert payments() == [Decimal(790), Decimal(400)]
    environment.kill_and_start("process")
    bank_transfer(environment.stripe, invoice, 800_00)
    booked(2)
    assert payments() == [0, Decimal(400), Decimal(790)]
    for each in environment.stripe.v1.events.list({"type": "invoice_payment.paid", "limit": 100}).data:
        httpx.post(f"{environment.sandbox.url('control')}/billing/events/{each.id}").raise_for_status()

    seen = {each.id: str(each.amount) for each in environment.channels.postings(contract) if each.kind == "payment"}
    (party,) = environment.in_erp("party.party", ("code", "=", order.customer_id))
    assert seen == {first: "400.00 EUR", invoice: "800.00 EUR"}
    assert payments() == [0, Decimal(400), Decimal(790)]
    assert party.receivable == Decimal(-10)
    assert environment.cases_of(f"payment:{invoice}") == []
