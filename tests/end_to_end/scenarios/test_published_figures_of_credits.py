"""Credits and refunds come out as published examples of other products have them, in billing and in the books alike."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from sandbox.salesperson import SaleLine
from tests.support.environment import Environment
from tests.support.sold import Sold

UNTAXED: dict[str, Any] = {"country": "US", "tax_number": None}
"""A buyer to whom no tax is charged: the figures are without."""


def of(*prices: float) -> tuple[SaleLine, ...]:
    return tuple(SaleLine("SEAT", 10, each / 10) for each in prices)


def test_a_credit_on_the_account_is_taken_off_a_later_charge(environment: Environment) -> None:
    """Kill Bill, Subscription guide: invoice examples (account credit 20, later a charge of 100: balance 80)."""
    sold = Sold(environment, "Kill Bill Credit", lines=of(200), **UNTAXED)
    sold.credit(credit_amount=2000)
    sold.booked(3)
    sold.agrees(-2000)

    sold.stripe.customers.update(sold.customer, {"invoice_settings": {"default_payment_method": ""}})
    sold.invoice_more(10000, pay=False)

    sold.booked(4)
    sold.agrees(8000)


def test_a_draft_shows_what_is_left_to_pay_after_a_credit_and_is_charged_that(environment: Environment) -> None:
    """Kill Bill, Subscription guide: invoice examples (draft invoice with credit: 100, credit 20, charged 80), by
    Stripe's API reference: Invoice, `starting_balance` and `amount_due`."""
    sold = Sold(environment, "Kill Bill Draft", lines=of(200), **UNTAXED)
    sold.credit(credit_amount=2000)
    sold.booked(3)

    draft = sold.draft_more(10000)
    shown = sold.stripe.invoices.retrieve(draft)
    assert (shown.status, shown.total, shown.starting_balance, shown.amount_due) == ("draft", 10000, -2000, 8000)
    sold.agrees(-2000)  # a draft uses nothing

    sold.stripe.invoices.finalize_invoice(draft)
    assert sold.stripe.invoices.pay(draft).amount_paid == 8000
    sold.booked(5)
    sold.agrees(0)


def test_an_unpaid_line_that_is_adjusted_is_owed_less(environment: Environment) -> None:
    """Kill Bill, Subscription guide: invoice examples (unpaid 100, a line adjusted by 10: charged 90, balance 90)."""
    sold = Sold(environment, "Kill Bill Unpaid", payment_method=None, postings=1, lines=of(100), **UNTAXED)

    sold.credit()

    sold.booked(2)
    sold.agrees(9000)


def test_a_refund_with_an_adjustment_leaves_nothing_to_pay_and_no_credit(environment: Environment) -> None:
    """Kill Bill, Subscription guide: invoice examples (paid 100, 10 refunded with adjustment: balance 0)."""
    sold = Sold(environment, "Kill Bill Paid", lines=of(100), **UNTAXED)

    sold.credit(refund_amount=1000)

    sold.booked(4)
    sold.agrees(0)
    (note,) = sold.notes()
    assert (note.total_amount, note.amount_to_pay) == (Decimal(-10), 0)


def test_a_balance_of_the_customer_pays_a_part_of_an_invoice(environment: Environment) -> None:
    """Stripe, Revenue recognition: examples, contra (31 USD, 11 from the customer's balance: receivable 20, then 0)."""
    sold = Sold(environment, "Contra Balance", lines=of(110), currency="USD", **UNTAXED)
    sold.credit(credit_amount=1100)
    sold.booked(3)
    sold.agrees(-1100)

    invoice = sold.invoice_more(3100, pay=False)
    sold.booked(4)
    sold.agrees(2000)

    sold.stripe.invoices.pay(invoice)
    sold.booked(5)
    sold.agrees(0)


@pytest.mark.parametrize(("currency", "price", "minor"), [("EUR", 90, 9000), ("JPY", 9000, 9000), ("KWD", 90, 90000)])
def test_what_was_paid_goes_back_whole_and_nothing_is_owed(
    environment: Environment, currency: str, price: float, minor: int
) -> None:
    """Stripe, Revenue recognition: methodology, refunds and disputes (90 paid, 90 refunded: cash -90)."""
    sold = Sold(environment, f"Contra {currency}", lines=of(price), currency=currency, **UNTAXED)

    sold.credit(10, refund_amount=minor)

    sold.booked(4)
    sold.agrees(0)
    (note,) = sold.notes()
    assert (note.total_amount, note.currency.code) == (-sold.major(minor), currency)
    assert [each.debit > 0 for each in note.payment_lines] == [True]


@pytest.mark.parametrize(("currency", "minor"), [("JPY", 9000), ("KWD", 90000)])
def test_what_is_credited_in_part_of_an_unpaid_invoice_is_the_same_in_every_currency(
    environment: Environment, currency: str, minor: int
) -> None:
    sale = {"lines": (SaleLine("SEAT", 10, minor / 10 / (1 if currency == "JPY" else 1000)),), "currency": currency}
    sold = Sold(environment, f"Parts {currency}", payment_method=None, postings=1, **sale, **UNTAXED)

    sold.credit(3)

    sold.booked(2)
    sold.agrees(minor * 7 // 10)
