"""A contract goes to a customer in another country, and back: one subscription at a time bills it, each invoice is
booked once and for who owes it, and what was delivered stays. In virtual time."""

from __future__ import annotations

from collections.abc import Generator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from canonical.amendments import Amendment
from canonical.drift import Drift
from canonical.money import Money
from canonical.orders import CustomerOverview, Order, Page
from sandbox.salesperson import SaleLine, close_deal, open_deal
from tests.end_to_end.faults.test_killed_after_each_state import SLOW, killed_after_each
from tests.support.amending import amend, amendment_in, contract_of, line_of, preview, quantity, timeline
from tests.support.environment import Environment
from tests.support.platforms import day_of_books, wait_until

DAY = timedelta(days=1)
STATE = "SELECT customer_id FROM orders WHERE id = ?"
LEFT = "SELECT next_attempt_at FROM amendments WHERE id = ?"


@pytest.fixture(scope="module")
def later(tmp_path_factory: pytest.TempPathFactory, templates: Path) -> Generator[Environment]:
    environment = Environment(tmp_path_factory.mktemp("virtual"), templates, virtual_time=True)
    (product,) = environment.crm.query("SELECT Id FROM Product2 WHERE ProductCode = 'SEAT'")
    environment.crm.update("Product2", product["Id"], BillingInterval__c="month")
    yield environment
    environment.stop()


def sold(environment: Environment, name: str, **changes: Any) -> Order:
    """Return the paid order of a contract that is billed by the month."""
    sale = environment.sale(name, lines=(SaleLine("SEAT", 10, 20.0),), **changes)
    _, deal = open_deal(environment.crm, sale, day_of_books(environment.wait(timedelta())))
    close_deal(environment.crm, deal)
    order = environment.order_in(deal, "active")
    environment.settled(order)
    return order


def go_on(environment: Environment, moment: datetime) -> None:
    """Let the time pass until a moment, in steps of some days."""
    while (now := environment.wait(timedelta())) < moment:
        environment.wait(min(moment - now, 9 * DAY))


def to(customer: str) -> dict[str, Any]:
    return {"actions": [{"action": "transfer", "customer": customer}], "effective": "period_end"}


def approve(environment: Environment, asked: Amendment) -> Amendment:
    amendment_in(environment, asked, "awaiting_approval")
    (case,) = environment.cases_of(asked.id)
    environment.decide(case.id, "approve", "it sold its division", on_behalf_of="kim@finance.example")
    return amendment_in(environment, asked, "scheduled", "applied")


def owner(order: Order) -> str:
    return contract_of(order).references["customer"]


def bills(environment: Environment, customer: str, contract: str) -> list[Any]:
    """Return the invoices of a contract that Stripe's own client sees of a customer, the first one first."""
    rows = environment.stripe.v1.invoices.list({"customer": customer}).data[::-1]
    of = [each.parent.subscription_details for each in rows if each.parent]  # pyright: ignore[reportUnknownMemberType]
    return [
        each
        for each, details in zip(rows, of, strict=True)
        if details and details.metadata and details.metadata["tiergate_contract"] == contract
    ]


def subscriptions(environment: Environment, customer: str, contract: str) -> list[Any]:
    rows = environment.stripe.v1.subscriptions.list({"customer": customer, "status": "all"}).data
    return [each for each in rows if each.metadata["tiergate_contract"] == contract]


def booked_for(environment: Environment, order: Order, invoice_id: str) -> str:
    """Return the party that owes an invoice by the books, once the ERP has it and its payment; which it has once."""

    def look() -> bool:
        rows = environment.channels.postings(contract_of(order).id)
        return {each.kind for each in rows if each.invoice_id == invoice_id and each.state == "posted"} == {
            "invoice",
            "payment",
        }

    wait_until(look, 60, f"the postings of {invoice_id}")
    (row,) = environment.rows_in_erp("account.invoice", ["party.name"], ("reference", "=", invoice_id))
    return str(row["party."]["name"])


