"""How far a change feed was read, so that who reads it next goes on from there."""

from __future__ import annotations

import asyncio

from canonical.faults import Conflict, Unavailable
from policies.store.documents import Document
from policies.store.leases import LeaseLost

PLATFORM = "tiergate"
"""What the faults are of: nothing of the platform's own."""


class FeedPosition:
    """One position, replaced as a whole."""

    def __init__(self, document: Document) -> None:
        self._document = document

    async def read(self, default: str) -> str:
        """Return the position, or `default` when there is none. Raises `Unavailable`."""
        try:
            found = await asyncio.to_thread(self._document.read)
        except OSError as error:
            raise Unavailable(PLATFORM, f"how far it was read cannot be read: {error}") from error
        return found.decode() or default

    async def write(self, position: str) -> None:
        """Replace the position. Raises `Unavailable`, and `Conflict` when another replica reads the feed now."""
        try:
            await asyncio.to_thread(self._document.change, lambda _: position.encode())
        except LeaseLost as error:
            raise Conflict(PLATFORM, "another replica reads the feed now") from error
        except OSError as error:
            raise Unavailable(PLATFORM, f"how far it was read cannot be written: {error}") from error
