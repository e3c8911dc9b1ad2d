"""The contracts that mass changes are tried on, by a catalogue that lets three be on their way at once."""

from __future__ import annotations

import shutil
from collections.abc import Generator
from pathlib import Path

import msgspec
import pytest

from policies.catalogue.live import LiveCatalogue
from policies.catalogue.model import SHIPPED
from tests.support.amendment_bench import Bench, Everybody
from tests.support.answering_layer import answering, no_workflows
from tests.support.mass_change_bench import MassBench
from tests.support.process_context import TestClock, context_over


def slow_catalogue(folder: Path) -> Path:
    """Write a catalogue that lets three contracts be on their way at once, and eight be begun in a minute."""
    pace = "at_once = {}\nper_minute = {}"
    written = folder / "catalogue.toml"
    written.write_text(SHIPPED.read_text().replace(pace.format(20, 300), pace.format(3, 8)))
    return written


@pytest.fixture
def mass(tmp_path: Path, empty_tables: Path) -> Generator[MassBench]:
    everybody, clock = Everybody(), TestClock()
    with no_workflows(), answering(everybody.answer) as system:
        url = f"sqlite:///{shutil.copy(empty_tables, tmp_path)}"
        with context_over(url, clock, system) as context:
            slow = msgspec.structs.replace(context, live_catalogue=LiveCatalogue(slow_catalogue(tmp_path)))
            yield MassBench(Bench(slow, clock, everybody))
