"""What workflows leave in the tables of the durable engine, as far as it may name people."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa
from dbos import DBOSClient

from process_apis.erasure.people import Person
from process_apis.erasure.replacement import address_pattern, names_pattern
from process_apis.erasure.tables import BATCH, batches
from process_apis.records.database import metadata
from process_apis.retention import COMPLETED, subjects_of


class EngineRecord(msgspec.Struct, frozen=True):
    """A workflow of the engine that holds the person, and where."""

    workflow_id: str
    status: str
    fields: tuple[str, ...]


class _EngineTable(NamedTuple):
    """A table of the engine: the column with the workflow's id, and those with values."""

    table: sa.TableClause
    workflow: str
    values: tuple[str, ...]


class EngineTables:
    """The tables of the durable engine, as far as workflows leave values there.

    Values are pickled, and read here as bytes: nothing is unpickled. They are not rewritten, since a type may not be
    what it was; an ended workflow is removed as retention does, after which nothing is left to fork or rewind, and what
    stops a second run is in our own rows (docs/decisions/0032-retention.md).
    """

    def __init__(self, database: sa.Engine) -> None:
        self._database = database
        self._schema = None if database.dialect.name == "sqlite" else "dbos"
        self._tables = list(self._found())

    def holding(self, person: Person) -> tuple[list[EngineRecord], list[str]]:
        """Return the workflows that hold a person, and the ids of those that run and do, or are about what belongs to
        the person's customers."""
        finder = _Finder(person)
        held: list[EngineRecord] = []
        running: list[str] = []
        with self._database.connect() as connection:
            for states in self._workflows(connection):
                fields: dict[str, list[str]] = {}
                for each in self._tables:
                    rows = connection.execute(self._values_of(each, states))
                    for workflow_id, *values in rows:
                        is_own = not person.ids.isdisjoint(subjects_of(workflow_id))
                        fields.setdefault(workflow_id, []).extend(
                            f"{each.table.name}.{name}"
                            for name, value in zip(each.values, values, strict=True)
                            if value is not None and finder.finds(value, is_own=is_own)
                        )
                connection.rollback()
                for workflow_id, status in states.items():
                    found = tuple(dict.fromkeys(fields.get(workflow_id, ())))
                    is_own = not person.ids.isdisjoint(subjects_of(workflow_id))
                    if found:
                        held.append(EngineRecord(workflow_id, status, found))
                    if status not in COMPLETED and (found or is_own):
                        running.append(workflow_id)
        return held, running

    def remove(self, workflow_ids: list[str]) -> None:
        """Remove workflows that have ended, with all that belongs to them, by the engine's own call."""
        if not workflow_ids:
            return
        client = DBOSClient(system_database_engine=self._database, lazy=True)
        try:
            for batch in batches(workflow_ids):
                client.delete_workflows(batch)
        finally:
            client.destroy()

    def _found(self) -> Iterator[_EngineTable]:
        """Yield the tables that have values of workflows; none before the engine was started."""
        with self._database.connect() as connection:
            inspector = sa.inspect(connection)
            if self._schema is not None and self._schema not in inspector.get_schema_names():
                return
            ours = {each.name for each in metadata.sorted_tables}
            for name in sorted(set(inspector.get_table_names(self._schema)) - ours):
                columns = {each["name"]: each["type"] for each in inspector.get_columns(name, self._schema)}
                owner = next((each for each in ("workflow_uuid", "destination_uuid") if each in columns), None)
                values = tuple(
                    each
                    for each, kind in columns.items()
                    if each != owner and isinstance(kind, (sa.String, sa.LargeBinary, sa.JSON))
                )
                if owner and values:
                    table = sa.table(name, *map(sa.column, columns), schema=self._schema)
                    yield _EngineTable(table, owner, values)

    def _values_of(self, each: _EngineTable, states: Collection[str]) -> sa.Select[Any]:
        columns = each.table.c
        return sa.select(columns[each.workflow], *(columns[name] for name in each.values)).where(
            columns[each.workflow].in_(list(states))
        )

    def _workflows(self, connection: sa.Connection) -> Iterator[dict[str, str]]:
        """Yield the states of workflows by their ids, a batch at a time."""
        jobs = next((each.table for each in self._tables if each.table.name == "workflow_status"), None)
        if jobs is None:
            return
        last = ""
        query = sa.select(jobs.c.workflow_uuid, jobs.c.status).order_by(jobs.c.workflow_uuid).limit(BATCH)
        while True:
            found = connection.execute(query.where(jobs.c.workflow_uuid > last)).all()
            if found:
                yield {row.workflow_uuid: row.status for row in found}
                last = found[-1].workflow_uuid
            if len(found) < BATCH:
                return


class _Finder:
    """Finds a person in values of the engine. A name alone counts where the workflow `is_own`."""

    def __init__(self, person: Person) -> None:
        self._address = address_pattern(person.address, bounded=False) if person.address else None
        self._names = names_pattern(person, bounded=False)

    def finds(self, value: Any, *, is_own: bool) -> bool:
        text = _plain(value)
        in_names = is_own and self._names is not None and self._names.search(text)
        return bool(in_names or (self._address is not None and self._address.search(text)))


def _plain(value: Any) -> str:
    """Return a value of the engine as text: as it is, and what is in it in base64."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if not isinstance(value, str):
        return msgspec.json.encode(value).decode()
    try:
        return f"{value}\n{base64.b64decode(value, validate=True).decode('utf-8', 'replace')}"
    except (binascii.Error, ValueError):
        return value
