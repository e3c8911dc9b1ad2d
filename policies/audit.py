"""An append-only record of every write: who did what to which object, on whose behalf, under which version, with what
result. Each record carries the seal of the one before it, so that what is changed, missing or moved is found.
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

from policies.kept import kept

FIRST = "0" * 64
"""What the first record names as the seal before it."""
SEAL = b',"seal":"'
HEAD = 20 + 1 + 64 + 1
"""Bytes of the head: a record's number, a blank, its seal, a line end."""
TAIL = 64 * 1024
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError)


class Entry(msgspec.Struct, frozen=True):
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


class _Record(Entry, frozen=True):
    """A line without its seal. `number` counts from 1 without a gap, `previous` is the seal before."""

    number: int
    previous: str


class _Line(_Record, frozen=True):
    seal: str


class Broken(msgspec.Struct, frozen=True):
    """Where a log is not what was written (`line` counts from 1), and how."""

    line: int
    reason: str


def sealing_key(path: Path) -> bytes:
    """The key of the seals, made on first use."""
    return kept(path, lambda: secrets.token_bytes(32))


class AuditLog:
    """Appends to one file, which several processes may share. A second file beside it holds the number and seal of the
    last record, so that an end that was cut off is missed.
    """

    def __init__(self, path: Path, key: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        self._head = os.open(head_of(path), os.O_RDWR | os.O_CREAT, 0o600)
        self._key = key
        self._end = -1
        self._number = 0
        self._seal = FIRST

    def write(self, entry: Entry) -> None:
        fcntl.flock(self._head, fcntl.LOCK_EX)
        try:
            if os.fstat(self._file).st_size != self._end:
                self._catch_up()
            values = {name: getattr(entry, name) for name in Entry.__struct_fields__}
            record = msgspec.json.encode(_Record(**values, number=self._number + 1, previous=self._seal))
            self._seal = _seal(self._key, record)
            self._number += 1
            os.write(self._file, record[:-1] + SEAL + self._seal.encode() + b'"}\n')
            os.pwrite(self._head, f"{self._number:020} {self._seal}\n".encode(), 0)
            self._end = os.fstat(self._file).st_size
        finally:
            fcntl.flock(self._head, fcntl.LOCK_UN)

    def close(self) -> None:
        os.close(self._file)
        os.close(self._head)

    def _catch_up(self) -> None:
        """Another process has written, or this one has just begun: go on from the last record. One that a crash cut
        off stays as it is, on a line of its own, for `verify` to find.
        """
        size = os.fstat(self._file).st_size
        tail = os.pread(self._file, TAIL, max(0, size - TAIL))
        if tail and not tail.endswith(b"\n"):
            os.write(self._file, b"\n")
        for raw in reversed(tail.splitlines()):
            with contextlib.suppress(*UNREADABLE):
                line = msgspec.json.decode(raw, type=_Line)
                self._number, self._seal = line.number, line.seal
                return


def head_of(path: Path) -> Path:
    return path.with_suffix(".head")


def read(path: Path) -> Iterator[bytes]:
    """The records of a log as JSON lines, oldest first, without their line ends."""
    with path.open("rb") as file:
        for line in file:
            yield line.rstrip(b"\n")


def export(paths: list[Path], since: datetime | None, until: datetime | None, client: str | None) -> Iterator[bytes]:
    """The records of several logs in the order of their time; `since` and `until` (exclusive) are in UTC."""

    def wanted(path: Path) -> Iterator[tuple[datetime, bytes]]:
        for raw in read(path):
            try:
                entry = msgspec.json.decode(raw, type=_Line)
            except UNREADABLE:
                continue  # it is not a record: that is for `verify` to say
            at = entry.at.replace(tzinfo=None)
            if (since is None or at >= since) and (until is None or at < until) and client in (None, entry.client):
                yield entry.at, raw

    for _, raw in merge(*(wanted(path) for path in paths if path.exists())):
        yield raw


def verify(path: Path, key: bytes) -> tuple[int, list[Broken]]:
    """How many records a log has, and every place where it is not what was written."""
    found: list[Broken] = []
    number, seal, sealed = 0, FIRST, ""
    head_number, head_seal = _read_head(head_of(path))
    for place, raw in enumerate(read(path), 1):
        record, mark, rest = raw.rpartition(SEAL)
        try:
            line = msgspec.json.decode(raw, type=_Line)
        except UNREADABLE:
            found.append(Broken(place, "it is not a record"))
            continue
        if not mark or not hmac.compare_digest(_seal(key, record + b"}").encode(), rest.removesuffix(b'"}')):
            found.append(Broken(place, f"record {line.number} was changed"))
        elif line.number != number + 1:
            found.append(
                Broken(place, f"record {line.number} follows record {number}: others are missing, or it was moved")
            )
        elif line.previous != seal:
            found.append(Broken(place, f"record {line.number} does not follow the one before it"))
        number, seal = line.number, line.seal
        if number == head_number:
            sealed = seal
    if number < head_number:
        found.append(Broken(number, f"the records {number + 1} to {head_number} are missing at the end"))
    elif sealed != head_seal and head_number:
        found.append(Broken(head_number, "the last record is not the one that was written last"))
    return number, found


def _seal(key: bytes, record: bytes) -> str:
    return hmac.digest(key, record, "sha256").hex()


def _read_head(path: Path) -> tuple[int, str]:
    raw = path.read_bytes() if path.exists() else b""
    if len(raw) != HEAD:
        return 0, FIRST
    number, _, seal = raw.decode().strip().partition(" ")
    return int(number), seal
