"""Limits of what a client may ask for: rates and a daily quota by cost, and how many calls at once.

Rules and keys are declared as slowapi declares them, and counted by `limits`' storages. Windows are fixed and aligned
to the clock, so that they are the same for every replica. With Redis each replica takes a small lease of a window at a
time, so that most calls cost no round trip; the price is a lease that is not used up, at most one hundredth of the
limit for each replica. When Redis is away, each replica counts in its own memory, and readiness says so.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from functools import lru_cache
from typing import Any

import msgspec
import structlog
from limits import RateLimitItem, parse_many
from limits.aio.storage import MemoryStorage, RedisStorage, Storage
from limits.errors import StorageError
from slowapi.wrappers import Limit, LimitGroup

from canonical.ids import Clock
from policies.catalogue.diff import listed, paired, reach
from policies.catalogue.explain import Outcome, Question
from policies.catalogue.model import Catalogue, Client, Count, Fact, Name, Operation, Path, Report
from policies.catalogue.sections import section
from policies.policy import Call, Headers, Policy, Rules
from policies.problems import ProblemError, problem_type
from policies.store.secret import NO_SECRET, Secret

LEASE = 0.01
"""The part of a shared window that a replica takes at a time."""
MANY = 10_000
"""Windows after which those that have ended are forgotten."""
PAUSE = 1.0
"""Seconds until a Redis that was away is asked again."""
THROTTLED = problem_type(
    "throttled",
    429,
    "Too many calls",
    "Wait as `Retry-After` says, and spread your calls.",
    "Your client has used up its share for now. `RateLimit-Policy` lists the limits, `RateLimit` says what is left. "
    "A call counts as `x-cost` of its operation in the contract says, also when it is refused afterwards.",
)
log = structlog.get_logger("tiergate.throttling")


KEPT_ANSWERS = 10_000
"""Answers to idempotency keys that are kept for a client at a time, where its tier does not say."""


class ThrottleTier(Fact, frozen=True):
    """How much a client may ask for: `rates` as in "100/second; 3000/minute", calls a `daily` quota, calls at once, and
    answers to idempotency keys that are kept for it at a time."""

    rates: Name
    daily: Count
    concurrent: Count
    kept_answers: Count = KEPT_ANSWERS


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
    return [*tier_limits(tier, operation.cost), *own_limits(operation)]


def tier_limits(tier: ThrottleTier, cost: int) -> list[Limit]:
    """Return the limits of a tier over all operations, for a call of this cost. Raises as `limits_of` does."""
    return limits_at(f"{tier.rates}; {tier.daily}/day", by_client, cost)


def own_limits(operation: Operation) -> list[Limit]:
    """Return the limits of the operation itself, for each client. Raises as `limits_of` does."""
    return limits_at(operation.rates, by_client_and_operation, operation.cost) if operation.rates else []


def limits_at(rates: str, key: Callable[[RateLimitedCall], str], cost: int = 1) -> list[Limit]:
    """Return limits that are counted by `key`, as slowapi declares them. Raises as `limits_of` does."""
    return list(_read(rates, key, cost))


@lru_cache(maxsize=512)
def _read(rates: str, key: Callable[[RateLimitedCall], str], cost: int) -> tuple[Limit, ...]:
    """Return limits as they are written. A catalogue has few, and each counts for hundreds of operations."""
    return tuple(LimitGroup(rates, key, None, False, None, None, None, cost, False))


def shared_storage(url: str, timeout: float, password: Secret = NO_SECRET) -> RedisStorage:
    """Return the storage of counts that replicas share, in the Redis at `url`. `timeout` is in seconds.

    Its errors are raised as `limits`' own.
    """
    from policies.store.shared_redis import with_password  # noqa: PLC0415 - and Redis, where there is one

    address, login = with_password(url, password)
    options: dict[str, Any] = login  # `limits` hands all options on, and declares few
    server = "redis+" if address.startswith("unix:") else ""  # it takes the socket for that of a Valkey else
    return RedisStorage(
        f"async+{server}{address}",
        wrap_exceptions=True,
        implementation="redispy",
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        **options,
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

    def grant(self, window: int, counted: int, asked: int) -> None:
        """Add what was granted of `asked` in `window`, unless another call has turned it meanwhile.

        `counted` is what all replicas have taken of the window, `asked` included.
        """
        if window != self.window:
            return
        granted = max(0, min(asked, self.amount - (counted - asked)))
        self.left += granted
        self.counted = min(counted, self.amount)
        self.exhausted = granted < asked

    def resets_in(self, now: float) -> int:
        """Return the whole seconds until the next window."""
        return math.ceil(self.ends_at - now)


class CountedIn(msgspec.Struct, frozen=True):
    """The windows that a call is counted in. `policies` is what its answers say of the limits."""

    windows: list[LimitWindow]
    policies: bytes

    def take(self, cost: int, now: float) -> Headers | None:
        """Count a call at once, as `RateLimiter.take` does; None, and nothing is counted, when a window must be leased
        first. `now` is in seconds since 1970, UTC."""
        short: LimitWindow | None = None
        for window in self.windows:
            if now >= window.ends_at:
                return None
            if window.left < cost:
                if not window.exhausted:
                    return None
                short = short or window
        if short is not None:
            after = short.resets_in(now)
            fields = {name.decode(): value.decode() for name, value in self.fields(now)}
            counts = f", of which this call counts {cost}," if cost > 1 else ""
            detail = f"The limit of {short.amount} in {short.period} s{counts} is used up; wait {after} s."
            raise ProblemError(THROTTLED, detail, headers={"Retry-After": str(after)} | fields)
        for window in self.windows:
            window.left -= cost
        return self.fields(now)

    def fields(self, now: float) -> Headers:
        """Return the limits, and what is left of the one that will be used up first."""
        nearest, remaining, least = self.windows[0], 0, math.inf
        for each in self.windows:
            amount = each.amount
            left = amount - each.counted + each.left  # at least so much is left in the window, over all replicas
            if left < least * amount:
                nearest, remaining, least = each, left, left / amount
        service = b'"%ds";r=%d;t=%d' % (nearest.period, max(0, remaining), nearest.resets_in(now))
        return [(b"ratelimit-policy", self.policies), (b"ratelimit", service)]


class RateLimiter:
    """Count calls against limits. `shared` is None when there is one replica, or no Redis."""

    def __init__(self, clock: Clock, shared: Storage | None = None) -> None:
        self._clock = clock
        self._shared = shared
        self._own = MemoryStorage()
        self._buckets: dict[tuple[RateLimitItem, str], LimitWindow] = {}
        self._tidied_at = MANY
        self._away_until = 0.0
        self.away = ""
        """Why counts are not shared although they should be; empty when they are."""

    async def take(self, call: RateLimitedCall, limits: list[Limit], cost: int, at: datetime | None = None) -> Headers:
        """Count a call at `at` (the clock's time if None), and return the `RateLimit` fields of its answer.

        The fields are those of draft-ietf-httpapi-ratelimit-headers-10. Raises `ProblemError` (429) with `Retry-After`
        when one limit is used up; then nothing is counted.
        """
        return await self.take_from(self.windows(call, limits), cost, (at or self._clock()).timestamp())

    async def take_from(self, counted: CountedIn, cost: int, now: float) -> Headers:
        """Count a call as `take` does, in windows that were looked up."""
        while (fields := counted.take(cost, now)) is None:
            for window in counted.windows:
                if now >= window.ends_at:
                    window.turn(now)
                if window.left < cost and not window.exhausted:
                    await self._lease(window, cost, now)
        return fields

    def windows(self, call: RateLimitedCall, limits: list[Limit]) -> CountedIn:
        """Return the windows that a call is counted in. They hold for as long as the limits do."""
        found = [self._bucket(limit.limit, limit.key_func(call)) for limit in limits]
        return CountedIn(found, ", ".join(each.policy for each in found).encode())

    def _bucket(self, item: RateLimitItem, key: str) -> LimitWindow:
        found = self._buckets.get((item, key))
        if found is None:
            if len(self._buckets) >= self._tidied_at:
                self._tidy()
            found = self._buckets[item, key] = LimitWindow(item, key)
        return found

    def _tidy(self) -> None:
        """Forget windows that have ended: a key can be anything that is sent. Counts are in the storage."""
        now = self._clock().timestamp()
        self._buckets = {key: window for key, window in self._buckets.items() if window.ends_at > now}
        self._tidied_at = max(MANY, 2 * len(self._buckets))

    async def _lease(self, bucket: LimitWindow, cost: int, now: float) -> None:
        async with bucket.lock:
            if bucket.left >= cost or bucket.exhausted:
                return  # another call has taken one meanwhile
            window = bucket.window
            name = f"{bucket.item.key_for(bucket.key)}/{window}"
            if self._shared is not None and now >= self._away_until:
                lease = max(cost, int(bucket.amount * LEASE))
                try:
                    bucket.grant(window, await self._shared.incr(name, 2 * bucket.period, amount=lease), lease)
                except StorageError as error:
                    self._lost(f"{type(error.storage_error).__name__}", now)
                else:
                    self._found()
                    return
            counted = await self._own.incr(name, 2 * bucket.period, amount=bucket.amount)
            bucket.grant(window, counted, bucket.amount)

    def _lost(self, reason: str, now: float) -> None:
        if not self.away:
            log.error("Redis is away, calls are counted in memory", reason=reason)
        self.away, self._away_until = reason, now + PAUSE

    def _found(self) -> None:
        if self.away:
            log.warning("Redis is back, calls are counted together again")
        self.away = ""


# ---- the policy


class RateLimits(Policy):
    """A call counts against its client's rates and daily quota, and against the operation's own rates."""

    def __init__(self, rules: Rules, limiter: RateLimiter) -> None:
        tiers = THROTTLE_TIERS.of(rules.catalogue)
        self._limits = {name: limits_of(tier, rules.operation) for name, tier in tiers.items()}
        self._operation_id = rules.operation_id
        self._cost = rules.operation.cost
        self._limiter = limiter
        self._counted: dict[str, CountedIn] = {}
        """The windows of each client that has called."""

    @staticmethod
    def applies(rules: Rules) -> bool:
        return not rules.operation.open

    def enter(self, call: Call) -> Awaitable[None] | None:
        counted = self._counted.get(call.client_name) or self._look_up(call)
        if counted is None:
            return None  # a layer of ours, whose caller has been counted
        fields = counted.take(self._cost, call.now.timestamp())
        if fields is None:
            return self._take(call, counted)
        call.marks += fields
        return None

    def _look_up(self, call: Call) -> CountedIn | None:
        if call.client is None or not call.client.tier:
            return None
        counted = self._limiter.windows(
            RateLimitedCall(call.client_name, self._operation_id), self._limits[call.client.tier]
        )
        self._counted[call.client_name] = counted
        return counted

    async def _take(self, call: Call, counted: CountedIn) -> None:
        call.marks += await self._limiter.take_from(counted, self._cost, call.now.timestamp())

    @classmethod
    def explain(cls, question: Question) -> Iterator[Outcome]:
        client, operation = question.client, question.operation
        if operation.open:
            return
        if client.tier is None:
            outcome = "none: a layer of ours, whose caller has been counted"
            yield Outcome(True, "throttle", outcome, question.of_operation)
            return
        tier = THROTTLE_TIERS.of(question.catalogue)[client.tier]
        outcome = f"{tier.rates}; {tier.daily} a day, {tier.concurrent} at once; this call counts {operation.cost}"
        yield Outcome(True, "throttle", outcome, ("throttle_tiers", client.tier))
        if operation.rates:
            yield Outcome(True, "throttle", f"{operation.rates} of this operation", question.of_operation)


# ---- its section of the catalogue


def _check(catalogue: Catalogue) -> Iterator[Report]:
    for path, rates in _written_rates(catalogue):
        try:
            parse_many(rates)
        except ValueError:
            yield path, f"{rates!r} is not a list of rates", 'write them as in "100/second; 3000/minute"'
    for name, client in catalogue.clients.items():
        yield from _check_client(catalogue, ("clients", name, "tier"), client)
    yield from _check_costs(catalogue)


def _check_costs(catalogue: Catalogue) -> Iterator[Report]:
    """Report a call that costs more than a whole window has: it would be refused for ever."""
    reached = {name: reach(catalogue, client) for name, client in catalogue.clients.items()}
    for path, operation_id, operation in catalogue.placed_operations():
        callers = [name for name, operations in reached.items() if operation_id in operations]
        for whom, limits in _limits_by_tier(catalogue, callers, operation):
            least = min((each.limit.amount for each in limits), default=operation.cost)
            if operation.cost > least:
                reason = f"it is more than the smallest limit of {whom}, which is {least}: every call is refused"
                yield (*path, "cost"), reason, "lower it, or raise the limit"


def _limits_by_tier(
    catalogue: Catalogue, callers: Iterable[str], operation: Operation
) -> Iterator[tuple[str, list[Limit]]]:
    """Yield the limits of an operation: its own, and those of each tier of which one of the `callers` is."""
    with suppress(ValueError):  # rates that cannot be read are reported as such
        yield "the operation itself", own_limits(operation)
        for name, tier in THROTTLE_TIERS.of(catalogue).items():
            clients = frozenset(each for each in callers if catalogue.clients[each].tier == name)
            if clients:
                yield listed(clients), tier_limits(tier, operation.cost)


def _written_rates(catalogue: Catalogue) -> Iterator[tuple[Path, str]]:
    for name, tier in THROTTLE_TIERS.of(catalogue).items():
        yield ("throttle_tiers", name, "rates"), tier.rates
    for path, _, operation in catalogue.placed_operations():
        if operation.rates:
            yield (*path, "rates"), operation.rates
    for name, platform in catalogue.platforms.items():
        yield ("platforms", name, "rate"), platform.rate


def _check_client(catalogue: Catalogue, path: Path, client: Client) -> Iterator[Report]:
    tiers = THROTTLE_TIERS.of(catalogue)
    if (client.tier is None) != (client.kind == "service"):
        yield path, "a layer of ours has no throttle tier, everybody else has one", "add it, or take it away"
    if client.tier is not None and client.tier not in tiers:
        known = ", ".join(sorted(tiers))
        yield path, f"there is no throttle tier {client.tier!r}", f"use one of {known}, or add it"


UNITS = {"rates": "", "daily": " a day", "concurrent": " at once", "kept_answers": " kept answers"}


def _diff(before: Catalogue, after: Catalogue) -> Iterator[str]:
    were, are = THROTTLE_TIERS.of(before), THROTTLE_TIERS.of(after)
    for name, old, new in paired(were, are):
        if new is None:
            yield f"Tier {name} is gone."
            continue
        clients = frozenset(each for each, client in after.clients.items() if client.tier == name)
        whom = f" ({listed(clients)})" if clients else ""
        if old is None:
            yield f"Tier {name}{whom} is new: {new.rates}; {new.daily} a day; {new.concurrent} at once."
            continue
        for field, unit in UNITS.items():
            if getattr(old, field) != getattr(new, field):
                yield f"Tier {name}{whom}: {getattr(old, field)}{unit} becomes {getattr(new, field)}{unit}."


THROTTLE_TIERS = section("throttle_tiers", dict[str, ThrottleTier], check=_check, diff=_diff, required=True)
