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
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import structlog

from canonical.ids import Clock
from policies.audit.files import LogFiles, snapshot
from policies.audit.log import AuditLog
from policies.audit.records import UNREADABLE, LogLine, Removed, RemovedLogLine, decoded, ends_of, is_sealed, sealed
from policies.catalogue.live import LiveCatalogue
from policies.catalogue.model import Catalogue

PACE = 6 * 3600.0
"""Seconds between two checks of what is due."""
log = structlog.get_logger("tiergate.retention")


class Retention:
    """Remove the records from one layer's log whose retention is over."""

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
            await asyncio.sleep(PACE)


def remove_due(audit: AuditLog, catalogue: Catalogue, now: datetime) -> int:
    """Remove the records whose days are over, and return how many there were.

    Those of the open file stay until its day is over. Raises `OSError` when a file cannot be written.
    """
    audit.close_day(now.date().isoformat())
    with _alone(audit.files.log.parent):
        return sum(_remove_from(path, audit.key, catalogue, now) for path in audit.files.closed())


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
    if not count:
        return 0
    draft = path.with_suffix(".draft")
    try:
        with draft.open("wb") as file:
            draft.chmod(0o600)
            for each in _remaining(path, key, catalogue, now):
                file.write(each + b"\n" if isinstance(each, bytes) else sealed(msgspec.json.encode(each), key)[0])
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return count


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


def _follows(gap: Removed, line: LogLine | RemovedLogLine) -> bool:
    _, _, first = ends_of(line)
    return first == gap.removed_to + 1 and line.previous == gap.last


def _joined(gap: Removed | None, line: LogLine | RemovedLogLine, now: datetime) -> Removed:
    last, seal, first = ends_of(line)
    if gap is None:
        at = line.removed_at if isinstance(line, RemovedLogLine) else now
        return Removed(first, last, at, line.previous, seal)
    return Removed(gap.removed_from, last, now, gap.previous, seal)
