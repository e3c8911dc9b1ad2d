"""A record of the CRM that cannot be read is a case, and everybody else's deals come in."""

from __future__ import annotations

from canonical.cases import Case
from canonical.ids import utc_now
from sandbox.salesperson import close_deal, open_deal
from tests.support.environment import Environment
from tests.support.platforms import wait_until


def open_cases(environment: Environment, record: str) -> list[Case]:
    return [each for each in environment.cases_of(record) if each.state == "open"]


def test_a_deal_whose_revision_is_nonsense_is_a_case_and_the_next_deal_is_sold(environment: Environment) -> None:
    _, broken = open_deal(environment.crm, environment.sale("Broken"), utc_now().date())
    environment.crm.update("Opportunity", broken, Revision__c=1e19)
    close_deal(environment.crm, broken)
    _, deal = environment.sell(environment.sale("After the broken one"))

    environment.order_in(deal, "active")
    (case,) = wait_until(lambda: open_cases(environment, broken), 20)
    environment.crm.update("Opportunity", broken, Revision__c=1)
    order = environment.order_in(broken, "active")

    assert (case.kind, case.team, case.field) == ("record_not_read", "platform", "deal.revision")
    assert order.deal_id == broken
    assert open_cases(environment, broken) == []
