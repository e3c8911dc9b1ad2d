"""A context over a database of the test's own."""

from __future__ import annotations

import shutil
from collections.abc import Generator
from pathlib import Path

import pytest

from process_apis.records.database import open_database
from process_apis.records.revisions import upgrade
from process_apis.runtime.context import WorkflowContext
from tests.support.process_context import TestClock, context_over


@pytest.fixture
def clock() -> TestClock:
    return TestClock()


@pytest.fixture(scope="session")
def empty_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the tables as a first start does, once: to copy them is fifty times faster."""
    path = tmp_path_factory.mktemp("tables") / "process.sqlite"
    database = open_database(f"sqlite:///{path}")
    upgrade(database)
    database.dispose()
    return path


@pytest.fixture
def context(tmp_path: Path, empty_tables: Path, clock: TestClock) -> Generator[WorkflowContext]:
    path = shutil.copy(empty_tables, tmp_path)
    with context_over(f"sqlite:///{path}", clock) as made:
        yield made
