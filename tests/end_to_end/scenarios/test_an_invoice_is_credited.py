"""What finance credits and refunds in billing is booked in the ERP, each once: after every step a customer owes there
what it owes in billing."""

from __future__ import annotations

from decimal import Decimal

import httpx

from tests.support.environment import Environment
from tests.support.platforms import wait_until
from tests.support.sold import Sold


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

    later = sold.invoice_more(10000)  # which uses the balance up
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
    sold = Sold(environment, "Disputed And Won", "pm_card_createDispute", postings=4)
    sold.agrees(119000, unexplained=119000)
    assert sold.open_cases() == ["payment_disputed"]
    (dispute,) = sold.stripe.disputes.list({"payment_intent": sold.intent()}).data
    url = f"{environment.sandbox.url('control')}/billing/disputes/{dispute.id}"
    httpx.post(url, json={"outcome": "won"}).raise_for_status()
    sold.booked(6)
    sold.agrees(0)
    assert sold.open_cases() == []
