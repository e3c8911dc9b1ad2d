"""Calls that leave for a platform, as the catalogue allows them: the one client that all connectors share.

A request passes, in this order: ownership and residency of what it carries → bulkhead → the platform's rate → time left
→ circuit breaker → the exchange, bounded in time. What is safe to repeat is retried after a pause with jitter, within a
budget, and never when it could not end in time.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, Callable, Hashable, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from time import monotonic
from typing import TypeVar

import httpx
import msgspec
import structlog
from purgatory import AsyncCircuitBreakerFactory
from purgatory.domain.model import OpenedState

from canonical.faults import Throttled, Unavailable, UnknownOutcome
from policies.catalogue.live import LiveCatalogue
from policies.catalogue.model import DEFAULT, Breaker, Catalogue, Platform, PlatformCall
from policies.context import deadline
from policies.http.client import HttpResponse, TransportFailure
from policies.http.platform_http import PlatformHttp
from policies.observe import tracing
from policies.outbound import ownership
from policies.outbound.ownership import Carried, Fields, carried
from policies.outbound.platform_metrics import PlatformMetrics, Result
from policies.outbound.residency import Residency
from policies.problems import ProblemError
from policies.traffic.rate_limit import Limit, RateLimitedCall, RateLimiter, by_client, limits_at

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
Jitter = Callable[[], float]
"""A source of random numbers from 0 up to 1."""
SAVED = 10.0
"""The most retries that a quiet time can save up."""
WEIGHT = 0.2
"""The weight of the latest duration in what a call usually takes."""
FORGOTTEN = 0.9
"""The factor by which that shrinks each time a call is not begun because of it.