def last_paid(environment: Environment, customer: str, contract: str, count: int) -> Any:
    """Return the last of so many invoices of a contract to a customer, once it is paid."""
    return wait_until(
        lambda: (
            found[-1]
            if len(found := bills(environment, customer, contract)) == count and found[-1].status == "paid"
            else None
        ),
        40,
        f"{count} invoices to {customer}",
    )


def test_a_contract_goes_to_a_customer_abroad_and_comes_back(later: Environment) -> None:
    order = sold(later, "Sells A Division")
    other = sold(later, "Achète Tout", country="FR", tax_number="FR40303265045")
    former, buyer, contract = owner(order), owner(other), contract_of(order).id
    jobs = later.jobs(order.id)
    (record,) = later.crm.query(
        f"SELECT Id, AccountId, ContractNumber FROM Contract WHERE TiergateContract__c = '{contract}'"
    )

    said = preview(later, order, to(other.customer_id))
    assert said.transfer
    assert said.transfer.tax == "reverse_charge"
    (invoice,) = said.invoices
    assert (invoice.customer_id, invoice.total, invoice.tax) == (
        other.customer_id,
        Money(20_000, "EUR"),
        Money(0, "EUR"),
    )
    assert [(each.total, each.tax) for each in said.postings] == [(invoice.total, invoice.tax)]
    assert said.differences == ()
    with pytest.raises(httpx.HTTPStatusError) as refused:
        preview(later, order, to(order.customer_id))
    assert refused.value.response.json()["errors"][0]["path"] == "$.actions[0].customer"

    asked = approve(later, amend(later, order, to(other.customer_id), "goes"))
    assert (asked.state, asked.effective_at) == ("scheduled", said.effective_at)
    go_on(later, said.effective_at - 2 * DAY)
    amendment_in(later, asked, "applied")
    assert [each.cancel_at_period_end for each in subscriptions(later, former, contract)] == [True]
    assert later.record(STATE, order.id) == order.customer_id
    with pytest.raises(httpx.HTTPStatusError) as refused:
        amend(later, order, quantity(order, "SEAT", 12), "more")
    assert asked.id in refused.value.response.json()["errors"][0]["reason"]

    go_on(later, said.effective_at + DAY)
    wait_until(lambda: later.holder(order.id) == other.customer_id, 30, "the target knows who has it")
    last = last_paid(later, buyer, contract, 1)
    assert (last.total, last.subtotal) == (20_000, 20_000)
    assert booked_for(later, order, last.id) == "Achète Tout GmbH"
    (first,) = bills(later, former, contract)
    assert booked_for(later, order, first.id) == "Sells A Division GmbH"
    assert [each.status for each in subscriptions(later, former, contract)] == ["canceled"]
    assert [(each.status, each.start_date) for each in subscriptions(later, buyer, contract)] == [
        ("active", int(said.effective_at.timestamp()))
    ]
    assert later.jobs(order.id) == jobs
    assert not later.is_suspended(order.id)
    versions = timeline(later, order).versions
    assert [(each.customer_id, each.mrr.amount) for each in versions] == [
        (order.customer_id, 20_000),
        (other.customer_id, 20_000),
    ]
    in_the_crm(later, contract, record, day_of_books(said.effective_at).isoformat()[:7])
    looked = later.channels.post("support-desk", f"/support/v1/drift-looks/{contract}", None, Page[Drift])
    assert looked.items == ()
    for key in (order.customer_id, other.customer_id):
        assert later.channels.get("support-desk", f"/support/v1/customers/{key}", CustomerOverview).customer.id == key

    comes_back(later, order, other)


