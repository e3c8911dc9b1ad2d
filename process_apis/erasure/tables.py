"""The tables that may name people, and how their rows are read."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, Literal

import sqlalchemy as sa

from process_apis.records.database import (
    PERSONAL,
    amendments,
    case_notes,
    cases,
    catalogue_items,
    catalogue_syncs,
    correction_states,
    corrections,
    customer_merge_states,
    customer_merges,
    customers,
    dispute_steps,
    disputes,
    drifts,
    dunning_states,
    dunnings,
    events,
    mass_change_items,
    mass_changes,
    order_lines,
    orders,
    postings,
    renewals,
    usage_corrections,
    usage_periods,
    webhook_attempts,
    webhooks,
)

BATCH = 200
"""Rows that are read, and at most changed, at a time."""
TABLES = (
    events,
    case_notes,
    cases,
    postings,
    drifts,
    renewals,
    correction_states,
    corrections,
    dunning_states,
    dunnings,
    usage_corrections,
    usage_periods,
    customer_merge_states,
    customer_merges,
    dispute_steps,
    disputes,
    mass_change_items,
    mass_changes,
    webhook_attempts,
    webhooks,
    amendments,
    catalogue_items,
    catalogue_syncs,
    order_lines,
    orders,
    customers,
)
"""What names people. The customers come last: they say which names are a person's."""
Kind = Literal["text", "document"]


@cache
def personal_columns(table: sa.Table) -> list[tuple[str, Kind]]:
    """Return the columns of a table that may name a person, and what each holds."""
    return [(str(each.name), each.info[PERSONAL]) for each in table.c if PERSONAL in each.info]


def rows_of(connection: sa.Connection, table: sa.Table) -> Iterator[sa.Row[Any]]:
    """Yield the rows of a table, a batch at a time, so that nothing waits for a long read."""
    key = list(table.primary_key.columns)
    query = sa.select(table).order_by(*key).limit(BATCH)
    last: tuple[Any, ...] | None = None
    while True:
        after = query if last is None else query.where(sa.tuple_(*key) > sa.tuple_(*map(sa.literal, last)))
        found = connection.execute(after).all()
        connection.rollback()  # ends the read: nothing was written
        yield from found
        if len(found) < BATCH:
            return
        last = tuple(getattr(found[-1], each.name) for each in key)


def key_of(table: sa.Table, row: sa.Row[Any]) -> dict[str, Any]:
    return {each.name: getattr(row, each.name) for each in table.primary_key.columns}


def batches(ids: list[Any]) -> Iterator[list[Any]]:
    for start in range(0, len(ids), BATCH):
        yield ids[start : start + BATCH]
