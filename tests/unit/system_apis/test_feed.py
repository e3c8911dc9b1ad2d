"""A change feed does not end, whatever a look at it meets, and people see when it stands still."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

import pytest
from structlog.testing import capture_logs

from canonical.events import FEED_RESUMED, FEED_STOPPED, Event
from canonical.faults import Throttled, Unavailable
from canonical.ids import identifiers
from policies.chain.readiness import is_ok
from system_apis.feed import LONGEST, Feed, Look
from system_apis.intake import Intake
from tests.support.process_context import TestClock

GOOD = Look(15.0)
AWAY = Unavailable("crm", "no answer (ConnectError at 10.0.0.7)")


class Taken:
    """Takes events, unless it is away."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.is_away = False

    async def offer(self, event: Event, correlation_id: str) -> None:
        assert correlation_id
        if self.is_away:
            raise Unavailable("process", "no answer")
        self.events.append(event)

    @property
    def types(self) -> list[str]:
        return [each.type for each in self.events]


class Watched:
    """A feed whose looks end in a given order."""

    def __init__(self, *ends: Look | Exception) -> None:
        self.clock, self.taken = TestClock(), Taken()
        self._ends = list(ends)
        self.feed = Feed("crm/salesforce", self._look, self.taken, self.clock, identifiers(), 600.0)

    async def _look(self, intake: Intake) -> Look:
        assert intake is self.taken
        end = self._ends.pop(0)
        if isinstance(end, Exception):
            raise end
        return end

    def look(self) -> float:
        return asyncio.run(self.feed.look_once())

    def tell(self) -> None:
        asyncio.run(self.feed.tell())


@pytest.mark.parametrize("error", [KeyError("records"), TypeError("no"), RuntimeError("Kim Beispiel"), AWAY])
def test_a_feed_goes_on_after_whatever_a_look_ends_with(error: Exception) -> None:
    watched = Watched(error, GOOD)

    assert watched.look() > 0
    assert watched.look() == GOOD.pause
    assert is_ok(watched.feed.found())


def test_the_pause_grows_with_each_look_that_fails_and_is_short_again_after_a_good_one() -> None:
    watched = Watched(*[AWAY] * 9, GOOD, AWAY)

    pauses = [watched.look() for _ in range(9)]
    watched.look()

    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST
    assert watched.look() == pauses[0]


def test_a_feed_waits_as_long_as_the_platform_asks_for() -> None:
    assert Watched(Throttled("crm", "too fast", retry_after=3600.0)).look() == 3600.0


def test_a_reason_is_logged_once_as_long_as_it_is_the_same() -> None:
    watched = Watched(AWAY, AWAY, AWAY, Unavailable("crm", "another"), GOOD, AWAY)

    with capture_logs() as logged:
        for _ in range(6):
            watched.look()

    assert [each.get("reason") for each in logged] == [AWAY.reason, "another", None, AWAY.reason]


def test_an_exception_is_logged_by_its_place_and_not_by_its_text_which_may_hold_a_record() -> None:
    with capture_logs() as logged:
        Watched(KeyError("Kim Beispiel")).look()

    assert "KeyError" in logged[0]["reason"]
    assert "Kim" not in str(logged)


def test_readiness_says_how_old_the_last_good_look_is() -> None:
    watched = Watched(GOOD, Look(60.0, "800 of 15000 are left"))
    assert not is_ok(watched.feed.found())

    watched.look()
    watched.clock.move(12)
    after_one = watched.feed.found()
    watched.look()

    assert after_one == "ok, last read 12 s ago"
    assert watched.feed.found() == "ok, last read 0 s ago; 800 of 15000 are left"


def test_readiness_says_that_a_feed_stands_still_and_why_without_an_address() -> None:
    watched = Watched(GOOD, AWAY, AWAY)
    watched.look()
    watched.clock.move(20)
    watched.look()
    in_doubt = watched.feed.found()
    watched.clock.move(20)
    watched.look()

    said = watched.feed.found()

    assert is_ok(in_doubt)
    assert not is_ok(said)
    assert said.startswith("last read 40 s ago; the last look failed: crm: it does not answer")
    assert "10.0.0.7" not in said


def test_a_feed_that_has_never_been_read_is_not_ready() -> None:
    watched = Watched(AWAY)

    watched.look()

    assert not is_ok(watched.feed.found())


def test_it_is_reported_once_that_a_feed_stands_still_and_once_that_it_goes_on() -> None:
    watched = Watched(GOOD, AWAY, GOOD)
    watched.look()
    watched.tell()
    watched.look()
    watched.clock.move(599)
    watched.tell()
    assert watched.taken.types == [FEED_RESUMED]  # a former process may have reported that it stands still

    watched.clock.move(2)
    watched.tell()
    watched.tell()
    watched.look()
    watched.tell()
    watched.tell()

    assert watched.taken.types == [FEED_RESUMED, FEED_STOPPED, FEED_RESUMED]
    assert watched.taken.events[1].data == {"since": "2026-03-01T12:00:00+00:00", "reason": AWAY.reason}
    assert len({each.id for each in watched.taken.events}) == 3


def test_it_is_reported_of_a_look_that_does_not_end() -> None:
    watched = Watched()
    watched.clock.move(601)

    watched.tell()

    assert [(each.type, each.data["reason"]) for each in watched.taken.events] == [
        (FEED_STOPPED, "a look at it does not end")
    ]


def test_it_is_reported_when_the_process_layer_is_back() -> None:
    watched = Watched(AWAY)
    watched.look()
    watched.clock.move(601)
    watched.taken.is_away = True
    watched.tell()
    watched.taken.is_away = False

    watched.tell()

    assert watched.taken.types == [FEED_STOPPED]


def test_both_jobs_run_until_they_are_stopped() -> None:
    looks = [GOOD, AWAY, *[Look(0.0)] * 50]

    async def run(job: Callable[[Feed], Coroutine[None, None, None]]) -> None:
        watched = Watched(*looks)
        task = asyncio.create_task(job(watched.feed))
        await asyncio.sleep(0.01)
        assert not task.done()
        task.cancel()

    asyncio.run(run(Feed.keep_looking))
    asyncio.run(run(Feed.keep_telling))
