"""The contract whose usage is tried."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from process_apis.runtime.context import WorkflowContext
from tests.support.answering_layer import no_workflows
from tests.support.process_context import TestClock
from tests.support.usage_bench import UsageBench, with_meters


@pytest.fixture
def bench(context: WorkflowContext, clock: TestClock, tmp_path: Path) -> Generator[UsageBench]:
    with no_workflows():
        yield UsageBench(with_meters(context, tmp_path), clock)
