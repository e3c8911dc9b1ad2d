"""What is asked of a connector of any domain."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec
from structlog.testing import capture_logs

from canonical.faults import TRANSIENT, NotFound, Rejected, Throttled, Unavailable, UnknownOutcome
from canonical.fields import is_known
from policies.catalogue.check import load
from policies.outbound.ownership import check
from tests.support.connector_kit.loopback import ALWAYS, PAGE, Loopback, Seen, Trouble
from tests.support.connector_kit.subject import INSTANCE, Bench, Subject, bench

C = TypeVar("C")
S = TypeVar("S", bound=Subject[Any])
Act = Callable[[], Awaitable[object]]
Behaviour = Callable[[Any], Awaitable[None]]
MAX_WRITES = 20
"""More writes than any one call makes."""
RETRY_AFTER = 60
"""Seconds: more than a call has."""
NAME = 'Müller & Söhne »O\'Neill« "GmbH" \\ 100 %'


class Put(msgspec.Struct, frozen=True):
    """A call that makes sure of one record. `prepare` makes what it needs and returns the call; `count` is how many
    records the platform holds under a key."""

    name: str
    prepare: Callable[[str], Awaitable[Act]]
    count: Callable[[str], Awaitable[int]]


def behaviour(method: Behaviour) -> Behaviour:
    """Mark what a connector must do."""
    method.__dict__["behaviour"] = True
    return method


def behaviours(kit: type[Kit[Any, Any]]) -> list[str]:
    """Return the names of all that a kit asks."""
    return sorted(name for name in dir(kit) if hasattr(getattr(kit, name), "behaviour"))


def run(kit: type[Kit[Any, Any]], subject: Subject[Any], name: str, folder: Path) -> None:
    """Ask one thing of a subject. Raises what shows that it is not so: mostly `AssertionError`."""

    async def asked() -> None:
        async with bench(subject, folder) as made:
            await getattr(kit(made), name)()

    asyncio.run(asked())


class Kit(ABC, Generic[C, S]):
    """The checks of one connector, on a platform of its own. A domain's kit says what its calls are."""

    ALIKE = ("k", "k.1", "k:1", "k-1", "k_1", "k.1.1", "k:1:1")

    def __init__(self, made: Bench[C]) -> None:
        self.bench = made
        self.loopback: Loopback = made.loopback

    @property
    def subject(self) -> S:
        return self.bench.subject  # pyright: ignore[reportReturnType] - the kit of a domain is given its subjects

    @property
    def connector(self) -> C:
        return self.bench.connector

    @abstractmethod
    def puts(self) -> Sequence[Put]:
        """Return the calls that make sure of a record."""

    def troubled(self) -> Sequence[Put]:
        """Return the puts that the platform's troubles are tried on: all, unless it takes long to make what they
        need."""
        return self.puts()

    @abstractmethod
    async def read(self) -> Act:
        """Return a call that only reads."""

    @abstractmethod
    async def missing(self) -> Sequence[Act]:
        """Return calls for records that do not exist."""

    @abstractmethod
    async def refused(self) -> tuple[Act, str]:
        """Return a call that the platform refuses, and the field that it names."""

    @abstractmethod
    async def named(self, key: str) -> tuple[Act | None, Callable[[], Awaitable[str]]]:
        """Return a put of a record called `NAME`, and how to read that name on the platform; no put where nothing
        has a name."""

    # ---- natural keys

    @behaviour
    async def the_same_put_twice_is_one_record(self) -> None:
        for put in self.puts():
            act = await put.prepare("twice")
            await self.bench.settled(act)
            await self.bench.settled(act)
            assert await put.count("twice") == 1, put.name

    @behaviour
    async def a_put_after_a_restart_is_the_same_record(self) -> None:
        for put in self.puts():
            await self.bench.settled(await put.prepare("again"))
            self.bench.connector = self.bench.connect()
            await self.bench.settled(await put.prepare("again"))
            assert await put.count("again") == 1, put.name

    @behaviour
    async def two_puts_at_once_are_one_record(self) -> None:
        for put in self.puts():
            act = await put.prepare("at-once")
            await asyncio.gather(self.bench.settled(act), self.bench.settled(act))
            assert await put.count("at-once") == 1, put.name

    @behaviour
    async def keys_that_look_alike_are_records_of_their_own(self) -> None:
        for put in self.puts():
            for key in self.ALIKE:
                await self.bench.settled(await put.prepare(key))
            assert [await put.count(key) for key in self.ALIKE] == [1] * len(self.ALIKE), put.name

    @behaviour
    async def quotes_and_umlauts_arrive_as_they_are(self) -> None:
        act, stored = await self.named("named")
        if act:
            await self.bench.settled(act)
            assert await stored() == NAME

    # ---- lost answers

    @behaviour
    async def a_retry_after_a_lost_answer_finds_what_was_done(self) -> None:
        """Whichever write of a call it is whose answer is lost, with everything after it: a fault that nobody would
        try again is none of the outcomes."""
        for put in self.puts():
            for place in range(1, MAX_WRITES):
                key = f"lost-{place}"
                act = await put.prepare(key)
                lost = self.lose_all_from(place)
                with contextlib.suppress(*TRANSIENT):
                    await self.bench.call(act)
                self.loopback.calm()
                await self.bench.settled(act)
                assert await put.count(key) == 1, f"{put.name}, write {place}"
                if not lost():
                    break

    def lose_all_from(self, place: int) -> Callable[[], bool]:
        """Lose the answer of a write, and give none after it. Return whether it came to that."""
        written = 0

        def is_the_one(request: Seen) -> bool:
            nonlocal written
            written += self.subject.is_write(request)
            return written == place

        self.loopback.trouble(Trouble("no_answer", lambda _: written >= place, times=ALWAYS))
        self.loopback.trouble(Trouble("lost_answer", is_the_one))
        return lambda: written >= place

    @behaviour
    async def a_write_that_was_sent_and_not_answered_has_an_unknown_outcome(self) -> None:
        for act in await self._writes("silent"):
            self.loopback.trouble(Trouble("no_answer", self.subject.is_write, times=ALWAYS))
            fault = await self.bench.fault(act)
            self.loopback.calm()
            assert isinstance(fault, UnknownOutcome), repr(fault)

    @behaviour
    async def a_read_that_is_not_answered_is_unavailable(self) -> None:
        act = await self.read()
        self.loopback.trouble(Trouble("no_answer", _any, times=ALWAYS))
        assert isinstance(await self.bench.fault(act), Unavailable)

    # ---- limits and outages

    @behaviour
    async def a_limit_is_throttled_for_as_long_as_the_platform_says(self) -> None:
        for act in await self._calls("limit"):
            before = len(self.loopback.seen)
            self._answer(429, {"retry-after": str(RETRY_AFTER)})
            fault = await self.bench.fault(act)
            self.loopback.calm()
            assert isinstance(fault, Throttled), repr(fault)
            assert fault.retry_after == RETRY_AFTER
            assert len(self.loopback.seen) - before == 1, "it asked again, though there was no time to"

    @behaviour
    async def a_limit_may_name_a_date(self) -> None:
        dates = {"date": "Sun, 01 Mar 2026 12:00:00 GMT", "retry-after": "Sun, 01 Mar 2026 12:01:00 GMT"}
        for act in await self._calls("dated"):
            self._answer(429, dates)
            fault = await self.bench.fault(act)
            self.loopback.calm()
            assert isinstance(fault, Throttled), repr(fault)
            assert fault.retry_after == RETRY_AFTER

    @behaviour
    async def a_platform_that_is_down_is_unavailable(self) -> None:
        for act in [*await self._calls("down"), self._check]:
            self._answer(503)
            fault = await self.bench.fault(act)
            self.loopback.calm()
            assert isinstance(fault, Unavailable), repr(fault)

    @behaviour
    async def a_platform_that_cannot_be_reached_is_unavailable_and_comes_back(self) -> None:
        calls = [*await self._calls("away"), self._check]
        await self.loopback.stop()
        for act in calls:
            assert isinstance(await self.bench.fault(act), Unavailable)
        await self.loopback.start()
        for act in calls:
            await self.bench.settled(act)

    @behaviour
    async def a_write_that_a_broken_platform_answers_has_an_unknown_outcome(self) -> None:
        for act in await self._writes("broken"):
            self.loopback.trouble(Trouble("answered", self.subject.is_write, 500, times=ALWAYS))
            fault = await self.bench.fault(act)
            self.loopback.calm()
            assert isinstance(fault, UnknownOutcome), repr(fault)

    @behaviour
    async def a_read_that_a_broken_platform_answers_is_unavailable(self) -> None:
        act = await self.read()
        self._answer(500)
        assert isinstance(await self.bench.fault(act), Unavailable)

    @behaviour
    async def a_maintenance_page_is_no_answer(self) -> None:
        """HTML with status 200: nothing was read, and of a write nothing is known."""
        calls = [*await self._calls("page"), self._check]
        for headers in ({"content-type": "text/html; charset=utf-8"}, {"content-type": "TEXT/HTML"}):
            for act in calls:
                self._answer(200, headers, PAGE)
                fault = await self.bench.fault(act)
                self.loopback.calm()
                assert isinstance(fault, (Unavailable, UnknownOutcome)), repr(fault)

    @behaviour
    async def json_that_was_not_asked_for_is_no_answer(self) -> None:
        """Whatever stands between us and the platform may answer in JSON, too."""
        if not self.subject.answers_json:
            return
        calls = [*await self._calls("shape"), self._check]
        for body in (b"{}", b"[]", b"null", b'"fine"', b'{"status": "ok"}', b'[{"status": "ok"}]'):
            for act in calls:
                self._answer(200, {"content-type": "application/json"}, body)
                fault = await self.bench.fault(act)
                self.loopback.calm()
                assert isinstance(fault, (Unavailable, UnknownOutcome)), f"{body!r}: {fault!r}"

    @behaviour
    async def a_redirect_to_a_maintenance_page_is_no_answer(self) -> None:
        calls = [*await self._calls("moved"), self._check]
        for act in calls:
            self._answer(302, {"location": "/maintenance", "content-type": "text/html"}, PAGE)
            fault = await self.bench.fault(act)
            self.loopback.calm()
            assert isinstance(fault, (Unavailable, UnknownOutcome)), repr(fault)

    # ---- refusals

    @behaviour
    async def what_is_missing_is_not_found(self) -> None:
        for act in await self.missing():
            fault = await self.bench.fault(act)
            assert isinstance(fault, NotFound), repr(fault)

    @behaviour
    async def what_is_refused_is_rejected_with_its_field(self) -> None:
        act, field = await self.refused()
        fault = await self.bench.fault(act)
        assert isinstance(fault, Rejected), repr(fault)
        assert (fault.platform, fault.field) == (self.subject.domain, field)

    # ---- governance

    @behaviour
    async def every_field_that_it_writes_is_declared_and_allowed(self) -> None:
        declared = {
            name
            for fields in self.bench.settings.fields(self.subject.connector.FIELDS).values()
            for each in fields.values()
            for name in each.split()
        }
        assert [name for name in sorted(declared) if not is_known(name)] == []
        check(load(), self.subject.domain, frozenset(declared))
        for put in self.puts():  # the platform client refuses a write that carries more
            await self.bench.settled(await put.prepare("fields"))

    @behaviour
    async def every_write_says_what_it_carries(self) -> None:
        for put in self.puts():
            await self.bench.settled(await put.prepare("carries"))
        silent = [
            sent.path
            for sent, carries in self.bench.client.carried
            if self.subject.is_write(sent) and sent.body and not carries
        ]
        assert silent == []

    @behaviour
    async def every_request_goes_through_the_platform_client(self) -> None:
        for put in self.puts():
            await self.bench.settled(await put.prepare("client"))
        await self.bench.call(await self.read())
        assert [each.method for each in self.loopback.seen] == [sent.method for sent, _ in self.bench.client.carried]

    @behaviour
    async def no_secret_is_ever_seen(self) -> None:
        noted = [repr(self.bench.settings), repr(self.connector), str(vars(self.connector))]
        calls = [*await self._calls("secret"), self._check]
        handler = _Noting(noted)
        logging.getLogger().addHandler(handler)
        try:
            with capture_logs() as logged:
                for status in (401, 403, 429, 500, 503):
                    for act in calls:
                        self._answer(status, body=b'{"error": {"message": "no"}}')
                        fault = await self.bench.fault(act)
                        self.loopback.calm()
                        noted += [repr(fault), str(fault), repr(fault.__cause__)]
        finally:
            logging.getLogger().removeHandler(handler)
        noted += [str(logged), *(each.path for each in self.loopback.seen)]
        seen = "\n".join(noted)
        assert [secret[:2] + "…" for secret in self.subject.secrets if secret in seen] == []

    # ---- the calls

    @property
    def source(self) -> str:
        """Return the source of every event of the instance under test."""
        return f"{self.subject.domain}/{INSTANCE}"

    async def _check(self) -> None:
        connector: Any = self.connector
        await connector.check()

    async def _writes(self, key: str) -> list[Act]:
        await self.bench.call(await self.read())  # logged in, whatever that takes
        return [await put.prepare(f"{key}-{place}") for place, put in enumerate(self.troubled())]

    async def _calls(self, key: str) -> list[Act]:
        return [await self.read(), *await self._writes(key)]

    def _answer(self, status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        self.loopback.trouble(Trouble("answered", _any, status, headers or {}, body, times=ALWAYS))


class _Noting(logging.Handler):
    def __init__(self, noted: list[str]) -> None:
        super().__init__()
        self._noted = noted

    def emit(self, record: logging.LogRecord) -> None:
        self._noted.append(record.getMessage())


def _any(_: Seen) -> bool:
    return True
