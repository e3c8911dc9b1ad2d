"""A deal that is reopened, changed or lost after it was won is sold once, and people hear of it."""

from __future__ import annotations

from sandbox.salesperson import close_deal
from tests.support.environment import Environment
from tests.support.platforms import EXACTLY_ONE, wait_until


def test_an_active_deal_that_is_reopened_and_closed_with_more_seats_is_a_case_and_no_second_sale(
    environment: Environment,
) -> None:
    order = environment.paid_order(environment.sale("Reopened With More"))
    deal = order.deal_id
    (seats,) = environment.crm.query(
        f"SELECT Id FROM OpportunityLineItem WHERE OpportunityId = '{deal}' AND ProductCode = 'SEAT'"
    )

    environment.crm.update("Opportunity", deal, StageName="Negotiation/Review")
    environment.crm.update("OpportunityLineItem", seats["Id"], Quantity=30)
    close_deal(environment.crm, deal)
    (case,) = wait_until(lambda: environment.cases_of(order.id), 20, "a case about the change")
    environment.crm.update("Opportunity", deal, Name="Renamed since")
    environment.act(case.id, "skip", "changed by hand in billing")

    assert (case.kind, case.team, case.actions) == ("deal_changed", "sales", ("skip",))
    assert environment.counted(order) == EXACTLY_ONE
    assert [each.state for each in environment.cases_of(order.id)] == ["resolved"]


def test_a_deal_that_is_lost_after_it_was_won_is_a_case(environment: Environment) -> None:
    order = environment.paid_order(environment.sale("Lost Again"))

    environment.crm.update("Opportunity", order.deal_id, StageName="Closed Lost")
    (case,) = wait_until(lambda: environment.cases_of(order.id), 20, "a case about the loss")

    assert "lost after it was won" in case.reason
    assert environment.counted(order) == EXACTLY_ONE


def test_a_deal_whose_account_alone_is_corrected_goes_on_by_itself(environment: Environment) -> None:
    _, deal = environment.sell(environment.sale("Corrected Account", tax_number="DE123456789"))
    order = environment.order_in(deal, "on_hold")
    (shown,) = environment.crm.query(f"SELECT AccountId FROM Opportunity WHERE Id = '{deal}'")

    environment.crm.update("Account", shown["AccountId"], VatNumber__c="DE811569869")
    order = environment.order_in(deal, "active")

    environment.settled(order)
    assert environment.counted(order) == EXACTLY_ONE
    assert {each.state for each in environment.cases_of(order.id)} == {"resolved"}


def test_a_deal_that_is_corrected_in_the_crm_goes_on_by_itself(environment: Environment) -> None:
    _, deal = environment.sell(environment.sale("Corrected", legal_entity=None))
    order = environment.order_in(deal, "on_hold")

    environment.crm.update("Opportunity", deal, LegalEntity__c="DE01")
    order = environment.order_in(deal, "active")

    environment.settled(order)
    assert environment.counted(order) == EXACTLY_ONE
    assert {each.state for each in environment.cases_of(order.id)} == {"resolved"}


def test_a_deal_whose_order_was_given_up_is_sold_again_when_it_is_lost_and_won_as_it_was(
    environment: Environment,
) -> None:
    _, deal = environment.sell(environment.sale("Given Up And Back", tax_number="DE123456789"))
    first = environment.order_in(deal, "on_hold")
    (case,) = environment.cases_of(first.id)
    environment.act(case.id, "compensate")
    environment.shown(deal, "cancelled")

    def seen(query: str) -> object:
        return environment.record(query, deal)

    environment.crm.update("Opportunity", deal, StageName="Closed Lost")
    wait_until(lambda: seen("SELECT COUNT(*) FROM events WHERE subject = ?") == 2, 20, "the loss")
    close_deal(environment.crm, deal)

    of_second = "SELECT state FROM orders WHERE deal_id = ? AND revision = 2"
    wait_until(lambda: seen(of_second) == "on_hold", 20, "a new order, which is held for the same reason")
    assert seen("SELECT state FROM orders WHERE deal_id = ? AND revision = 1") == "cancelled"
