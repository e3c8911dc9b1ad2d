"""A customer has lines with a term and lines without end, in parts of a unit. One without end is cancelled at once: it
ends alone, and what is unused of it is credited.

A deal has one term, so that lines with another are a contract of their own, of the same customer.
"""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import contextmanager
from decimal import Decimal

from sandbox.salesperson import SaleLine
from tests.support.amending import amend, amendment_in, booked, contract_of, line_of, timeline
from tests.support.environment import Environment
from tests.support.platforms import wait_until


def test_an_evergreen_line_that_is_cancelled_at_once_ends_alone_and_its_unused_time_is_credited(
    environment: Environment,
) -> None:
    with yearly_hours(environment):
        sold = (SaleLine("PLATFORM", 1), SaleLine("CONSULTING", 1.5, 80))
        account, deal = environment.sell(environment.sale("Term And Evergreen", lines=sold))
        fixed = environment.order_in(deal, "active")
        sold = (SaleLine("CONSULTING", 2.5, 120), SaleLine("SEAT", 4))
        _, other = environment.sell(environment.sale("Term And Evergreen", lines=sold, evergreen=True), account)
        evergreen = environment.order_in(other, "active")
    for each in (fixed, evergreen):
        environment.settled(each)
    assert contract_of(evergreen).customer_id == contract_of(fixed).customer_id
    assert (contract_of(fixed).term_months, contract_of(evergreen).term_months) == (12, 0)
    ended = line_of(evergreen, "CONSULTING")

    asked = amend(environment, evergreen, {"actions": [{"action": "remove", "line": ended}]}, "evergreen-line")
    done = amendment_in(environment, asked, "applied")

    assert done.preview
    (previewed,), (credit,) = done.preview.invoices, done.invoices
    (line,) = previewed.lines
    assert -30_000 <= line.net.amount < 0
    assert line.net.amount == environment.stripe.v1.invoices.retrieve(credit).subtotal
    posting = booked(environment, evergreen, credit)
    assert (posting.amount, posting.tax) == (previewed.total, previewed.tax)
    (posted,) = environment.in_erp("account.invoice", ("reference", "=", credit))
    assert posted.total_amount == Decimal(previewed.total.amount) / 100

    customer = contract_of(fixed).references["customer"]
    running = environment.stripe.v1.subscriptions.list({"customer": customer}).data
    assert len(running) == 2
    items = {each["metadata"]["tiergate_line"] for one in running for each in one["items"].data}
    assert items == {each.line.id for each in (*fixed.lines, *evergreen.lines) if each.line.id != ended}
    issued = environment.stripe.v1.invoices.list({"customer": customer}).data
    assert len(issued) == 3
    assert len(environment.in_erp("account.invoice", ("reference", "in", [each.id for each in issued]))) == 3
    wait_until(lambda: quantities(environment, evergreen.id, ended) == ["2.5", "0"], 20, "the line is taken back")
    assert {each["quantity"] for each in environment.jobs(fixed.id)} == {"1", "1.5"}
    assert len(timeline(environment, fixed).versions) == 1
    shown = timeline(environment, evergreen)
    assert (shown.ends_on, [each.state for each in shown.versions]) == (None, ["active", "active"])


def test_what_is_owed_is_collected_on_when_a_contract_of_the_customer_ends(environment: Environment) -> None:
    pays_later = environment.sale("Owes Still", lines=(SaleLine("SEAT", 4),), payment_method=None)
    account, deal = environment.sell(pays_later)
    kept = environment.order_in(deal, "active")
    _, other = environment.sell(environment.sale("Owes Still", lines=(SaleLine("SUPPORT", 1),)), account)
    ended = environment.order_in(other, "active")
    customer = contract_of(kept).references["customer"]
    invoices = environment.stripe.v1.invoices
    disputed = contract_of(ended).references["invoice"]
    invoices.update(disputed, {"auto_advance": False, "metadata": {"tiergate_collection": "stopped"}})

    asked = amend(environment, ended, {"actions": [{"action": "cancel"}], "settlement": "none"}, "owes-still")
    amendment_in(environment, asked, "applied")

    first = contract_of(kept).references["invoice"]
    wait_until(lambda: stopped_at(environment, first) > 0, 30, "the end of one contract stops what others owe")
    wait_until(lambda: invoices.retrieve(first).auto_advance, 30, "the invoice of the other contract is collected on")
    assert {each.id: each.auto_advance for each in invoices.list({"customer": customer, "status": "open"}).data} == {
        first: True,
        disputed: False,
    }


def stopped_at(environment: Environment, invoice: str) -> int:
    """Return how often billing has stopped to collect an invoice by itself."""
    events = environment.stripe.v1.events.list({"type": "invoice.updated", "limit": 100}).data
    about = [each.data.to_dict() for each in events if each.data.object["id"] == invoice]
    return sum('"auto_advance": true' in json.dumps(each["previous_attributes"]) for each in about)


@contextmanager
def yearly_hours(environment: Environment) -> Generator[None]:
    """Let consulting, of which a part of an hour can be sold, be billed each year."""
    (product,) = environment.crm.query("SELECT Id, BillingInterval__c FROM Product2 WHERE ProductCode = 'CONSULTING'")
    environment.crm.update("Product2", product["Id"], BillingInterval__c="year")
    try:
        yield
    finally:
        environment.crm.update("Product2", product["Id"], BillingInterval__c=product["BillingInterval__c"])


def quantities(environment: Environment, order_id: str, line: str) -> list[str]:
    return [each["quantity"] for each in environment.jobs(order_id) if each["line_id"] == line]
