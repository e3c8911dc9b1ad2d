"""Three hosts that share a database and have copied nothing: whatever happens to them, each deal becomes exactly one of
everything, and nothing is stuck."""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from random import Random

import pytest

from process_apis.records.revisions import REVISIONS
from sandbox.salesperson import SaleLine
from tests.end_to_end.hosts.bed import Bed
from tests.end_to_end.hosts.faults import FAULTS, trouble
from tests.end_to_end.hosts.network import Host
from tests.end_to_end.hosts.report import Sold, write_report
from tests.support.copied_tree import ROOT, CopiedTree
from tests.support.platforms import EXACTLY_ONE, wait_until
from tiergate.dev.layers import LAYERS

CLOCKS = (0.0, 7200.0, -7200.0)
"""Seconds that the clocks of the hosts are off."""
SEEDS = 20
SHORT = 3
"""Seeds that are tried each time."""
AT_ONCE = 3
"""Faults of a seed."""
LASTING = (2.0, 6.0)
LONG = (15.0, 40.0)
"""Seconds that a fault lasts, and the first one of each seed that is not tried each time."""
ONE_LINE = (SaleLine("PLATFORM", 1),)
LONGEST = 180.0
"""Seconds after the last fault in which everything has to be done."""
NEXT = f"{int(REVISIONS[-1]) + 1:04}"
ADDING = '''"""Orders have notes."""

import sqlalchemy as sa
from alembic import op

revision = "{next}"
down_revision = "{former}"
works_with_former = True


def upgrade() -> None:
    op.add_column("orders", sa.Column("note", sa.String(40)))
'''
LATER = [pytest.param(each, marks=pytest.mark.long) for each in range(SHORT, SEEDS)]


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory, templates: Path) -> Generator[Bed]:
    made = Bed(tmp_path_factory.mktemp("bed"), templates, CLOCKS)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def report() -> Generator[list[Sold]]:
    """Collect what was sold, and write it down where the environment asks for that."""
    sold: list[Sold] = []
    yield sold
    if path := os.environ.get("TIERGATE_HOSTS_REPORT"):
        write_report(Path(path), sold)


def plan(seed: int) -> Iterator[tuple[str, float]]:
    """Yield the faults of a seed, each with the seconds that it lasts. Three seeds in a row have each kind."""
    names = sorted(FAULTS)
    Random(seed // SHORT).shuffle(names)
    draw = Random(seed)
    for place in range(AT_ONCE):
        seconds = draw.uniform(*(LONG if seed >= SHORT and not place else LASTING))
        yield names[(seed % SHORT * AT_ONCE + place) % len(names)], seconds


class Sales:
    """Deals that one seed sells."""

    def __init__(self, bed: Bed, seed: int) -> None:
        self._bed = bed
        self._seed = seed
        self._sold: dict[str, tuple[str, bool, float]] = {}
        """By the deal: during what, whether right after it, and when (seconds since 1970, UTC)."""

    @property
    def deals(self) -> list[str]:
        return sorted(self._sold)

    def close(self, during: str = "", *, after: bool = False) -> None:
        name = f"Host {self._seed}.{len(self._sold)}"
        at = time.time()
        _, deal = self._bed.sell(self._bed.sale(name, lines=ONE_LINE))
        self._sold[deal] = (during, after, at)

    def results(self, lasted: dict[str, float]) -> Iterator[Sold]:
        for deal, active_at in self._bed.active_at(self.deals).items():
            during, after, at = self._sold[deal]
            yield Sold(self._seed, during, after, lasted.get(during, 0.0), active_at.timestamp() - at)


def finished(bed: Bed, sales: Sales) -> None:
    """Wait until all that was sold is done, and count it."""
    wait_until(lambda: len(bed.active_at(sales.deals)) == len(sales.deals), LONGEST, "every deal is active")
    wait_until(lambda: not bed.unposted(sales.deals), LONGEST, "every invoice and payment is posted")
    wait_until(lambda: not bed.stuck(), LONGEST, "nothing runs and nothing waits")
    orders = [each for each in bed.orders() if each.deal_id in sales.deals]
    assert sorted(each.deal_id for each in orders) == sales.deals
    for order in orders:
        assert bed.counted(order) == EXACTLY_ONE, order.deal_id


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(each, marks=pytest.mark.extended) for each in range(1, SHORT)), *LATER]
)
def test_each_deal_becomes_exactly_one_of_everything_whatever_happens_to_the_hosts(
    bed: Bed, seed: int, report: list[Sold]
) -> None:
    draw, sales, lasted = Random(seed), Sales(bed, seed), dict[str, float]()

    sales.close()
    for name, seconds in plan(seed):
        with trouble(bed, name, draw):
            sales.close(name)
            time.sleep(seconds)
        lasted[name] = seconds
        sales.close(name, after=True)
    finished(bed, sales)
    report += sales.results(lasted)


def next_version(folder: Path) -> Path:
    """Return a copy of the code whose tables have one column more."""
    folder.mkdir()
    copy = CopiedTree(folder)
    received = '    sa.Column("received_at", sa.String(40), nullable=False),\n'
    copy.edit("process_apis/records/database.py", received, received + '    sa.Column("note", sa.String(40)),\n')
    adding = ADDING.format(former=REVISIONS[-1], next=NEXT)
    copy.add(f"process_apis/records/migrations/versions/{NEXT}_notes.py", adding)
    return copy.folder


def replace(bed: Bed, host: Host, code: Path) -> None:
    """Kill what runs on a host, in the middle of its work, and start another version of it."""
    bed.code[bed.hosts.index(host)] = code
    for layer in LAYERS:
        bed.kill(host, layer)
        bed.start(host, layer)
    for layer in LAYERS:
        bed.wait_for(host, layer)


def test_two_versions_run_beside_each_other_while_one_replaces_the_other(bed: Bed, tmp_path: Path) -> None:
    new, sales = next_version(tmp_path / "next"), Sales(bed, SEEDS)
    first, second, third = bed.hosts

    for host in (first, second):
        sales.close()
        replace(bed, host, new)
    assert bed.record("SELECT version_num FROM alembic_version") == [(NEXT,)]
    sales.close()
    replace(bed, third, ROOT)  # the former version starts again, on the tables of the new one
    replace(bed, second, ROOT)  # and takes its place
    sales.close()

    finished(bed, sales)
