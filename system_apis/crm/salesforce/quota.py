"""The org's API requests of a day: how many are left, and what that means for the pace of the change feed."""

from __future__ import annotations

import re
from math import inf

USAGE = re.compile(rb"api-usage=(\d{1,12})/(\d{1,12})")
"""The header `Sforce-Limit-Info` (REST API: Limit Info Header)."""
SCARCE = 0.2
"""The part of the day's requests below which the feed slows down, the more the fewer are left."""
RESERVE = 0.05
"""The part that is kept for orders and what they show in the CRM."""
RESERVE_PAUSE = 900.0
"""Seconds between two looks while the reserve is kept."""


class Quota:
    """What the org said last."""

    def __init__(self) -> None:
        self._used = 0
        self._limit = 0

    def note(self, header: bytes) -> None:
        """Keep what an answer says of it."""
        if found := USAGE.search(header):
            self._used, self._limit = int(found[1]), int(found[2])

    @property
    def left(self) -> float:
        """Return the part of the day's requests that is left; without bound as long as nothing was said."""
        return max(self._limit - self._used, 0) / self._limit if self._limit else inf

    def pause(self, usual: float) -> float:
        """Return the seconds until the next look at the feed, which are `usual` when there is no need to save."""
        if self.left < RESERVE:
            return max(usual, RESERVE_PAUSE)
        return usual * SCARCE / self.left if self.left < SCARCE else usual

    def in_words(self, usual: float) -> str:
        """Return what people should know: nothing as long as there is no need to save."""
        if self.left >= SCARCE:
            return ""
        left = f"{self._limit - self._used} of {self._limit} API requests of the day are left"
        return f"{left}, so the next look is after {self.pause(usual):.0f} s"
