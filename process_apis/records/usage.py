"""Records of usage: kept once each by the thousand, and summed up where they lie.

What is written is never changed. A record that counts no more is named in a table of its own, so that it does not
matter which of the two came first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import NamedTuple

import sqlalchemy as sa

from canonical.usage import SCALE, Aggregation, Level, weighted
from process_apis.records.database import insert_once, usage_periods, usage_records, usage_sources, usage_voids, writing

MICROSECONDS = 1_000_000
AT_A_TIME = 5_000
"""Rows that are in memory while many are read."""
SQLITE_RECORDS = (
    "INSERT INTO usage_records (source, at, id, quantity, digest) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
)
SQLITE_VOIDS = "INSERT INTO usage_voids (source, id) VALUES (?, ?) ON CONFLICT DO NOTHING"
POSTGRESQL_RECORDS = (
    "INSERT INTO usage_records (source, at, id, quantity, digest)"
    " SELECT * FROM unnest(%s::int[], %s::bigint[], %s::text[], %s::bigint[], %s::text[]) ON CONFLICT DO NOTHING"
)
POSTGRESQL_VOIDS = (
    "INSERT INTO usage_voids (source, id) SELECT * FROM unnest(%s::int[], %s::text[]) ON CONFLICT DO NOTHING"
)
"""One statement for thousands of rows, without an object for each."""
SOURCE: sa.BindParameter[int] = sa.bindparam("source")
SINCE: sa.BindParameter[int] = sa.bindparam("since")
UNTIL: sa.BindParameter[int] = sa.bindparam("until")
VOID = sa.exists().where(usage_voids.c.source == usage_records.c.source, usage_voids.c.id == usage_records.c.id)
OF_SOURCE = sa.and_(usage_records.c.source == SOURCE, ~VOID)
IN_PERIOD = sa.and_(OF_SOURCE, usage_records.c.at >= SINCE, usage_records.c.at < UNTIL)
QUANTITY = usage_records.c.quantity
COUNT = sa.select(sa.func.count()).select_from(usage_records).where(IN_PERIOD)
SUM = sa.select(sa.func.sum(QUANTITY // SCALE), sa.func.sum(QUANTITY % SCALE)).where(IN_PERIOD)
"""In two parts: SQLite adds whole numbers of 64 bits, and a million of the largest go beyond that."""
LARGEST = sa.select(sa.func.max(QUANTITY)).where(IN_PERIOD)
LAST = sa.select(QUANTITY).where(IN_PERIOD).order_by(usage_records.c.at.desc(), usage_records.c.id.desc()).limit(1)
DIFFERENT = sa.select(sa.func.count(sa.distinct(usage_records.c.digest))).where(IN_PERIOD)
LEVELS = (
    sa.select(usage_records.c.at, QUANTITY)
    .where(IN_PERIOD)
    .order_by(usage_records.c.at, usage_records.c.id)
    .execution_options(yield_per=AT_A_TIME)
)
LEVEL_BEFORE = (
    sa.select(usage_records.c.at, QUANTITY)
    .where(OF_SOURCE, usage_records.c.at < SINCE)
    .order_by(usage_records.c.at.desc(), usage_records.c.id.desc())
    .limit(1)
)


UNSETTLED = sa.select(sa.func.min(usage_periods.c.starts_at)).where(
    usage_periods.c.source == SOURCE, usage_periods.c.state.not_in(("handed_over", "by_hand"))
)
WITHIN = sa.select(sa.func.min(usage_periods.c.starts_at)).where(
    usage_periods.c.source == SOURCE, usage_periods.c.ends_at > sa.bindparam("cut")
)
LATEST_BEFORE = sa.select(sa.func.max(usage_records.c.at)).where(OF_SOURCE, usage_records.c.at < SINCE)
OLDEST = (
    sa.select(usage_records.c.at, usage_records.c.id)
    .where(usage_records.c.source == SOURCE, usage_records.c.at < UNTIL)
    .order_by(usage_records.c.at)
    .limit(sa.bindparam("most"))
)
NOT_WHOLE = (
    usage_periods.update()
    .where(usage_periods.c.source == sa.bindparam("of_source"), usage_periods.c.starts_at <= sa.bindparam("last"))
    .values(is_whole=False)
)
"""What is left of the records of these periods says nothing of what was used in them any more."""
NEXT_SOURCE = sa.select(sa.func.min(usage_sources.c.seq)).where(usage_sources.c.seq > SOURCE)


class UsageRow(NamedTuple):
    """A record as it is kept: `at` in microseconds since 1970 (UTC), `quantity` in millionths."""

    source: int
    at: int
    id: str
    quantity: int
    digest: str


class Void(NamedTuple):
    """A record that counts no more, whether it is there yet or not."""

    source: int
    id: str


class Kept(NamedTuple):
    """What became of a batch: how many were new, how many were there already, and the places of the records whose key
    another one has."""

    taken: int
    repeated: int
    other: tuple[int, ...]


Rests = Sequence[tuple[int, int]]
"""Times in which a level counts as 0, in seconds since 1970 (UTC)."""
Lock = Callable[[sa.Connection, Sequence[tuple[int, int]]], object]


def unlocked(_connection: sa.Connection, _moments: Sequence[tuple[int, int]]) -> None:
    """Lock nothing: nobody else is to know of these records."""


class UsageRecords:
    """Keep records, and sum them up."""

    def __init__(self, database: sa.Engine) -> None:
        self._database = database
        self._sources: dict[tuple[str, str], int] = {}

    def source(self, contract_id: str, meter: str) -> int:
        """Return the number under which the records of a contract and a meter are kept, a new one the first time."""
        known = self._sources.get((contract_id, meter))
        if known is None:
            of = {"contract_id": contract_id, "meter": meter}
            if self.found(contract_id, meter) is None:
                with writing(self._database) as connection:
                    insert_once(connection, usage_sources, of)
            known = self._sources[contract_id, meter] = self.found(contract_id, meter) or 0
        return known

    def found(self, contract_id: str, meter: str) -> int | None:
        """Return the number of a contract and a meter; None where nothing was ever sent of it."""
        query = sa.select(usage_sources.c.seq).where(
            usage_sources.c.contract_id == contract_id, usage_sources.c.meter == meter
        )
        with self._database.connect() as connection:
            return connection.scalar(query)

    def holds(self, source: int, key: str, since: int) -> bool:
        """Return whether there is a record of a source with this key, of a moment from `since` on (microseconds since
        1970, UTC)."""
        query = sa.select(usage_records.c.at).where(usage_records.c.source == source, usage_records.c.id == key)
        with self._database.connect() as connection:
            at = connection.scalar(query)
        return at is not None and at >= since

    def keep(self, rows: Sequence[UsageRow], voids: Sequence[Void], lock: Lock = unlocked) -> Kept:
        """Keep a batch, all of it or nothing. Of one key the first record is kept, when two send another at the same
        time; the same one again changes nothing. `lock` is called first, with the sources and moments of all records
        that the batch adds or makes void."""
        ordered = sorted(rows, key=_key)  # two batches with the same keys wait for each other in one direction only
        with writing(self._database) as connection:
            lock(connection, (*((row.source, row.at) for row in rows), *_moments(connection, voids)))
            new = _insert(connection, SQLITE_RECORDS, POSTGRESQL_RECORDS, ordered)
            other = () if new == len(rows) else tuple(_differing(connection, rows))
            void = _insert(connection, SQLITE_VOIDS, POSTGRESQL_VOIDS, sorted(voids))
        return Kept(new + void, len(rows) - new - len(other) + len(voids) - void, other)

    def quantity(
        self, source: int, aggregation: Aggregation, since: int, until: int, rests: Rests = ()
    ) -> tuple[Fraction, int]:
        """Return what the records from `since` up to `until` come to, in millionths, and how many they are. Both are in
        seconds since 1970 (UTC). In `rests` a level counts as 0. Whatever their number, few of them are in memory."""
        with self._database.connect() as connection:
            return self.quantity_in(connection, source, aggregation, since, until, rests)

    def quantity_in(
        self,
        connection: sa.Connection,
        source: int,
        aggregation: Aggregation,
        since: int,
        until: int,
        rests: Rests = (),
    ) -> tuple[Fraction, int]:
        """Return what `quantity` does, in the caller's transaction."""
        of = {"source": source, "since": since * MICROSECONDS, "until": until * MICROSECONDS}
        records = int(connection.scalar(COUNT, of) or 0)
        match aggregation:
            case "sum":
                whole, parts = connection.execute(SUM, of).one()
                found = Fraction(int(whole or 0) * SCALE + int(parts or 0))
            case "max":
                found = Fraction(int(connection.scalar(LARGEST, of) or 0))
            case "last":
                found = Fraction(int(connection.scalar(LAST, of) or 0))
            case "unique":
                found = Fraction(int(connection.scalar(DIFFERENT, of) or 0) * SCALE)
            case "weighted":
                found = weighted(_levels(connection, of), since, until, rests)
        return found, records


