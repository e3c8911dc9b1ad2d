"""What waits for a platform that is away: how much of it, what it is worth, and how long the queue is before one of it.

It is computed when somebody reads it. The rows say for which platform they wait, and since when; the older one goes on
first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from canonical.cases import Incident, Waiting
from canonical.money import Money
from canonical.orders import QueuePlace
from process_apis.records.database import amendments, catalogue_syncs, corrections, customers, orders, postings

TABLES = (orders, postings, customers, amendments, catalogue_syncs, corrections)
"""The rows that may wait for a platform."""
OLDEST = 5
"""How many of what waits longest are named."""
PLATFORM: sa.BindParameter[str] = sa.bindparam("platform")


class Blocked(NamedTuple):
    """A platform that something waits for: since when, and how often in a row the one that tried most has failed."""

    platform: str
    since: str
    attempts: int


def _blocked(table: sa.Table) -> sa.Select[Any, Any, Any]:
    platform = table.c.blocked_by
    waiting = sa.select(platform, sa.func.min(table.c.blocked_since), sa.func.max(table.c.attempts))
    return waiting.where(platform.is_not(None)).group_by(platform)


BLOCKED = sa.union_all(*map(_blocked, TABLES))
OLDEST_OF = {
    table: sa.select(table.c.id).where(table.c.blocked_by == PLATFORM).order_by(table.c.seq).limit(OLDEST)
    for table in TABLES
}
WORTH_OF = {
    table: sa.select(table.c.currency, sa.func.sum(table.c.amount), sa.func.count())
    .where(table.c.blocked_by == PLATFORM)
    .group_by(table.c.currency)
    .order_by(table.c.currency)
    for table in (orders, postings, corrections)
}
COUNT_OF = {table: sa.select(sa.func.count()).where(table.c.blocked_by == PLATFORM) for table in TABLES}
OLDEST_ROW = {
    table: sa.select(table.c.correlation_id, table.c.blocked_since)
    .where(table.c.blocked_by == PLATFORM)
    .order_by(table.c.blocked_since, table.c.seq)
    .limit(1)
    for table in TABLES
}


def blocked(connection: sa.Connection) -> dict[str, Blocked]:
    """Return each platform that something waits for."""
    found: dict[str, Blocked] = {}
    for row in connection.execute(BLOCKED):
        each = Blocked(*row)
        other = found.get(each.platform, each)
        found[each.platform] = Blocked(each.platform, min(each.since, other.since), max(each.attempts, other.attempts))
    return found


def correlation_of_first(connection: sa.Connection, platform: str) -> str:
    """Return the correlation id of what waits longest for a platform, empty when nothing does."""
    rows = [row for table in TABLES for row in connection.execute(OLDEST_ROW[table], {"platform": platform})]
    return min(rows, key=lambda row: row.blocked_since).correlation_id if rows else ""


def incident(connection: sa.Connection, platform: str, since: datetime) -> Incident:
    """Return an outage that began at `since` (UTC), with what waits for its platform now."""
    return Incident(platform, since, *(_waiting(connection, table, platform) for table in TABLES))


def place(connection: sa.Connection, table: sa.Table, row: sa.Row[Any]) -> QueuePlace | None:
    """Return where a row of `table` stands in the queue for its platform, None for one that waits for none."""
    return places(connection, table, [row]).get(row.seq)


def places(connection: sa.Connection, table: sa.Table, rows: Sequence[sa.Row[Any]]) -> Mapping[int, QueuePlace]:
    """Return where each of some rows stands that waits for a platform, by its `seq`."""
    waiting = [row.seq for row in rows if row.blocked_by is not None]
    if not waiting:
        return {}
    others = table.alias()
    ahead = sa.select(sa.func.count()).where(others.c.blocked_by == table.c.blocked_by, others.c.seq < table.c.seq)
    counted = sa.select(table.c.seq, ahead.scalar_subquery()).where(table.c.seq.in_(waiting))
    found = {row[0]: row[1] for row in connection.execute(counted)}
    return {
        row.seq: QueuePlace(row.blocked_by, datetime.fromisoformat(row.blocked_since), found[row.seq])
        for row in rows
        if row.seq in found and row.blocked_by is not None
    }


def _waiting(connection: sa.Connection, table: sa.Table, platform: str) -> Waiting:
    of = {"platform": platform}
    oldest = tuple(connection.scalars(OLDEST_OF[table], of))
    if table not in WORTH_OF:
        count = int(connection.scalar(COUNT_OF[table], of) or 0)
        return Waiting(count, (), count, oldest)
    worth = connection.execute(WORTH_OF[table], of).all()
    money = tuple(Money(int(amount), currency) for currency, amount, _ in worth if currency)
    unknown = sum(count for currency, _, count in worth if not currency)
    return Waiting(sum(count for *_, count in worth), money, unknown, oldest)
