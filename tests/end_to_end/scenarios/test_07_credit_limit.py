"""The credit limit is exceeded: the order waits for a yes, and a no undoes it."""

from __future__ import annotations

from decimal import Decimal

import httpx
import pytest

from canonical.cases import Case
from canonical.orders import Order
from tests.support.environment import EXACTLY_ONE, Stack


def over_the_limit(stack: Stack, name: str) -> tuple[str, Order]:
    """A second deal of a customer whose credit limit is below it. Gives the deal and its waiting order."""
    account, first = stack.sell(stack.sale(name))
    order = stack.order_in(first, "active")
    stack.settled(order)
    (party,) = stack.in_erp("party.party", ("code", "=", order.customer_id))
    party.credit_limit_amount = Decimal(100)
    party.save()
    _, second = stack.sell(stack.sale(name), account)
    return second, stack.order_in(second, "awaiting_approval")


def test_an_approved_order_goes_on_and_the_salesperson_saw_why_it_waited(stack: Stack) -> None:
    deal, order = over_the_limit(stack, "Approved")
    (case,) = stack.cases_of(order.id)
    shown = stack.shown(deal, "awaiting_approval")

    assert (case.kind, case.team, case.actions) == ("credit_limit", "finance", ("approve", "reject"))
    assert "over the limit of 100.00 EUR" in shown["TiergateDetail__c"]
    with pytest.raises(httpx.HTTPStatusError) as own:
        stack.decide(case.id, "approve", on_behalf_of=order.placed_by)
    with pytest.raises(httpx.HTTPStatusError) as elsewhere:
        stack.channels.post("support-desk", f"/support/v1/cases/{case.id}/actions", {"action": "approve"}, Case)
    assert (own.value.response.status_code, elsewhere.value.response.status_code) == (403, 422)
    stack.decide(case.id, "approve")

    order = stack.order_in(deal, "active")
    stack.settled(order)
    assert stack.counted(order)["billing.subscriptions"] == 2


def test_a_rejected_order_is_cancelled_and_leaves_nothing(stack: Stack) -> None:
    deal, order = over_the_limit(stack, "Rejected")
    (case,) = stack.cases_of(order.id)

    stack.decide(case.id, "reject", "too much")

    order = stack.order_in(deal, "cancelled")
    assert stack.counted(order) == EXACTLY_ONE, "only the first deal's"
    assert stack.shown(deal, "cancelled")