def comes_back(later: Environment, order: Order, other: Order) -> None:
    """Let the other customer have more of the contract, and transfer it back."""
    former, buyer, contract = owner(order), owner(other), contract_of(order).id
    more = amendment_in(later, amend(later, order, quantity(order, "SEAT", 12), "more-seats"), "applied")
    assert (
        later.channels.get("sales-app", f"/sales/v1/amendments/{more.id}", Amendment).customer_id == other.customer_id
    )
    assert [each["quantity"] for each in later.jobs(order.id) if each["line_id"] == line_of(order, "SEAT")] == [
        "10",
        "12",
    ]

    back = approve(later, amend(later, order, to(order.customer_id), "comes-back"))
    assert back.effective_at
    go_on(later, back.effective_at - 2 * DAY)
    amendment_in(later, back, "applied")
    go_on(later, back.effective_at + DAY)
    wait_until(lambda: later.holder(order.id) == order.customer_id, 30, "the target knows who has it again")
    again = last_paid(later, former, contract, 2)
    assert (again.subtotal, again.total) == (24_000, 28_560)
    assert booked_for(later, order, again.id) == "Sells A Division GmbH"
    every = [*subscriptions(later, former, contract), *subscriptions(later, buyer, contract)]
    assert sorted(each.status for each in every) == ["active", "canceled", "canceled"]


def in_the_crm(environment: Environment, contract: str, former: dict[str, Any], month: str) -> None:
    """Check that the former account keeps its record, which an activated contract's account cannot leave, and that the
    other one has a record of its own."""

    def look() -> Any:
        rows = environment.crm.query(
            f"SELECT Id, AccountId, Status, StartDate FROM Contract WHERE TiergateContract__c = '{contract}'"
        )
        return rows[0] if rows and rows[0]["Id"] != former["Id"] else None

    row = wait_until(look, 30, "the contract of the other account")
    assert (row["Status"], row["StartDate"][:7]) == ("Activated", month)
    (kept,) = environment.crm.query(f"SELECT AccountId, ContractTerm, Status FROM Contract WHERE Id = '{former['Id']}'")
    assert (kept["AccountId"], kept["ContractTerm"], kept["Status"]) == (former["AccountId"], 1, "Activated")
    assert row["AccountId"] != kept["AccountId"]


@pytest.mark.extended
def test_a_kill_between_any_two_steps_of_a_transfer_leads_to_one_of_everything(later: Environment) -> None:
    order = sold(later, "Killed While It Goes")
    other = sold(later, "Takes It Over")
    former, buyer, contract = owner(order), owner(other), contract_of(order).id
    for platform in SLOW:
        later.fault(platform, kind="slow", milliseconds=120, times=0)
    asked = amend(later, order, to(other.customer_id), "killed")
    killed_after_each(later, asked, ("checking", "awaiting_approval"))
    waits = approve(later, asked)
    assert waits.effective_at
    killed_after_each(later, asked, ("scheduled",))
    later.calm()

    for matching in ("/v1/subscriptions/", "/v1/subscription_schedules"):
        later.fault("billing", kind="late", matching=matching, milliseconds=1500)
    go_on(later, waits.effective_at - 2 * DAY)
    for left in (1, 0):
        wait_until(lambda left=left: later.faults_left("billing") <= left, 40, "billing is at it")
        later.kill("process")
        later.start("process")
    amendment_in(later, asked, "applied")
    assert later.record(STATE, order.id) == order.customer_id

    later.fault("provisioning", kind="late", matching="holder", milliseconds=1500)
    go_on(later, waits.effective_at + DAY)
    wait_until(lambda: later.faults_left("provisioning") == 0, 40, "the target has heard of it")
    later.kill("process")
    later.start("process")
    wait_until(lambda: later.record(LEFT, asked.id) is None, 60, "the step is done")

    assert later.holder(order.id) == later.record(STATE, order.id) == other.customer_id
    last = last_paid(later, buyer, contract, 1)
    assert booked_for(later, order, last.id) == "Takes It Over GmbH"
    assert len(bills(later, former, contract)) == 1
    assert [each.status for each in subscriptions(later, former, contract)] == ["canceled"]
    assert [each.status for each in subscriptions(later, buyer, contract)] == ["active"]
    rows = later.crm.query(f"SELECT Id FROM Contract WHERE TiergateContract__c LIKE '{contract}%'")
    assert len(rows) == 2
    assert {each["state"] for each in later.jobs(order.id)} == {"provisioned"}
    assert [each.customer_id for each in timeline(later, order).versions] == [order.customer_id, other.customer_id]
