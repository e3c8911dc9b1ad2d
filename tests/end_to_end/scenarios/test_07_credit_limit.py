"""The credit limit is exceeded: the order waits for a yes, and a no undoes it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import httpx
import pytest

from canonical.cases import Case
from canonical.orders import Order
from tests.support.environment import Environment
from tests.support.platforms import EXACTLY_ONE, wait_until


def over_the_limit(environment: Environment, name: str) -> tuple[str, Order]:
    """Close a second deal of a customer whose credit limit is below it. Return the deal and its waiting order."""
    account, first = environment.sell(environment.sale(name))
    order = environment.order_in(first, "active")
    environment.settled(order)
    (party,) = environment.in_erp("party.party", ("code", "=", order.customer_id))
    party.credit_limit_amount = Decimal(100)
    party.save()
    _, second = environment.sell(environment.sale(name), account)
    return second, environment.order_in(second, "awaiting_approval")


def test_an_approved_order_goes_on_and_the_salesperson_saw_why_it_waited(environment: Environment) -> None:
    deal, order = over_the_limit(environment, "Approved")
    (case,) = environment.cases_of(order.id)
    shown = environment.shown(deal, "awaiting_approval")

    assert (case.kind, case.team, case.actions) == ("credit_limit", "finance", ("approve", "reject"))
    assert "over the limit of 100.00 EUR" in shown["TiergateDetail__c"]
    with pytest.raises(httpx.HTTPStatusError) as own:
        environment.decide(case.id, "approve", on_behalf_of=order.placed_by)
    with pytest.raises(httpx.HTTPStatusError) as elsewhere:
        environment.channels.post("support-desk", f"/support/v1/cases/{case.id}/actions", {"action": "approve"}, Case)
    assert (own.value.response.status_code, elsewhere.value.response.status_code) == (403, 422)
    environment.decide(case.id, "approve")

    order = environment.order_in(deal, "active")
    environment.settled(order)
    assert environment.counted(order)["billing.subscriptions"] == 2


def test_of_two_deals_at_once_that_are_over_the_limit_together_the_second_waits(environment: Environment) -> None:
    account, first = environment.sell(environment.sale("Two At Once"))
    order = environment.order_in(first, "active")
    environment.settled(order)
    (party,) = environment.in_erp("party.party", ("code", "=", order.customer_id))
    party.credit_limit_amount = Decimal(20_000)
    party.save()

    environment.behave(sku="SEAT", outcome="succeed", milliseconds=6000)  # neither is delivered yet, nor posted
    deals = [environment.sell(environment.sale("Two At Once"), account)[1] for _ in range(2)]
    states = sorted(environment.order_in(deal, "awaiting_approval", "provisioning").state for deal in deals)

    assert states == ["awaiting_approval", "provisioning"]


def test_a_customer_is_written_as_it_is_when_the_order_goes_on_and_not_as_it_was_when_it_was_checked(
    environment: Environment,
) -> None:
    deal, order = over_the_limit(environment, "Moved Meanwhile")
    (case,) = environment.cases_of(order.id)
    (row,) = environment.crm.query(f"SELECT AccountId FROM Opportunity WHERE Id = '{deal}'")
    environment.crm.update("Account", row["AccountId"], Name="Moved GmbH", BillingCity="Kiel")

    def party() -> Any:
        return environment.in_erp("party.party", ("code", "=", order.customer_id))[0]

    wait_until(lambda: party().name == "Moved GmbH", 20, "the new name in the ERP")

    environment.decide(case.id, "approve")
    environment.settled(environment.order_in(deal, "active"))

    assert (party().name, [each.city for each in party().addresses]) == ("Moved GmbH", ["Kiel"])
    invoiced = environment.in_erp("account.invoice", ("party.code", "=", order.customer_id))
    assert {each.invoice_address.city for each in invoiced} == {"Kiel"}


def test_a_rejected_order_is_cancelled_and_leaves_nothing(environment: Environment) -> None:
    deal, order = over_the_limit(environment, "Rejected")
    (case,) = environment.cases_of(order.id)

    environment.decide(case.id, "reject", "too much")

    order = environment.order_in(deal, "cancelled")
    assert environment.counted(order) == EXACTLY_ONE, "only the first deal's"
    assert environment.shown(deal, "cancelled")
