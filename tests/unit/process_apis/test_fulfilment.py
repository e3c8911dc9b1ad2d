"""An order has one run at a time, whichever version began it."""

from __future__ import annotations

import threading
from collections.abc import Generator
from datetime import datetime
from pathlib import Path

import pytest

from process_apis.fulfilment import Fulfilment
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.engine import Engine, EngineSettings, Work
from tests.support.partition_worker import JOBS, job
from tests.support.platforms import wait_until
from tests.support.process_context import TestClock, accepted_order, context_over


@pytest.fixture
def url(tmp_path: Path) -> Generator[str]:
    """A database. No job was done yet."""
    JOBS.forget()
    yield f"sqlite:///{tmp_path / 'process.sqlite'}"
    JOBS.forget()


@pytest.fixture
def context(url: str) -> Generator[WorkflowContext]:
    with context_over(url, TestClock()) as made:
        yield made


def test_an_order_that_version_0_1_began_is_in_hand_until_that_run_ends(context: WorkflowContext, url: str) -> None:
    first, second = (accepted_order(context, deal, "validating") for deal in ("first", "second"))
    context.orders.change(second, run=2)
    engine, may_end = Engine(EngineSettings(url, "here"), context.database, context.clock), threading.Event()
    fulfilment = Fulfilment(context, engine)
    engine.launch((), lambda: None)
    JOBS.work = lambda _: may_end.wait(20)
    for identity in (identities := ("order:first:1", "order:second:1:2")):
        engine.start(Work(identity, job, (identity,)))

    def in_hand() -> list[datetime | None]:
        return [fulfilment.in_hand(context.orders.row(each)) for each in (first, second)]

    during = in_hand()
    may_end.set()
    wait_until(lambda: not engine.is_running(*identities), 10, "their ends are recorded")
    after = in_hand()
    engine.close()

    assert (during, after) == ([context.stalled_at()] * 2, [None, None])
