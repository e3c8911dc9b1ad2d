"""A deal with three lines closes in the CRM: one of everything, the same totals, and the CRM shows it."""

from __future__ import annotations

from decimal import Decimal

import pytest

from canonical.orders import Order
from tests.support.environment import Environment
from tests.support.platforms import EXACTLY_ONE


@pytest.fixture(scope="module")
def order(running: Environment) -> Order:
    """Sell the deal, and return its order with its invoice and payment posted."""
    running.calm()
    return running.paid_order(running.sale("One", parent="One Holding SE"))


def test_a_closed_deal_becomes_one_posted_and_paid_invoice_with_equal_totals(
    environment: Environment, order: Order
) -> None:
    assert environment.counted(order) == EXACTLY_ONE
    assert order.plan is not None
    billed = environment.stripe.v1.invoices.retrieve(order.plan.contract.references["invoice"])
    (posted,) = environment.in_erp("account.invoice", ("reference", "=", billed.id))
    assert (billed.total, billed.status, billed.amount_remaining) == (1_606_500, "paid", 0)
    assert (posted.total_amount, posted.tax_amount) == (Decimal("16065.00"), Decimal("2565.00"))
    assert posted.amount_to_pay == 0
    seen = environment.channels.postings(order.plan.contract.id)
    assert {(each.kind, each.number, str(each.balance)) for each in seen} == {
        ("invoice", posted.number, "0.00 EUR"),
        ("payment", posted.number, "0.00 EUR"),
    }


def test_the_crm_shows_the_order_its_contract_and_the_correlation_id(environment: Environment, order: Order) -> None:
    assert order.plan is not None
    shown = environment.shown(order.deal_id, "active")
    account = order.plan.account_id
    (contract,) = environment.crm.query(f"SELECT Status, Opportunity__c FROM Contract WHERE AccountId = '{account}'")
    assert shown["TiergateOrder__c"] == order.id
    assert shown["TiergateCorrelation__c"] == order.correlation_id
    assert shown["Account"]["TiergateCustomer__c"] == order.customer_id
    assert (contract["Status"], contract["Opportunity__c"]) == ("Activated", order.deal_id)


def test_the_correlation_id_is_on_the_platforms_own_records(environment: Environment, order: Order) -> None:
    assert order.plan is not None
    subscription = environment.stripe.v1.subscriptions.retrieve(order.plan.contract.references["subscription"])
    assert subscription.metadata["tiergate_correlation"] == order.correlation_id
    (posted,) = environment.in_erp("account.invoice", ("reference", "=", order.plan.contract.references["invoice"]))
    assert order.correlation_id in posted.description


def test_the_ledger_is_in_balance_after_invoice_and_payment(environment: Environment, order: Order) -> None:
    (party,) = environment.in_erp("party.party", ("code", "=", order.customer_id))
    lines = environment.in_erp("account.move.line", ("move.state", "=", "posted"), ("party", "=", party.id))
    moves = {each.move.id for each in lines}
    booked = environment.in_erp("account.move.line", ("move", "in", list(moves)))

    assert sum(each.debit for each in booked) == sum(each.credit for each in booked)
    assert sum(each.debit - each.credit for each in lines) == 0
