"""Canonical identifiers: a prefix that names the entity, and a UUID in hex.

It is a UUIDv7 (RFC 9562, section 5.7); for what a record of a platform becomes, a UUIDv5 (section 5.5) of that record.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec
from uuid_utils import UUID, uuid5, uuid7

Prefix = Literal[
    "cus",
    "ord",
    "lin",
    "con",
    "amd",
    "mas",
    "dea",
    "inv",
    "pay",
    "cas",
    "evt",
    "crc",
    "aud",
    "cor",
    "act",
    "syn",
    "drf",
    "rnw",
    "dun",
    "mrg",
    "whk",
    "dlv",
    "ucr",
    "usg",
]
KEY = r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,119}\Z"
"""`\\Z` and not `$`, which takes a line end after the id. The contracts say `$`, which in ECMA-262 is `\\Z`."""
Key = Annotated[str, msgspec.Meta(pattern=KEY)]
"""A record's id, ours or a platform's: at most 120 characters, all of them safe in a path, a query or a header."""
Instant = Annotated[datetime, msgspec.Meta(tz=True)]
"""A moment with its UTC offset: never a time of an unknown zone."""
Clock = Callable[[], datetime]
NewId = Callable[[Prefix], str]
NAMESPACE = UUID("6f1b1c52-7a0f-5d0e-9b1e-2f6c3a9d4e80")
"""What our UUIDv5 are made in. Another one would make other ids of the same records: it stays."""


def is_identifier(text: str, prefix: Prefix) -> bool:
    """Return whether a text that a platform holds is an id of ours. Some platforms' own begin with the same letters."""
    return re.fullmatch(rf"{prefix}_[0-9a-f]{{32}}", text) is not None


def utc_now() -> datetime:
    """Return the wall-clock time in UTC. All other code is passed a `Clock` and never reads it by itself."""
    return datetime.now(UTC)


def identifiers(uuids: Callable[[], UUID] = uuid7) -> NewId:
    """Return a source of identifiers such as `ord_019abc…`, one for each of `uuids`.

    By default they sort by the time they were made, and threads may share the source. A run that is to be repeated
    passes UUIDs of its own.
    """
    return lambda prefix: f"{prefix}_{uuids().hex}"


def derived(prefix: Prefix, *names: str) -> str:
    """Return the identifier of what a record becomes that others know by `names`, the same one ever after.

    Who has lost what was kept of it, as after a restore of an older backup, gives it the same identifier again, and
    finds what was created under it on the platforms.
    """
    return f"{prefix}_{uuid5(NAMESPACE, chr(0).join((prefix, *names))).hex}"
