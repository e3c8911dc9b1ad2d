"""How much room each table takes: ours, and the engine's beside them."""

from __future__ import annotations

from typing import NamedTuple

import sqlalchemy as sa

from process_apis.records.database import orders
from process_apis.records.orders import ENDED

HAS_SIZES = sa.text("SELECT sqlite_compileoption_used('ENABLE_DBSTAT_VTAB')")
ON_SQLITE = sa.text(
    "SELECT schema.tbl_name, '', SUM(stat.pgsize) FROM dbstat AS stat JOIN sqlite_schema AS schema"
    " ON schema.name = stat.name WHERE stat.aggregate = 1 GROUP BY schema.tbl_name"
)
ON_POSTGRESQL = sa.text(
    "SELECT relname, nspname, pg_total_relation_size(pg_class.oid) FROM pg_class"
    " JOIN pg_namespace ON pg_namespace.oid = relnamespace"
    " WHERE relkind = 'r' AND nspname IN (current_schema(), 'dbos')"
)


class SizesUnknown(RuntimeError):
    """This SQLite was built without what tells the size of a table."""


class TableSize(NamedTuple):
    """A table, its rows, and its bytes on the disk, those of its indexes included."""

    name: str
    rows: int
    size: int


def table_sizes(engine: sa.Engine) -> list[TableSize]:
    """Return the sizes of all tables, the largest first. Reads all of an SQLite database; of a table on PostgreSQL its
    rows are counted. Raises `SizesUnknown`."""
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite" and not connection.scalar(HAS_SIZES):
            raise SizesUnknown("this SQLite was built without dbstat, which knows the size of a table: use another")
        found = connection.execute(ON_SQLITE if engine.dialect.name == "sqlite" else ON_POSTGRESQL).all()
        sizes = [TableSize(name, _rows(connection, name, schema), int(size)) for name, schema, size in found]
    return sorted(sizes, key=lambda each: (-each.size, each.name))


def _rows(connection: sa.Connection, name: str, schema: str) -> int:
    table = sa.table(name, schema=schema or None)
    return connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0


def finished_orders(engine: sa.Engine) -> int:
    """Return how many orders have ended."""
    ended = sa.select(sa.func.count()).select_from(orders).where(orders.c.state.in_(ENDED))
    with engine.connect() as connection:
        return connection.scalar(ended) or 0
