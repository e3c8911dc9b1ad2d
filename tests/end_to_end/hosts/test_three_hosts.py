"""Three hosts that share a database and have copied nothing: whatever happens to them, each deal becomes exactly one of
everything, and nothing is stuck."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from random import Random

import pytest

from sandbox.salesperson import SaleLine
from tests.end_to_end.hosts.bed import Bed
from tests.end_to_end.hosts.faults import FAULTS, trouble
from tests.support.platforms import EXACTLY_ONE, wait_until

CLOCKS = (0.0, 7200.0, -7200.0)
"""Seconds that the clocks of the hosts are off."""
SEEDS = 20
SHORT = 3
"""Seeds that are tried each time."""
AT_ONCE = 3
"""Faults of a seed."""
ONE_LINE = (SaleLine("PLATFORM", 1),)
LONGEST = 120.0
"""Seconds after the last fault in which everything has to be done."""


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory, templates: Path) -> Generator[Bed]:
    made = Bed(tmp_path_factory.mktemp("bed"), templates, CLOCKS)
    yield made
    made.stop()


def plan(seed: int) -> Iterator[tuple[str, float]]:
    """Yield the faults of a seed, each with the seconds that it lasts. Three seeds in a row have each kind."""
    names = sorted(FAULTS)
    Random(seed // SHORT).shuffle(names)
    draw = Random(seed)
    for place in range(AT_ONCE):
        yield names[(seed % SHORT * AT_ONCE + place) % len(names)], draw.uniform(2.0, 6.0)


@pytest.mark.parametrize(
    "seed", [*range(SHORT), *(pytest.param(n, marks=pytest.mark.long) for n in range(SHORT, SEEDS))]
)
def test_each_deal_becomes_exactly_one_of_everything_whatever_happens_to_the_hosts(
    bed: Bed, seed: int, record_property: Callable[[str, object], None]
) -> None:
    draw, sold = Random(seed), dict[str, tuple[str, float]]()

    def sell(during: str) -> None:
        _, deal = bed.sell(bed.sale(f"Host {seed}.{len(sold)}", lines=ONE_LINE))
        sold[deal] = (during, time.monotonic())

    sell("nothing")
    for name, seconds in plan(seed):
        with trouble(bed, name, draw):
            sell(name)
            sell(name)
            time.sleep(seconds)
        sell(f"after {name}")
    done = bed.active(sorted(sold), LONGEST)
    wait_until(lambda: not bed.unposted(sorted(sold)), LONGEST, "every invoice and payment is posted")

    orders = [each for each in bed.orders() if each.deal_id in sold]
    assert sorted(each.deal_id for each in orders) == sorted(sold)
    for order in orders:
        assert bed.counted(order) == EXACTLY_ONE, order.deal_id
    assert bed.stuck() == []
    record_property("seconds", {during: round(done[deal], 1) for deal, (during, _) in sold.items()})
