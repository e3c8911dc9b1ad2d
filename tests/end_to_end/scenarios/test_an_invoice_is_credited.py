"""What finance credits and refunds in billing is booked in the ERP, each once: after every step a customer owes there
what it owes in billing."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import httpx

from sandbox.salesperson import SaleLine
from tests.support.environment import Environment
from tests.support.platforms import wait_until


class Sold:
    """A deal that was sold for 1,190.00 EUR, and what is said of its money."""

    def __init__(
        self, environment: Environment, name: str, payment_method: str | None = "pm_card_visa", postings: int = 2
    ) -> None:
        sale = environment.sale(name, lines=(SaleLine("SEAT", 10, 100.0),), payment_method=payment_method)
        _, deal = environment.sell(sale)
        order = environment.order_in(deal, "active")
        assert order.plan
        self.environment, self.order = environment, order
        self.contract, self.invoice = order.plan.contract.id, order.plan.contract.references["invoice"]
        self.customer = order.plan.customer.references["stripe"]
        self.stripe: Any = environment.stripe.v1
        self.booked(postings)

    def booked(self, postings: int) -> None:
        """Wait until so many postings of the contract are there, and all are done."""

        def all_posted() -> bool:
            states = [each.state for each in self.environment.channels.postings(self.contract)]
            return states == ["posted"] * postings

        wait_until(all_posted, 100, f"{postings} postings of {self.contract}")

    def credit(self, **params: Any) -> Any:
        """Issue a credit note of 119.00 EUR: one of the ten seats."""
        (line,) = self.stripe.invoices.line_items.list(self.invoice).data
        of_line = {"type": "invoice_line_item", "invoice_line_item": line.id, "quantity": 1}
        return self.stripe.credit_notes.create({"invoice": self.invoice, "lines": [of_line], **params})

    def invoice_more(self) -> str:
        """Invoice one seat more of the contract at once, and return the invoice's id. It is charged."""
        (line,) = self.stripe.invoices.line_items.list(self.invoice).data
        of_contract = {"customer": self.customer, "subscription": line.parent.subscription_item_details.subscription}
        price = {"currency": "eur", "product": line.pricing.price_details.product, "unit_amount": 10000}
        rates = [each.tax_rate_details.tax_rate for each in line.taxes]
        once = {"price": self.stripe.prices.create(price).id}
        self.stripe.invoice_items.create({**of_contract, "pricing": once, "quantity": 1, "tax_rates": rates})
        made = self.stripe.invoices.create({**of_contract, "pending_invoice_items_behavior": "include"}).id
        self.stripe.invoices.finalize_invoice(made)
        self.stripe.invoices.pay(made)
        return str(made)

    def intent(self) -> str:
        (payment,) = self.stripe.invoice_payments.list({"invoice": self.invoice, "status": "paid"}).data
        return str(payment.payment.payment_intent)

    def owed_in_billing(self, unexplained: int = 0) -> Decimal:
        """Return what billing says that the customer owes, with what was refunded without a credit note."""
        open_ones = self.stripe.invoices.list({"customer": self.customer, "status": "open"}).data
        balance = self.stripe.customers.retrieve(self.customer).balance
        return Decimal(sum(each.amount_remaining for each in open_ones) + balance + unexplained) / 100

    def agrees(self, owed: int, unexplained: int = 0) -> None:
        """Check that billing and the ERP say the same of what is owed, in minor units."""
        assert self.receivable() == self.owed_in_billing(unexplained) == Decimal(owed) / 100

    def receivable(self) -> Decimal:
        (party,) = self.environment.in_erp("party.party", ("code", "=", self.order.customer_id))
        return party.receivable

    def notes(self) -> list[Any]:
        of_it = ("party.code", "=", self.order.customer_id)
        return self.environment.in_erp("account.invoice", ("reference", "like", "cn_%"), of_it)

    def open_cases(self) -> list[str]:
        subjects = {f"{each.entry}:{each.id}" for each in self.environment.channels.postings(self.contract)}
        cases = (case for each in sorted(subjects) for case in self.environment.cases_of(each))
        return [each.kind for each in cases if each.state == "open"]


