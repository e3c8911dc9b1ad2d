"""Salespeople change contracts in the CRM: a won opportunity that names a contract becomes one amendment of it in every
system, and never an order."""

from __future__ import annotations

from canonical.amendments import Amendment
from canonical.ids import utc_now
from canonical.orders import Order
from sandbox.salesperson import SaleLine, close_deal, open_change
from tests.support.amending import agrees_everywhere, amendment_in, contract_of, timeline
from tests.support.environment import Environment
from tests.support.platforms import wait_until


def contract_record(environment: Environment, order: Order) -> str:
    """Return the CRM's own id of the contract of an order."""
    query = f"SELECT Id FROM Contract WHERE TiergateContract__c = '{contract_of(order).id}'"
    return str(wait_until(lambda: environment.crm.query(query), 20, "the contract in the CRM")[0]["Id"])


def sell_change(environment: Environment, record: str, *lines: SaleLine, kind: str | None = None) -> str:
    """Sell a change of a contract, and return the opportunity."""
    deal = open_change(environment.crm, record, lines, utc_now().date(), kind=kind)
    close_deal(environment.crm, deal)
    return deal


def amendment_of(environment: Environment, deal: str) -> Amendment:
    """Return the amendment that a deal has become."""
    query = "SELECT amendment_id FROM amending_deals WHERE deal_id = ? AND amendment_id <> ''"
    made = wait_until(lambda: environment.record(query, deal), 30, f"the amendment of {deal}")
    return environment.channels.get("sales-app", f"/sales/v1/amendments/{made}", Amendment)


def test_five_seats_more_that_are_sold_in_the_crm_are_one_amendment_everywhere(environment: Environment) -> None:
    lines = (SaleLine("PLATFORM", 1), SaleLine("SEAT", 10))
    order = environment.paid_order(environment.sale("Seats Sold In The CRM", lines=lines))

    deal = sell_change(environment, contract_record(environment, order), SaleLine("SEAT", 5))
    done = amendment_in(environment, amendment_of(environment, deal), "applied")

    agrees_everywhere(environment, order, done)
    subscription = environment.stripe.v1.subscriptions.retrieve(contract_of(order).references["subscription"])
    assert sorted(each.quantity or 0 for each in subscription["items"].data) == [1, 15]
    shown = environment.shown(deal, "applied")
    assert shown["TiergateDetail__c"].startswith("Seat 10 → 15 from ")
    assert shown["TiergateOrder__c"] == done.id
    assert (environment.find_order(deal), done.requested_by) == (None, "integration@example.com")

    environment.crm.update("Opportunity", deal, StageName="Negotiation/Review")  # opened, and closed again as it was
    close_deal(environment.crm, deal)
    other = sell_change(environment, contract_record(environment, order), SaleLine("SEAT", -15))
    last = amendment_in(environment, amendment_of(environment, other), "awaiting_approval", "applied")
    assert [each.id for each in (done, last)] == [
        *(each.amendment_id for each in timeline(environment, order).versions if each.amendment_id == done.id),
        last.id,
    ]


def test_a_contract_that_is_cancelled_in_the_crm_ends_everywhere(environment: Environment) -> None:
    order = environment.paid_order(environment.sale("Cancelled In The CRM", lines=(SaleLine("SEAT", 1),)))

    deal = sell_change(environment, contract_record(environment, order), kind="Cancellation")
    done = amendment_in(environment, amendment_of(environment, deal), "applied")

    agrees_everywhere(environment, order, done)
    subscription = environment.stripe.v1.subscriptions.retrieve(contract_of(order).references["subscription"])
    assert subscription.status == "canceled"
    assert environment.shown(deal, "applied")["TiergateDetail__c"].startswith("ended from ")


def test_a_deal_on_a_contract_that_is_not_ours_is_a_case_and_no_order(environment: Environment) -> None:
    order = environment.paid_order(environment.sale("Their Own Contract", lines=(SaleLine("SEAT", 1),)))
    (ours,) = environment.crm.query(
        f"SELECT AccountId FROM Contract WHERE Id = '{contract_record(environment, order)}'"
    )
    theirs = environment.crm.create("Contract", AccountId=ours["AccountId"], StartDate=utc_now().date().isoformat())

    deal = sell_change(environment, theirs, SaleLine("SEAT", 5))

    shown = environment.shown(deal, "on_hold")
    (case,) = environment.cases_of(shown["TiergateOrder__c"])
    assert (case.kind, case.team, case.field) == ("amendment_invalid", "sales", "deal.contract_id")
    assert case.reason == f"there is no contract {theirs}"
    assert shown["TiergateDetail__c"] == f"Opportunity.Contract.TiergateContract__c: {case.reason}"
    assert environment.find_order(deal) is None

    environment.crm.update("Opportunity", deal, ContractId=contract_record(environment, order))
    made = amendment_of(environment, deal)
    amendment_in(environment, made, "applied")
    assert environment.cases_of(shown["TiergateOrder__c"])[0].state == "resolved"
