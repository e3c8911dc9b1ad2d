"""What is due is claimed by one, attempted again when it was lost, and tried again ever more seldom."""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from process_apis.records.database import orders, postings
from process_apis.runtime.agenda import CASE_AFTER, Agenda, Due, Poll, retry
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.engine import Engine, EngineSettings, Work
from tests.support.environment import wait_until
from tests.support.partition_worker import JOBS, job
from tests.support.process_context import TestClock, context_over


@pytest.fixture
def engine(context: WorkflowContext) -> Generator[Engine]:
    url = str(context.database.url)
    made = Engine(EngineSettings(url, "here"), context.database, context.clock)
    made.launch((), lambda: None)
    JOBS.forget()
    yield made
    made.close()


def receive(context: WorkflowContext, deal: str, next_attempt_at: datetime) -> str:
    return context.orders.receive("crm-eu", deal, 1, "cor_1", next_attempt_at)[0]


def work(row: sa.Row[Any], run: int) -> Work:
    return Work(f"{row.id}:{run}", job, (row.id,))


def test_a_row_is_due_from_its_time_on_and_what_waits_longest_comes_first(
    context: WorkflowContext, clock: TestClock
) -> None:
    late, early = (receive(context, each, context.later(seconds)) for each, seconds in (("late", 20), ("early", 10)))
    agenda = Agenda(context, orders)

    before = agenda.due(10)
    clock.move(20)

    assert before == []
    assert [each.id for each in agenda.due(10)] == [early, late]
    assert [each.id for each in agenda.due(1)] == [early]


def test_of_many_who_claim_a_row_one_can_on_either_database(database_url: str, clock: TestClock) -> None:
    with context_over(database_url, clock) as context:
        receive(context, "deal", clock())
        agenda = Agenda(context, orders)
        (row,) = agenda.due(10)

        with ThreadPoolExecutor(8) as pool:
            runs = list(pool.map(agenda.claim, [row] * 16))

        assert [each for each in runs if each] == [row.run + 1]
        assert agenda.due(10) == []


def test_a_claim_whose_process_died_is_due_again_when_it_may_have_been_lost(
    context: WorkflowContext, clock: TestClock
) -> None:
    receive(context, "deal", clock())
    agenda = Agenda(context, orders)
    (row,) = agenda.due(10)
    agenda.claim(row)

    clock.move(context.retry_policy.stalled_after)
    (again,) = agenda.due(10)

    assert (again.run, agenda.claim(again)) == (row.run + 1, row.run + 2)


def test_a_row_that_was_settled_since_it_was_read_is_neither_claimed_nor_postponed(
    context: WorkflowContext, clock: TestClock
) -> None:
    order_id = receive(context, "deal", clock())
    agenda = Agenda(context, orders)
    (row,) = agenda.due(10)
    context.orders.change(order_id, next_attempt_at=None)

    agenda.postpone(row, context.later(5))

    assert agenda.claim(row) is None
    assert context.orders.row(order_id).next_attempt_at is None


def test_rows_that_cannot_be_worked_on_are_left_alone(context: WorkflowContext) -> None:
    for key, state in (("in_1", "waiting"), ("in_2", "failed")):
        context.postings.expect(
            "invoice", "billing-eu", key, "cor_1", context.later(9), contract_id="", customer_id="", legal_entity=""
        )
        context.postings.change("invoice", key, state=state)

    due = Agenda(context, postings, only=postings.c.state == "waiting").due(10)

    assert [each.id for each in due] == ["in_1"]


def test_what_is_due_is_started_once_under_its_identity(
    context: WorkflowContext, clock: TestClock, engine: Engine
) -> None:
    order_id = receive(context, "deal", clock())
    poll = Poll(engine, [Due(Agenda(context, orders), work)])

    poll.start_due()
    poll.start_due()
    wait_until(lambda: JOBS.done, 10, "the work is done")

    assert [name for name, _, _ in JOBS.done] == [order_id]
    assert context.orders.row(order_id).run == 2


def test_of_an_agenda_that_is_named_alone_what_is_due_is_started(
    context: WorkflowContext, clock: TestClock, engine: Engine
) -> None:
    order_id = receive(context, "deal", clock())
    poll = Poll(engine, [Due(Agenda(context, orders), work)])

    poll.start_due_of("amendments")
    untouched = context.orders.row(order_id).run
    poll.start_due_of("orders")
    wait_until(lambda: JOBS.done, 10, "the work is done")

    assert untouched == 1
    assert [name for name, _, _ in JOBS.done] == [order_id]


def test_what_a_run_is_at_is_looked_at_later_and_not_begun_again(
    context: WorkflowContext, clock: TestClock, engine: Engine
) -> None:
    order_id = receive(context, "deal", clock())
    until = context.later(7)
    poll = Poll(engine, [Due(Agenda(context, orders), work, lambda _: until)])

    poll.start_due()

    row = context.orders.row(order_id)
    assert (row.run, row.next_attempt_at) == (1, until.isoformat())


def test_worker_slots_take_from_each_agenda_in_turn(context: WorkflowContext, clock: TestClock, engine: Engine) -> None:
    for each in ("a", "b"):
        receive(context, each, clock())
        context.postings.expect(
            "invoice", "billing-eu", each, "cor_1", clock(), contract_id="", customer_id="", legal_entity=""
        )
    agendas = Agenda(context, orders), Agenda(context, postings)
    poll = Poll(engine, [Due(each, work, can_wait=True) for each in agendas])

    taken = [poll.next_waiting() for _ in range(5)]

    kinds = ["order" if each.workflow_id.startswith("ord_") else "posting" for each in taken if each]
    assert sorted(kinds[:2]) == sorted(kinds[2:]) == ["order", "posting"]
    assert taken[4] is None


def test_a_pause_is_no_shorter_than_the_platform_asks_for(context: WorkflowContext, clock: TestClock) -> None:
    asked = [retry(context, 1, seconds).at - clock() for seconds in (None, 0.5, 3600.0)]

    usual = timedelta(seconds=context.retry_policy.pause)
    assert asked == [usual, usual, timedelta(hours=1)]


def test_pauses_grow_up_to_the_longest_and_people_hear_of_it_after_many_failures(
    context: WorkflowContext, clock: TestClock
) -> None:
    policy = context.retry_policy
    retries = [retry(context, failures) for failures in range(1, 12)]

    pauses = [each.at - clock() for each in retries]
    assert pauses[:3] == [timedelta(seconds=policy.pause * factor) for factor in (1, 2, 4)]
    assert pauses == sorted(pauses)
    assert pauses[-1] == timedelta(seconds=policy.max_delay)
    assert [each.needs_case for each in retries].index(True) == CASE_AFTER - 1
