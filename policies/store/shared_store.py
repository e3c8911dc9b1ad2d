"""Values and counts that the replicas of a layer share: in a file on one machine, in Redis on several."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast
from urllib.parse import unquote, urlsplit

import redis.asyncio
from redis import CredentialProvider

from canonical.ids import Clock
from policies.store.secret import NO_SECRET, Secret

T = TypeVar("T")
AWAY = (redis.RedisError, sqlite3.Error, OSError)
"""The errors that are raised when the store cannot be reached."""
SCHEMA = """
CREATE TABLE IF NOT EXISTS kept (name TEXT PRIMARY KEY, value BLOB NOT NULL, until REAL NOT NULL);
CREATE INDEX IF NOT EXISTS kept_until ON kept (until);
CREATE TABLE IF NOT EXISTS counts (name TEXT, field TEXT, value INTEGER NOT NULL, PRIMARY KEY (name, field));
"""
COMPARE_AND_SWAP = """
if redis.call('get', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('set', KEYS[1], ARGV[2], 'px', ARGV[3])
return 1
"""
COMPARE_AND_DELETE = """
if redis.call('get', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('del', KEYS[1])
"""


class SharedStore(Protocol):
    """A store that replicas share. Every method raises one of `AWAY` when it is away. Times are in seconds."""

    async def put_if_absent(self, name: str, value: bytes, seconds: float) -> bytes | None:
        """Store `value` for `seconds` unless there is a value. Return that one, or None when ours was stored."""
        ...

    async def compare_and_swap(self, name: str, old: bytes, new: bytes, seconds: float) -> bool:
        """Replace `old` by `new`, for `seconds`. Return whether `old` was still there."""
        ...

    async def compare_and_delete(self, name: str, old: bytes) -> None:
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
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(self._connect()) as connection:
            connection.executescript(f"PRAGMA journal_mode = WAL; {SCHEMA}")

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=10, isolation_level=None)
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    async def _at_once(self, act: Callable[[sqlite3.Connection, float], T]) -> T:
        """Run `act` in a transaction, alone among all replicas."""

        def work() -> T:
            with closing(self._connect()) as connection:
                connection.execute("BEGIN IMMEDIATE")
                found = act(connection, self._clock().timestamp())
                connection.execute("COMMIT")
                return found

        return await asyncio.to_thread(work)

    async def put_if_absent(self, name: str, value: bytes, seconds: float) -> bytes | None:
        def act(connection: sqlite3.Connection, now: float) -> bytes | None:
            connection.execute("DELETE FROM kept WHERE until <= ?", (now,))
            there = connection.execute("SELECT value FROM kept WHERE name = ?", (name,)).fetchone()
            if there is None:
                connection.execute("INSERT INTO kept VALUES (?, ?, ?)", (name, value, now + seconds))
            return there and cast("bytes", there[0])

        return await self._at_once(act)

    async def compare_and_swap(self, name: str, old: bytes, new: bytes, seconds: float) -> bool:
        def act(connection: sqlite3.Connection, now: float) -> bool:
            changed = connection.execute(
                "UPDATE kept SET value = ?, until = ? WHERE name = ? AND value = ?", (new, now + seconds, name, old)
            )
            return changed.rowcount == 1

        return await self._at_once(act)

    async def compare_and_delete(self, name: str, old: bytes) -> None:
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


class RedisPassword(CredentialProvider):
    """Log in with a user and a password as they are at each new connection."""

    def __init__(self, user: str, password: Secret) -> None:
        self._user = user
        self._password = password

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        password = self._password.reveal()
        return (self._user, password) if self._user else (password,)

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        return self.get_credentials()


def with_password(url: str, password: Secret) -> tuple[str, dict[str, RedisPassword]]:
    """Return the URL of a Redis and the options of a client that logs in with a password, which is not in the URL."""
    if not password:
        return url, {}
    netloc = urlsplit(url).netloc
    user, _, host = netloc.rpartition("@")
    address = url.replace(f"//{netloc}", f"//{host}", 1)
    return address, {"credential_provider": RedisPassword(unquote(user), password)}


def redis_at(url: str, timeout: float, password: Secret = NO_SECRET) -> Any:
    """Return a client of Redis that gives up after `timeout` seconds. It has no full types."""
    connect: Any = redis.asyncio.from_url  # pyright: ignore[reportUnknownMemberType]
    address, login = with_password(url, password)
    return connect(address, socket_timeout=timeout, socket_connect_timeout=timeout, **login)


class SharedRedisStore:
    """A store for replicas on several machines."""

    def __init__(self, url: str, timeout: float, password: Secret = NO_SECRET) -> None:
        self._redis = redis_at(url, timeout, password)

    async def put_if_absent(self, name: str, value: bytes, seconds: float) -> bytes | None:
        while not await self._redis.set(_key(name), value, nx=True, px=int(seconds * 1000)):
            there: bytes | None = await self._redis.get(_key(name))
            if there is not None:  # else it has run out in this moment
                return there
        return None

    async def compare_and_swap(self, name: str, old: bytes, new: bytes, seconds: float) -> bool:
        done: Awaitable[int] = self._redis.eval(COMPARE_AND_SWAP, 1, _key(name), old, new, int(seconds * 1000))
        return await done == 1

    async def compare_and_delete(self, name: str, old: bytes) -> None:
        await self._redis.eval(COMPARE_AND_DELETE, 1, _key(name), old)

    async def add(self, name: str, counts: dict[str, int]) -> None:
        async with self._redis.pipeline() as pipeline:
            for field, value in counts.items():
                pipeline.hincrby(_key(name), field, value)
            await pipeline.execute()

    async def counts(self, name: str) -> dict[str, int]:
        found: dict[bytes, bytes] = await self._redis.hgetall(_key(name))
        return {field.decode(): int(value) for field, value in found.items()}


def _key(name: str) -> str:
    return f"tiergate:{name}"
