"""The lineage of a record: all that happened to it, in every system, in the words of the business."""

from __future__ import annotations

import msgspec

from canonical.ids import Instant


class LineageRecord(msgspec.Struct, frozen=True):
    """A record that the lineage is about, as it is now."""

    kind: str
    """What it is: `order`, `contract`, `amendment`, `renewal`, `correction`, `customer`, `case`, or an entry of the
    books."""
    """What it is: `order`, `contract`, `amendment`, `renewal`, `dunning`, `customer`, `invoice`, `payment`, `case`."""
    id: str
    state: str = ""
    references: dict[str, str] = {}
    """Its ids elsewhere, by what has them."""


class LineageEntry(msgspec.Struct, frozen=True):
    """One thing that happened."""

    at: Instant
    system: str
    """Where: a platform by its name in the catalogue, or `tiergate`."""
    words: str
    records: tuple[str, ...]
    """The ids of the records that it happened to."""
    correlation_id: str = ""


class Lineage(msgspec.Struct, frozen=True):
    """All that happened to a record, the first first."""

    of: str
    """What was asked for."""
    records: tuple[LineageRecord, ...]
    entries: tuple[LineageEntry, ...]
    as_of: Instant | None = None
    """Nothing after this moment is in it; None for all until now."""
    left_out: int = 0
    """Entries that there are besides, when there are too many: the first ones are shown."""
