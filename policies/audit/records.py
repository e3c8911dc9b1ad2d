"""The records of the audit log: what a line holds, how it is bounded, and how it is sealed.

A record names the client, the person on whose behalf it acted, and the API's version. It carries the seal of the record
before it, so that a changed, missing or moved record is found. Records whose retention is over leave a sealed gap.
"""

from __future__ import annotations

import hmac
import secrets
from datetime import date, datetime
from pathlib import Path
from typing import Any

import msgspec

from policies.store.files import read_or_create

FIRST = "0" * 64
"""The previous seal that the first record names."""
SEAL = b',"seal":"'
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError)
LONGEST = 256
"""Characters of a field."""
LARGEST = 8 * 1024
"""Bytes of a line, which no field of a caller can make longer."""


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What happened. Never a body, a token or a query string: those may hold secrets and personal fields.

    `times` is how many calls it stands for. It is more than one where refusals of a kind are counted: then no object
    and no correlation id is named.
    """

    at: datetime
    layer: str
    operation: str
    version: str
    client: str
    on_behalf_of: str
    object: str
    status: int
    correlation_id: str
    times: int = 1


class _Record(AuditEntry, frozen=True, kw_only=True, omit_defaults=True):
    """A line without its seal. `number` counts from 1 without a gap, `previous` is the seal before."""

    number: int
    previous: str


class LogLine(_Record, frozen=True, kw_only=True):
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


def sealing_key(path: Path) -> bytes:
    """Return the key of the seals (32 bytes), after creating it on first use."""
    return read_or_create(path, lambda: secrets.token_bytes(32))


def line_of(entry: AuditEntry, number: int, previous: str, key: bytes) -> tuple[bytes, str]:
    """Return (the line of an entry, its seal). What a caller sent is bounded here, so that it decides about nothing."""
    values: dict[str, Any] = {name: getattr(entry, name) for name in AuditEntry.__struct_fields__}
    values |= {name: bounded(value) for name, value in values.items() if isinstance(value, str)}
    return sealed(msgspec.json.encode(_Record(**values, number=number, previous=previous)), key)


def bounded(text: str) -> str:
    """Return a text as it is recorded: what is not printable is escaped as in Python, the end of a long one is cut."""
    if len(text) <= LONGEST and text.isascii() and text.isprintable() and "\\" not in text:
        return text
    shown = "".join(_escaped(each) for each in text[:LONGEST])
    return shown if len(shown) <= LONGEST and len(text) <= LONGEST else f"{shown[:LONGEST]}… of {len(text)} characters"


def _escaped(character: str) -> str:
    plain = character.isprintable() and character != "\\"
    return character if plain else character.encode("unicode_escape").decode("ascii")


def seal_of(key: bytes, record: bytes) -> str:
    """Return the seal of a record or a gap: its HMAC-SHA256 in hex, which proves it to a holder of the key."""
    return hmac.digest(key, record, "sha256").hex()


def sealed(record: bytes, key: bytes) -> tuple[bytes, str]:
    """Return (the line of a record with its line end, its seal)."""
    seal = seal_of(key, record)
    return record[:-1] + SEAL + seal.encode() + b'"}\n', seal


def is_sealed(raw: bytes, key: bytes) -> bool:
    """Return whether a line (without its line end) was written by a holder of the key."""
    record, mark, rest = raw.rpartition(SEAL)
    return bool(mark) and hmac.compare_digest(seal_of(key, record + b"}").encode(), rest.removesuffix(b'"}'))


def decoded(raw: bytes) -> LogLine | RemovedLogLine:
    """Return a line of a log. Raises one of `UNREADABLE` for a line that is neither a record nor a gap."""
    kind = RemovedLogLine if raw.startswith(b'{"removed_from"') else LogLine
    return msgspec.json.decode(raw, type=kind)


def ends_of(line: LogLine | Removed) -> tuple[int, str, int]:
    """Return (the last number, the last seal, the first number) of a line."""
    if isinstance(line, Removed):
        return line.removed_to, line.last, line.removed_from
    return line.number, line.seal, line.number


def day_of(line: LogLine | RemovedLogLine) -> date:
    """Return the day (UTC) on which a line was written."""
    return (line.removed_at if isinstance(line, RemovedLogLine) else line.at).date()
