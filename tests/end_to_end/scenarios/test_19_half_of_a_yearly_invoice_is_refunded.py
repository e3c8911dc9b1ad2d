"""Half of what was invoiced for a year is refunded: the books have the credit note, and the money that left."""

from __future__ import annotations

from decimal import Decimal

from sandbox.salesperson import SaleLine
from tests.support.environment import Environment
from tests.support.sold import Sold


def test_half_of_a_year_that_was_paid_is_credited_and_refunded_in_both(environment: Environment) -> None:
    sold = Sold(environment, "Half A Year", lines=(SaleLine("SUPPORT", 12, 100.0),))
    (line,) = sold.stripe.invoices.line_items.list(sold.invoice).data
    environment.fault("erp", kind="drop", matching="account.invoice.write")  # done, and the answer is lost

    sold.credit(6, refund_amount=71400)

    sold.booked(4)
    sold.agrees(0)
    (note,) = sold.notes()
    assert (note.untaxed_amount, note.tax_amount) == (Decimal(-600), Decimal(-114))
    (credited,) = note.lines
    assert (credited.quantity, credited.account.id) == (-6, _revenue_account(sold))
    assert line.period.end - line.period.start > 360 * 86400
    left = sold.stripe.invoices.retrieve(sold.invoice)
    assert left.post_payment_credit_notes_amount == left.total // 2
    assert sold.open_cases() == []


def _revenue_account(sold: Sold) -> int:
    """Return the account on which the invoice itself was booked."""
    (invoice,) = sold.environment.in_erp("account.invoice", ("reference", "=", sold.invoice))
    (line,) = invoice.lines
    return line.account.id
