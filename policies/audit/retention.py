"""Removal of audit records after the days that the catalogue gives their kind; the chain of seals stays whole.

Records that are removed leave a gap that names their numbers and the seals on both sides. The gap is sealed itself, so
that nobody can remove more than was due and call it retention.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import structlog

from canonical.ids import Clock
from policies.audit.log import (
    UNREADABLE,
    AuditLog,
    LogLine,
    Removed,
    RemovedLogLine,
    decoded,
    ends_of,
    head_of,
    read,
    seal_of,
    sealed,
)
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
            path, key, now = self._audit.path, self._audit.key, self._clock()
            removed = await asyncio.to_thread(remove_due, path, key, self._live_catalogue.current, now)
            if removed:
                log.info("audit records were kept long enough", removed=removed)
            await asyncio.sleep(PACE)


def remove_due(path: Path, key: bytes, catalogue: Catalogue, now: datetime) -> int:
    """Remove the records whose days are over, and return how many there were. Writers wait meanwhile."""
    count = due(path, catalogue, now)
    if not count:
        return 0
    draft = path.with_suffix(".draft")
    head = os.open(head_of(path), os.O_RDWR)
    fcntl.flock(head, fcntl.LOCK_EX)
    try:
        with draft.open("wb") as file:
            draft.chmod(0o600)
            for each in _remaining(path, catalogue, now):
                if isinstance(each, bytes):
                    file.write(each + b"\n")
                else:
                    record = msgspec.json.encode(each)
                    file.write(sealed(record, seal_of(key, record)))
        draft.replace(path)
    finally:
        fcntl.flock(head, fcntl.LOCK_UN)
        os.close(head)
    return count


def due(path: Path, catalogue: Catalogue, now: datetime) -> int:
    """Return how many records are due for removal at `now`."""
    lines = (_removable(raw, catalogue, now) for raw in read(path)) if path.exists() else ()
    return sum(isinstance(line, LogLine) for line in lines)


def _removable(raw: bytes, catalogue: Catalogue, now: datetime) -> LogLine | RemovedLogLine | None:
    """Return the line if it is a gap, or a record that is due; else None.

    A line that is neither a record nor a gap stays for `verify` to find.
    """
    try:
        line = decoded(raw)
    except UNREADABLE:
        return None
    if isinstance(line, LogLine) and now - line.at <= timedelta(days=catalogue.audit_days_of(line.operation)):
        return None
    return line


def _remaining(path: Path, catalogue: Catalogue, now: datetime) -> Iterator[bytes | Removed]:
    """Yield the lines that stay, as they are, and a gap for each run of records that go. Adjacent gaps become one."""
    gap: Removed | None = None
    for raw in read(path):
        line = _removable(raw, catalogue, now)
        if line is not None:
            gap = _joined(gap, line, now)
            continue
        if gap is not None:
            yield gap
            gap = None
        yield raw
    if gap is not None:
        yield gap


def _joined(gap: Removed | None, line: LogLine | RemovedLogLine, now: datetime) -> Removed:
    last, seal, first = ends_of(line)
    if gap is None:
        at = line.removed_at if isinstance(line, RemovedLogLine) else now
        return Removed(first, last, at, line.previous, seal)
    return Removed(gap.removed_from, last, now, gap.previous, seal)
