"""A closed period and a shut posting window are no errors: postings wait, or are booked in the next open period."""

from __future__ import annotations

from collections.abc import Callable, Generator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from canonical.ids import utc_now
from canonical.orders import Order, PostingStatus
from policies.catalogue.model import SHIPPED
from tests.support.environment import EXACTLY_ONE, Stack, wait_until

RULES = 'timezone = "Europe/Berlin"\nclosed_period = "next"'


class Period:
    """The ERP's period of today, as finance closes and opens it."""

    def __init__(self, stack: Stack) -> None:
        today = utc_now().date()
        about = ("start_date", "<=", today), ("end_date", ">=", today), ("type", "=", "standard")
        (self.record,) = stack.in_erp("account.period", *about)
        self._stack = stack
        self.record.click("close")

    def reopen(self) -> None:
        """With its journals, which Tryton closes together with it and does not open again by itself."""
        self.record.reload()
        if self.record.state == "closed":
            self.record.click("reopen")
        shut = ("period", "=", self.record.id), ("state", "=", "closed")
        for journal in self._stack.in_erp("account.journal.period", *shut):
            journal.click("reopen")


@pytest.fixture
def closed(stack: Stack) -> Generator[Period]:
    """The period of today is closed, and opened again in the end."""
    period = Period(stack)
    yield period
    period.reopen()


@pytest.fixture
def ruled(stack: Stack, tmp_path: Path) -> Generator[Callable[[str], None]]:
    """Sets other rules for the books of DE01: from the start the first time, then while the layer runs."""
    catalogue = tmp_path / "catalogue.toml"
    text = SHIPPED.read_text()
    assert RULES in text

    def rule(rules: str) -> None:
        begun = catalogue.exists()
        catalogue.write_text(text.replace(RULES, rules))
        if not begun:
            stack.children["process"].stop()
            stack.start("process", {"TIERGATE_GOVERNANCE_CATALOGUE": str(catalogue)})

    yield rule
    stack.children["process"].stop()
    stack.start("process")


def invoice_of(stack: Stack, order: Order) -> PostingStatus | None:
    contract = order.plan.contract.id if order.plan else ""
    return next((each for each in stack.channels.postings(contract) if each.kind == "invoice"), None)


def waiting(stack: Stack, order: Order, reason: str) -> PostingStatus:
    def look() -> PostingStatus | None:
        found = invoice_of(stack, order)
        return found if found and reason in found.waits_for else None

    return wait_until(look, 40, f"an invoice that waits: {reason}; it is {invoice_of(stack, order)}")


def test_a_posting_of_a_closed_period_is_booked_in_the_next_open_one(stack: Stack, closed: Period) -> None:
    _, deal = stack.sell(stack.sale("Closed And Next"))

    order = stack.order_in(deal, "active")
    stack.settled(order)

    assert stack.counted(order) == EXACTLY_ONE
    found = invoice_of(stack, order)
    assert found is not None
    (invoice,) = stack.in_erp("account.invoice", ("reference", "=", found.id))
    assert invoice.invoice_date == utc_now().date()
    assert invoice.accounting_date == closed.record.end_date + timedelta(days=1)
    assert invoice.move.period.state == "open"


def test_a_posting_waits_for_its_period_if_the_policy_says_so_and_is_not_called_failed(
    stack: Stack, closed: Period, ruled: Callable[[str], None]
) -> None:
    ruled('closed_period = "wait"')
    _, deal = stack.sell(stack.sale("Closed And Waiting"))
    order = stack.order_in(deal, "active")

    found = waiting(stack, order, "is closed")
    assert found.state == "waiting"
    assert stack.cases_of(f"invoice:{found.id}") == []
    closed.record.click("reopen")  # and its journals are still closed
    waiting(stack, order, "is closed")
    closed.reopen()

    stack.settled(order)
    assert stack.counted(order) == EXACTLY_ONE


def test_a_posting_waits_for_its_window(stack: Stack, ruled: Callable[[str], None]) -> None:
    opens = datetime.now(UTC) + timedelta(hours=1)
    ruled(f'closed_period = "next"\nopens = {opens:%H:%M:%S}\ncloses = {opens - timedelta(hours=2):%H:%M:%S}')
    _, deal = stack.sell(stack.sale("Before Hours"))
    order = stack.order_in(deal, "active")

    found = waiting(stack, order, "the posting window of DE01")
    assert (found.state, found.attempts) == ("waiting", 0)
    assert f"{opens:%H:%M} UTC" in found.waits_for
    ruled('closed_period = "next"')  # finance takes postings at any hour from now on

    stack.settled(order)
    assert stack.counted(order) == EXACTLY_ONE
