"""The source of identifiers that all layers share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tiergate.composition import new_id

THREADS, EACH = 8, 25_000


@pytest.fixture
def threads_take_turns_often() -> Iterator[None]:
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.usefixtures("threads_take_turns_often")
def test_threads_never_get_the_same_identifier() -> None:
    def make(_: int) -> list[str]:
        return [new_id("cas") for _ in range(EACH)]

    with ThreadPoolExecutor(THREADS) as pool:
        made = pool.map(make, range(THREADS))

    assert len({each for part in made for each in part}) == THREADS * EACH
