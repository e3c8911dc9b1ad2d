"""What is measured of the work that the database holds: how much there is, how long it waits, and what it is worth; on
SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator, Sequence

import pytest
import sqlalchemy as sa
from prometheus_client.core import Metric
from sqlalchemy import event

from canonical.cases import Finding
from canonical.money import Money
from canonical.orders import PostingKind
from process_apis.incidents import Incidents
from process_apis.measures import WorkInDatabase
from process_apis.records.database import open_database, orders, postings, webhooks
from process_apis.runtime.agenda import Agenda
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.engine import Engine, Work
from tests.integration.process_apis.test_incidents import waiting_order, waiting_posting
from tests.support.partition_worker import JOBS, job
from tests.support.platforms import wait_until
from tests.support.process_context import LINES, TestClock, accepted_order, context_over
from tests.support.webhook_bench import NORD, WebhookBench, partner_server

FINDING = Finding("lines", "it is wrong")
Values = dict[str, dict[tuple[str, ...], float]]


@pytest.fixture
def shared(url: str, engine: Engine, clock: TestClock) -> Generator[WorkflowContext]:
    """A context over a database in which the engine has its tables."""
    del engine
    with context_over(url, clock) as made:
        yield made


def work_in(context: WorkflowContext, database: sa.Engine | None = None) -> WorkInDatabase:
    agendas = [Agenda(context, orders), Agenda(context, postings, only=postings.c.state == "waiting")]
    return WorkInDatabase(database or context.database, {each.name: each for each in agendas}, context.clock)


def shown(measures: Sequence[Metric]) -> Values:
    return {
        each.name.removeprefix("tiergate_"): {
            tuple(sample.labels[label] for label in sorted(sample.labels)): sample.value for sample in each.samples
        }
        for each in measures
    }


def read(context: WorkflowContext, database: sa.Engine | None = None) -> Values:
    return shown(asyncio.run(work_in(context, database).latest.found()))


def expect(context: WorkflowContext, kind: PostingKind, key: str) -> None:
    context.postings.expect(
        kind, "stripe", key, "cor_2", context.stalled_at(), contract_id="con", customer_id="cus", legal_entity="DE01"
    )


def test_an_empty_layer_has_nothing_that_waits(shared: WorkflowContext) -> None:
    found = read(shared)

    assert found["database_up"] == {(): 1}
    assert set(found["orders"].values()) == set(found["postings"].values()) == {0}
    assert ("invoice", "waiting") in found["postings"]
    assert set(found["due_oldest_age_seconds"].values()) == {0}
    assert found["cases_open"] == found["waiting_minor_units"] == {}


def test_what_is_there_is_counted_by_state_and_by_how_long_it_waits(
    shared: WorkflowContext, engine: Engine, clock: TestClock
) -> None:
    for each in ("1", "2"):
        accepted_order(shared, each)
    expect(shared, "invoice", "in_due")
    shared.cases.open("deal_invalid", "ord_1", FINDING, ("retry",), correlation_id="cor_1")
    clock.move(30)
    waiting_order(shared, "3")
    waiting_posting(shared, "in_1", Money(11900, "EUR"))
    waiting_posting(shared, "in_2", Money(500, "USD"))
    waiting_posting(shared, "in_3", failures=1)
    Incidents(shared, engine).check()
    shared.cases.open("deal_invalid", "ord_2", FINDING, ("retry",), correlation_id="cor_1")
    clock.move(30)

    found = read(shared)

    assert sum(found["orders"].values()) == 3
    assert found["orders"][("validating",)] == 1
    assert found["postings"]["invoice", "waiting"] == 4
    assert found["due"][("postings",)] >= 1
    assert found["due_oldest_age_seconds"][("postings",)] == 60
    assert (found["waiting"]["orders", "tryton"], found["waiting"]["postings", "tryton"]) == (1, 3)
    assert found["waiting_oldest_age_seconds"]["orders", "tryton"] == 30
    net = sum(each.net.amount for each in LINES)
    assert found["waiting_minor_units"] == {
        ("EUR", "orders"): net,
        ("EUR", "postings"): 11900,
        ("USD", "postings"): 500,
    }
    assert (found["cases_open"]["deal_invalid", "sales"], found["incidents_open"][()]) == (2, 1)
    assert found["cases_oldest_age_seconds"]["deal_invalid", "sales"] == 60


def test_webhooks_and_what_was_and_is_to_be_sent_to_them_are_counted(shared: WorkflowContext, clock: TestClock) -> None:
    with partner_server() as server:
        bench = WebhookBench(shared, clock, server)
        bench.webhook()
        stopped = bench.webhook("/stopped", "b", events=("order.held.v1",))
        with shared.database.begin() as connection:
            connection.execute(webhooks.update().where(webhooks.c.id == stopped.id).values(state="stopped"))
        bench.happen()
        clock.move(30)
        found = read(shared)
        assert found["webhooks"] == {("active",): 1, ("disabled",): 0, ("stopped",): 1}
        waits = found["webhook_deliveries_waiting"][()], found["webhook_deliveries_oldest_age_seconds"][()]
        assert waits == (1, 30)

        server.statuses = [500]
        bench.deliver()
        assert read(shared)["webhook_deliveries_waiting"] == {(): 1}
        clock.move(3600)
        bench.deliver()
        assert read(shared)["webhook_deliveries_waiting"] == {(): 0}
        sent = shown(list(bench.delivering.measures()))
        assert sent["webhook_attempts"] == {(NORD, "failed"): 1, (NORD, "delivered"): 1}


def test_workflows_that_wait_for_their_turn_are_counted(shared: WorkflowContext, engine: Engine) -> None:
    JOBS.work = lambda _: time.sleep(1.5)
    for name in ("first", "second", "third"):
        engine.start(Work(name, job, (name,), "con_1"))
    wait_until(lambda: "first" in JOBS.begun, 10, "the first job runs")

    found = read(shared)
    wait_until(lambda: len(JOBS.done) == 3, 20, "all jobs are done")

    assert (found["workflows"][("pending",)], found["workflows"][("enqueued",)]) == (1, 2)
    assert set(found["workflows_oldest_age_seconds"]) == {("pending",), ("enqueued",)}


def test_a_database_that_is_away_is_said_and_nothing_else_is(shared: WorkflowContext) -> None:
    away = open_database("postgresql://nobody@127.0.0.1:9/nothing")

    assert read(shared, away) == {"database_up": {(): 0}}


def test_a_database_that_does_not_answer_holds_up_nobody(shared: WorkflowContext) -> None:
    pauses = [4.0]

    def slow(*_: object) -> None:
        if pauses:
            time.sleep(pauses.pop())

    event.listen(shared.database, "before_cursor_execute", slow)

    async def ask() -> tuple[Values, float]:
        began = time.monotonic()
        return shown(await work_in(shared).latest.found()), time.monotonic() - began

    found, took = asyncio.run(ask())
    assert found == {"database_up": {(): 0}}
    assert took < 3
