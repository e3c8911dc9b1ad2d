"""The contract that dunning is tried on."""

from __future__ import annotations

import shutil
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.amendment_bench import Bench
from tests.support.answering_layer import answering, no_workflows
from tests.support.dunning_bench import Debts, DunningBench, Make, under
from tests.support.process_context import TestClock, context_over


@pytest.fixture
def dunning(tmp_path: Path, empty_tables: Path) -> Generator[Make]:
    """Return what makes the bench under a policy of DE01."""
    with ExitStack() as stack:

        def make(policy: str) -> DunningBench:
            everybody, clock = Debts(), TestClock()
            stack.enter_context(no_workflows())
            system = stack.enter_context(answering(everybody.answer))
            url = f"sqlite:///{shutil.copy(empty_tables, tmp_path)}"
            context = stack.enter_context(context_over(url, clock, system))
            return DunningBench(Bench(under(context, tmp_path, policy), clock, everybody), everybody)

        yield make
