"""Lists in pages, by cursor: a place in the list that stays valid while the list grows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import sqlalchemy as sa

from canonical.orders import Page
from policies.problems import INVALID, FieldError, ProblemError

T = TypeVar("T")
MAX_PAGE = 100
CURSOR_DIGITS = 18
LAST = 2**31 - 1
"""The last place that a table has: PostgreSQL refuses to compare it with a larger number."""


class Key(NamedTuple):
    """A column by which a list is ordered, in which nothing is null."""

    column: sa.ColumnElement[Any]
    descending: bool = False

    def after(self, value: Any) -> sa.ColumnElement[bool]:
        """Return what is true of a row that comes after one with a value."""
        return self.column < value if self.descending else self.column > value


def page_in_order(
    connection: sa.Connection,
    table: sa.FromClause,
    where: list[sa.ColumnElement[bool]],
    keys: Sequence[Key],
    cursor: str | None,
    limit: int,
    most: int = MAX_PAGE,
) -> tuple[list[sa.Row[Any]], str | None]:
    """Return a page, of `most` rows at the most, in the order of some columns, of which the last is equal to the
    table's `seq`. Raises `ProblemError` (422) for a cursor that is none of ours, or whose row is gone where its other
    columns are needed, and for a page that is too large."""
    if not 1 <= limit <= most:
        raise ProblemError(INVALID, "The page size is out of bounds.", (FieldError("$.limit", f"1 to {most}"),))
    if cursor is not None:
        values = list(zip(keys, (*_reached(connection, table, keys[:-1], cursor), place_of(cursor)), strict=True))
        further = (
            sa.and_(*(each.column == value for each, value in values[:place]), key.after(value))
            for place, (key, value) in enumerate(values)
        )
        where = [*where, sa.or_(*further)]
    order = [each.column.desc() if each.descending else each.column for each in keys]
    rows = list(connection.execute(sa.select(table).where(*where).order_by(*order).limit(limit + 1)))
    return rows[:limit], str(rows[limit - 1].seq) if len(rows) > limit else None


def page_of(
    connection: sa.Connection,
    table: sa.FromClause,
    where: list[sa.ColumnElement[bool]],
    cursor: str | None,
    limit: int,
    place: sa.ColumnElement[int] | None = None,
    most: int = MAX_PAGE,
) -> tuple[list[sa.Row[Any]], str | None]:
    """Newest first. `place` is a column that is equal to the table's `seq`, where the index of another table is to be
    read. Raises `ProblemError` (422) for a cursor that is none of ours, and for a page that is too large."""
    newest = Key(table.c.seq if place is None else place, descending=True)
    return page_in_order(connection, table, where, (newest,), cursor, limit, most)


def _reached(connection: sa.Connection, table: sa.FromClause, keys: Sequence[Key], cursor: str) -> Sequence[Any]:
    """Return what the row of a cursor has in some columns."""
    if not keys:
        return ()
    columns = sa.select(*(each.column for each in keys)).where(table.c.seq == place_of(cursor))
    row = connection.execute(columns).one_or_none()
    if row is None:
        raise ProblemError(
            INVALID, "The list has changed.", (FieldError("$.cursor", "begin with the first page again"),)
        )
    return row


def place_of(cursor: str) -> int:
    """Return the place that a cursor names. Raises `ProblemError` (422) for one that is none of ours."""
    if not cursor.isascii() or not cursor.isdigit() or len(cursor) > CURSOR_DIGITS:
        raise ProblemError(
            INVALID, "The cursor is not one of ours.", (FieldError("$.cursor", "take it from an answer"),)
        )
    return min(int(cursor), LAST)


def page(items: list[T], next_cursor: str | None) -> Page[T]:
    return Page(tuple(items), next_cursor)
