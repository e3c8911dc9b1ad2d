"""What is stored of a person, and how it is erased (GDPR, articles 15 and 17).

A person is an e-mail address, and the names that stand beside it. The address is looked for in everything; a name alone
only in the free text of what belongs to the person's customers, since many people share one. What is erased is the
person: facts about the company (its name, address and tax number, amounts, ids) stay, for invoices rest on them.

Names go before the addresses by which they are known, so that an erasure that was cut short is ended by the next one.
Each batch is a transaction of its own, beside the layers that run.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection
from typing import Any

import msgspec
import sqlalchemy as sa

from process_apis.erasure.engine_tables import EngineRecord, EngineTables
from process_apis.erasure.people import Person
from process_apis.erasure.replacement import Replacement
from process_apis.erasure.tables import TABLES, batches, key_of, personal_columns, rows_of
from process_apis.records.database import customers, order_lines, orders, writing
from process_apis.records.orders import ENDED
from process_apis.retention import COMPLETED

ENGINE = "workflows of the engine"
SHOWN = ("id", "order_id", "line_id", "kind", "source", "crm", "deal_id")
"""The columns by which people know a row."""


class UnderWay(Exception):
    """Work is under way that uses what names the person. `what` says for each piece what it is and what ends it."""

    def __init__(self, what: list[str]) -> None:
        super().__init__("; ".join(what))
        self.what = what


class Record(msgspec.Struct, frozen=True):
    """A row that names the person: what it is known by, the fields that do, and what they hold, a document as a
    whole."""

    table: str
    key: dict[str, Any]
    fields: tuple[str, ...]
    holds: dict[str, Any]


class Holding(msgspec.Struct, frozen=True):
    """All that is stored of a person, and why none of it can be erased now."""

    person: Person
    records: tuple[Record, ...]
    workflows: tuple[EngineRecord, ...]
    under_way: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.records or self.workflows)

    def counted(self) -> dict[str, int]:
        """Return how many rows of each table name the person."""
        found = Counter(each.table for each in self.records)
        return dict(found) | ({ENGINE: len(self.workflows)} if self.workflows else {})


# ---- looking


def look(database: sa.Engine, person: Person) -> Holding:
    """Return all that is stored of a person. Reads all tables, and changes nothing."""
    replacement = Replacement(person, "")
    records: list[Record] = []
    under_way: list[str] = []
    with database.connect() as connection:
        for table in TABLES:
            for row in rows_of(connection, table):
                changed, fields = replacement.changes(table, row)
                if changed:
                    records.append(_record(table, row, changed, fields))
                    under_way += _uses(connection, table, row, changed)
    engine = EngineTables(database)
    held, running = engine.holding(person)
    under_way += [f"the workflow {each} runs: it ends by itself, mostly in seconds" for each in running]
    return Holding(person, tuple(records), tuple(held), tuple(dict.fromkeys(under_way)))


def _record(table: sa.Table, row: sa.Row[Any], changed: Collection[str], fields: list[str]) -> Record:
    kinds = dict(personal_columns(table))
    holds = {
        name: msgspec.json.decode(getattr(row, name)) if kinds[name] == "document" else getattr(row, name)
        for name in changed
    }
    names = [each for each in SHOWN if each in table.c]
    shown = {each: getattr(row, each) for each in names}
    return Record(str(table.name), shown, tuple(dict.fromkeys(fields)), holds)


def _uses(connection: sa.Connection, table: sa.Table, row: sa.Row[Any], changed: Collection[str]) -> list[str]:
    """Return what is under way that would write the person back, or send a placeholder to a platform."""
    if table is customers and row.next_attempt_at:
        return [f"a change of the customer {row.id} is being synced: try again after {row.next_attempt_at}"]
    if table is order_lines and "line" in changed:
        state = connection.scalar(sa.select(orders.c.state).where(orders.c.id == row.order_id)) or ""
        return _open_order(row.order_id, state)
    return _open_order(row.id, row.state) if table is orders and "plan" in changed else []


def _open_order(order_id: str, state: str) -> list[str]:
    if state in ENDED:
        return []
    return [f"the order {order_id} is {state}: try again when it is active, or given up by one of its cases"]


# ---- erasing


def erase(database: sa.Engine, person: Person, placeholder: str) -> dict[str, int]:
    """Erase a person who is found by `look`. Return how many rows of each table were changed.

    May be cut short at any moment, and done again. Raises `UnderWay` for what has begun since `look`.
    """
    passes: list[Replacement] = []
    if person.names:
        passes.append(Replacement(person, placeholder, addresses=False))
    if person.address:
        passes.append(Replacement(person, placeholder, names=False))
    engine = EngineTables(database)
    ended = [each.workflow_id for each in engine.holding(person)[0] if each.status in COMPLETED]
    engine.remove(ended)
    changed: defaultdict[str, set[tuple[Any, ...]]] = defaultdict(set)
    for replacement in passes:
        for table in TABLES:
            changed[table.name] |= _replace(database, table, replacement)
    counts = {name: len(keys) for name, keys in changed.items()} | {ENGINE: len(ended)}
    return {name: count for name, count in counts.items() if count}


def _replace(database: sa.Engine, table: sa.Table, replacement: Replacement) -> set[tuple[Any, ...]]:
    """Replace the person in all rows of a table, and return the keys of those."""
    with database.connect() as connection:
        found = [key_of(table, row) for row in rows_of(connection, table) if replacement.changes(table, row)[0]]
    for batch in batches(found):
        with writing(database) as connection:
            for key in batch:
                columns: list[sa.ColumnElement[bool]] = [table.c[name] == value for name, value in key.items()]
                same = sa.and_(*columns)
                row = connection.execute(sa.select(table).where(same).with_for_update()).one_or_none()
                changed = replacement.changes(table, row)[0] if row is not None else {}
                if row is None or not changed:
                    continue
                if used := _uses(connection, table, row, changed):
                    raise UnderWay(used)
                connection.execute(table.update().where(same).values(**changed))
    return {tuple(key.values()) for key in found}
