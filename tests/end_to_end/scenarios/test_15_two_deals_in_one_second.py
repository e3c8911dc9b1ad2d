"""Two deals of one new account close in the same second: one customer everywhere, two contracts."""

from __future__ import annotations

from canonical.ids import utc_now
from sandbox.salesperson import close_deal, open_deal
from tests.support.environment import Environment
from tests.support.platforms import EXACTLY_ONE

TWO_DEALS = EXACTLY_ONE | {
    "crm.contracts": 2,
    "billing.schedules": 2,
    "billing.subscriptions": 2,
    "billing.invoices": 2,
    "billing.charges": 2,
    "erp.posted_invoices": 2,
    "erp.payments": 2,
}


def test_two_deals_of_a_new_account_make_one_customer_and_two_contracts(environment: Environment) -> None:
    sale = environment.sale("Same Second")
    account, first = open_deal(environment.crm, sale, utc_now().date())
    _, second = open_deal(environment.crm, sale, utc_now().date(), account)

    close_deal(environment.crm, first)
    close_deal(environment.crm, second)
    orders = [environment.order_in(deal, "active") for deal in (first, second)]
    for order in orders:
        environment.settled(order)

    assert orders[0].customer_id == orders[1].customer_id
    assert orders[0].plan is not None
    assert orders[1].plan is not None
    assert orders[0].plan.contract.id != orders[1].plan.contract.id
    assert environment.counted(orders[0]) == TWO_DEALS
