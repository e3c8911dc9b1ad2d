"""What can be said of an audit log afterwards: whether it is as it was written, and what was done when."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from heapq import merge
from pathlib import Path

import msgspec

from policies.audit.files import Head, LogFiles, Snapshot, snapshot
from policies.audit.records import FIRST, UNREADABLE, LogLine, Removed, RemovedLogLine, decoded, ends_of, is_sealed

FORGED = "the head was not signed with this key: whether records are missing at the end cannot be said"
NO_HEAD = "there is no head: whether records are missing at the end cannot be said"
START = Removed(1, 0, datetime.min.replace(tzinfo=UTC), FIRST, FIRST)
"""What the first record follows: a gap of nothing."""


class Broken(msgspec.Struct, frozen=True):
    """A line (counted from 1; 0 for none) at which a log is not what was written, and the reason."""

    path: Path
    line: int
    reason: str


def verify(files: LogFiles, key: bytes) -> tuple[int, list[Broken]]:
    """Return the number of the last record, and all that is not as it was written."""
    found: list[Broken] = []
    before, at_head = START, FIRST
    with snapshot(files) as taken:
        head = _head_of(files, taken, key, found)
        for path, line_number, raw in taken.lines():
            try:
                line = decoded(raw)
            except UNREADABLE:
                found.append(Broken(path, line_number, "it is not a record"))
                continue
            if reason := _flaw(line, before) if is_sealed(raw, key) else f"record {ends_of(line)[0]} was changed":
                found.append(Broken(path, line_number, reason))
            before = line
            number, seal, _ = ends_of(line)
            if number == head.number:
                at_head = seal
    number, _, _ = ends_of(before)
    if number < head.number:
        found.append(Broken(files.log, 0, f"{_missing(number + 1, head.number)} at the end"))
    elif at_head != head.seal:
        found.append(Broken(files.log, 0, f"record {head.number} is not the one that was written last"))
    return number, found


def _flaw(line: LogLine | Removed, before: LogLine | Removed) -> str:
    """Return what is wrong with the place of a line after the one before it; empty when it is in its place."""
    number, seal, begun = ends_of(before)
    _, _, first = ends_of(line)
    if first > number + 1:
        return f"{_missing(number + 1, first - 1)} before it"
    if first <= number:
        joined = isinstance(line, Removed) and isinstance(before, Removed) and first == begun
        if joined and line.previous == before.previous:
            return ""  # days of which nothing is left are being joined, and the first of them is still there
        return f"record {first} follows record {number}: it was moved, or is there twice"
    return "" if line.previous == seal else f"record {first} does not follow the one before it"


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