So a platform that was slow once is asked again.
"""
REDIRECTS = (301, 302, 303, 307, 308)
LONGEST_PLACE = 200
"""Characters of an address that a fault shows."""
TURNED_AWAY = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
"""Statuses with which the platform has not acted: even a write is safe to repeat."""
log = structlog.get_logger("tiergate.outbound")


class _Request(msgspec.Struct, frozen=True):
    """A request, the operation of ours that it is for, and the rules for it of the catalogue that governs it."""

    method: str
    path: str
    content: bytes
    headers: dict[str, str] | None
    safe: bool
    operation: str
    platform: Platform
    rule: PlatformCall


class _Broken(Exception):
    """The platform answered with a server error: the breaker counts it, and the caller still gets the answer."""

    def __init__(self, response: HttpResponse) -> None:
        super().__init__(response.status)
        self.response = response


class _KeptFor(dict[K, V]):
    """What a rule of the catalogue needs, made once: a catalogue that changes another rule leaves it as it is."""

    def __init__(self, make: Callable[[K], V]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, rule: K) -> V:
        made = self[rule] = self._make(rule)
        return made


class PlatformClient:
    """Send requests to one instance of a platform.

    The catalogue that governs the call to us governs all requests that are sent because of it.
    """

    def __init__(
        self,
        instance: str,
        base_url: str,
        known: Mapping[str, Fields],
        live_catalogue: LiveCatalogue,
        residency: Residency,
        throttle: RateLimiter,
        jitter: Jitter,
        metrics: PlatformMetrics,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Create the client of `instance` at `base_url`, with no connection yet.

        `known` declares what the fields of the platform's records are, by kind of record; `throttle` counts requests
        together with the other replicas; `tls` is what a connection trusts and shows, the machine's authorities if
        None. Raises `LookupError` when the catalogue has no such platform.
        """
        self._instance = instance
        self._known = known
        self._residency = residency
        self._http = PlatformHttp(base_url, 1, tls)
        self._throttle = throttle
        self._jitter = jitter
        self._metrics = metrics
        self.state = metrics.of(instance)
        self._queue = asyncio.Lock()
        self.last_date = b""
        """The `Date` of the last answer (RFC 9110, section 6.6.1)."""
        self._saved = SAVED
        self._usual: dict[str, float] = {}
        self._key = RateLimitedCall(f"platform:{instance}", "")
        self._slots = _KeptFor(asyncio.Semaphore)
        self._rates = _KeptFor(_limits)
        self._breakers = _KeptFor(self._make_breakers)
        self._live_catalogue = live_catalogue
        live_catalogue.when_changed(self._limit_connections)

    def _limit_connections(self, catalogue: Catalogue) -> None:
        if self._instance not in catalogue.platforms:
            raise LookupError(f"the catalogue has no platform {self._instance!r}")
        self.state.slots = self._http.connections = catalogue.platforms[self._instance].concurrent

    async def request(
        self,
        method: str,
        path: str,
        *,
        safe: bool,
        carries: list[Carried],
        content: bytes = b"",
        headers: dict[str, str] | None = None,
    ) -> HttpResponse:
        """Return the platform's answer, whatever its status.

        `safe` says that the same request twice does no more than once. `carries` holds the records that it writes, with
        what it writes to each; none for a read.

        Raises `Unavailable` or `UnknownOutcome` when there is no answer, `Throttled` when our own limit leaves no time,
        the first two also when the answer redirects, and `ProblemError` (403) when it carries what may not leave for
        this platform.
        """
        catalogue = self._live_catalogue.current
        platform = catalogue.platforms[self._instance]
        self._check(carries, catalogue, platform)
        operation = deadline.operation()
        rule = platform.calls.get(operation) or platform.calls[DEFAULT]
        wanted = _Request(method, path, content, headers, safe, operation, platform, rule)
        self._saved = min(SAVED, self._saved + platform.retries.budget)
        tried, lost = 0, False
        while True:
            tried += 1
            result = await self._try(wanted)
            lost = lost or (isinstance(result, TransportFailure) and result.request_sent)
            if isinstance(result, HttpResponse) and result.status not in TURNED_AWAY:
                _refuse_redirect(platform, result, safe=safe)
                return result
            pause = self._pause(platform, tried, result)
            if tried == rule.tries or not self._may_repeat(operation, pause):
                break
            await asyncio.sleep(pause)
        if lost and carries:  # one of the tries may have acted, whatever the last one says
            raise UnknownOutcome(
                platform.domain, "no answer after the request was sent, and none when it was sent again"
            )
        if isinstance(result, TransportFailure):
            raise result.fault(platform.domain, safe=True) from result
        return result

    def _check(self, carries: list[Carried], catalogue: Catalogue, platform: Platform) -> None:
        if carries:
            fields = carried(platform.domain, self._known, carries)
            ownership.check(catalogue, platform.domain, fields)
            self._residency.check_leaving(self._instance, platform.region, fields)

    def _pause(self, platform: Platform, tried: int, result: HttpResponse | TransportFailure) -> float:
        retries = platform.retries
        longest = min(retries.most, retries.first * 2 ** (tried - 1))
        asked = result.retry_after if isinstance(result, HttpResponse) else None
        return max(longest * self._jitter(), asked or 0.0)

    def _may_repeat(self, operation: str, pause: float) -> bool:
        """Return whether there is budget and time for one more try, and use up the budget."""
        needed = pause + self._usual.get(operation, 0.0)
        if self._saved < 1 or deadline.left(needed) < needed:
            return False
        self._saved -= 1
        return True

    async def _try(self, wanted: _Request) -> HttpResponse | TransportFailure:
        """Return an answer, or the failure of a request that may be repeated. Raises the fault of one that may not."""
        platform = wanted.platform
        breaker, slots = (
            await self._breakers[platform.breaker].get_breaker(self._instance),
            self._slots[platform.concurrent],
        )
        result: Result = "not_asked"
        try:
            async with self._slot(slots, wanted):
                await self._take_turn(wanted)
                seconds, began = self._time(wanted), monotonic()
                result = "no_answer"
                async with breaker:
                    response = await self._exchange(wanted, seconds)
                result = _result(response)
            took = monotonic() - began
            self._usual[wanted.operation] = took * WEIGHT + self._usual.get(wanted.operation, took) * (1 - WEIGHT)
            return response
        except _Broken as broken:
            result = _result(broken.response)
            return broken.response
        except TransportFailure as error:
            if wanted.safe or not error.request_sent:
                return error
            result = "unknown"
            raise error.fault(platform.domain, safe=False) from error
        except OpenedState as opened:
            result = "resting"
            resting = f"it failed {platform.breaker.failures} times in a row and is left alone for a moment"
            raise Unavailable(platform.domain, resting) from opened
        finally:
            self._metrics.count(self._instance, wanted.operation, result)

    @asynccontextmanager
    async def _slot(self, slots: asyncio.Semaphore, wanted: _Request) -> AsyncGenerator[None]:
        """Hold a slot at the platform. Raises as `_enter` does."""
        await self._enter(slots, wanted)
        self.state.running += 1
        try:
            yield
        finally:
            self.state.running -= 1
            slots.release()

    async def _exchange(self, wanted: _Request, seconds: float) -> HttpResponse:
        began = monotonic()
        try:
            with tracing.span(f"{self._instance} {wanted.operation}".strip(), to_platform=self._instance):
                headers = wanted.headers
                if present := tracing.outgoing():
                    headers = {**(headers or {}), tracing.HEADER: present}
                response = await self._http.request(
                    wanted.method, wanted.path, content=wanted.content, headers=headers, seconds=seconds
                )
        finally:
            self._metrics.took(self._instance, wanted.operation, monotonic() - began)
        self.last_date = response.headers.get(b"date", b"")
        if response.is_server_error:
            raise _Broken(response)
        return response

    def _time(self, wanted: _Request) -> float:
        """Return the seconds that the exchange may take.

        Raises `Unavailable` when the present call ends before the exchange usually would.
        """
        longest = wanted.rule.timeout
        left, usual = deadline.left(longest), min(self._usual.get(wanted.operation, 0.0), longest)
        if left <= 0 or left < usual:
            self._usual[wanted.operation] = usual * FORGOTTEN
            reason = f"not asked: {max(left, 0):.1f} s are left, and it takes {usual:.1f} s"
            raise Unavailable(wanted.platform.domain, reason)
        return left

    async def _enter(self, slots: asyncio.Semaphore, wanted: _Request) -> None:
        """Acquire a slot at the platform. Raises `Unavailable` when none becomes free in time."""
        time = self._time(wanted)
        if not slots.locked():
            await slots.acquire()  # at once: a timer would cost more than all of this
            return
        try:
            async with asyncio.timeout(time):
                await slots.acquire()
        except TimeoutError as error:
            busy = f"all {wanted.platform.concurrent} connections to it are in use"
            raise Unavailable(wanted.platform.domain, busy) from error

    async def _take_turn(self, wanted: _Request) -> None:
        """Wait, first come first served, until the platform's rate allows one more request.

        Raises `Throttled` when there is no time for that.
        """
        if not self._queue.locked() and not await self._counted(wanted):
            return
        try:
            async with asyncio.timeout(self._time(wanted)), self._queue:
                while True:
                    pause = await self._counted(wanted)
                    if not pause:
                        return
                    await asyncio.sleep(pause)
        except TimeoutError as error:
            reason = f"our limit of {wanted.platform.rate} leaves no room for the call"
            raise Throttled(wanted.platform.domain, reason, retry_after=1.0) from error

    async def _counted(self, wanted: _Request) -> float:
        """Count the request. Return 0, or the seconds until one more is allowed."""
        try:
            await self._throttle.take(self._key, self._rates[wanted.platform.rate], 1)
        except ProblemError as full:
            return float((full.headers or {}).get("Retry-After", "1"))
        return 0.0

    def _make_breakers(self, rule: Breaker) -> AsyncCircuitBreakerFactory:
        made = AsyncCircuitBreakerFactory(rule.failures, rule.rest, exclude=[asyncio.CancelledError])
        made.add_listener(self._note_change)
        self.state.breaker = "closed"
        return made

    def _note_change(self, circuit: str, happened: str, event: object) -> None:
        if happened == "state_changed":
            self.state.breaker = str(getattr(event, "state", ""))
            log.warning("circuit breaker", platform=circuit, state=self.state.breaker)

    async def close(self) -> None:
        await self._http.close()


def _limits(rate: str) -> list[Limit]:
    return limits_at(rate, by_client)


def _result(response: HttpResponse) -> Result:
    if response.status in TURNED_AWAY:
        return "throttled"
    if response.is_server_error:
        return "broken"
    return "rejected" if response.status >= HTTPStatus.BAD_REQUEST else "answered"


def _refuse_redirect(platform: Platform, reply: HttpResponse, *, safe: bool) -> None:
    """Raise `Unavailable` or `UnknownOutcome` for a redirect, which may lead to the page of a maintenance and pass.

    A request and its credentials go where the settings say, nowhere else.
    """
    if reply.status not in REDIRECTS:
        return
    to = reply.headers.get(b"location", b"nowhere").decode("latin-1")
    reason = f"it redirects to {_place(to)}, which is not followed: if it stays so, correct its url in the settings"
    raise (Unavailable if safe else UnknownOutcome)(platform.domain, reason, field="url")


def _place(location: str) -> str:
    """Return the target of a redirect, without its query, which may hold secrets or personal fields."""
    try:
        place = httpx.URL(location)
    except httpx.InvalidURL:
        return "no address"
    return str(place.copy_with(userinfo=b"", query=None, fragment=None))[:LONGEST_PLACE]
