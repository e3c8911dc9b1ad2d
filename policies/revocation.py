"""Tokens that no longer count: one by its id, or all that a client got before a moment. Every replica knows within 5 s."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Protocol

import msgspec
import redis
import redis.asyncio
import structlog

from canonical.ids import Clock
from policies.tokens import LEEWAY, LONGEST

PACE = 1.0
"""Seconds between two looks."""
KEPT = float(LONGEST + LEEWAY)
"""Seconds that a revocation is remembered: no token is taken longer."""
KEY = "tiergate:revoked"
log = structlog.get_logger("tiergate.revocation")


class Revoked(msgspec.Struct, frozen=True):
    """`tokens` by their `jti`, and `clients` by name, each with when it was revoked (seconds since 1970, UTC)."""

    tokens: dict[str, float] = {}
    clients: dict[str, float] = {}

    def covers(self, token_id: str, client: str, issued_at: float) -> bool:
        """A client's tokens are covered up to the second in which it was revoked."""
        return token_id in self.tokens or issued_at <= self.clients.get(client, -1.0)


class Store(Protocol):
    """Where the revocations are that all replicas share."""

    async def read(self) -> bytes: ...
    async def write(self, document: bytes) -> None: ...


class FileStore:
    """For replicas on one machine: a file in the state folder."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def read(self) -> bytes:
        return self._path.read_bytes() if self._path.exists() else b""

    async def write(self, document: bytes) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_suffix(f".{os.getpid()}")
        draft.write_bytes(document)
        draft.replace(self._path)


class RedisStore:
    """For replicas on many machines."""

    def __init__(self, url: str, timeout: float) -> None:
        self._redis = redis.asyncio.from_url(url, socket_timeout=timeout, socket_connect_timeout=timeout)  # pyright: ignore[reportUnknownMemberType]

    async def read(self) -> bytes:
        found = await self._redis.get(KEY)
        return found if isinstance(found, bytes) else b""

    async def write(self, document: bytes) -> None:
        await self._redis.set(KEY, document, ex=int(KEPT))


class Revocations:
    """What is revoked, as far as this replica knows. When the store is away, what was known goes on counting."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._document: bytes = b""
        self.now = Revoked()

    async def look(self) -> None:
        """Take up what others have revoked. Raises `redis.RedisError` or `OSError` when the store is away."""
        document = await self._store.read()
        if document != self._document:
            self.now = msgspec.json.decode(document, type=Revoked) if document else Revoked()
            self._document = document

    async def watch(self) -> None:
        """Look for as long as the layer runs."""
        while True:
            try:
                await self.look()
            except (redis.RedisError, OSError, msgspec.DecodeError) as error:
                log.warning("the revocations cannot be read, those that are known go on", reason=type(error).__name__)
            await asyncio.sleep(PACE)

    async def revoke(self, *, token: str = "", client: str = "") -> None:
        """Add to what is revoked. Raises as `look` does."""
        await self.look()
        at = self._clock().timestamp()
        tokens = {name: when for name, when in self.now.tokens.items() if at - when < KEPT}
        clients = {name: when for name, when in self.now.clients.items() if at - when < KEPT}
        wanted = Revoked(tokens | ({token: at} if token else {}), clients | ({client: at} if client else {}))
        await self._store.write(msgspec.json.encode(wanted))
        await self.look()
