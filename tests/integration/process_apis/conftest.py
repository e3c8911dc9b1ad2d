"""A database for the engine's work, and an engine over it."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.engine import Engine
from tests.support.partition_worker import JOBS, engine_over
from tests.support.process_context import TestClock, context_over


@pytest.fixture
def clock() -> TestClock:
    return TestClock()


@pytest.fixture
def context(tables_url: str, clock: TestClock) -> Generator[WorkflowContext]:
    """A context over tables that are empty."""
    with context_over(tables_url, clock) as made:
        yield made


@pytest.fixture
def url(tables_url: str) -> Generator[str]:
    """A database with our tables. No job was done yet."""
    JOBS.forget()
    yield tables_url
    JOBS.forget()


@pytest.fixture
def engine(url: str) -> Generator[Engine]:
    engine = engine_over(url, "here")
    yield engine
    engine.close()
