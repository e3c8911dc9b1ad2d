"""What a process is at stays its own while it can show that it lives, is resumed when its thread has ended, and is
another one's after that; on SQLite and on PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Generator
from typing import Any

import pytest
import sqlalchemy as sa
from dbos import DBOS

from canonical.parties import Address, Customer
from process_apis.records import customers
from process_apis.records.database import events, executors, open_database, writing
from process_apis.runtime.engine import Engine, Work
from tests.support.environment import wait_until
from tests.support.partition_worker import JOBS, engine_over, job

OF_BOTH = pytest.mark.parametrize("partition", ["", "con_1"], ids=["alone", "in a partition"])


@pytest.fixture
def database(url: str) -> Generator[sa.Engine]:
    """The database as another process sees it."""
    database = open_database(url)
    yield database
    database.dispose()


def keep(database: sa.Engine, name: str) -> None:
    customers.keep(database, Customer("cus_1", name, Address(country="DE")))


def test_a_thread_whose_work_another_has_taken_over_writes_nothing_more(database: sa.Engine, engine: Engine) -> None:
    may_go_on, ended, runs = threading.Event(), threading.Event(), iter(("first", "second"))

    def work(_: str) -> None:
        run = next(runs)
        if run == "first":
            may_go_on.wait(20)
        try:
            keep(database, run)
        finally:
            if run == "first":
                ended.set()

    JOBS.work = work
    engine.start(Work("only", job, ("only",), "con_1"))
    wait_until(lambda: "only" in JOBS.begun, 10, "the job has begun")
    DBOS._recover_pending_workflows(["here"])  # pyright: ignore[reportPrivateUsage] - as one that takes it for dead
    wait_until(lambda: JOBS.done, 20, "the second run is done")
    may_go_on.set()

    assert ended.wait(20)
    found = customers.last_seen(database, "cus_1")
    assert found is not None
    assert found.name == "second"
    assert len(JOBS.done) == 1
    wait_until(lambda: not engine.is_running("only"), 10, "its end is known")


def lose(database: sa.Engine) -> None:
    """Meet what a disk that is full, or a database that is started again, does to a transaction."""
    with writing(database) as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("SELECT pg_terminate_backend(pg_backend_pid())")
        connection.exec_driver_sql("PRAGMA max_page_count = 1")
        row: dict[str, Any] = dict.fromkeys(("source", "id", "type", "subject", "correlation_id"), "x")
        connection.execute(events.insert(), row | {"document": bytes(10_000_000)})


@OF_BOTH
def test_work_whose_thread_the_database_has_ended_is_resumed_in_this_process(
    database: sa.Engine, engine: Engine, partition: str
) -> None:
    faults = [lose, lose]
    JOBS.work = lambda _: faults and faults.pop()(database)

    engine.start(Work("only", job, ("only",), partition))
    engine.start(Work("next", job, ("next",), partition))
    wait_until(lambda: len(JOBS.done) == 2, 30, "both jobs are done")

    assert not faults
    assert engine.take_over() == []


def test_work_of_a_worker_slot_whose_thread_the_database_has_ended_is_resumed(database: sa.Engine, url: str) -> None:
    faults, waiting = [lose], [Work(each, job, (each,)) for each in ("first", "second")]
    JOBS.work = lambda _: faults and faults.pop()(database)

    engine = engine_over(url, "here", waiting=lambda: waiting.pop(0) if waiting else None)
    try:
        wait_until(lambda: len(JOBS.done) == 2, 30, "both jobs are done")
    finally:
        engine.close()


def test_a_process_says_that_nothing_can_be_written_and_keeps_what_it_is_at(database: sa.Engine, url: str) -> None:
    engine = engine_over(url, "here", dead_after=1.0)
    may_end = threading.Event()
    JOBS.work = lambda _: may_end.wait(20)
    try:
        engine.start(Work("only", job, ("only",)))
        wait_until(lambda: "only" in JOBS.begun, 10, "the job has begun")
        wait_until(lambda: engine.seconds_without_heartbeat() == 0, 10, "a heartbeat is written")
        with writing(database) as connection:
            connection.execute(sa.select(executors).with_for_update()).all()
            wait_until(lambda: engine.seconds_without_heartbeat() > 1, 10, "it is said")
        wait_until(lambda: engine.seconds_without_heartbeat() == 0, 10, "the next heartbeat is written")

        assert engine.take_over() == []
        may_end.set()
        wait_until(lambda: JOBS.done, 10, "the job is done")
    finally:
        engine.close()
    assert len(JOBS.done) == 1
