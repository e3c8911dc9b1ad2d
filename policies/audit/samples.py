"""Samples of what may come too often: the first few of a kind in a window are taken whole, the rest is counted."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Generic, TypeVar

import msgspec

K = TypeVar("K")
FEW = 5
"""How many of a kind are taken whole in a window."""
WINDOW = timedelta(minutes=1)


class _Window(msgspec.Struct):
    """When the first of a kind came, and how many came since."""

    since: datetime
    seen: int = 0
    counted: int = 0


class Samples(Generic[K]):
    """Say of each one whether it is taken whole. The caller sees to it that there are not many kinds."""

    def __init__(self) -> None:
        self._windows: dict[K, _Window] = {}

    def take(self, kind: K, now: datetime, few: int = FEW) -> bool:
        """Return whether to take one of a kind whole: it is counted if not."""
        window = self._windows.setdefault(kind, _Window(now))
        window.seen += 1
        whole = window.seen <= few
        window.counted += not whole
        return whole

    def ended(self, now: datetime | None = None) -> Iterator[tuple[K, int]]:
        """Yield (kind, how many were counted) of the windows that are over, which begin again; without `now` of all."""
        for kind, window in list(self._windows.items()):
            if now is None or now - window.since >= WINDOW:
                del self._windows[kind]
                if window.counted:
                    yield kind, window.counted
