"""Whether what a layer depends on answers.

Readiness is open to everybody, and a reason may name addresses: it says what is away, and the log says why.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import structlog

from canonical.faults import Misconfigured, PlatformFault

CHECK_EVERY = 5.0
"""Seconds between two checks."""
OK = "ok"
"""What is said of what answers; after a comma, more about it may follow."""
AWAY = "not available; the log says why"
log = structlog.get_logger("tiergate.readiness")


def is_ok(said: str) -> bool:
    """Return whether readiness says of something that it answers."""
    return said == OK or said.startswith(f"{OK}, ")


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
            await asyncio.sleep(CHECK_EVERY)

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
