"""The contract that amendments are tried on."""

from __future__ import annotations

import shutil
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.support.amendment_bench import Bench, Everybody
from tests.support.answering_layer import answering, no_workflows
from tests.support.process_context import TestClock, context_over


@pytest.fixture
def bench(tmp_path: Path, empty_tables: Path) -> Generator[Bench]:
    everybody, clock = Everybody(), TestClock()
    with no_workflows(), answering(everybody.answer) as system:
        url = f"sqlite:///{shutil.copy(empty_tables, tmp_path)}"
        with context_over(url, clock, system) as context:
            yield Bench(context, clock, everybody)
