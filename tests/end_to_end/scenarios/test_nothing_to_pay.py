"""An invoice that nobody has to pay is posted and settled, and is no case."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from canonical.orders import Order
from sandbox.salesperson import SaleLine
from tests.support.environment import Environment
from tests.support.platforms import wait_until


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


def test_what_was_too_small_to_be_charged_is_settled_with_the_next_payment(environment: Environment) -> None:
    sale = environment.sale("Carried over", lines=(SaleLine("SEAT", 1, 0.25),))
    account, deal = environment.sell(sale)
    small = environment.order_in(deal, "active")
    environment.settled(small)
    more = msgspec.structs.replace(sale, lines=(SaleLine("SEAT", 1, 100.0),))
    _, second = environment.sell(more, account)
    order = environment.order_in(second, "active")
    environment.settled(order)

    assert small.plan
    assert order.plan
    invoices = [each.plan.contract.references["invoice"] for each in (small, order) if each.plan]
    posted = environment.in_erp("account.invoice", ("reference", "in", invoices))
    (party,) = environment.in_erp("party.party", ("code", "=", order.customer_id))
    assert environment.stripe.v1.invoices.retrieve(invoices[1]).amount_paid == 119_30
    assert [each.amount_to_pay for each in posted] == [0, 0]
    assert party.receivable == 0
    contract = small.plan.contract.id
    wait_until(
        lambda: {str(each.balance) for each in environment.channels.postings(contract)} == {"0.00 EUR"},
        20,
        "finance to see that nothing of it is left",
    )
    assert environment.cases_of(f"payment:{invoices[1]}") == []


def test_a_credit_is_settled_with_the_invoice_that_uses_it_up(environment: Environment) -> None:
    """Ten seats become nine in the middle of their term, by a hand in billing. What is given back pays for the next
    invoice, and for a part of the one after it."""
    sale = environment.sale("Given back", lines=(SaleLine("SEAT", 10, 100.0),))
    account, deal = environment.sell(sale)
    order = environment.order_in(deal, "active")
    environment.settled(order)
    stripe = environment.stripe.v1
    subscription = stripe.subscriptions.retrieve(_named(order, "subscription"))
    item = subscription["items"].data[0].id
    changed = stripe.subscriptions.update(
        subscription.id, {"items": [{"id": item, "quantity": 9}], "proration_behavior": "always_invoice"}
    )
    credit = stripe.invoices.retrieve(str(changed.latest_invoice))
    invoices = [credit.id]

    def left() -> list[Decimal]:
        """Return what is left of each invoice in the ERP, and then of the customer."""
        posted = environment.in_erp("account.invoice", ("reference", "in", invoices), ("number", "!=", None))
        (party,) = environment.in_erp("party.party", ("code", "=", order.customer_id))
        by_id = {each.reference: each.amount_to_pay for each in posted}
        return [by_id[each] for each in invoices] + [party.receivable] if len(by_id) == len(invoices) else []

    def sold(price: float) -> int:
        """Sell one seat more, and return what was paid for it."""
        _, again = environment.sell(msgspec.structs.replace(sale, lines=(SaleLine("SEAT", 1, price),)), account)
        following = environment.order_in(again, "active")
        environment.settled(following)
        invoices.append(_named(following, "invoice"))
        return stripe.invoices.retrieve(invoices[-1]).amount_paid

    given_back = Decimal(credit.total) / 100
    assert given_back < 0
    assert wait_until(left, 40, "the credit to be posted") == [given_back, given_back]
    assert sold(60.0) == 0
    assert left() == [given_back, Decimal("71.40"), given_back + Decimal("71.40")]
    assert sold(100.0) == 71_40 + 119_00 + credit.total
    assert left() == [0, 0, 0, 0]
    assert [environment.cases_of(f"payment:{each}") for each in invoices] == [[], [], []]


def _named(order: Order, name: str) -> str:
    assert order.plan
    return order.plan.contract.references[name]
