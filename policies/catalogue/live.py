"""The catalogue as it is now: a changed file is taken up within a second, a wrong one is refused and said."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path

import structlog

from policies.catalogue.check import load
from policies.catalogue.model import SHIPPED, Catalogue, CatalogueError, Violation

PACE = 0.25
"""Seconds between two looks at the file."""
GONE = (0, 0, 0)
log = structlog.get_logger("tiergate.catalogue")


class LiveCatalogue:
    """Holds the catalogue that governs. Each request reads `now` once, so that one catalogue governs all of it."""

    def __init__(self, path: Path = SHIPPED) -> None:
        """Raise `CatalogueError` for a file that cannot govern: a layer does not start with one."""
        self._path = path
        self._stamp = _stamp(path)
        self._served: frozenset[str] = frozenset()
        self._connected: frozenset[str] = frozenset()
        self._watchers: list[Callable[[Catalogue], None]] = []
        self.current: Catalogue = load(path)
        self.text: str = path.read_text()
        """The catalogue that governs, as it is written."""
        self.refused: str = ""
        """Why the file as it is now does not govern; empty when it does."""

    def serves(self, operations: Iterable[str] = (), platforms: Iterable[str] = ()) -> None:
        """Refuse from here on a catalogue that lacks one of these: no route and no connector is left without its
        rules."""
        self._served |= frozenset(operations)
        self._connected |= frozenset(platforms)

    def when_changed(self, reported: Callable[[Catalogue], None]) -> None:
        """Call `changed` with each catalogue that takes over, and with the present one now."""
        self._watchers.append(reported)
        reported(self.current)

    def look(self) -> None:
        """Take up the file if it has changed."""
        if self._has_changed():
            self._take_up()

    async def watch(self) -> None:
        """Look at the file for as long as the layer runs."""
        while True:
            await asyncio.sleep(PACE)
            if self._has_changed():
                await asyncio.to_thread(self._take_up)

    def _has_changed(self) -> bool:
        try:
            stamp = _stamp(self._path)
        except FileNotFoundError:
            self._refuse(f"{self._path.name} is gone")
            self._stamp = GONE  # so that the same file is taken up again when it is back
            return False
        changed, self._stamp = stamp != self._stamp, stamp
        return changed

    def _take_up(self) -> None:
        try:
            wanted = load(self._path)
            self._check(wanted)
        except CatalogueError as error:
            self._refuse(str(error))
            return
        self.current, self.text, self.refused = wanted, self._path.read_text(), ""
        for reported in self._watchers:
            reported(wanted)
        log.info("the catalogue has changed and governs", file=self._path.name)

    def _check(self, wanted: Catalogue) -> None:
        known = {each for api in wanted.apis.values() for each in api.operations} | wanted.gateway.operations.keys()
        missing = sorted(self._served - known) + sorted(self._connected - wanted.platforms.keys())
        if missing:
            violations = [
                Violation(1, each, "it is served and has no rules any more", "put it back") for each in missing
            ]
            raise CatalogueError(self._path.name, violations)

    def _refuse(self, reason: str) -> None:
        if self.refused != reason:
            log.error("the changed catalogue is refused, the previous one goes on governing", reason=reason)
        self.refused = reason


def _stamp(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_size, found.st_ino
