"""An invoice that billing voids is credited in the books, one that it gives up is written off: nothing is due there.
What it gave up may be paid or voided all the same."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from sandbox.salesperson import SaleLine
from tests.support.environment import Environment
from tests.support.platforms import wait_until
from tests.support.stripe_account import bank_transfer


@pytest.mark.parametrize("action", ["void_invoice", "mark_uncollectible"])
def test_a_posted_invoice_that_is_cancelled_in_billing_is_taken_back_in_the_erp_once(
    environment: Environment, action: str
) -> None:
    sale = environment.sale(f"Cancelled by {action}", payment_method=None)
    lines = (SaleLine("CONSULTING", 2.5, 99.5), SaleLine("SEAT", 3, discount=15), SaleLine("HANDBOOK", 3))
    _, deal = environment.sell(msgspec.structs.replace(sale, lines=lines))
    order = environment.order_in(deal, "active")
    assert order.plan is not None
    invoice = order.plan.contract.references["invoice"]
    of_it = ("reference", "=", invoice)
    (posted,) = wait_until(lambda: environment.in_erp("account.invoice", of_it, ("state", "=", "posted")), 30)
    assert posted.amount_to_pay == posted.total_amount > 0

    environment.fault("erp", kind="drop", matching="reconcile_lines.execute")  # done, and the answer is lost
    getattr(environment.stripe.v1.invoices, action)(invoice)
    balance = "SELECT balance FROM postings WHERE kind = 'invoice' AND id = ? AND state = 'posted'"
    wait_until(lambda: environment.record(balance, invoice) == 0, 30, "finance to see that nothing is due")

    notes = environment.in_erp("account.invoice", ("reference", "=", f"{invoice}/credit"))
    (settled,) = environment.in_erp("account.invoice", of_it)
    assert (settled.number, settled.amount_to_pay) == (posted.number, 0)
    if action == "void_invoice":
        (credit,) = notes
        assert (credit.total_amount, credit.tax_amount) == (-posted.total_amount, -posted.tax_amount)
        assert [each.quantity for each in credit.lines] == [-each.quantity for each in posted.lines]
        assert credit.number.startswith("GS-")
    else:
        assert notes == []
        lines_off = environment.in_erp("account.move.line", ("move.description", "=", invoice))
        assert sum(each.debit for each in lines_off) == posted.total_amount
    assert [each for each in environment.cases_of(f"invoice:{invoice}") if each.state == "open"] == []


@pytest.mark.parametrize("then", ["paid", "void"])
def test_an_invoice_that_was_written_off_is_paid_in_parts_or_voided_after_all(
    environment: Environment, then: str
) -> None:
    line = (SaleLine("SEAT", 1, 1000.0),)
    _, deal = environment.sell(environment.sale(f"Given up and {then}", lines=line, payment_method=None))
    order = environment.order_in(deal, "active")
    assert order.plan is not None
    contract, invoice = order.plan.contract.id, order.plan.contract.references["invoice"]

    def settled(off: list[Decimal], payments: list[Decimal], notes: int = 0) -> None:
        """Wait until nothing is due, and this is written off (below nothing: taken back) and booked."""

        def seen() -> bool:
            lines = environment.in_erp("account.move.line", ("move.description", "=", invoice))
            (posted,) = environment.in_erp("account.invoice", ("reference", "=", invoice))
            given = environment.in_erp("account.invoice", ("reference", "=", f"{invoice}/credit"))
            return (
                posted.amount_to_pay == 0
                and sorted(each.debit - each.credit for each in lines if each.account.type.expense) == sorted(off)
                and sorted(each.credit for each in posted.payment_lines) == payments
                and [each.amount_to_pay for each in given] == [0] * notes
                and {each.state for each in environment.channels.postings(contract)} == {"posted"}
            )

        # what is reported while its posting is at work waits for the end of that run's claim, which lasts a minute
        wait_until(seen, 100, f"{off} to be written off, and {payments} to be booked")

    all_of_it, part, rest = Decimal(1190), Decimal(400), Decimal(790)
    wait_until(lambda: environment.in_erp("account.invoice", ("reference", "=", invoice), ("state", "=", "posted")), 30)
    environment.stripe.v1.invoices.mark_uncollectible(invoice)
    settled([all_of_it], [])
    if then == "void":
        environment.fault("erp", kind="drop", matching="unreconcile_lines.execute")  # done, and the answer is lost
        environment.stripe.v1.invoices.void_invoice(invoice)
        settled([all_of_it, -all_of_it], [], notes=1)
    else:
        bank_transfer(environment.stripe, invoice, 400_00)
        settled([all_of_it, -all_of_it, rest], [part])
        bank_transfer(environment.stripe, invoice, 790_00)
        settled([all_of_it, -all_of_it, rest, -rest], [part, rest])
    (party,) = environment.in_erp("party.party", ("code", "=", order.customer_id))
    assert party.receivable == 0
    subjects = [f"invoice:{invoice}", *(f"payment:{each.id}" for each in environment.channels.postings(contract))]
    assert [case for each in subjects for case in environment.cases_of(each)] == []


def test_an_invoice_that_is_voided_while_the_erp_is_away_is_not_posted(environment: Environment) -> None:
    environment.behave(sku="SEAT", outcome="succeed", milliseconds=2000)
    _, deal = environment.sell(environment.sale("Voided Unposted", payment_method=None))
    environment.order_in(deal, "provisioning")
    environment.fault("erp", kind="status", status=503, times=0)
    order = environment.order_in(deal, "active")
    assert order.plan is not None
    invoice = order.plan.contract.references["invoice"]
    state = "SELECT state FROM postings WHERE kind = 'invoice' AND id = ?"
    attempts = "SELECT attempts FROM postings WHERE kind = 'invoice' AND id = ?"
    wait_until(lambda: environment.record(attempts, invoice), 40, "an attempt to post it")
    environment.stripe.v1.invoices.void_invoice(invoice)

    environment.calm()
    wait_until(lambda: environment.record(state, invoice) == "failed", 60, "the posting to be dropped")

    assert environment.in_erp("account.invoice", ("reference", "=", invoice), ("state", "=", "posted")) == []
    assert all(each.state == "resolved" for each in environment.cases_of(f"invoice:{invoice}"))
