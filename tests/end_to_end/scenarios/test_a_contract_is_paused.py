"""A contract is paused for two months and goes on by itself: no invoice of that time is posted or collected, and the
next one is whole and posted once. In virtual time."""

from __future__ import annotations

import re
from collections.abc import Generator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from canonical.amendments import ContractSummary, months_after
from canonical.orders import Order, Page, PostingStatus
from sandbox.salesperson import SaleLine, close_deal, open_deal
from tests.end_to_end.faults.test_killed_after_each_state import SLOW, killed_after_each
from tests.support.amending import amend, amendment_in, contract_of, preview, quantity, timeline
from tests.support.environment import Environment
from tests.support.platforms import wait_until

DAY = timedelta(days=1)
NEXT = "SELECT next_attempt_at FROM amendments WHERE id = ?"


@pytest.fixture(scope="module")
def later(tmp_path_factory: pytest.TempPathFactory, templates: Path) -> Generator[Environment]:
    environment = Environment(tmp_path_factory.mktemp("virtual"), templates, virtual_time=True)
    (product,) = environment.crm.query("SELECT Id FROM Product2 WHERE ProductCode = 'SEAT'")
    environment.crm.update("Product2", product["Id"], BillingInterval__c="month")
    yield environment
    environment.stop()


def sold(environment: Environment, name: str) -> tuple[Order, str]:
    """Return the paid order of a contract that is billed by the month, and its deal."""
    sale = environment.sale(name, lines=(SaleLine("SEAT", 10, 20.0),))
    _, deal = open_deal(environment.crm, sale, environment.wait(timedelta()).date())
    close_deal(environment.crm, deal)
    order = environment.order_in(deal, "active")
    environment.settled(order)
    return order, deal


def invoices(environment: Environment, order: Order) -> list[Any]:
    """Return what Stripe's own client sees of a contract's invoices, the oldest first."""
    customer = contract_of(order).references["customer"]
    return environment.stripe.v1.invoices.list({"customer": customer}).data[::-1]


def charged(environment: Environment, order: Order) -> list[bool]:
    return [each.status != "void" for each in invoices(environment, order)]


def go_on(environment: Environment, moment: datetime) -> None:
    """Let the time pass until a moment, in steps of some days."""
    while (now := environment.wait(timedelta())) < moment:
        environment.wait(min(moment - now, 9 * DAY))


def states(environment: Environment, order: Order, *wanted: str) -> None:
    """Check that a contract is found by one state alone, and has no revenue while it is paused."""
    found: dict[str, tuple[ContractSummary, ...]] = {}
    for each in ("active", "paused"):
        path = f"/sales/v1/contracts?customer_id={order.customer_id}&state={each}"
        found[each] = environment.channels.get("sales-app", path, Page[ContractSummary]).items
    assert [name for name, rows in found.items() if rows] == [*wanted]
    assert all((row.mrr.amount == 0) == (name == "paused") for name, rows in found.items() for row in rows)


def asked(until: str | None = None) -> dict[str, Any]:
    return {"actions": [{"action": "pause", "until": until}], "effective": "period_end"}


def first_days(environment: Environment, order: Order, months: int) -> str:
    """Return the day on which a period begins that many months after the first, as billing says it."""
    near = months_after(contract_of(order).starts_on, months) - timedelta(days=4)
    with pytest.raises(httpx.HTTPStatusError) as refused:
        preview(environment, order, asked(near.isoformat()))
    (error,) = refused.value.response.json()["errors"]
    assert error["path"] == "$.actions[0].until"
    days = re.findall(r"\d{4}-\d\d-\d\d", error["reason"])
    return min(days, key=lambda day: abs(date.fromisoformat(day) - near - timedelta(days=4)))


def test_two_months_are_neither_billed_nor_served_and_the_third_is_whole(later: Environment) -> None:
    order, deal = sold(later, "Rests Two Months")
    until = first_days(later, order, 3)

    said = preview(later, order, asked(until))
    done = amendment_in(later, amend(later, order, asked(until), "rests"), "applied")

    assert said.resumes_at
    assert (said.resumes_on, said.invoices, said.approvals) == (date.fromisoformat(until), (), ())
    assert done.preview
    assert (done.preview.effective_at, done.preview.deltas) == (said.effective_at, said.deltas)
    words = f"paused from {said.pauses_on} until {until}"
    detail = wait_until(lambda: shown(later, deal, words), 20, "the pause on the deal")
    assert detail == words
    versions = timeline(later, order).versions
    assert [(each.state, each.mrr.amount) for each in versions] == [
        ("active", 20_000),
        ("paused", 0),
        ("active", 20_000),
    ]
    states(later, order, "active")
    assert not later.is_suspended(order.id)

    go_on(later, said.effective_at + DAY)
    wait_until(lambda: later.is_suspended(order.id), 30, "the service is suspended")
    states(later, order, "paused")
    go_on(later, said.resumes_at - DAY)
    assert (charged(later, order), later.is_suspended(order.id)) == ([True, False, False], True)

    go_on(later, said.resumes_at + DAY)
    wait_until(lambda: not later.is_suspended(order.id), 30, "the service is taken up")
    states(later, order, "active")
    first, *void, last = wait_until(
        lambda: found if len(found := invoices(later, order)) == 4 and found[-1].status == "paid" else None,
        30,
        "the invoice of the first period after the pause",
    )
    assert (last.total, last.subtotal) == (first.total, first.subtotal)
    posting = booked_once(later, order, last.id)
    assert posting.amount
    assert posting.amount.amount == last.total
    for each in void:
        assert later.in_erp("account.invoice", ("reference", "=", each.id)) == []
        assert each.amount_paid == each.amount_remaining == 0
        assert later.cases_of(f"invoice:{each.id}") == []
    assert {row["state"] for row in later.jobs(order.id)} == {"provisioned"}


