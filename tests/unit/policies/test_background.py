"""A job beside the requests never ends for good, whatever it meets, and one that hangs is noticed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest
import uvloop

from policies.background import (
    HANGS,
    LASTING,
    LATE,
    LONGEST_PAUSE,
    STEADY,
    Background,
    Course,
    KeptThread,
    Routine,
    rest,
    troubles,
)
from tests.support.fatal import FATAL
from tests.support.platforms import wait_until


class Seconds:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Watch:
    """Meets a fault at its first look, or ends by itself, and then waits for ever."""

    name = "crm/salesforce"

    def __init__(self, fault: Callable[[], BaseException] | None = None) -> None:
        self.fault = fault
        self.looks = 0
        self.goes_on = asyncio.Event()

    async def keep_looking(self) -> None:
        self.looks += 1
        if self.looks == 1:
            if self.fault is not None:
                raise self.fault()
            return
        self.goes_on.set()
        await asyncio.Event().wait()


@pytest.mark.parametrize("runner", [asyncio.run, uvloop.run])
@pytest.mark.parametrize("fault", [*FATAL.values(), None], ids=[*FATAL, "its own end"])
def test_a_job_goes_on_after_any_fault_and_it_is_said(
    fault: Callable[[], BaseException] | None, runner: Callable[..., tuple[int, str, str]]
) -> None:
    async def run() -> tuple[int, str, str]:
        watch, steady = Watch(fault), Watch()
        steady.looks = 1
        background = Background(watch.keep_looking, steady.keep_looking, first_pause=0.01)
        before = troubles(background.courses())
        await background.start()
        await asyncio.wait_for(watch.goes_on.wait(), 10)
        said = troubles(background.courses())
        await background.stop()
        return watch.looks, before, said

    looks, before, said = runner(run())

    assert (looks, before) == (2, "")
    assert said.startswith(f"crm/salesforce keep_looking ended by {type(fault()).__name__ if fault else 'itself'} ")


def test_the_end_of_an_app_ends_its_jobs() -> None:
    async def run() -> tuple[int, int]:
        watch = Watch()
        watch.looks = 1
        background = Background(watch.keep_looking)
        await background.start()
        await asyncio.wait_for(watch.goes_on.wait(), 10)
        await background.stop()
        await asyncio.sleep(0)
        return watch.looks, len(asyncio.all_tasks())

    assert asyncio.run(run()) == (2, 1)


@pytest.mark.parametrize("fault", FATAL.values(), ids=FATAL)
def test_a_thread_goes_on_after_any_fault_and_it_is_said(fault: Callable[[], BaseException]) -> None:
    begun: list[str] = []
    may_end = threading.Event()

    def loop(name: str) -> None:
        begun.append(name)
        if len(begun) == 1:
            raise fault()
        may_end.wait(10)

    kept = KeptThread("poller", loop, "once", first_pause=0.01)

    def goes_on() -> bool:
        kept.keep()
        return len(begun) == 2

    wait_until(goes_on, 10, "it is begun again")
    said, alive = kept.course.trouble(), kept.is_alive()
    may_end.set()
    kept.join()

    assert (begun, alive) == (["once", "once"], True)
    assert said.startswith(f"poller ended by {type(fault()).__name__} ")


@pytest.mark.parametrize("fault", FATAL.values(), ids=FATAL)
def test_one_of_the_things_that_a_loop_does_keeps_it_from_no_other_by_any_fault(
    fault: Callable[[], BaseException],
) -> None:
    faults = [fault()]
    done: list[str] = []

    def broken() -> None:
        if faults:
            raise faults.pop()
        done.append("broken")

    routines = [Routine(broken, OverflowError, first_pause=0.01), Routine(lambda: done.append("next"), OverflowError)]

    def goes_on() -> bool:
        for each in routines:
            each.do()
        return "broken" in done

    wait_until(goes_on, 10, "it is done again")

    assert done[0] == "next"
    assert routines[0].course.trouble().startswith("broken ended by ")


def test_a_fault_of_all_that_a_loop_does_is_the_loops() -> None:
    def broken() -> None:
        raise OverflowError

    routine = Routine(broken, ArithmeticError)

    with pytest.raises(OverflowError):
        routine.do()

    assert routine.course.trouble() == ""


def test_the_pauses_grow_and_begin_from_the_first_again_for_a_job_that_has_run_steadily() -> None:
    clock = Seconds()
    course = Course("watch", 1.0, clock)
    pauses: list[float] = []
    for _ in range(9):
        pauses.append(course.end(ValueError()))
        course.begin()
    clock.now += STEADY + 1

    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, LONGEST_PAUSE, LONGEST_PAUSE, LONGEST_PAUSE]
    assert course.end(ValueError()) == 1.0


def test_a_job_that_ends_again_and_again_stands_still_until_it_has_run_steadily() -> None:
    clock = Seconds()
    course = Course("watch", 1.0, clock)
    states: list[str] = []
    for _ in range(LASTING):
        course.begin()
        clock.now += 1
        pause = course.end(MemoryError())
        states.append(course.state()[0])
        clock.now += pause
    course.begin()
    again = course.state()
    clock.now += STEADY

    assert states == ["", "", "", "", "stopped"]
    assert again == ("stopped", "it ends again and again, by MemoryError")
    assert course.state() == ("runs", "")


def test_a_job_that_hangs_is_named_and_then_stands_still_until_it_goes_on() -> None:
    clock = Seconds()
    course = Course("watch", 1.0, clock)
    course.begin()
    course.rest(60.0)
    clock.now += 60 + LATE
    on_time = course.trouble()
    clock.now += 1
    late, state = course.trouble(), course.state()
    clock.now += HANGS
    stopped = course.state()
    course.rest(60.0)

    assert (on_time, late, state) == ("", "watch has done nothing for 121 s", ("", ""))
    assert stopped == ("stopped", "it has done nothing for more than 10 minutes")
    assert (course.trouble(), course.state()) == ("", ("runs", ""))


def test_what_a_job_says_of_its_next_round_is_of_its_own() -> None:
    async def round_of(seconds: float) -> None:
        await rest(seconds)
        await asyncio.Event().wait()

    async def hourly() -> None:
        await round_of(3600.0)

    async def hanging() -> None:
        await asyncio.Event().wait()

    async def run() -> list[str]:
        background = Background(hourly, hanging, clock=clock)
        await background.start()
        await asyncio.sleep(0.05)
        clock.now += LATE + 1
        said = [each.trouble() for each in background.courses()]
        await background.stop()
        return said

    clock = Seconds()

    assert asyncio.run(run()) == ["", "hanging has done nothing for 121 s"]


def test_what_is_measured_of_a_job_is_whether_it_runs_how_often_it_ended_and_how_late_it_is() -> None:
    clock = Seconds()
    course = Course("watch", clock=clock)
    course.begin()
    course.rest(5.0)
    clock.now += 65
    late = (course.runs, course.ended, course.age, course.late)
    course.end(ValueError())
    ended = (course.runs, course.ended, course.late)
    course.begin()
    course.rest(5.0)

    assert late == (True, 0, 65.0, 60.0)
    assert ended == (False, 1, 0.0)
    assert (course.runs, course.ended, course.age, course.late) == (True, 1, 0.0, 0.0)
