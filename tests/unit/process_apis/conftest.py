"""A context over a database of the test's own."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from process_apis.runtime.context import WorkflowContext
from tests.support.process_context import TestClock, context_over


@pytest.fixture
def clock() -> TestClock:
    return TestClock()


@pytest.fixture
def context(tmp_path: Path, clock: TestClock) -> Generator[WorkflowContext]:
    with context_over(f"sqlite:///{tmp_path / 'process.sqlite'}", clock) as made:
        yield made
