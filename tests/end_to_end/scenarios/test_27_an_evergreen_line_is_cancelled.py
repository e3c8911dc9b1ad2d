"""A customer has lines with a term and lines without end, in parts of a unit. One without end is cancelled at once: it
ends alone, and what is unused of it is credited.

A deal has one term, so that lines with another are a contract of their own, of the same customer.
"""

from __future__ import annotations

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
