"""Terms end: one contract is offered again and won, one is lost and ends without another invoice, and one is cancelled
anyway. In virtual time."""

from __future__ import annotations

from collections.abc import Generator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from canonical.amendments import ContractSummary, months_after
from canonical.orders import Order, Page
from sandbox.salesperson import close_deal
from tests.support.amending import amend, amendment_in, amendment_of, contract_of, timeline
from tests.support.environment import Environment
from tests.support.platforms import wait_until
from tests.support.renewing import go_to, governed, invoices, renewal_in, sold, term_of

DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def later(tmp_path_factory: pytest.TempPathFactory, templates: Path) -> Generator[Environment]:
    environment = governed(tmp_path_factory.mktemp("virtual"), templates, "quoted")
    yield environment
    environment.stop()


def offered(environment: Environment, order: Order) -> dict[str, Any]:
    """Return the one opportunity that offers a contract again."""
    lines = "(SELECT ProductCode, Quantity, UnitPrice FROM OpportunityLineItems ORDER BY SortOrder)"
    fields = "Id, Type, StageName, CloseDate, TermMonths__c, OwnerId, AccountId, Contract.TiergateContract__c"
    key = f"renewal:{contract_of(order).id}:{term_of(order)}"
    (found,) = environment.crm.query(f"SELECT {fields}, {lines} FROM Opportunity WHERE TiergateKey__c = '{key}'")
    return found


def state_of(environment: Environment, order: Order) -> str:
    path = f"/sales/v1/contracts?customer_id={order.customer_id}"
    found: Page[ContractSummary] = environment.channels.get("sales-app", path, Page[ContractSummary])
    (row,) = found.items
    return row.state


def test_one_is_won_and_renewed_one_is_lost_and_ends_and_one_is_cancelled_anyway(later: Environment) -> None:
    won, lost, ended = (sold(later, name) for name in ("Offered And Won", "Offered And Lost", "Cancelled Anyway"))
    until = max(map(term_of, (won, lost, ended)))
    wanted = {"actions": [{"action": "cancel"}], "effective": "date", "effective_on": str(until - 10 * DAY)}
    ending = amendment_in(later, amend(later, ended, wanted, "ended"), "scheduled")

    go_to(later, until - 50 * DAY)
    first, second = (renewal_in(later, each, "quoted") for each in (won, lost))
    blocked = renewal_in(later, ended, "blocked")
    assert ending.id in blocked.blocked_reason
    assert (first.mrr_after.amount - first.mrr.amount, first.renews_until) == (
        first.mrr.amount // 20,
        months_after(term_of(won), 12),
    )
    offer = offered(later, won)
    assert (offer["Type"], offer["StageName"], offer["TermMonths__c"]) == ("Renewal", "Negotiation/Review", 12)
    assert (offer["CloseDate"], offer["Contract"]["TiergateContract__c"]) == (
        term_of(won).isoformat(),
        contract_of(won).id,
    )
    (sold_with,) = later.crm.query(f"SELECT OwnerId, AccountId FROM Opportunity WHERE Id = '{won.deal_id}'")
    assert (offer["OwnerId"], offer["AccountId"]) == (sold_with["OwnerId"], sold_with["AccountId"])
    priced = {line.sku: line.terms.unit_price for line in contract_of(won).lines}
    assert [
        (each["ProductCode"], each["Quantity"], round(each["UnitPrice"] * 100))
        for each in offer["OpportunityLineItems"]["records"]
    ] == [(sku, quantity, int(priced[sku] * 105)) for sku, quantity in (("PLATFORM", 1), ("SEAT", 10))]

    close_deal(later.crm, first.deal_id)
    later.crm.update("Opportunity", second.deal_id, StageName="Closed Lost")
    scheduled = renewal_in(later, won, "scheduled")
    amendment_in(later, amendment_of(later, scheduled.amendment_id), "scheduled")
    lapsing = renewal_in(later, lost, "lapsing")
    amendment_in(later, amendment_of(later, lapsing.amendment_id), "applied")
    assert state_of(later, lost) == "active"

    go_to(later, until - 2 * DAY)
    assert renewal_in(later, won, "renewed").amendment_id == scheduled.amendment_id
    renewal_in(later, ended, "dropped")

    go_to(later, until + 2 * DAY)
    renewal_in(later, lost, "grace")
    assert (state_of(later, won), state_of(later, lost), state_of(later, ended)) == ("active", "expired", "cancelled")
    assert [each.state for each in timeline(later, lost).versions][-1] == "expired"
    wait_until(lambda: len(invoices(later, won)) == 2, 30, "the invoice of the new term")
    newest, oldest = invoices(later, won)
    assert newest.subtotal == oldest.subtotal * 105 // 100
    assert delivered(later, lost)

    go_to(later, until + 17 * DAY)
    renewal_in(later, lost, "expired")
    wait_until(lambda: not delivered(later, lost), 20, "the target to have taken it back")
    assert len(invoices(later, lost)) == 1
    (subscription,) = later.stripe.v1.subscriptions.list(
        {"customer": contract_of(lost).references["customer"], "status": "all"}
    ).data
    assert subscription.status == "canceled"


def delivered(environment: Environment, order: Order) -> bool:
    """Return whether the target has something of an order still."""
    return any(each["state"] != "removed" for each in environment.jobs(order.id))


@pytest.mark.extended
def test_a_kill_between_the_opportunity_and_its_id_makes_no_second_one(later: Environment) -> None:
    order = sold(later, "Offered And Killed")
    key = f"renewal:{contract_of(order).id}:{term_of(order)}"
    later.fault("crm", kind="slow", milliseconds=400, times=0)
    go_to(later, term_of(order) - 50 * DAY)
    query = f"SELECT Id FROM Opportunity WHERE TiergateKey__c = '{key}'"
    wait_until(lambda: later.crm.query(query), 60, "the opportunity")
    assert later.record("SELECT deal_id FROM renewals WHERE contract_id = ?", contract_of(order).id) == ""

    later.kill_and_start("process")

    found = renewal_in(later, order, "quoted")
    assert [each["Id"] for each in later.crm.query(query)] == [found.deal_id]
    assert len(offered(later, order)["OpportunityLineItems"]["records"]) == 2
