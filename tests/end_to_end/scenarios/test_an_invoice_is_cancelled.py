"""An invoice that billing voids or writes off does not stay open in the books without anybody knowing."""

from __future__ import annotations

import pytest

from tests.support.environment import Environment
from tests.support.platforms import wait_until


@pytest.mark.parametrize(
    ("action", "said"), [("void_invoice", "voided: credit it"), ("mark_uncollectible", "written off: write it off")]
)
def test_a_posted_invoice_that_is_cancelled_in_billing_is_a_case_for_finance(
    environment: Environment, action: str, said: str
) -> None:
    _, deal = environment.sell(environment.sale(f"Cancelled by {action}", payment_method=None))
    order = environment.order_in(deal, "active")
    assert order.plan is not None
    invoice = order.plan.contract.references["invoice"]
    wait_until(lambda: environment.in_erp("account.invoice", ("reference", "=", invoice), ("state", "=", "posted")), 30)

    getattr(environment.stripe.v1.invoices, action)(invoice)
    (case,) = wait_until(lambda: environment.cases_of(f"invoice:{invoice}"), 20, "a case about the invoice")

    assert (case.kind, case.team, case.actions) == ("invoice_cancelled", "finance", ("skip",))
    assert said in case.reason


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
