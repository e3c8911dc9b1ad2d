"""A closed period and a shut posting window are no errors: postings wait, or are booked in the next open period."""

from __future__ import annotations

from collections.abc import Callable, Generator
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from canonical.ids import utc_now
from canonical.orders import Order, PostingStatus
from policies.audit.verify import export
from policies.catalogue.model import SHIPPED
from tests.support.environment import Environment
from tests.support.platforms import EXACTLY_ONE, wait_until

BOOKS = "Europe/Berlin"
RULES = f'timezone = "{BOOKS}"\nclosed_period = "next"'


def today() -> date:
    """Return the day that has begun in the books: for an hour or two it is not that of UTC."""
    return utc_now().astimezone(ZoneInfo(BOOKS)).date()


class Period:
    """The ERP's period of today, as finance closes and opens it."""

    def __init__(self, environment: Environment) -> None:
        about = ("start_date", "<=", today()), ("end_date", ">=", today()), ("type", "=", "standard")
        (self.record,) = environment.in_erp("account.period", *about)
        self._environment = environment
        self.record.click("close")

    def reopen(self) -> None:
        """Open the period again with its journals, which Tryton closes together with it and does not open again by
        itself."""
        self.record.reload()
        if self.record.state == "closed":
            self.record.click("reopen")
        shut = ("period", "=", self.record.id), ("state", "=", "closed")
        for journal in self._environment.in_erp("account.journal.period", *shut):
            journal.click("reopen")


@pytest.fixture
def closed(environment: Environment) -> Generator[Period]:
    """The period of today is closed, and opened again in the end."""
    period = Period(environment)
    yield period
    period.reopen()


@pytest.fixture(scope="module")
def ruled(running: Environment, tmp_path_factory: pytest.TempPathFactory) -> Generator[Callable[[str], None]]:
    """Set other rules for the books of DE01, which the process layer takes up while it runs."""
    catalogue = tmp_path_factory.mktemp("ruled") / "catalogue.toml"
    text = SHIPPED.read_text()
    assert RULES in text
    catalogue.write_text(text)
    running.children["process"].stop()
    running.start("process", {"TIERGATE_GOVERNANCE_CATALOGUE": str(catalogue)})

    def taken_up() -> int:
        return running.children["process"].log.read_text().count("the catalogue has changed and governs")

    def rule(rules: str) -> None:
        before = taken_up()
        catalogue.write_text(text.replace(RULES, rules))
        wait_until(lambda: taken_up() > before, 10, f"{rules} to govern")

    yield rule
    running.children["process"].stop()
    running.start("process")


def invoice_of(environment: Environment, order: Order) -> PostingStatus | None:
    contract = order.plan.contract.id if order.plan else ""
    return next((each for each in environment.channels.postings(contract) if each.kind == "invoice"), None)


def waiting(environment: Environment, order: Order, reason: str) -> PostingStatus:
    def look() -> PostingStatus | None:
        found = invoice_of(environment, order)
        return found if found and reason in found.blocked_reason else None

    return wait_until(look, 40, f"an invoice that waits: {reason}; it is {invoice_of(environment, order)}")


def test_a_posting_of_a_closed_period_is_booked_in_the_next_open_one(environment: Environment, closed: Period) -> None:
    _, deal = environment.sell(environment.sale("Closed And Next"))

    order = environment.order_in(deal, "active")
    environment.settled(order)

    assert environment.counted(order) == EXACTLY_ONE
    found = invoice_of(environment, order)
    assert found is not None
    (invoice,) = environment.in_erp("account.invoice", ("reference", "=", found.id))
    assert invoice.invoice_date == today()
    assert invoice.accounting_date == closed.record.end_date + timedelta(days=1)
    assert invoice.move.period.state == "open"


def test_a_posting_waits_for_its_period_if_the_policy_says_so_and_is_not_called_failed(
    environment: Environment, closed: Period, ruled: Callable[[str], None]
) -> None:
    ruled('closed_period = "wait"')
    _, deal = environment.sell(environment.sale("Closed And Waiting"))
    order = environment.order_in(deal, "active")

    found = waiting(environment, order, "is closed")
    assert found.state == "waiting"
    assert environment.cases_of(f"invoice:{found.id}") == []
    closed.record.click("reopen")  # and its journals are still closed
    waiting(environment, order, "is closed")
    closed.reopen()

    environment.settled(order)
    assert environment.counted(order) == EXACTLY_ONE


def test_a_posting_waits_for_its_window(environment: Environment, ruled: Callable[[str], None]) -> None:
    opens = datetime.now(UTC) + timedelta(hours=1)
    ruled(f'closed_period = "next"\nopens = {opens:%H:%M:%S}\ncloses = {opens - timedelta(hours=2):%H:%M:%S}')
    _, deal = environment.sell(environment.sale("Before Hours"))
    order = environment.order_in(deal, "active")

    found = waiting(environment, order, "the posting window of DE01")
    assert (found.state, found.attempts) == ("waiting", 0)
    assert f"{opens:%H:%M} UTC" in found.blocked_reason
    ruled('closed_period = "next"')  # finance takes postings at any hour from now on

    environment.settled(order)
    assert environment.counted(order) == EXACTLY_ONE


def test_a_burst_of_invoices_is_posted_in_batches_once_each_though_its_period_is_closed_and_its_process_killed(
    environment: Environment, closed: Period, ruled: Callable[[str], None]
) -> None:
    opens = datetime.now(UTC) + timedelta(hours=1)
    ruled(f'closed_period = "next"\nopens = {opens:%H:%M:%S}\ncloses = {opens - timedelta(hours=2):%H:%M:%S}')
    deals = [environment.sell(environment.sale(f"Burst {place}"))[1] for place in range(4)]
    orders = [environment.order_in(deal, "active") for deal in deals]
    for order in orders:
        waiting(environment, order, "the posting window of DE01")

    environment.fault("erp", kind="late", matching="account.invoice.post", milliseconds=1500)
    ruled('closed_period = "next"')
    wait_until(lambda: not environment.faults_left("erp"), 30, "a batch is being posted")
    environment.kill("process")
    environment.start("process")

    for order in orders:
        environment.settled(order)
    written = list(export([environment.settings.audit_files("system")], None, None, None))
    for order in orders:
        assert environment.counted(order) == EXACTLY_ONE
        found = invoice_of(environment, order)
        assert found is not None
        audited = [each for each in written if f"/erp/v1/invoices/{found.id}".encode() in each]
        assert any(order.correlation_id.encode() in each for each in audited)
        (invoice,) = environment.in_erp("account.invoice", ("reference", "=", found.id))
        assert invoice.accounting_date == closed.record.end_date + timedelta(days=1)
    assert environment.record("SELECT count(*) FROM postings WHERE batch <> ''")