def booked_once(environment: Environment, order: Order, invoice_id: str) -> PostingStatus:
    """Return the posting of an invoice once the ERP has all of it, which it has once."""

    def look() -> PostingStatus | None:
        rows = environment.channels.postings(contract_of(order).id)
        own = [each for each in rows if each.invoice_id == invoice_id]
        is_there = {each.kind for each in own if each.state == "posted"} == {"invoice", "payment"}
        return next(each for each in own if each.kind == "invoice") if is_there else None

    found = wait_until(look, 60, f"the postings of {invoice_id}")
    assert len(environment.in_erp("account.invoice", ("reference", "=", invoice_id))) == 1
    return found


def shown(environment: Environment, deal: str, words: str) -> str | None:
    """Return what the CRM shows of the contract on its deal, once it is that."""
    (row,) = environment.crm.query(f"SELECT TiergateDetail__c FROM Opportunity WHERE Id = '{deal}'")
    return words if row["TiergateDetail__c"] == words else None


@pytest.mark.extended
def test_a_contract_that_rests_without_end_goes_on_when_somebody_asks(later: Environment) -> None:
    order, deal = sold(later, "Rests Until Asked")
    paused = amendment_in(later, amend(later, order, asked(), "rests"), "applied")
    assert paused.effective_at
    go_on(later, paused.effective_at + DAY)
    wait_until(lambda: later.is_suspended(order.id), 30, "the service is suspended")
    with pytest.raises(httpx.HTTPStatusError) as refused:
        amend(later, order, quantity(order, "SEAT", 12), "more")
    (error,) = refused.value.response.json()["errors"]
    assert (error["path"], "resume it first" in error["reason"]) == ("$.actions", True)

    wanted = {"actions": [{"action": "resume"}], "effective": "period_end"}
    resumed = amendment_in(later, amend(later, order, wanted, "resumes"), "applied")

    assert resumed.effective_at
    assert resumed.preview
    words = f"resumed from {resumed.preview.resumes_on}"
    assert wait_until(lambda: shown(later, deal, words), 20, "the end of the pause on the deal")
    assert later.is_suspended(order.id)
    go_on(later, resumed.effective_at + DAY)
    wait_until(lambda: not later.is_suspended(order.id), 30, "the service is taken up")
    assert charged(later, order) == [True, False, True]
    booked_once(later, order, invoices(later, order)[-1].id)
    states(later, order, "active")


@pytest.mark.extended
def test_a_kill_after_each_step_of_a_pause_voids_and_suspends_once(later: Environment) -> None:
    order, _ = sold(later, "Killed At Rest")
    until = first_days(later, order, 2)
    for platform in SLOW:
        later.fault(platform, kind="slow", milliseconds=120, times=0)
    paused = amend(later, order, asked(until), "killed")
    killed_after_each(later, paused, ("checking", "applying", "applied"))
    later.calm()
    done = amendment_in(later, paused, "applied")
    assert done.preview
    assert done.preview.resumes_at

    for moment, suspended in ((done.preview.effective_at, True), (done.preview.resumes_at, False)):
        later.fault("provisioning", kind="late", matching="suspension", milliseconds=1500)
        go_on(later, moment + timedelta(hours=2))
        wait_until(lambda: later.faults_left("provisioning") == 0, 40, "the target has heard of it")
        later.kill("process")
        later.start("process")
        wait_until(lambda suspended=suspended: later.is_suspended(order.id) == suspended, 30, "the target has it")
        after = done.preview.resumes_at.isoformat() if suspended else None
        wait_until(lambda after=after: later.record(NEXT, done.id) == after, 30, "the step is done")
    assert charged(later, order) == [True, False, True]
    assert [each.state for each in timeline(later, order).versions] == ["active", "paused", "active"]
