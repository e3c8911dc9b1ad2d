"""Canonical identifiers: a prefix that names the entity, and a UUIDv7 (RFC 9562, section 5.7) in hex."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec

Prefix = Literal["cus", "ord", "lin", "con", "inv", "pay", "cas", "evt", "aud", "cor", "act"]
KEY = r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,119}$"
Key = Annotated[str, msgspec.Meta(pattern=KEY)]
"""A record's id, ours or a platform's: bounded, and free of anything that could leave its place in a path, a query or a header."""
Instant = Annotated[datetime, msgspec.Meta(tz=True)]
"""A moment with its offset: never a time of an unknown place."""
LOWER = (1 << 62) - 1
Clock = Callable[[], datetime]
Randomness = Callable[[int], int]
"""Given a number of bits, a random integer of at most that many (as `random.getrandbits`)."""
NewId = Callable[[Prefix], str]


def utc_now() -> datetime:
    """The wall clock, in UTC. The only one; everything else is handed a `Clock`."""
    return datetime.now(UTC)


def identifiers(clock: Clock, randomness: Randomness) -> NewId:
    """A source of identifiers, as `ord_019abc…`, that sort by the time they were made."""

    def new_id(prefix: Prefix) -> str:
        milliseconds = int(clock().timestamp() * 1000)
        random = randomness(74)
        value = milliseconds << 80 | 0x7 << 76 | random >> 62 << 64 | 0b10 << 62 | random & LOWER
        return f"{prefix}_{value:032x}"

    return new_id
