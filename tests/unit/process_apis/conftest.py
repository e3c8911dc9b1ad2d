"""A context over a database of the test's own."""

from __future__ import annotations

import shutil
from collections.abc import Generator
from pathlib import Path

import pytest

from process_apis.runtime.context import WorkflowContext
from tests.support.process_context import TestClock, context_over


@pytest.fixture
def clock() -> TestClock:
    return TestClock()


@pytest.fixture
def context(tmp_path: Path, empty_tables: Path, clock: TestClock) -> Generator[WorkflowContext]:
    path = shutil.copy(empty_tables, tmp_path)
    with context_over(f"sqlite:///{path}", clock) as made:
        yield made
