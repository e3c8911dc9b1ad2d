"""What was kept long enough is removed in small batches, by one process at a time, and nothing that may go on; on
SQLite and on PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Generator
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from canonical.amendments import ChangeQuantity, NewAmendment
from canonical.cases import Finding
from canonical.events import DEAL_CLOSED, Event
from canonical.ids import utc_now
from canonical.process_events import SOURCE
from canonical.states import OrderState
from process_apis.events import log
from process_apis.records.amendments import Amendments
from process_apis.records.database import cases, events, usage_periods, usage_records, usage_voids
from process_apis.retention import BATCH, LEASE, Retention, RetentionDays
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.engine import Engine, Work
from process_apis.runtime.queues import workflows
from tests.support.answering_layer import no_workflows
from tests.support.environment import wait_until
from tests.support.partition_worker import JOBS, job
from tests.support.process_context import LINES, TestClock, accepted_order, context_over, contract_of
from tests.support.usage_bench import BEGAN, UsageBench, record, with_meters

ACTIVE: tuple[OrderState, ...] = (
    "validating",
    "credit_review",
    "onboarding",
    "subscribing",
    "provisioning",
    "active",
)
FINDING = Finding("lines", "it is wrong")


class Kept:
    """The process layer's tables, and what of them is kept."""

    def __init__(self, context: WorkflowContext, clock: TestClock) -> None:
        self.context = context
        self.database = context.database
        self.clock = clock

    def retention(self, holder: str = "here", **days: int) -> Retention:
        return Retention(self.database, RetentionDays(**days), self.clock, holder)

    def run_all(self, retention: Retention) -> int:
        """Remove batch after batch, and return how many it took."""
        batches = 1
        while retention.remove_batch():
            batches += 1
        return batches

    def workflows(self) -> set[str]:
        with self.database.connect() as connection:
            return set(connection.scalars(sa.select(workflows(self.database).c.workflow_uuid)))

    def count(self, table: sa.Table) -> int:
        """Return how many rows there are, of events those of platforms."""
        own = table.c.source == SOURCE if table is events else sa.false()
        with self.database.connect() as connection:
            return connection.scalar(sa.select(sa.func.count()).select_from(table).where(~own)) or 0


@pytest.fixture
def kept(url: str) -> Generator[Kept]:
    clock = TestClock()
    with context_over(url, clock) as context:
        clock.now = utc_now()
        yield Kept(context, clock)


def ask(kept: Kept, order_id: str) -> str:
    """Ask for a change of a contract, and return its id."""
    wanted = NewAmendment((ChangeQuantity("0", Decimal(2)),), key="more")
    contract = contract_of("con_1", order_id, "cus_1", LINES)
    row, _ = Amendments(kept.context.database, kept.clock).receive(contract, wanted, "seller", "cor_1", kept.clock())
    return str(row.id)


def do(engine: Engine, *workflow_ids: str) -> None:
    """Run workflows to their end."""
    for each in workflow_ids:
        engine.start(Work(each, job, (each,)))
    wait_until(lambda: not engine.is_running(*workflow_ids), 60, "they have ended")


def test_workflows_go_when_they_were_kept_long_enough_but_not_those_of_what_is_open(engine: Engine, kept: Kept) -> None:
    active = accepted_order(kept.context, "ended", *ACTIVE)
    held = accepted_order(kept.context, "held", "validating", "on_hold")
    for each in ("in_waits", "acct:in_posted"):
        kept.context.postings.expect(
            "invoice", "stripe", each, "cor_1", kept.clock(), contract_id="con_1", customer_id="", legal_entity=""
        )
    kept.context.postings.change("invoice", "acct:in_posted", state="posted")
    ended = {f"order:{active}:1", f"activation:{active}:1:1", "invoice:acct:in_posted:1", "customer:cus_1:1"}
    asked = ask(kept, held)
    open_ones = {f"order:{held}:1", f"compensation:{held}:2", "invoice:in_waits:1", f"amendment:{asked}:1"}
    do(engine, *ended, *open_ones)
    may_end = threading.Event()
    JOBS.work = lambda _: may_end.wait(60)
    engine.start(Work("order:running:1", job, ("running",)))
    retention = kept.retention()

    kept.clock.now += timedelta(days=29)
    kept.run_all(retention)
    before = kept.workflows()
    kept.clock.now += timedelta(days=2)
    kept.run_all(retention)

    assert before == ended | open_ones | {"order:running:1"}
    assert kept.workflows() == open_ones | {"order:running:1"}
    kept.context.orders.advance(held, "cancelled", next_attempt_at=None)
    kept.run_all(retention)
    assert kept.workflows() == {"invoice:in_waits:1", "order:running:1", f"amendment:{asked}:1"}
    may_end.set()


