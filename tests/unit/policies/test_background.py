"""A job beside the requests never ends for good, whatever it meets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
import pytest

from policies.context.background import Background

FAULTS: list[Callable[[], object]] = [
    lambda: dict[str, int]().pop("key"),
    lambda: 1 / 0,
    lambda: msgspec.json.decode(b"[", type=list[int]),
    b"\xff".decode,
    lambda: open("/proc/self/mem/none").read(),  # noqa: PTH123, SIM115 - NotADirectoryError
    lambda: (_ for _ in ()).throw(asyncio.CancelledError),
    lambda: (_ for _ in ()).throw(RecursionError),
    lambda: None,
]
"""What a bad record, a directory in the place of a file, or a mistake of ours does to a job; the last one only ends."""


class Watch:
    """Meets a fault at its first look, and then waits for ever."""

    name = "crm/salesforce"

    def __init__(self, fault: Callable[[], object]) -> None:
        self.fault = fault
        self.looks = 0
        self.goes_on = asyncio.Event()

    async def keep_looking(self) -> None:
        self.looks += 1
        if self.looks == 1:
            self.fault()
            return
        self.goes_on.set()
        await asyncio.Event().wait()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_job_goes_on_after_any_fault_and_it_is_said(fault: Callable[[], object]) -> None:
    async def run() -> tuple[int, str, str]:
        watch, steady = Watch(fault), Watch(fault)
        steady.looks = 1
        background = Background(watch.keep_looking, steady.keep_looking, first_pause=0.01)
        before = background.trouble()
        await background.start()
        await asyncio.wait_for(watch.goes_on.wait(), 10)
        said = background.trouble()
        await background.stop()
        return watch.looks, before, said

    looks, before, said = asyncio.run(run())

    assert (looks, before) == (2, "")
    assert said.startswith("crm/salesforce keep_looking ended by ")
    assert said.endswith(" 0 s ago")


def test_the_end_of_an_app_ends_its_jobs() -> None:
    async def run() -> tuple[int, int]:
        watch = Watch(lambda: None)
        watch.looks = 1
        background = Background(watch.keep_looking)
        await background.start()
        await asyncio.wait_for(watch.goes_on.wait(), 10)
        await background.stop()
        await asyncio.sleep(0)
        return watch.looks, len(asyncio.all_tasks())

    assert asyncio.run(run()) == (2, 1)
