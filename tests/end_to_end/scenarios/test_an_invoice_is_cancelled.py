"""An invoice that billing voids is credited in the books, one that it gives up is written off: nothing is due there."""

from __future__ import annotations

import msgspec
import pytest

from sandbox.salesperson import SaleLine
from tests.support.environment import Environment
from tests.support.platforms import wait_until


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
