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
from policies.store.documents import StoreAway
from policies.store.leases import KeptLease
from system_apis.feed import LONGEST, Feed, Look
from system_apis.intake import Intake
from tests.support.held_lease import Alone
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
        self.lease = KeptLease(Alone(), lambda: 0.0)
        self.feed = Feed("crm/salesforce", self, self.lease, self.taken, self.clock, identifiers(), 600.0)
        self.begun = 0

    async def begin(self) -> None:
        self.begun += 1

    async def look(self, intake: Intake) -> Look:
        assert intake is self.taken
        end = self._ends.pop(0)
        if isinstance(end, Exception):
            raise end
        return end

    def look_once(self) -> float:
        async def look() -> float:
            await self.lease.renew()
            return await self.feed.look_once()

        return asyncio.run(look())

    def tell(self) -> None:
        asyncio.run(self.feed.tell())


@pytest.mark.parametrize("error", [KeyError("records"), TypeError("no"), RuntimeError("Kim Beispiel"), AWAY])
def test_a_feed_goes_on_after_whatever_a_look_ends_with(error: Exception) -> None:
    watched = Watched(error, GOOD)

    assert watched.look_once() > 0
    assert watched.look_once() == GOOD.pause
    assert is_ok(watched.feed.found())


def test_the_pause_grows_with_each_look_that_fails_and_is_short_again_after_a_good_one() -> None:
    watched = Watched(*[AWAY] * 9, GOOD, AWAY)

    pauses = [watched.look_once() for _ in range(9)]
    watched.look_once()

    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST
    assert watched.look_once() == pauses[0]


def test_a_feed_waits_as_long_as_the_platform_asks_for() -> None:
    assert Watched(Throttled("crm", "too fast", retry_after=3600.0)).look_once() == 3600.0


def test_a_reason_is_logged_once_as_long_as_it_is_the_same() -> None:
    watched = Watched(AWAY, AWAY, AWAY, Unavailable("crm", "another"), GOOD, AWAY)

    with capture_logs() as logged:
        for _ in range(6):
            watched.look_once()

    assert [each.get("reason") for each in logged] == [AWAY.reason, "another", None, AWAY.reason]


def test_an_exception_is_logged_by_its_place_and_not_by_its_text_which_may_hold_a_record() -> None:
    with capture_logs() as logged:
        Watched(KeyError("Kim Beispiel")).look_once()

    assert "KeyError" in logged[0]["reason"]
    assert "Kim" not in str(logged)


def test_readiness_says_how_old_the_last_good_look_is() -> None:
    watched = Watched(GOOD, Look(60.0, "800 of 15000 are left"))
    assert not is_ok(watched.feed.found())

    watched.look_once()
    watched.clock.move(12)
    after_one = watched.feed.found()
    watched.look_once()

    assert after_one == "ok, last read 12 s ago"
    assert watched.feed.found() == "ok, last read 0 s ago; 800 of 15000 are left"


def test_readiness_says_that_a_feed_stands_still_and_why_without_an_address() -> None:
    watched = Watched(GOOD, AWAY, AWAY)
    watched.look_once()
    watched.clock.move(20)
    watched.look_once()
    in_doubt = watched.feed.found()
    watched.clock.move(20)
    watched.look_once()

    said = watched.feed.found()

    assert is_ok(in_doubt)
    assert not is_ok(said)
    assert said.startswith("last read 40 s ago; the last look failed: crm: it does not answer")
    assert "10.0.0.7" not in said


def test_a_feed_that_has_never_been_read_is_not_ready() -> None:
    watched = Watched(AWAY)

    watched.look_once()

    assert not is_ok(watched.feed.found())


def test_it_is_reported_once_that_a_feed_stands_still_and_once_that_it_goes_on() -> None:
    watched = Watched(GOOD, AWAY, GOOD)
    watched.look_once()
    watched.tell()
    watched.look_once()
    watched.clock.move(599)
    watched.tell()
    assert watched.taken.types == [FEED_RESUMED]  # a former process may have reported that it stands still

    watched.clock.move(2)
    watched.tell()
    watched.tell()
    watched.look_once()
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
    watched.look_once()
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
        await watched.lease.renew()
        task = asyncio.create_task(job(watched.feed))
        await asyncio.sleep(0.01)
        assert not task.done()
        task.cancel()

    asyncio.run(run(Feed.keep_looking))
    asyncio.run(run(Feed.keep_telling))


class Contested(Alone):
    """A lease that another replica has at times, and that nobody can ask for at others."""

    held: bool | OSError = True

    def renew(self) -> bool:
        if isinstance(self.held, OSError):
            raise self.held
        return self.held


def test_a_feed_that_another_replica_reads_is_left_to_it_and_begun_where_that_one_stopped() -> None:
    watched, store = Watched(GOOD, GOOD, GOOD), Contested()
    watched.lease = KeptLease(store, lambda: 0.0)
    watched.feed = Feed("crm/salesforce", watched, watched.lease, watched.taken, watched.clock, identifiers(), 600.0)

    async def turn(*, held: bool | OSError) -> None:
        store.held = held
        await asyncio.gather(watched.feed.look_once(), watched.lease.renew())
        await watched.feed.look_once() if watched.lease.is_held else None

    asyncio.run(turn(held=True))
    assert (watched.begun, "last read" in watched.feed.found()) == (1, True)

    watched.clock.move(3600.0)
    asyncio.run(turn(held=False))
    asyncio.run(turn(held=False))
    watched.tell()
    assert watched.feed.found() == "ok, another replica reads it"
    assert watched.taken.events == [], "it does not stand still: another one reads it"

    asyncio.run(turn(held=True))
    assert watched.begun == 2


def test_a_feed_stands_still_when_nobody_knows_who_is_to_read_it() -> None:
    watched, store = Watched(GOOD), Contested()
    watched.lease = KeptLease(store, lambda: 0.0)
    watched.feed = Feed("crm/salesforce", watched, watched.lease, watched.taken, watched.clock, identifiers(), 600.0)
    store.held = StoreAway("the shared database does not answer")

    async def wait() -> None:
        for _ in range(2):
            await asyncio.gather(watched.feed.look_once(), watched.lease.renew())

    asyncio.run(wait())
    watched.clock.move(601.0)
    watched.tell()

    assert not is_ok(watched.feed.found())
    assert "the shared database does not answer" in watched.feed.found()
    assert [each.type for each in watched.taken.events] == [FEED_STOPPED]
