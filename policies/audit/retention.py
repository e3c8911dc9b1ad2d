"""Removal of audit records after the days that the catalogue gives their kind; the chain of seals stays whole.

Records that are removed leave a gap that names their numbers and the seals on both sides. The gap is sealed itself, and
stands for nothing that was not sealed and in its place, so that nobody can remove more than was due and call it
retention. Only files of days that are over are written again, so
that no writer waits.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path

import msgspec
import structlog

from canonical.ids import Clock
from policies.audit.files import LogFiles, snapshot
from policies.audit.log import AuditLog
from policies.audit.records import UNREADABLE, LogLine, Removed, RemovedLogLine, decoded, ends_of, is_sealed, sealed
from policies.background import rest
from policies.catalogue.live import LiveCatalogue
from policies.catalogue.model import Catalogue

PACE = 6 * 3600.0
"""Seconds between two checks of what is due."""
log = structlog.get_logger("tiergate.retention")


class Retention:
    """Remove the records from one layer's log whose retention is over."""

    name = "AuditRetention"

    def __init__(self, audit: AuditLog, live_catalogue: LiveCatalogue, clock: Clock) -> None:
        self._audit = audit
        self._live_catalogue = live_catalogue
        self._clock = clock

    async def watch(self) -> None:
        """Remove what is due, again and again for as long as the layer runs."""
        while True:
            catalogue, now = self._live_catalogue.current, self._clock()
            try:
                removed = await asyncio.to_thread(remove_due, self._audit, catalogue, now)
            except OSError as error:
                log.warning("audit records that are due could not be removed", reason=type(error).__name__)
            else:
                if removed:
                    log.info("audit records were kept long enough", removed=removed)
            await rest(PACE)


def remove_due(audit: AuditLog, catalogue: Catalogue, now: datetime) -> int:
    """Remove the records whose days are over, and return how many there were.

    Those of the open file stay until its day is over. Raises `OSError` when a file cannot be written.
    """
    audit.close_day(now.date().isoformat())
    with _alone(audit.files.log.parent):
        removed = sum(_remove_from(path, audit.key, catalogue, now) for path in audit.files.closed())
        _join_days(audit.files.closed(), audit.key, now)
    return removed


def due(files: LogFiles, key: bytes, catalogue: Catalogue, now: datetime) -> int:
    """Return how many records are due for removal at `now`."""
    with snapshot(files) as taken:
        return sum(isinstance(_removable(raw, key, catalogue, now), LogLine) for _, _, raw in taken.lines())


@contextmanager
def _alone(folder: Path) -> Generator[None]:
    """Be the only one that removes records in a folder. Writers do not ask for this lock."""
    held = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


def _remove_from(path: Path, key: bytes, catalogue: Catalogue, now: datetime) -> int:
    count = sum(isinstance(_removable(raw, key, catalogue, now), LogLine) for raw in _lines(path))
    if count:
        _replace(path, key, _remaining(path, key, catalogue, now))
    return count


def _replace(path: Path, key: bytes, lines: Iterable[bytes | Removed]) -> None:
    """Replace a file by lines as they are, and gaps, which are sealed. A reader gets the old file or the new one."""
    draft = path.with_suffix(".draft")
    try:
        with draft.open("wb") as file:
            draft.chmod(0o600)
            for each in lines:
                file.write(each + b"\n" if isinstance(each, bytes) else sealed(msgspec.json.encode(each), key)[0])
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _join_days(closed: list[Path], key: bytes, now: datetime) -> None:
    """Join the files of days of which only a gap is left: the last of them has the gap of all.

    A crash may leave a day with the gap that the next one has already: its file goes the next time.
    """
    before: tuple[Path, Removed] | None = None
    for path in closed:
        gap = _only_gap(path, key)
        if gap is not None and before is not None:
            older, removed = before
            if _follows(removed, gap):
                gap = _joined(removed, gap, now)
                _replace(path, key, [gap])
            if gap.removed_from == removed.removed_from:
                older.unlink()
        before = None if gap is None else (path, gap)


def _only_gap(path: Path, key: bytes) -> RemovedLogLine | Removed | None:
    """Return the gap that is all that a file holds."""
    raw, *more = [*islice(_lines(path), 2), b""]
    if more != [b""] or not is_sealed(raw, key):
        return None
    line = decoded(raw)
    return line if isinstance(line, RemovedLogLine) else None


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        for line in file:
            yield line.rstrip(b"\n")


def _removable(raw: bytes, key: bytes, catalogue: Catalogue, now: datetime) -> LogLine | RemovedLogLine | None:
    """Return the line if it is a gap, or a record that is due; else None.

    A line that is not as it was written stays for `verify` to find.
    """
    try:
        line = decoded(raw)
    except UNREADABLE:
        return None
    if not is_sealed(raw, key):
        return None
    if isinstance(line, LogLine) and now - line.at <= timedelta(days=catalogue.audit_days_of(line.operation)):
        return None
    return line


def _remaining(path: Path, key: bytes, catalogue: Catalogue, now: datetime) -> Iterator[bytes | Removed]:
    """Yield the lines that stay, as they are, and a gap for each run of records that go. Adjacent gaps become one."""
    gap: Removed | None = None
    for raw in _lines(path):
        line = _removable(raw, key, catalogue, now)
        if gap is not None and (line is None or not _follows(gap, line)):
            yield gap
            gap = None
        if line is None:
            yield raw
        else:
            gap = _joined(gap, line, now)
    if gap is not None:
        yield gap


def _follows(gap: Removed, line: LogLine | Removed) -> bool:
    _, _, first = ends_of(line)
    return first == gap.removed_to + 1 and line.previous == gap.last


def _joined(gap: Removed | None, line: LogLine | Removed, now: datetime) -> Removed:
    last, seal, first = ends_of(line)
    if gap is None:
        at = line.removed_at if isinstance(line, Removed) else now
        return Removed(first, last, at, line.previous, seal)
    return Removed(gap.removed_from, last, now, gap.previous, seal)
