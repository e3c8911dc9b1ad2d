"""Work that can wait has its own slots, and what is running is known. Take-over is tried with real processes:
test_partitions."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from policies.background import troubles
from process_apis.records.database import executors, open_database
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.engine import Engine, EngineSettings, Work
from tests.support.environment import wait_until
from tests.support.partition_worker import JOBS, job
from tests.support.process_context import TestClock

ENGINES_OWN = ("queue_thread", "queue-worker", "scheduler", "background-jobs")


def launched(
    context: WorkflowContext, waiting: Callable[[], Work | None], *jobs: Callable[[], None], **changes: int
) -> Engine:
    JOBS.forget()
    url = str(context.database.url)
    engine = Engine(EngineSettings(url, "here", heartbeat=0.1, poll=0.2, **changes), context.database, context.clock)
    engine.launch(jobs, waiting)
    return engine


def test_a_process_shows_that_it_lives_while_a_periodic_job_waits_for_a_platform(
    context: WorkflowContext, clock: TestClock
) -> None:
    hangs, may_end = threading.Event(), threading.Event()

    def hang() -> None:
        hangs.set()
        may_end.wait(20)

    engine = launched(context, lambda: None, hang)
    hangs.wait(10)
    clock.move(60)
    shown = wait_until(lambda: beat_of(context) == clock().timestamp(), 10, "a heartbeat")
    may_end.set()
    engine.close()

    assert shown


@pytest.mark.parametrize("fault", [LookupError, SystemExit])
def test_what_a_job_of_the_poll_ends_with_keeps_the_others_from_nothing_and_is_said(
    context: WorkflowContext, fault: type[BaseException]
) -> None:
    faults: list[BaseException] = []
    looked, others = threading.Event(), threading.Event()

    def broken() -> None:
        if faults:
            raise faults.pop()
        looked.set()

    engine = launched(context, lambda: None, broken, others.set)
    looked.wait(10)
    faults.append(fault())
    wait_until(lambda: troubles(engine.courses()), 10, "the end of the job is said")
    looked.clear()
    others.clear()
    goes_on, again, working = others.wait(10), looked.wait(10), engine.is_working()
    engine.close()

    assert (goes_on, again, working) == (True, True, True)


def test_a_heartbeat_that_a_fault_has_ended_is_begun_again(context: WorkflowContext, clock: TestClock) -> None:
    faults: list[type[BaseException]] = []
    read = context.clock

    def broken_clock() -> datetime:
        if faults and threading.current_thread().name == "heartbeat":
            raise faults.pop()
        return read()

    engine = launched(msgspec.structs.replace(context, clock=broken_clock), lambda: None)

    async def shown() -> bool:
        keeping = asyncio.create_task(engine.keep_threads())
        await asyncio.to_thread(wait_until, lambda: not faults and not engine.is_working(), 10, "the heartbeat ends")
        clock.move(60)
        await asyncio.to_thread(wait_until, lambda: beat_of(context) == clock().timestamp(), 10, "the next heartbeat")
        keeping.cancel()
        return engine.is_working()

    faults.append(ValueError)
    again = asyncio.run(shown())
    engine.close()

    assert again


def test_an_agenda_with_news_is_looked_at_without_a_sweep(context: WorkflowContext) -> None:
    looked: list[str] = []
    sweeps = threading.Event()
    url = str(context.database.url)
    engine = Engine(EngineSettings(url, "here", heartbeat=60, poll=60), context.database, context.clock)
    engine.launch([sweeps.set], lambda: None, looked.append)
    engine.look_at("amendments")
    sweeps.wait(10)
    sweeps.clear()
    engine.look_at("amendments")
    wait_until(lambda: len(looked) == 2, 10, "both looks")
    swept = sweeps.is_set()
    engine.close()

    assert looked == ["amendments"] * 2
    assert not swept


def test_what_keeps_a_pace_waits_until_its_process_ends(context: WorkflowContext) -> None:
    engine = launched(context, lambda: None)
    goes_on = engine.rest(0.001)
    waits = threading.Thread(target=engine.rest, args=(60,))
    waits.start()
    engine.close()
    waits.join(10)

    assert goes_on
    assert not waits.is_alive()
    assert not engine.rest(60)


def test_an_engine_that_was_made_and_not_launched_takes_no_part(context: WorkflowContext, tmp_path: Path) -> None:
    Engine(
        EngineSettings(f"sqlite:///{tmp_path / 'gone' / 'process.sqlite'}", "other"), context.database, context.clock
    )
    engine = launched(context, lambda: None)

    engine.start(Work("own", job, ("own",)))
    wait_until(lambda: len(JOBS.done) == 1, 10, "it is done")
    engine.close()


def beat_of(context: WorkflowContext) -> float | None:
    with context.database.connect() as connection:
        return connection.scalar(sa.select(executors.c.beat_at))


def test_work_that_can_wait_takes_no_more_than_its_slots_and_all_of_it_is_done(context: WorkflowContext) -> None:
    waiting = deque(Work(f"job-{each}", job, (f"job-{each}",)) for each in range(6))
    may_end = threading.Event()

    def following() -> Work | None:
        with suppress(IndexError):
            return waiting.popleft()
        return None

    engine = launched(context, following, worker_slots=2)
    JOBS.work = lambda _: may_end.wait(20)
    engine.wake()
    wait_until(lambda: len(JOBS.begun) == 2, 10, "both slots are taken")
    engine.start(Work("urgent", job, ("urgent",)))
    wait_until(lambda: "urgent" in JOBS.begun, 10, "what cannot wait has begun")
    begun = set(JOBS.begun)
    may_end.set()
    wait_until(lambda: len(JOBS.done) == 7, 10, "all work is done")
    engine.close()

    assert begun == {"job-0", "job-1", "urgent"}


def test_an_engine_whose_database_is_away_closes_and_one_that_was_not_launched_does(
    context: WorkflowContext, tmp_path: Path
) -> None:
    urls = (f"sqlite:///{tmp_path / 'empty.sqlite'}", "postgresql://nobody@127.0.0.1:9/away")
    engines = [Engine(EngineSettings(url, "here"), open_database(url), context.clock) for url in urls]
    closing = [threading.Thread(target=suppressed, args=(each.close,)) for each in engines]
    for each in closing:
        each.start()
        each.join(10)

    assert not any(each.is_alive() for each in closing)


def suppressed(close: Callable[[], None]) -> None:
    with suppress(SQLAlchemyError):  # its heartbeat cannot be taken back
        close()


def test_threads_of_the_engine_that_poll_for_what_nothing_uses_end_at_its_start(context: WorkflowContext) -> None:
    engine = launched(context, lambda: None)

    def polling() -> list[str]:
        names = [each.name for each in threading.enumerate()]
        return [name for name in names if any(each in name for each in ENGINES_OWN)]

    wait_until(lambda: not polling(), 10, "they have ended")
    working = engine.is_working()
    engine.close()

    assert working


def test_an_engine_that_is_closed_ends_what_it_is_at(context: WorkflowContext) -> None:
    may_end = threading.Event()
    engine = launched(context, lambda: None)
    JOBS.work = lambda _: may_end.wait(20)
    engine.start(Work("slow", job, ("slow",)))
    wait_until(lambda: "slow" in JOBS.begun, 10, "it has begun")
    closing = threading.Thread(target=engine.close)
    closing.start()
    closing.join(1)
    waits = closing.is_alive()
    may_end.set()
    closing.join(10)

    assert waits
    assert [name for name, _, _ in JOBS.done] == ["slow"]


def test_a_workflow_is_running_from_its_start_or_its_wait_in_a_partition_to_its_end(context: WorkflowContext) -> None:
    may_end = threading.Event()
    engine = launched(context, lambda: None)
    JOBS.work = lambda _: may_end.wait(20)
    for each in ("first", "second"):
        engine.start(Work(each, job, (each,), "con_1"))

    during = [engine.is_running(each) for each in ("first", "second", "other")], engine.is_running("other", "second")
    may_end.set()
    wait_until(lambda: len(JOBS.done) == 2, 10, "both are done")
    wait_until(lambda: not engine.is_running("first", "second"), 10, "their ends are recorded")
    engine.close()

    assert during == ([True, True, False], True)


def test_what_a_living_process_is_at_is_not_taken_over(context: WorkflowContext) -> None:
    may_end = threading.Event()
    engine = launched(context, lambda: None, dead_after=5)
    JOBS.work = lambda _: may_end.wait(20)
    engine.start(Work("own", job, ("own",)))
    wait_until(lambda: "own" in JOBS.begun, 10, "it has begun")

    while_alive = engine.take_over()
    may_end.set()
    wait_until(lambda: len(JOBS.done) == 1, 10, "it is done")
    engine.close()

    assert while_alive == []
