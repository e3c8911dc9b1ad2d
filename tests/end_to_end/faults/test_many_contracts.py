"""Many contracts get a new price while customers are served: paused, killed in the middle, and each changed once."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.contracts import Deployment, measure
from tiergate.dev.processes import stopped_at_the_end

MORE = 90.0
"""Megabytes that a process layer has more, at the most, when it has changed all contracts: some 60 are of its threads
and of its connections to SQLite, however many contracts there are."""


@pytest.mark.parametrize(("count", "seconds"), [(60, 8.0), pytest.param(5000, 60.0, marks=pytest.mark.long)])
def test_each_contract_gets_its_new_price_once_and_customers_are_served_meanwhile(
    tmp_path: Path, count: int, seconds: float
) -> None:
    with stopped_at_the_end() as children:
        measured = measure(Deployment(tmp_path, children), count, seconds)

    assert measured.contracts == count
    assert set(measured.during) == {"read p50", "read p99", "preview p50", "preview p99"}
    assert measured.memory["after"] < measured.memory["at rest"] + MORE
