"""What the replicas of a layer share in Redis. It is imported only where there is one: it takes a tenth of a start, and
of the memory at rest."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote, urlsplit

import redis.asyncio
from redis import CredentialProvider

from policies.store.documents import StoreAway
from policies.store.secret import NO_SECRET, Secret
from policies.store.shared_store import Owner, StoreFull

PUT_IF_ABSENT = """
local there = redis.call('get', KEYS[1])
if there then return {0, there} end
if KEYS[2] then
  local time = redis.call('time')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  redis.call('zremrangebyscore', KEYS[2], '-inf', now)
  if redis.call('zcard', KEYS[2]) >= tonumber(ARGV[3]) then
    return {2, redis.call('zrange', KEYS[2], 0, 0, 'withscores')[2] - now}
  end
  redis.call('zadd', KEYS[2], now + ARGV[2], KEYS[1])
end
redis.call('set', KEYS[1], ARGV[1], 'px', ARGV[2])
return {1, ''}
"""
COMPARE_AND_SWAP = """
if redis.call('get', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('set', KEYS[1], ARGV[2], 'px', ARGV[3])
if KEYS[2] then
  local time = redis.call('time')
  redis.call('zadd', KEYS[2], time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[3], KEYS[1])
end
return 1
"""
COMPARE_AND_DELETE = """
if redis.call('get', KEYS[1]) ~= ARGV[1] then return 0 end
if KEYS[2] then redis.call('zrem', KEYS[2], KEYS[1]) end
return redis.call('del', KEYS[1])
"""
FULL = 2
"""What `PUT_IF_ABSENT` says where an owner has as many values as it may have."""


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

    async def put_if_absent(self, name: str, value: bytes, seconds: float, owner: Owner | None = None) -> bytes | None:
        keys, most = _keys(name, owner), owner.most if owner else 0
        with answering():
            done: Awaitable[tuple[int, bytes]] = self._redis.eval(
                PUT_IF_ABSENT, len(keys), *keys, value, int(seconds * 1000), most
            )
            what, there = await done
        if what == FULL:
            raise StoreFull(int(there) / 1000)
        return None if what else there

    async def read(self, name: str) -> bytes | None:
        with answering():
            found = await self._redis.get(_key(name))
        return found if isinstance(found, bytes) else None

    async def compare_and_swap(
        self, name: str, old: bytes, new: bytes, seconds: float, owner: Owner | None = None
    ) -> bool:
        keys = _keys(name, owner)
        with answering():
            done: Awaitable[int] = self._redis.eval(COMPARE_AND_SWAP, len(keys), *keys, old, new, int(seconds * 1000))
            return await done == 1

    async def compare_and_delete(self, name: str, old: bytes, owner: Owner | None = None) -> None:
        keys = _keys(name, owner)
        with answering():
            await self._redis.eval(COMPARE_AND_DELETE, len(keys), *keys, old)

    async def add(self, name: str, counts: dict[str, int]) -> None:
        with answering():
            async with self._redis.pipeline() as pipeline:
                for field, value in counts.items():
                    pipeline.hincrby(_key(name), field, value)
                await pipeline.execute()

    async def counts(self, name: str) -> dict[str, int]:
        with answering():
            found: dict[bytes, bytes] = await self._redis.hgetall(_key(name))
        return {field.decode(): int(value) for field, value in found.items()}


class RedisDocument:
    """A document that is a value in Redis, for replicas that share no database."""

    def __init__(self, url: str, key: str, timeout: float, password: Secret = NO_SECRET) -> None:
        self._redis = redis_at(url, timeout, password)
        self._key = key

    async def read(self) -> bytes:
        """Return what the document says; empty when there is none. Raises `StoreAway`."""
        with answering():
            found = await self._redis.get(self._key)
        return found if isinstance(found, bytes) else b""

    async def change(self, act: Callable[[bytes], bytes]) -> None:
        """Replace the document by what `act` makes of it. Concurrent changes are done one after the other. Raises
        `StoreAway`."""
        with answering():
            async with self._redis.pipeline() as pipeline:
                while not await self._changed(pipeline, act):
                    pass  # another replica was faster: change its document

    async def _changed(self, pipeline: Any, act: Callable[[bytes], bytes]) -> bool:
        try:
            await pipeline.watch(self._key)
            found = await pipeline.get(self._key)
            pipeline.multi()
            pipeline.set(self._key, act(found if isinstance(found, bytes) else b""))
            await pipeline.execute()
        except redis.WatchError:
            return False
        return True


@contextmanager
def answering() -> Generator[None]:
    """Raise `StoreAway` for whatever Redis cannot do now."""
    try:
        yield
    except (redis.RedisError, OSError) as error:
        raise StoreAway(type(error).__name__) from error


def _keys(name: str, owner: Owner | None) -> list[str]:
    """Return the keys of a value: its own, and that of what its owner has."""
    return [_key(name), *([_key(f"of:{owner.name}")] if owner else [])]


def _key(name: str) -> str:
    return f"tiergate:{name}"
