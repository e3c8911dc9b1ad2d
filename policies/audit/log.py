"""An append-only record of every write: who did what to which object, with what result.

A record names the client, the person on whose behalf it acted, and the API's version. It carries the seal of the record
before it, so that a changed, missing or moved record is found. Records whose retention is over leave a sealed gap
(`policies/audit/retention.py`).
"""

from __future__ import annotations

import contextlib
import fcntl
import hmac
import os
import secrets
from collections.abc import Iterator
from datetime import datetime
from heapq import merge
from pathlib import Path

import msgspec

from policies.store.files import read_or_create

FIRST = "0" * 64
"""The previous seal that the first record names."""
SEAL = b',"seal":"'
HEAD = 20 + 1 + 64 + 1
"""Bytes of the head: a record's number, a space, its seal, a line end."""
TAIL = 64 * 1024
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError)


class AuditEntry(msgspec.Struct, frozen=True):
    """What happened. Never a body, a token or a query string: those may hold secrets and personal fields."""

    at: datetime
    layer: str
    operation: str
    version: str
    client: str
    on_behalf_of: str
    object: str
    status: int
    correlation_id: str


class _Record(AuditEntry, frozen=True):
    """A line without its seal. `number` counts from 1 without a gap, `previous` is the seal before."""

    number: int
    previous: str


class LogLine(_Record, frozen=True):
    """A record as it is in a log."""

    seal: str


class Removed(msgspec.Struct, frozen=True):
    """A gap, in place of records whose retention is over: their numbers, and the seals on both sides."""

    removed_from: int
    removed_to: int
    removed_at: datetime
    previous: str
    last: str


class RemovedLogLine(Removed, frozen=True):
    """A gap as it is in a log."""

    seal: str


class Broken(msgspec.Struct, frozen=True):
    """A line (counted from 1) at which a log is not what was written, and the reason."""

    line: int
    reason: str


def sealing_key(path: Path) -> bytes:
    """Return the key of the seals (32 bytes), after creating it on first use."""
    return read_or_create(path, lambda: secrets.token_bytes(32))


class AuditLog:
    """Append to one file, which several processes may share.

    A second file beside it holds the number and seal of the last record, so that an end that was cut off is found.
    """

    def __init__(self, path: Path, key: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._file = _opened(path)
        self._head = os.open(head_of(path), os.O_RDWR | os.O_CREAT, 0o600)
        self.key = key
        self._end = -1
        self._number = 0
        self._seal = FIRST

    def write(self, entry: AuditEntry) -> None:
        fcntl.flock(self._head, fcntl.LOCK_EX)
        try:
            found = os.fstat(self._file)
            if not found.st_nlink:  # old records were removed, and the file is another one now
                os.close(self._file)
                self._file = _opened(self.path)
                self._catch_up()
            elif found.st_size != self._end:
                self._catch_up()
            values = {name: getattr(entry, name) for name in AuditEntry.__struct_fields__}
            record = msgspec.json.encode(_Record(**values, number=self._number + 1, previous=self._seal))
            self._seal = seal_of(self.key, record)
            self._number += 1
            os.write(self._file, sealed(record, self._seal))
            os.pwrite(self._head, f"{self._number:020} {self._seal}\n".encode(), 0)
            self._end = os.fstat(self._file).st_size
        finally:
            fcntl.flock(self._head, fcntl.LOCK_UN)

    def close(self) -> None:
        os.close(self._file)
        os.close(self._head)

    def _catch_up(self) -> None:
        """Continue from the last record, since another process has written or this one has just begun.

        A record that a crash cut off stays as it is, on a line of its own, for `verify` to find.
        """
        size = os.fstat(self._file).st_size
        tail = os.pread(self._file, TAIL, max(0, size - TAIL))
        if tail and not tail.endswith(b"\n"):
            os.write(self._file, b"\n")
        for raw in reversed(tail.splitlines()):
            with contextlib.suppress(*UNREADABLE):
                self._number, self._seal, _ = ends_of(decoded(raw))
                return


def decoded(raw: bytes) -> LogLine | RemovedLogLine:
    """Return a line of a log. Raises one of `UNREADABLE` for a line that is neither a record nor a gap."""
    kind = RemovedLogLine if raw.startswith(b'{"removed_from"') else LogLine
    return msgspec.json.decode(raw, type=kind)


def ends_of(line: LogLine | RemovedLogLine) -> tuple[int, str, int]:
    """Return (the last number, the last seal, the first number) of a line."""
    if isinstance(line, RemovedLogLine):
        return line.removed_to, line.last, line.removed_from
    return line.number, line.seal, line.number


def sealed(record: bytes, seal: str) -> bytes:
    """Return the line of a record, with its line end."""
    return record[:-1] + SEAL + seal.encode() + b'"}\n'


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)


def head_of(path: Path) -> Path:
    return path.with_suffix(".head")


def read(path: Path) -> Iterator[bytes]:
    """Yield the records of a log as JSON lines, oldest first, without their line ends."""
    with path.open("rb") as file:
        for line in file:
            yield line.rstrip(b"\n")


def export(paths: list[Path], since: datetime | None, until: datetime | None, client: str | None) -> Iterator[bytes]:
    """Yield the records of several logs ordered by time; `since` and `until` (exclusive) are in UTC, without a zone."""

    def wanted(path: Path) -> Iterator[tuple[datetime, bytes]]:
        for raw in read(path):
            try:
                entry = decoded(raw)
            except UNREADABLE:
                continue  # it is not a record, which `verify` reports
            if isinstance(entry, RemovedLogLine):
                continue
            at = entry.at.replace(tzinfo=None)
            if (since is None or at >= since) and (until is None or at < until) and client in (None, entry.client):
                yield entry.at, raw

    for _, raw in merge(*(wanted(path) for path in paths if path.exists())):
        yield raw


def verify(path: Path, key: bytes) -> tuple[int, list[Broken]]:
    """Return the number of the last record, and every line that is not what was written."""
    found: list[Broken] = []
    number, seal, at_head = 0, FIRST, ""
    head_number, head_seal = _read_head(head_of(path))
    for line_number, raw in enumerate(read(path), 1):
        record, mark, rest = raw.rpartition(SEAL)
        try:
            line = decoded(raw)
        except UNREADABLE:
            found.append(Broken(line_number, "it is not a record"))
            continue
        last, last_seal, first = ends_of(line)
        if not mark or not hmac.compare_digest(seal_of(key, record + b"}").encode(), rest.removesuffix(b'"}')):
            found.append(Broken(line_number, f"record {last} was changed"))
        elif first != number + 1:
            reason = f"record {first} follows record {number}: others are missing, or it was moved"
            found.append(Broken(line_number, reason))
        elif line.previous != seal:
            found.append(Broken(line_number, f"record {first} does not follow the one before it"))
        number, seal = last, last_seal
        if number == head_number:
            at_head = seal
    if number < head_number:
        found.append(Broken(number, f"the records {number + 1} to {head_number} are missing at the end"))
    elif at_head != head_seal and head_number:
        found.append(Broken(head_number, "the last record is not the one that was written last"))
    return number, found


def seal_of(key: bytes, record: bytes) -> str:
    """Return the seal of a record or a gap: its HMAC-SHA256 in hex, which proves it to a holder of the key."""
    return hmac.digest(key, record, "sha256").hex()


def _read_head(path: Path) -> tuple[int, str]:
    raw = path.read_bytes() if path.exists() else b""
    if len(raw) != HEAD:
        return 0, FIRST
    number, _, seal = raw.decode().strip().partition(" ")
    return int(number), seal