def level_before(connection: sa.Connection, source: int, moment: int) -> int:
    """Return the level of a source just before a moment (seconds since 1970, UTC), in millionths; 0 without any."""
    row = connection.execute(LEVEL_BEFORE, {"source": source, "since": moment * MICROSECONDS}).one_or_none()
    return row.quantity if row else 0


def next_source(connection: sa.Connection, source: int) -> int | None:
    """Return the contract and meter after one, by their numbers; None after the last."""
    return connection.scalar(NEXT_SOURCE, {"source": source})


def remove(connection: sa.Connection, source: int, before: int, most: int) -> int:
    """Remove up to so many records of a contract and meter from before a moment (microseconds since 1970, UTC), and
    return how many. A period keeps all of its records until it is over for so long, and charged: what is left of
    some would come to another sum. The last one that counts stays, too: it is the level until the next."""
    kept = (
        connection.scalar(UNSETTLED, {"source": source}),
        connection.scalar(WITHIN, {"source": source, "cut": before // MICROSECONDS}),
    )
    since = min([before, *(each * MICROSECONDS for each in kept if each is not None)])
    latest = connection.scalar(LATEST_BEFORE, {"source": source, "since": since})
    until = since if latest is None else latest
    found = connection.execute(OLDEST, {"source": source, "until": until, "most": most}).all()
    ids = [row.id for row in found]
    if found:
        connection.execute(NOT_WHOLE, {"of_source": source, "last": found[-1].at // MICROSECONDS})
    for table in (usage_voids, usage_records):
        if ids:
            connection.execute(table.delete().where(table.c.source == source, table.c.id.in_(ids)))
    return len(ids)


def _levels(connection: sa.Connection, of: dict[str, int]) -> Iterator[Level]:
    """Yield the level that there was before the time, and those in it, in the order of their moments."""
    for row in connection.execute(LEVEL_BEFORE, {"source": of["source"], "since": of["since"]}):
        yield Level(row.at, row.quantity)
    for row in connection.execute(LEVELS, of):
        yield Level(row.at, row.quantity)


def _moments(connection: sa.Connection, voids: Sequence[Void]) -> Iterator[tuple[int, int]]:
    """Yield the sources and moments of the records that are made void, as far as they are there."""
    of: dict[int, list[str]] = {}
    for each in voids:
        of.setdefault(each.source, []).append(each.id)
    for source, ids in of.items():
        there = sa.select(usage_records.c.at).where(usage_records.c.source == source, usage_records.c.id.in_(ids))
        for at in connection.scalars(there):
            yield source, at


def _insert(
    connection: sa.Connection, in_sqlite: str, in_postgresql: str, rows: Sequence[UsageRow] | Sequence[Void]
) -> int:
    """Insert rows of which the key is free. Return how many that were."""
    if not rows:
        return 0
    if connection.dialect.name == "sqlite":
        return connection.exec_driver_sql(in_sqlite, list(rows)).rowcount
    columns = tuple(list(each) for each in zip(*rows, strict=True))
    return connection.exec_driver_sql(in_postgresql, columns).rowcount


def _differing(connection: sa.Connection, rows: Sequence[UsageRow]) -> Iterator[int]:
    """Yield the places of rows whose key is that of another record."""
    by_source: dict[int, list[str]] = {}
    for row in rows:
        by_source.setdefault(row.source, []).append(row.id)
    kept: dict[tuple[int, str], UsageRow] = {}
    for source, ids in by_source.items():
        there = sa.select(usage_records).where(usage_records.c.source == source, usage_records.c.id.in_(ids))
        kept |= {(row.source, row.id): UsageRow(*row) for row in connection.execute(there)}
    for place, row in enumerate(rows):
        if kept[row.source, row.id] != row:
            yield place


def _key(row: UsageRow) -> tuple[int, str]:
    return row.source, row.id
