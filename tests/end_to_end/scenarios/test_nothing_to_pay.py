"""An invoice that nobody has to pay is posted and settled, and is no case."""

from __future__ import annotations

import pytest

from sandbox.salesperson import SaleLine
from tests.support.environment import Environment


@pytest.mark.parametrize(("price", "due"), [(0.0, 0), (0.25, 30)], ids=["free of charge", "below what can be charged"])
def test_what_is_paid_without_money_is_posted_without_a_case(environment: Environment, price: float, due: int) -> None:
    sale = environment.sale(f"Nothing to pay {price}", lines=(SaleLine("SEAT", 1, price),))

    order = environment.paid_order(sale)

    assert order.plan is not None
    invoice = order.plan.contract.references["invoice"]
    assert environment.cases_of(order.id) == []
    assert environment.cases_of(f"payment:{invoice}") == []
    assert environment.stripe.v1.invoices.retrieve(invoice).status == "paid"
    (posted,) = environment.in_erp("account.invoice", ("reference", "=", invoice))
    assert int(posted.amount_to_pay * 100) == due
