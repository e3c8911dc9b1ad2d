"""A contract is billed from the day that was agreed; a start that cannot be meant is found before anything is made."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from canonical.ids import utc_now
from tests.support.environment import Environment


def test_a_contract_that_starts_in_sixty_days_is_delivered_and_not_billed_yet(environment: Environment) -> None:
    starts_on = utc_now().date() + timedelta(days=60)

    _, deal = environment.sell(environment.sale("Starts Later", starts_on=starts_on))
    order = environment.order_in(deal, "active")

    assert order.plan is not None
    contract = order.plan.contract
    schedule = environment.stripe.v1.subscription_schedules.retrieve(contract.references["schedule"])
    shown = environment.crm.query(f"SELECT StartDate, Status FROM Contract WHERE Opportunity__c = '{deal}'")
    assert all(each.state == "provisioned" for each in order.lines)
    assert schedule.status == "not_started"
    begins = datetime.fromtimestamp(schedule.phases[0].start_date, ZoneInfo("Europe/Berlin"))
    assert (begins.date(), begins.hour) == (starts_on, 0)
    assert environment.stripe.v1.invoices.list({"customer": contract.references["customer"]}).data == []
    assert [(each["StartDate"], each["Status"]) for each in shown] == [(starts_on.isoformat(), "Activated")]


@pytest.mark.parametrize("days", [-200, 3000], ids=["long ago", "in eight years"])
def test_a_start_that_cannot_be_meant_holds_the_order(environment: Environment, days: int) -> None:
    starts_on = utc_now().date() + timedelta(days=days)

    _, deal = environment.sell(environment.sale(f"Starts {days} days away", starts_on=starts_on))
    order = environment.order_in(deal, "on_hold")

    assert [each.field for each in environment.cases_of(order.id)] == ["deal.starts_on"]
    assert order.customer_id == ""
