"""A contract is renewed at 5 % more up to the day on which another one ends: one term more, and the amounts of
billing's preview in every system. In virtual time."""

from __future__ import annotations

from collections.abc import Generator
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import httpx
import pytest

from canonical.amendments import ends_on, months_after
from canonical.orders import Order
from sandbox.salesperson import SaleLine, close_deal, open_change, open_deal
from tests.support.amending import amend, amendment_in, booked, contract_of, preview, timeline
from tests.support.environment import Environment
from tests.support.platforms import day_of_books, wait_until

SEATS = (SaleLine("PLATFORM", 1), SaleLine("SEAT", 25))


@pytest.fixture(scope="module")
def later(tmp_path_factory: pytest.TempPathFactory, templates: Path) -> Generator[Environment]:
    environment = Environment(tmp_path_factory.mktemp("virtual"), templates, virtual_time=True)
    yield environment
    environment.stop()


def sold(environment: Environment, name: str, months: int, today: date) -> Order:
    """Return the paid order of a contract of so many months."""
    sale = environment.sale(name, lines=SEATS)
    _, deal = open_deal(environment.crm, sale, today)
    environment.crm.update("Opportunity", deal, TermMonths__c=months)
    close_deal(environment.crm, deal)
    order = environment.order_in(deal, "active")
    environment.settled(order)
    return order


def test_a_renewed_contract_ends_with_another_one_at_the_amounts_of_the_preview(later: Environment) -> None:
    today = day_of_books(later.wait(timedelta()))
    renewed, other = (sold(later, name, months, today) for name, months in (("Renewed", 12), ("Two Years", 24)))
    until, both = ends_on(contract_of(renewed)), ends_on(contract_of(other))
    assert until
    assert both
    wanted = {"actions": [{"action": "renew", "ends_on": both.isoformat(), "uplift_percent": "5"}]}

    said = preview(later, renewed, wanted)
    assert ([each.issued_on for each in said.invoices], said.ends_on) == ([day_of_books(said.effective_at)], both)
    assert abs(day_of_books(said.effective_at) - until) <= timedelta(days=1)
    asked = amend(later, renewed, wanted, "renewal")
    assert amendment_in(later, asked, "scheduled").effective_at == said.effective_at
    with pytest.raises(httpx.HTTPStatusError) as twice:
        amend(later, renewed, wanted, "again")
    answer = twice.value.response
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/already-renewed")

    later.wait(said.effective_at - timedelta(days=2) - later.wait(timedelta()))
    done = amendment_in(later, asked, "applied")
    assert done.preview
    (previewed,) = done.preview.invoices
    assert (previewed.lines, previewed.total) == (said.invoices[0].lines, said.invoices[0].total)
    assert [each.net.amount for each in previewed.lines] == [630_000, 25 * 25_200]
    assert [(each.total, each.tax) for each in done.preview.postings] == [(previewed.total, previewed.tax)]
    assert len(later.stripe.v1.invoices.list({"customer": contract_of(renewed).references["customer"]}).data) == 1

    later.wait(timedelta(days=3))
    customer = contract_of(renewed).references["customer"]
    issued = wait_until(
        lambda: later.stripe.v1.invoices.list({"customer": customer}).data[:-1], 30, "the invoice of the new term"
    )
    assert [(each.total, each.subtotal) for each in issued] == [
        (previewed.total.amount, (previewed.total - previewed.tax).amount)
    ]
    posting = booked(later, renewed, issued[0].id or "")
    assert (posting.amount, posting.tax) == (previewed.total, previewed.tax)
    (subscription,) = later.stripe.v1.subscriptions.list({"customer": customer, "status": "all"}).data
    assert (subscription.status, subscription.cancel_at) == ("active", None)
    query = f"SELECT ContractTerm FROM Contract WHERE TiergateContract__c = '{contract_of(renewed).id}'"
    assert [each["ContractTerm"] for each in later.crm.query(query)] == [24]
    shown = timeline(later, renewed)
    assert (shown.ends_on, timeline(later, other).ends_on) == (both, both)
    assert shown.present
    assert shown.present.amendment_id == asked.id
    assert shown.present.lines[1].terms.unit_price == Decimal("252.00")


def test_a_renewal_that_is_sold_in_the_crm_waits_for_the_end_of_the_term(later: Environment) -> None:
    order = sold(later, "Renewed In The CRM", 12, day_of_books(later.wait(timedelta())))
    contract = contract_of(order)
    query = f"SELECT Id FROM Contract WHERE TiergateContract__c = '{contract.id}'"
    record = str(wait_until(lambda: later.crm.query(query), 20, "the contract in the CRM")[0]["Id"])
    lines = (SaleLine("PLATFORM", 1), SaleLine("SEAT", 30, 250.0))
    deal = open_change(later.crm, record, lines, contract.starts_on, kind="Renewal")
    close_deal(later.crm, deal)

    assert later.shown(deal, "scheduled")["TiergateDetail__c"]
    shown = timeline(later, order)
    until = ends_on(contract)
    assert until
    assert shown.versions[-1].ends_on == months_after(until, 12)
    (seats,) = [each for each in shown.versions[-1].lines if each.sku == "SEAT"]
    assert (seats.terms.quantity, seats.terms.unit_price) == (30, Decimal(250))
    assert shown.present == shown.versions[0]