def test_an_order_of_which_no_workflow_is_left_is_not_begun_again(engine: Engine, kept: Kept) -> None:
    order = accepted_order(kept.context, "ended", *ACTIVE)
    do(engine, f"order:{order}:1")
    kept.clock.now += timedelta(days=31)
    kept.run_all(kept.retention())

    assert kept.workflows() == set()
    again = kept.context.orders.receive("crm-eu", "ended", 1, "cor_2", kept.clock())
    assert again == (order, "active")


def test_many_are_removed_in_batches_and_what_is_open_does_not_stop_them(engine: Engine, kept: Kept) -> None:
    held = accepted_order(kept.context, "held", "validating", "on_hold")
    do(engine, *(f"order:{held}:{run}" for run in range(BATCH)))
    do(engine, "order:ended:1")
    kept.clock.now += timedelta(days=31)

    batches = kept.run_all(kept.retention())

    assert batches == 2
    assert len(kept.workflows()) == BATCH


def test_an_event_that_is_not_taken_stays_until_somebody_has_decided_about_it(kept: Kept, engine: Engine) -> None:
    del engine
    event = Event(id="1", source="crm/salesforce", type=DEAL_CLOSED, subject="006", time=kept.clock())
    log.append(kept.database, event, "cor_1", kept.clock(), subscribers=["fulfilment"])
    case = kept.context.cases.open(
        "event_not_taken", "event:1", Finding(DEAL_CLOSED, "no"), ("skip",), correlation_id="cor_1"
    )
    kept.clock.now += timedelta(days=91)

    kept.run_all(kept.retention())
    before = kept.count(events)
    kept.context.cases.close(case, "skip by somebody: it was a test")
    kept.run_all(kept.retention())

    assert (before, kept.count(events)) == (1, 0)


def test_events_go_and_one_that_is_offered_again_is_taken_as_the_first_time(kept: Kept, engine: Engine) -> None:
    del engine
    start = kept.clock()

    def offer(number: int, at: datetime) -> bool:
        event = Event(id=str(number), source="crm/salesforce", type=DEAL_CLOSED, subject="006", time=start)
        return log.append(kept.database, event, "cor_1", at).is_new

    for number in range(BATCH + 5):
        offer(number, start)
    offer(9999, start + timedelta(days=60))
    kept.clock.now = start + timedelta(days=91)

    assert kept.run_all(kept.retention()) == 2
    assert kept.count(events) == 1
    assert (offer(9999, kept.clock()), offer(0, kept.clock())) == (False, True)


def test_what_an_earlier_version_left_is_kept_from_now_on(kept: Kept, engine: Engine) -> None:
    del engine
    row: dict[str, Any] = dict.fromkeys(("source", "id", "type", "subject", "correlation_id"), "x")
    kept.context.cases.open("deal_invalid", "ord_1", FINDING, (), correlation_id="cor_1")
    kept.context.cases.resolve("ord_1", "it is right now", "deal_invalid")
    with kept.database.begin() as connection:
        left = [row | {"id": str(number), "document": b"{}"} for number in range(BATCH + 1)]
        connection.execute(events.insert(), left)
        connection.execute(cases.update().values(resolved_at=None))

    assert kept.run_all(kept.retention()) == 3  # all are dated in batches, and none is left in the last
    kept.clock.now += timedelta(days=89)
    kept.run_all(kept.retention())
    before = (kept.count(events), kept.count(cases))
    kept.clock.now += timedelta(days=2)
    kept.run_all(kept.retention(cases=90))

    assert before == (BATCH + 1, 1)
    assert (kept.count(events), kept.count(cases)) == (0, 0)


