"""What can happen to hosts, and to what they share: each fault begins, lasts, and ends."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from random import Random
from time import sleep

from policies.catalogue.model import Layer
from tests.end_to_end.hosts.bed import Bed
from tiergate.dev.layers import LAYERS

Fault = Callable[[Bed, Random], "Iterator[None]"]


def layer_killed(bed: Bed, draw: Random) -> Iterator[None]:
    """Kill one layer on one host."""
    host, layer = draw.choice(bed.hosts), draw.choice(LAYERS)
    bed.kill(host, layer)
    yield
    bed.start(host, layer)
    bed.wait_for(host, layer)


def layer_killed_everywhere(bed: Bed, draw: Random) -> Iterator[None]:
    """Kill one layer on all hosts at once."""
    layer: Layer = draw.choice(LAYERS)
    for host in bed.hosts:
        bed.kill(host, layer)
    yield
    for host in bed.hosts:
        bed.start(host, layer)
    for host in bed.hosts:
        bed.wait_for(host, layer)


def host_killed(bed: Bed, draw: Random) -> Iterator[None]:
    """Kill all layers of one host."""
    host = draw.choice(bed.hosts)
    for layer in LAYERS:
        bed.kill(host, layer)
    yield
    for layer in LAYERS:
        bed.start(host, layer)
    for layer in LAYERS:
        bed.wait_for(host, layer)


def partition(bed: Bed, draw: Random) -> Iterator[None]:
    """Cut one host off from everything; it goes on, and does not know."""
    host = draw.choice(bed.hosts)
    host.cut_off()
    yield
    host.connect()


def database_restarted(bed: Bed, draw: Random) -> Iterator[None]:
    """Break PostgreSQL down."""
    del draw
    bed.postgresql.break_down()
    yield
    bed.postgresql.start()


def redis_restarted(bed: Bed, draw: Random) -> Iterator[None]:
    """Kill Redis, which has forgotten everything when it is back."""
    del draw
    bed.redis.kill()
    yield
    bed.redis.start()


def slow_disk(bed: Bed, draw: Random) -> Iterator[None]:
    """Let one host take long for each write to its disk."""
    slow = draw.choice(bed.hosts).folder / "slow"
    slow.touch()
    yield
    slow.unlink()


def slow_disk_of_database(bed: Bed, draw: Random) -> Iterator[None]:
    """Let PostgreSQL take long to write what each transaction has done."""
    del draw
    bed.postgresql.slow_down()
    yield
    bed.postgresql.speed_up()


def full_disk(bed: Bed, draw: Random) -> Iterator[None]:
    """Fill the disk of one host."""
    host = draw.choice(bed.hosts)
    host.disk.fill()
    yield
    host.disk.empty()


FAULTS: dict[str, Fault] = {
    each.__name__.replace("_", " "): each
    for each in (
        layer_killed,
        layer_killed_everywhere,
        host_killed,
        partition,
        database_restarted,
        redis_restarted,
        slow_disk,
        slow_disk_of_database,
        full_disk,
    )
}


@contextmanager
def trouble(bed: Bed, name: str, draw: Random) -> Generator[None]:
    """Let a fault begin, and end with the block."""
    acting = FAULTS[name](bed, draw)
    next(acting)
    try:
        yield
    finally:
        for _ in acting:
            sleep(0)
