"""Whether what a layer depends on answers.

Readiness is open to everybody, and says to everybody no more than whether the layer is ready. To the platform team it
says what is away; why is in the log, since a reason may name addresses.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Generic, TypeVar

import structlog

from canonical.faults import Misconfigured, PlatformFault
from policies.background import rest

T = TypeVar("T")
CHECK_EVERY = 5.0
"""Seconds between two checks."""
RECENT = 1.0
"""Seconds for which what was found is answered again."""
LONGEST = 2.0
"""Seconds that a caller waits for what is being found."""
SCOPE = "governance:read"
"""The scope of a token of the experience layer whose caller sees the details."""
UNKNOWN = {"readiness": "what this layer depends on has not answered yet"}
OK = "ok"
"""What is said of what answers; after a comma, more about it may follow."""
AWAY = "not available; the log says why"
log = structlog.get_logger("tiergate.readiness")


def is_ok(said: str) -> bool:
    """Return whether readiness says of something that it answers."""
    return said == OK or said.startswith(f"{OK}, ")


class Latest(Generic[T]):
    """What somebody asks for again and again, found once for all who ask at the same time or soon after."""

    def __init__(
        self,
        find: Callable[[], T],
        unknown: T,
        clock: Callable[[], float] = time.monotonic,
        recent: float = RECENT,
    ) -> None:
        """`find` may wait for others, and runs in a thread. `unknown` stands for what takes longer than a caller waits.
        `clock` returns seconds, and never goes back; what was found is answered again for `recent` seconds."""
        self._find = find
        self._unknown = unknown
        self._clock = clock
        self._recent = recent
        self._found = unknown
        self._at = 0.0
        self._finding: asyncio.Task[None] | None = None

    async def found(self) -> T:
        """Return what was found in the last moments, or that it is not known."""
        if self._found is self._unknown or self._clock() - self._at > self._recent:
            if self._finding is None:
                self._finding = asyncio.create_task(self._find_again())
            await asyncio.wait([self._finding], timeout=LONGEST)
        return self._found if self._clock() - self._at <= self._recent + LONGEST else self._unknown

    async def _find_again(self) -> None:
        try:
            self._found = await asyncio.to_thread(self._find)
            self._at = self._clock()
        finally:
            self._finding = None


class Answers:
    """What was found last, by name. A reason is logged once, however often it is found again."""

    def __init__(self, *names: str) -> None:
        self._found = dict.fromkeys(names, "not asked yet")
        self._reasons: dict[str, str] = {}

    def found(self) -> dict[str, str]:
        """Return `ok` for what answers, by name, and for the rest that it does not."""
        return dict(self._found)

    def ok(self, name: str, more: str = "") -> str:
        """Keep that `name` answers and what more is to be known, and return what readiness says of it."""
        self._reasons.pop(name, None)
        self._found[name] = f"{OK}, {more}" if more else OK
        return self._found[name]

    def away(self, name: str, reason: str, shown: str = AWAY) -> str:
        """Keep that `name` does not answer as it should, and return what readiness says of it."""
        if self._reasons.get(name) != reason:
            log.warning("does not answer", asked=name, reason=reason)
        self._reasons[name] = reason
        self._found[name] = shown
        return shown


class Checks(Answers):
    """Asks again and again, in the background."""

    def __init__(self, asked: Mapping[str, Callable[[], Awaitable[str | None]]]) -> None:
        """Each of `asked` returns what more is to be known, and raises a `PlatformFault` when it does not answer."""
        super().__init__(*asked)
        self._asked = asked

    async def keep_asking(self) -> None:
        """Ask for as long as the layer runs."""
        while True:
            await self.ask()
            await rest(CHECK_EVERY)

    async def ask(self) -> None:
        """Ask all at once."""
        await asyncio.gather(*map(self._ask, self._asked))

    async def _ask(self, name: str) -> None:
        try:
            more = await self._asked[name]()
        except Misconfigured as fault:
            self.away(name, fault.reason, fault.reason)
        except PlatformFault as fault:
            self.away(name, fault.reason)
        else:
            self.ok(name, more or "")
