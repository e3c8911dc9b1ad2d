"""Leases: of what one replica does at a time, and another goes on with when that one is gone.

Of replicas on one machine the kernel says who holds a lease: it ends with the process. Of replicas on several
`shared_database` does, by its own clock: theirs may differ by hours.
"""

from __future__ import annotations

import asyncio
import fcntl
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Protocol, TextIO

import structlog

from policies.background import rest
from policies.store.files import open_lock

SECONDS = 10.0
"""For how long a lease is held that is not renewed."""
RENEW_EVERY = 2.5
"""Seconds between two renewals, and between two tries to get a lease that another replica holds."""
log = structlog.get_logger("tiergate.lease")


class LeaseLost(OSError):
    """Another replica holds the lease that was needed."""


class Lease(Protocol):
    """A lease as its store knows it."""

    def renew(self) -> bool:
        """Take the lease, or hold it for longer. Return whether this process holds it. Raises `OSError`."""
        ...

    def release(self) -> None:
        """Leave the lease to others at once. Raises `OSError`."""
        ...


class FileLease:
    """A lease among processes of one machine: a lock of a file, which ends with the process that holds it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._held: TextIO | None = None

    def renew(self) -> bool:
        if self._held is None:
            opened = open_lock(self._path)
            try:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                opened.close()
                return False
            self._held = opened
        return True

    def release(self) -> None:
        if self._held is not None:
            self._held.close()
            self._held = None


class KeptLease:
    """A lease that is asked for, and renewed, for as long as a layer runs."""

    def __init__(self, lease: Lease, clock: Callable[[], float] = monotonic, *, name: str = "lease") -> None:
        """`clock` returns seconds, and never goes back. `name` says what the lease is of."""
        self.name = name
        self._lease = lease
        self._clock = clock
        self._until = float("-inf")
        self._answered = asyncio.Event()
        self.away = ""
        """Why nobody knows who holds it; empty when that is known."""

    @property
    def is_held(self) -> bool:
        """Return whether this process holds the lease, as far as it knows: no other one does before it has ended."""
        return self._until > self._clock()

    async def keep(self) -> None:
        """Renew the lease again and again. It is released at the end."""
        try:
            while True:
                await self.renew()
                await rest(RENEW_EVERY)
        finally:
            await self._release()

    async def renew(self) -> None:
        """Renew the lease once, or try to get it. When its store is away it ends by itself."""
        asked_at = self._clock()
        try:
            held = await asyncio.to_thread(self._lease.renew)
        except OSError as error:
            if not self.away:
                log.warning("a lease cannot be renewed", reason=str(error))
            self.away = type(error).__name__
        else:
            self._until, self.away = asked_at + SECONDS if held else float("-inf"), ""
        self._answered.set()
        self._answered = asyncio.Event()

    async def answer(self) -> None:
        """Wait until it was asked for the next time."""
        await self._answered.wait()

    async def _release(self) -> None:
        if self.is_held:
            self._until = float("-inf")
            try:
                await asyncio.shield(asyncio.to_thread(self._lease.release))
            except OSError as error:
                log.warning("a lease cannot be released, and ends by itself", reason=str(error))
