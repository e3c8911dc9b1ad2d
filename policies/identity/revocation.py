"""Revoked tokens: one by its id, or all that a client got before a moment. Every replica knows within 5 s."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import msgspec
import redis
import structlog

from canonical.ids import Clock
from policies.identity.issuer import LEEWAY, LONGEST
from policies.store.files import update_atomically
from policies.store.secret import NO_SECRET, Secret
from policies.store.shared_store import redis_at

PACE = 1.0
"""Seconds between two reads of the store."""
REMEMBERED = float(LONGEST + LEEWAY)
"""Seconds for which a revocation is stored: no token is valid longer."""
KEY = "tiergate:revoked"
log = structlog.get_logger("tiergate.revocation")


class Revoked(msgspec.Struct, frozen=True):
    """`tokens` by their `jti`, and `clients` by name, each with when it was revoked (seconds since 1970, UTC)."""

    tokens: dict[str, float] = {}
    clients: dict[str, float] = {}

    def covers(self, token_id: str, client: str, issued_at: float) -> bool:
        """Return whether a token is revoked. A client's tokens are, up to the second in which it was revoked."""
        return token_id in self.tokens or issued_at <= self.clients.get(client, -1.0)


class RevocationStore(Protocol):
    """The store of revocations that all replicas share."""

    async def read(self) -> bytes: ...
    async def change(self, act: Callable[[bytes], bytes]) -> None:
        """Replace the document by what `act` makes of it. Concurrent changes are done one after the other."""
        ...


class RevocationFile:
    """A store for replicas on one machine: a file in the state folder."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def read(self) -> bytes:
        return self._path.read_bytes() if self._path.exists() else b""

    async def change(self, act: Callable[[bytes], bytes]) -> None:
        await asyncio.to_thread(update_atomically, self._path, act, 0o644)


class RevocationRedis:
    """A store for replicas on several machines."""

    def __init__(self, url: str, timeout: float, password: Secret = NO_SECRET) -> None:
        self._redis = redis_at(url, timeout, password)

    async def read(self) -> bytes:
        found = await self._redis.get(KEY)
        return found if isinstance(found, bytes) else b""

    async def change(self, act: Callable[[bytes], bytes]) -> None:
        async with self._redis.pipeline() as pipeline:
            while True:
                try:
                    await pipeline.watch(KEY)
                    found = await pipeline.get(KEY)
                    pipeline.multi()
                    pipeline.set(KEY, act(found if isinstance(found, bytes) else b""), ex=int(REMEMBERED))
                    await pipeline.execute()
                except redis.WatchError:
                    continue  # another replica was faster: change its document
                return


class Revocations:
    """What is revoked, as far as this replica knows. When the store is away, what was known stays revoked."""

    def __init__(self, store: RevocationStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._document: bytes = b""
        self.current = Revoked()

    async def look(self) -> None:
        """Read what other replicas have revoked. Raises `redis.RedisError` or `OSError` when the store is away."""
        document = await self._store.read()
        if document != self._document:
            self.current = msgspec.json.decode(document, type=Revoked) if document else Revoked()
            self._document = document

    async def watch(self) -> None:
        """Read the store again and again, for as long as the layer runs."""
        while True:
            try:
                await self.look()
            except (redis.RedisError, OSError, msgspec.DecodeError) as error:
                log.warning("the revocations cannot be read, those that are known go on", reason=type(error).__name__)
            await asyncio.sleep(PACE)

    async def revoke(self, *, token: str = "", client: str = "") -> None:
        """Revoke a token by its id, or all tokens of a client until now. Raises as `look` does."""
        at = self._clock().timestamp()

        def add(document: bytes) -> bytes:
            known = msgspec.json.decode(document, type=Revoked) if document else Revoked()
            tokens = {name: when for name, when in known.tokens.items() if at - when < REMEMBERED}
            clients = {name: when for name, when in known.clients.items() if at - when < REMEMBERED}
            return msgspec.json.encode(
                Revoked(tokens | ({token: at} if token else {}), clients | ({client: at} if client else {}))
            )

        await self._store.change(add)
        await self.look()
