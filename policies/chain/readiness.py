"""Whether what a layer depends on answers, asked again and again in the background.

Readiness is open to everybody, and a reason may name addresses: it says what is away, and the log says why.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import structlog

from canonical.faults import PlatformFault

CHECK_EVERY = 5.0
"""Seconds between two checks."""
AWAY = "not available; the log says why"
log = structlog.get_logger("tiergate.readiness")


class Checks:
    """What was answered last, by name."""

    def __init__(self, asked: Mapping[str, Callable[[], Awaitable[object]]]) -> None:
        """Each of `asked` raises a `PlatformFault` when it does not answer."""
        self._asked = asked
        self._found = dict.fromkeys(asked, "not asked yet")

    def found(self) -> dict[str, str]:
        """Return `ok` for what answers, by name, and for the rest that it does not."""
        return dict(self._found)

    async def keep_asking(self) -> None:
        """Ask for as long as the layer runs, all at once."""
        while True:
            await asyncio.gather(*map(self._ask, self._asked))
            await asyncio.sleep(CHECK_EVERY)

    async def _ask(self, name: str) -> None:
        try:
            await self._asked[name]()
        except PlatformFault as fault:
            if self._found[name] != AWAY:
                log.warning("does not answer", asked=name, reason=fault.reason)
            self._found[name] = AWAY
        else:
            self._found[name] = "ok"
