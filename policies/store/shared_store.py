"""Values and counts that the replicas of a layer share: in a file on one machine, in `shared_redis` on several."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Protocol, TypeVar, cast

import msgspec
import structlog

from canonical.ids import Clock
from policies.store.documents import StoreAway
from policies.store.files import PRIVATE_FILE, make_private

REDIS_SECONDS = 0.25
"""Seconds without an answer of Redis after which work goes on without it."""
T = TypeVar("T")
log = structlog.get_logger("tiergate.store")
SCHEMA = """
CREATE TABLE IF NOT EXISTS kept
    (name TEXT PRIMARY KEY, value BLOB NOT NULL, until REAL NOT NULL, owner TEXT NOT NULL DEFAULT '');
CREATE INDEX IF NOT EXISTS kept_until ON kept (until);
CREATE TABLE IF NOT EXISTS counts (name TEXT, field TEXT, value INTEGER NOT NULL, PRIMARY KEY (name, field));
"""
WITH_OWNER = "ALTER TABLE kept ADD COLUMN owner TEXT NOT NULL DEFAULT ''"
"""What a store of version 0.1 lacks."""
BY_OWNER = "CREATE INDEX IF NOT EXISTS kept_owner ON kept (owner, until)"


class StoreFull(Exception):
    """An owner has as many values as it may have. The first of them is gone in `seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"{seconds:.0f} s")
        self.seconds = seconds


class Owner(msgspec.Struct, frozen=True):
    """Whose a value is, and how many values it may have at a time."""

    name: str
    most: int


class SharedStore(Protocol):
    """A store that replicas share. Every method raises `StoreAway` when it is away. Times are in seconds. A value
    that is put with an owner is replaced and deleted with it."""

    async def put_if_absent(self, name: str, value: bytes, seconds: float, owner: Owner | None = None) -> bytes | None:
        """Store `value` for `seconds` unless there is a value. Return that one, or None when ours was stored.

        Raises `StoreFull` when the owner has as many as it may have.
        """
        ...

    async def read(self, name: str) -> bytes | None:
        """Return a value; None where there is none, or its time is over."""
        ...

    async def compare_and_swap(
        self, name: str, old: bytes, new: bytes, seconds: float, owner: Owner | None = None
    ) -> bool:
        """Replace `old` by `new`, for `seconds`. Return whether `old` was still there."""
        ...

    async def compare_and_delete(self, name: str, old: bytes, owner: Owner | None = None) -> None:
        """Delete `old`, unless another value has replaced it."""
        ...

    async def add(self, name: str, counts: dict[str, int]) -> None:
        """Add to the fields of a set of counts."""
        ...

    async def counts(self, name: str) -> dict[str, int]:
        """Return the fields of a set of counts."""
        ...


class SharedFileStore:
    """A store for replicas on one machine: an SQLite file in the state folder."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._is_prepared = False
        try:
            self._prepared().close()
        except sqlite3.OperationalError as error:  # the disk is full: a layer starts all the same
            log.warning("the shared store cannot be opened, it is tried again when it is used", reason=str(error))

    def _prepared(self) -> sqlite3.Connection:
        """Return a connection to the file, with all tables. Raises `sqlite3.Error` or `OSError`."""
        if not self._is_prepared:
            make_private(self._path.parent)
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, PRIVATE_FILE))  # its journals get the same mode
            with closing(self._connect()) as connection:
                self._prepare(connection)
            self._is_prepared = True
        return self._connect()

    def _prepare(self, connection: sqlite3.Connection) -> None:
        connection.executescript(f"PRAGMA journal_mode = WAL; {SCHEMA}")
        connection.execute("BEGIN IMMEDIATE")  # of several replicas that start at once, one adds what is missing
        if "owner" not in {each[1] for each in connection.execute("PRAGMA table_info(kept)")}:
            connection.execute(WITH_OWNER)
        connection.execute(BY_OWNER)
        connection.execute("COMMIT")

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=10, isolation_level=None)
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    async def _at_once(self, act: Callable[[sqlite3.Connection, float], T]) -> T:
        """Run `act` in a transaction, alone among all replicas."""

        def work() -> T:
            with closing(self._prepared()) as connection:
                connection.execute("BEGIN IMMEDIATE")
                found = act(connection, self._clock().timestamp())
                connection.execute("COMMIT")
                return found

        try:
            return await asyncio.to_thread(work)
        except (sqlite3.Error, OSError) as error:
            raise StoreAway(type(error).__name__) from error

    async def put_if_absent(self, name: str, value: bytes, seconds: float, owner: Owner | None = None) -> bytes | None:
        def act(connection: sqlite3.Connection, now: float) -> bytes | None:
            connection.execute("DELETE FROM kept WHERE until <= ?", (now,))
            there = connection.execute("SELECT value FROM kept WHERE name = ?", (name,)).fetchone()
            if there is None:
                if owner is not None:
                    _refuse_more(connection, owner, now)
                row = (name, value, now + seconds, owner.name if owner else "")
                connection.execute("INSERT INTO kept (name, value, until, owner) VALUES (?, ?, ?, ?)", row)
            return there and cast("bytes", there[0])

        return await self._at_once(act)

    async def read(self, name: str) -> bytes | None:
        def act(connection: sqlite3.Connection, now: float) -> bytes | None:
            query = "SELECT value FROM kept WHERE name = ? AND until > ?"
            there = connection.execute(query, (name, now)).fetchone()
            return there and cast("bytes", there[0])

        return await self._at_once(act)

    async def compare_and_swap(
        self, name: str, old: bytes, new: bytes, seconds: float, owner: Owner | None = None
    ) -> bool:
        del owner  # its row knows whose it is

        def act(connection: sqlite3.Connection, now: float) -> bool:
            changed = connection.execute(
                "UPDATE kept SET value = ?, until = ? WHERE name = ? AND value = ?", (new, now + seconds, name, old)
            )
            return changed.rowcount == 1

        return await self._at_once(act)

    async def compare_and_delete(self, name: str, old: bytes, owner: Owner | None = None) -> None:
        del owner

        def act(connection: sqlite3.Connection, _: float) -> None:
            connection.execute("DELETE FROM kept WHERE name = ? AND value = ?", (name, old))

        await self._at_once(act)

    async def add(self, name: str, counts: dict[str, int]) -> None:
        def act(connection: sqlite3.Connection, _: float) -> None:
            connection.executemany(
                "INSERT INTO counts VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = value + excluded.value",
                [(name, field, value) for field, value in counts.items()],
            )

        await self._at_once(act)

    async def counts(self, name: str) -> dict[str, int]:
        def act(connection: sqlite3.Connection, _: float) -> dict[str, int]:
            return dict(connection.execute("SELECT field, value FROM counts WHERE name = ?", (name,)).fetchall())

        return await self._at_once(act)


def _refuse_more(connection: sqlite3.Connection, owner: Owner, now: float) -> None:
    """Raise `StoreFull` when an owner has as many values as it may have."""
    query = "SELECT COUNT(*), MIN(until) FROM kept WHERE owner = ?"
    count, first = connection.execute(query, (owner.name,)).fetchone()
    if count >= owner.most:
        raise StoreFull(first - now if first else 0.0)
