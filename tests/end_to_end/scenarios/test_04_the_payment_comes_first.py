"""The payment event arrives before the invoice is posted: it waits, is applied, and nobody is bothered."""

from __future__ import annotations

from tests.support.environment import Environment
from tests.support.platforms import EXACTLY_ONE, wait_until


def test_a_payment_waits_for_its_invoice_and_is_then_applied(environment: Environment) -> None:
    environment.hold_back("invoice.finalized")
    try:
        _, deal = environment.sell(environment.sale("Paid First"))
        order = environment.order_in(deal, "active")
        assert order.plan is not None
        contract = order.plan.contract.id

        def payment_waits() -> bool:
            found = {each.kind: each for each in environment.channels.postings(contract)}
            return "invoice" not in found and "payment" in found and "not posted yet" in found["payment"].blocked_reason

        wait_until(payment_waits, 20, "a payment that waits for its invoice")
        assert environment.cases_of(f"payment:{order.plan.contract.references['invoice']}") == []
    finally:
        environment.let_go()

    environment.settled(order)

    assert environment.counted(order) == EXACTLY_ONE
    assert environment.cases_of(f"payment:{order.plan.contract.references['invoice']}") == []