def test_closed_cases_go_but_not_those_that_are_open_or_of_an_open_order(kept: Kept, engine: Engine) -> None:
    del engine
    active = accepted_order(kept.context, "ended", *ACTIVE)
    held = accepted_order(kept.context, "held", "validating", "on_hold")
    for subject in (active, held, "customer"):
        kept.context.cases.open("deal_invalid", subject, FINDING, (), correlation_id="cor_1")
        kept.context.cases.resolve(subject, "it is right now", "deal_invalid")
    kept.context.cases.open("deal_invalid", active, FINDING, (), correlation_id="cor_1")
    kept.clock.now += timedelta(days=731)

    kept.run_all(kept.retention())

    with kept.database.connect() as connection:
        found = connection.execute(sa.select(cases.c.subject, cases.c.state)).all()
    assert sorted(tuple(row) for row in found) == sorted([(active, "open"), (held, "resolved")])


def test_one_process_at_a_time_removes_and_another_goes_on_when_it_has_died(kept: Kept, engine: Engine) -> None:
    do(engine, "order:first:1")
    first, second = kept.retention("first"), kept.retention("second")
    kept.clock.now += timedelta(days=31)
    first.remove_batch()
    do(engine, "order:second:1")
    kept.clock.now += timedelta(seconds=LEASE / 2)

    assert not second.remove_batch()
    assert kept.workflows() == {"order:second:1"}
    kept.clock.now += timedelta(seconds=LEASE)
    second.remove_batch()
    assert kept.workflows() == set()


@pytest.mark.usefixtures("engine")
def test_records_of_usage_that_were_charged_are_removed_but_for_the_last_one(kept: Kept, tmp_path: Path) -> None:
    clock = kept.clock
    clock.now = BEGAN
    with no_workflows():
        bench = UsageBench(with_meters(kept.context, tmp_path), clock)
    contract, retention = bench.sell(), kept.retention(usage=100)
    clock.move(20 * 86_400)
    bench.send(*(record(contract, f"r{each}", bench.after(each)) for each in range(BATCH + 10)))
    bench.send({"id": "r1", "contract_id": contract, "meter": "by_sum", "void": True})
    clock.move(400 * 86_400)

    kept.run_all(retention)
    unsettled = kept.count(usage_records)
    with kept.database.begin() as connection:
        connection.execute(usage_periods.update().values(state="handed_over"))
    batches = kept.run_all(retention)

    assert (unsettled, kept.count(usage_records), kept.count(usage_voids)) == (BATCH + 10, 1, 0)
    assert batches >= 2
    assert bench.send(record(contract, "r1", bench.after(1))).refused == 1


@pytest.mark.usefixtures("engine")
def test_a_period_keeps_its_records_until_all_of_it_is_old_and_the_last_that_counts_after_it(
    kept: Kept, tmp_path: Path
) -> None:
    clock = kept.clock
    clock.now = BEGAN
    with no_workflows():
        bench = UsageBench(with_meters(kept.context, tmp_path), clock)
    contract, retention = bench.sell(), kept.retention(usage=100)
    clock.move(20 * 86_400)
    bench.send(*(record(contract, f"r{day}", bench.after(day * 86_400)) for day in range(10)))
    bench.send({"id": "r9", "contract_id": contract, "meter": "by_sum", "void": True})
    with kept.database.begin() as connection:
        connection.execute(usage_periods.update().values(state="handed_over"))
    left: list[int] = []
    for days in (105, 130, 132):  # a part of the period is old enough, nearly all of it, and all of it
        clock.now = BEGAN + timedelta(days=days)
        kept.run_all(retention)
        left.append(kept.count(usage_records))

    assert left == [10, 10, 2]  # the last that counts, and a void one after it