def test_a_credit_note_takes_off_what_is_due_and_is_due_again_when_it_is_void(environment: Environment) -> None:
    sold = Sold(environment, "Credited Unpaid", payment_method=None, postings=1)
    sold.agrees(119000)

    environment.fault("erp", kind="drop", matching="account.invoice.write")  # done, and the answer is lost
    first = sold.credit()
    sold.booked(2)
    sold.agrees(107100)
    (note,) = sold.notes()
    assert (note.total_amount, note.tax_amount, note.number[:3]) == (Decimal(-119), Decimal(-19), "GS-")
    assert [each.quantity for each in note.lines] == [-1]

    sold.stripe.credit_notes.void_credit_note(first.id)
    wait_until(lambda: sold.receivable() == 1190, 100, "the credit note to be taken back")
    sold.booked(2)
    sold.agrees(119000)

    lines = sold.stripe.invoices.line_items.list(sold.invoice).data
    whole = [{"type": "invoice_line_item", "invoice_line_item": lines[0].id, "quantity": 10}]
    sold.stripe.credit_notes.create({"invoice": sold.invoice, "lines": whole})
    sold.booked(4)  # the invoice, two credit notes, and that nothing had to be paid
    sold.agrees(0)
    assert sold.open_cases() == []


def test_what_is_refunded_or_left_in_credit_of_a_paid_invoice_is_the_same_in_both(environment: Environment) -> None:
    sold = Sold(environment, "Credited Paid")
    sold.agrees(0)
    sold.credit(refund_amount=11900)
    sold.booked(4)
    sold.agrees(0)
    sold.credit(credit_amount=5000, refund_amount=6900)
    sold.booked(6)
    sold.agrees(-5000)
    assert len(sold.notes()) == 2

    later = sold.invoice_more()  # which uses the balance up
    sold.booked(8)
    sold.agrees(0)
    owed = [each.amount_to_pay for each in environment.in_erp("account.invoice", ("reference", "=", later))]
    assert [*owed, *(each.amount_to_pay for each in sold.notes())] == [0, 0, 0]
    assert sold.open_cases() == []


def test_what_is_refunded_without_a_credit_note_is_due_again_until_one_names_it(environment: Environment) -> None:
    sold = Sold(environment, "Refunded Alone")
    refund = sold.stripe.refunds.create({"payment_intent": sold.intent(), "amount": 11900})
    sold.booked(3)
    sold.agrees(11900, unexplained=11900)
    assert sold.open_cases() == ["refunded_without_credit_note"]

    environment.kill_and_start("process")
    sold.credit(refunds=[{"refund": refund.id, "amount_refunded": 11900}])
    sold.booked(4)
    sold.agrees(0)
    assert sold.open_cases() == []


def test_the_same_reported_again_is_booked_once(environment: Environment) -> None:
    sold = Sold(environment, "Credited Twice")
    sold.credit(refund_amount=11900)
    sold.booked(4)
    wanted = ("credit_note.created", "refund.created")
    for each in sold.stripe.events.list({"types": list(wanted), "limit": 100}).data:
        httpx.post(f"{environment.sandbox.url('control')}/billing/events/{each.id}").raise_for_status()
    sold.booked(4)
    sold.agrees(0)
    assert len(sold.notes()) == 1


def test_what_is_disputed_is_due_again_and_paid_when_the_dispute_is_won(environment: Environment) -> None:
    sold = Sold(environment, "Disputed And Won", "pm_card_createDispute", postings=3)
    sold.agrees(119000, unexplained=119000)
    assert sold.open_cases() == ["payment_disputed"]
    (dispute,) = sold.stripe.disputes.list({"payment_intent": sold.intent()}).data
    url = f"{environment.sandbox.url('control')}/billing/disputes/{dispute.id}"
    httpx.post(url, json={"outcome": "won"}).raise_for_status()
    sold.booked(4)
    sold.agrees(0)
    assert sold.open_cases() == []
