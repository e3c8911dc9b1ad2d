"""What can be said of an audit log afterwards: whether it is as it was written, and what was done when."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime
from heapq import merge
from pathlib import Path

import msgspec

from policies.audit.files import Head, LogFiles, Snapshot, snapshot
from policies.audit.records import FIRST, UNREADABLE, RemovedLogLine, decoded, ends_of, is_sealed

FORGED = "the head was not signed with this key: whether records are missing at the end cannot be said"
NO_HEAD = "there is no head: whether records are missing at the end cannot be said"


class Broken(msgspec.Struct, frozen=True):
    """A line (counted from 1; 0 for none) at which a log is not what was written, and the reason."""

    path: Path
    line: int
    reason: str


def verify(files: LogFiles, key: bytes) -> tuple[int, list[Broken]]:
    """Return the number of the last record, and all that is not as it was written."""
    found: list[Broken] = []
    number, seal, at_head = 0, FIRST, FIRST
    with snapshot(files) as taken:
        head = _head_of(files, taken, key, found)
        for path, line_number, raw in taken.lines():
            try:
                line = decoded(raw)
            except UNREADABLE:
                found.append(Broken(path, line_number, "it is not a record"))
                continue
            last, last_seal, first = ends_of(line)
            if not is_sealed(raw, key):
                found.append(Broken(path, line_number, f"record {last} was changed"))
            elif first > number + 1:
                found.append(Broken(path, line_number, f"{_missing(number + 1, first - 1)} before it"))
            elif first <= number:
                reason = f"record {first} follows record {number}: it was moved, or is there twice"
                found.append(Broken(path, line_number, reason))
            elif line.previous != seal:
                found.append(Broken(path, line_number, f"record {first} does not follow the one before it"))
            number, seal = last, last_seal
            if number == head.number:
                at_head = seal
        if number < head.number:
            found.append(Broken(files.log, 0, f"{_missing(number + 1, head.number)} at the end"))
        elif at_head != head.seal:
            found.append(Broken(files.log, 0, f"record {head.number} is not the one that was written last"))
    return number, found


def _head_of(files: LogFiles, taken: Snapshot, key: bytes, found: list[Broken]) -> Head:
    head = files.read_head(taken.head, key)
    if head is None and not taken.head:
        head = files.read_former_head()  # the log of an earlier version, which none of this one has opened
    if head is None:
        found.append(Broken(files.head, 0, FORGED if taken.head else NO_HEAD))
    return head or Head()


def _missing(first: int, last: int) -> str:
    return f"record {first} is missing" if first == last else f"the records {first} to {last} are missing"


def export(logs: list[LogFiles], since: datetime | None, until: datetime | None, client: str | None) -> Iterator[bytes]:
    """Yield the records of several logs ordered by time; `since` and `until` (exclusive) are in UTC, without a zone."""

    def wanted(taken: Snapshot) -> Iterator[tuple[datetime, bytes]]:
        for _, _, raw in taken.lines():
            try:
                entry = decoded(raw)
            except UNREADABLE:
                continue  # it is not a record, which `verify` reports
            if isinstance(entry, RemovedLogLine):
                continue
            at = entry.at.replace(tzinfo=None)
            if (since is None or at >= since) and (until is None or at < until) and client in (None, entry.client):
                yield entry.at, raw

    with ExitStack() as stack:
        taken = [stack.enter_context(snapshot(each)) for each in logs]
        for _, raw in merge(*map(wanted, taken)):
            yield raw
