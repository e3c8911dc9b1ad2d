"""The catalogue as it is now: a changed file is taken up within a second, a wrong one is refused and said."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import structlog

from policies.background import rest
from policies.catalogue.check import load_with_text
from policies.catalogue.locate import located
from policies.catalogue.model import SHIPPED, Catalogue, CatalogueError, Report

PACE = 0.25
"""Seconds between two looks at the file."""
GONE = (0, 0, 0)
Requirement = Callable[[Catalogue], Iterable[Report]]
"""Reports what a catalogue lacks for what runs under it."""
log = structlog.get_logger("tiergate.catalogue")

_governing: ContextVar[Catalogue | None] = ContextVar("governing", default=None)
"""The catalogue of the request that is being handled."""
FAULTS_OF_A_CHECK = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What a check raises that did not expect what it found: a fault of ours, whatever stands in the file."""


class Reading(NamedTuple):
    """A catalogue, and the text that it was read from."""

    catalogue: Catalogue
    text: str


@contextmanager
def governed_by(catalogue: Catalogue) -> Generator[None]:
    """Let one catalogue govern all that is done in the block, whatever takes over meanwhile."""
    token = _governing.set(catalogue)
    try:
        yield
    finally:
        _governing.reset(token)


class LiveCatalogue:
    """Holds the catalogue that governs."""

    def __init__(self, path: Path = SHIPPED) -> None:
        """Raise `CatalogueError` for a file that cannot govern: a layer does not start with one."""
        self._path = path
        self._stamp = _stamp(path)
        self._required: list[Requirement] = []
        self._watchers: list[Callable[[Catalogue], None]] = []
        self.latest = Reading(*load_with_text(self._path))
        """What governs whatever begins now."""
        self.refused: str = ""
        """Why the file as it is now does not govern; empty when it does."""

    @property
    def current(self) -> Catalogue:
        """Return the catalogue that governs what is being done: the request's, or the latest one outside of any."""
        return _governing.get() or self.latest.catalogue

    def require(self, requirement: Requirement) -> None:
        """Refuse from here on a catalogue of which `requirement` reports something.

        What runs is never left without its rules. Raises `CatalogueError` for the present catalogue.
        """
        self._check(self.latest, [requirement])
        self._required.append(requirement)

    def when_changed(self, changed: Callable[[Catalogue], None]) -> None:
        """Call `changed` with each catalogue that takes over, and with the present one now."""
        self._watchers.append(changed)
        changed(self.latest.catalogue)

    def look(self) -> None:
        """Take up the file if it has changed."""
        if self._has_changed():
            self._take_up()

    async def watch(self) -> None:
        """Look at the file for as long as the layer runs, whatever is wrong with it."""
        while True:
            await rest(PACE)
            try:
                if self._has_changed():
                    await asyncio.to_thread(self._take_up)
            except FAULTS_OF_A_CHECK as error:  # it must not end the watch: no later change would be seen
                log.exception("the changed catalogue cannot be checked")
                self._refuse(f"{self._path.name} cannot be checked: {type(error).__name__}")

    def _has_changed(self) -> bool:
        try:
            stamp = _stamp(self._path)
        except OSError as error:
            self._unreadable(error)
            return False
        changed, self._stamp = stamp != self._stamp, stamp
        return changed

    def _take_up(self) -> None:
        try:
            wanted = Reading(*load_with_text(self._path))
            self._check(wanted, self._required)
        except CatalogueError as error:
            self._refuse(str(error))
            return
        except OSError as error:
            self._unreadable(error)
            return
        self.latest, self.refused = wanted, ""
        for reported in self._watchers:
            reported(wanted.catalogue)
        log.info("the catalogue has changed and governs", file=self._path.name)

    def _check(self, wanted: Reading, required: Iterable[Requirement]) -> None:
        if violations := located(wanted.text, chain.from_iterable(each(wanted.catalogue) for each in required)):
            raise CatalogueError(self._path.name, violations)

    def _unreadable(self, error: OSError) -> None:
        gone = isinstance(error, FileNotFoundError)
        self._refuse(f"{self._path.name} {'is gone' if gone else f'cannot be read: {error.strerror}'}")
        self._stamp = GONE  # so that the same file is taken up again when it is back

    def _refuse(self, reason: str) -> None:
        if self.refused != reason:
            log.error("the changed catalogue is refused, the previous one goes on governing", reason=reason)
        self.refused = reason


def _stamp(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_size, found.st_ino
