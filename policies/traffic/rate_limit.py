"""Limits of what a client may ask for: rates and a daily quota by cost, and how many calls at once.

Rules and keys are declared as slowapi declares them, and counted by `limits`' storages. Windows are fixed and aligned
to the clock, so that they are the same for every replica. With Redis each replica takes a small lease of a window at a
time, so that most calls cost no round trip; the price is a lease that is not used up, at most one hundredth of the
limit for each replica. When Redis is away, each replica counts in its own memory, and readiness says so.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable
from datetime import datetime

import msgspec
import structlog
from limits import RateLimitItem
from limits.aio.storage import MemoryStorage, RedisStorage, Storage
from limits.errors import StorageError
from slowapi.wrappers import Limit, LimitGroup

from canonical.ids import Clock
from policies.catalogue.model import Operation, ServiceTier, ThrottleTier
from policies.problems import OVERLOADED, THROTTLED, Headers, ProblemError

LEASE = 0.01
"""The part of a shared window that a replica takes at a time."""
PAUSE = 1.0
"""Seconds until a Redis that was away is asked again."""
log = structlog.get_logger("tiergate.throttling")


class RateLimitedCall(msgspec.Struct, frozen=True):
    """The parts of a request that key functions see."""

    client: str
    operation_id: str


def by_client(request: RateLimitedCall) -> str:
    """Return the key of one count for all calls of a client."""
    return request.client


def by_client_and_operation(request: RateLimitedCall) -> str:
    """Return the key of a count for each operation of a client."""
    return f"{request.client}:{request.operation_id}"


def limits_of(tier: ThrottleTier, operation: Operation) -> list[Limit]:
    """Return the limits that a call is counted against: the tier's over all operations, and the operation's own.

    Raises `ValueError` for a rate that is not in `limits`' notation ("100/second; 3000/minute").
    """
    return [*_limits(f"{tier.rates}; {tier.daily}/day", by_client, operation.cost), *own_limits(operation)]


def own_limits(operation: Operation) -> list[Limit]:
    """Return the limits of the operation itself, for each client. Raises as `limits_of` does."""
    return _limits(operation.rates, by_client_and_operation, operation.cost) if operation.rates else []


def _limits(rates: str, key: Callable[[RateLimitedCall], str], cost: int) -> list[Limit]:
    return list(LimitGroup(rates, key, None, False, None, None, None, cost, False))


def shared_storage(url: str, timeout: float) -> RedisStorage:
    """Return the storage of counts that replicas share, in the Redis at `url`. `timeout` is in seconds.

    Its errors are raised as `limits`' own.
    """
    return RedisStorage(
        f"async+{url}",
        wrap_exceptions=True,
        implementation="redispy",
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
    )


class LimitWindow:
    """What is left for one key in the present window of one limit, as far as this replica may use it."""

    def __init__(self, item: RateLimitItem, key: str) -> None:
        self.item = item
        self.key = key
        self.amount = item.amount
        self.period = int(item.get_expiry())
        self.policy = f'"{self.period}s";q={item.amount};w={self.period}'
        self.lock = asyncio.Lock()
        self.window = -1
        self.ends_at = 0.0
        self.left = 0
        self.counted = 0
        self.exhausted = False

    def turn(self, now: float) -> None:
        """Begin the window that `now` lies in. What was left of the old one is gone."""
        self.window, self.left, self.counted, self.exhausted = int(now // self.period), 0, 0, False
        self.ends_at = float((self.window + 1) * self.period)

    def grant(self, counted: int, asked: int) -> None:
        """Add what was granted of `asked`.

        `counted` is what all replicas have taken of the window, `asked` included.
        """
        granted = max(0, min(asked, self.amount - (counted - asked)))
        self.left += granted
        self.counted = min(counted, self.amount)
        self.exhausted = granted < asked

    def resets_in(self, now: float) -> int:
        """Return the whole seconds until the next window."""
        return math.ceil(self.ends_at - now)


class RateLimiter:
    """Count calls against limits. `shared` is None when there is one replica, or no Redis."""

    def __init__(self, clock: Clock, shared: Storage | None = None) -> None:
        self._clock = clock
        self._shared = shared
        self._own = MemoryStorage()
        self._buckets: dict[tuple[RateLimitItem, str], LimitWindow] = {}
        self._known: dict[tuple[str, str], tuple[list[Limit], list[LimitWindow], bytes]] = {}
        self._away_until = 0.0
        self._running: Counter[str] = Counter()
        self.away = ""
        """Why counts are not shared although they should be; empty when they are."""

    async def take(self, call: RateLimitedCall, limits: list[Limit], cost: int, at: datetime | None = None) -> Headers:
        """Count a call at `at` (the clock's time if None), and return the `RateLimit` fields of its answer.

        The fields are those of draft-ietf-httpapi-ratelimit-headers-10. Raises `ProblemError` (429) with `Retry-After`
        when one limit is used up; then nothing is counted.
        """
        now = (at or self._clock()).timestamp()
        buckets, policies = self._counted(call, limits)
        for bucket in buckets:
            if now >= bucket.ends_at:
                bucket.turn(now)
            if bucket.left < cost and not bucket.exhausted:
                await self._lease(bucket, cost, now)
        short: LimitWindow | None = None
        for bucket in buckets:  # all of them again: while one was leased, another may have been used up
            if bucket.left < cost:
                short = bucket
                break
        if short is not None:
            after = short.resets_in(now)
            headers = {"Retry-After": str(after)} | {
                name.decode(): value.decode() for name, value in _fields(buckets, policies, now)
            }
            allowed = f"{short.amount} in {short.period} s"
            raise ProblemError(THROTTLED, f"The limit of {allowed} is used up; wait {after} s.", headers=headers)
        for bucket in buckets:
            bucket.left -= cost
        return _fields(buckets, policies, now)

    def begin(self, client: str, tier: ThrottleTier) -> None:
        """Count a call as running. Raises `ProblemError` (429) when the client has too many running on this replica."""
        if self._running[client] >= tier.concurrent:
            detail = f"{tier.concurrent} calls of yours are running; wait until one has ended."
            raise ProblemError(THROTTLED, detail, headers={"Retry-After": "1"})
        self._running[client] += 1

    def end(self, client: str) -> None:
        self._running[client] -= 1

    def _counted(self, call: RateLimitedCall, limits: list[Limit]) -> tuple[list[LimitWindow], bytes]:
        """Return the windows of a call, and the `RateLimit-Policy` of its answers.

        They are looked up once, until the limits change.
        """
        key = (call.client, call.operation_id)
        known = self._known.get(key)
        if known is None or known[0] is not limits:
            buckets = [self._bucket(limit.limit, limit.key_func(call)) for limit in limits]
            known = self._known[key] = (limits, buckets, ", ".join(each.policy for each in buckets).encode())
        return known[1], known[2]

    def _bucket(self, item: RateLimitItem, key: str) -> LimitWindow:
        found = self._buckets.get((item, key))
        if found is None:
            found = self._buckets[item, key] = LimitWindow(item, key)
        return found

    async def _lease(self, bucket: LimitWindow, cost: int, now: float) -> None:
        async with bucket.lock:
            if bucket.left >= cost or bucket.exhausted:
                return  # another call has taken one meanwhile
            name = f"{bucket.item.key_for(bucket.key)}/{bucket.window}"
            if self._shared is not None and now >= self._away_until:
                lease = max(cost, int(bucket.amount * LEASE))
                try:
                    bucket.grant(await self._shared.incr(name, 2 * bucket.period, amount=lease), lease)
                except StorageError as error:
                    self._lost(f"{type(error.storage_error).__name__}", now)
                else:
                    self._found()
                    return
            bucket.grant(await self._own.incr(name, 2 * bucket.period, amount=bucket.amount), bucket.amount)

    def _lost(self, reason: str, now: float) -> None:
        if not self.away:
            log.error("Redis is away, calls are counted in memory", reason=reason)
        self.away, self._away_until = reason, now + PAUSE

    def _found(self) -> None:
        if self.away:
            log.warning("Redis is back, calls are counted together again")
        self.away = ""


class LoadShedder:
    """Count the calls that run on this replica. The lower a service tier, the sooner its calls are turned away."""

    def __init__(self) -> None:
        self.running = 0

    def begin(self, tier: ServiceTier) -> None:
        """Count one more call. Raises `ProblemError` (503) with `Retry-After` when there are too many for its tier."""
        if self.running >= tier.sheds_at:
            raise ProblemError(
                OVERLOADED, "Too much is going on; calls of higher tiers go first.", headers={"Retry-After": "1"}
            )
        self.running += 1

    def end(self) -> None:
        self.running -= 1


def _fields(buckets: list[LimitWindow], policies: bytes, now: float) -> Headers:
    """Return the limits, and the state of the one that will be used up first."""
    nearest, remaining, least = buckets[0], 0, math.inf
    for each in buckets:
        amount = each.amount
        left = amount - each.counted + each.left  # at least so much is left in the window, over all replicas
        if left < least * amount:
            nearest, remaining, least = each, left, left / amount
    service = b'"%ds";r=%d;t=%d' % (nearest.period, max(0, remaining), nearest.resets_in(now))
    return [(b"ratelimit-policy", policies), (b"ratelimit", service)]
