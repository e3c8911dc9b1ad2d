"""How much a client may ask for: by rate, by day, by operation, by cost, at once; alone, and with other replicas."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from limits.aio.storage import MemoryStorage
from litestar.testing import TestClient

from policies.catalogue.model import Operation
from policies.policy import Call, Headers
from policies.problems import ProblemError
from policies.traffic.rate_limit import RateLimitedCall, RateLimiter, ThrottleTier, limits_of, shared_storage
from tests.support.governed_app import CATALOGUE, GOVERNOR, WRITER, Door
from tests.support.redis_server import RedisServer

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
CALL = RateLimitedCall("acme", "read")


class Counted:
    """A throttle with one tier, at a time that the test sets."""

    def __init__(self, tier: str = "5/second; 20/minute", daily: int = 1000, **operation: Any) -> None:
        self.now = NOW
        self.tier = ThrottleTier(tier, daily, 2)
        self.operation = Operation("t", "safe", "a:b", **operation)
        self.throttle = RateLimiter(lambda: self.now)

    def call(self, client: str = "acme", operation_id: str = "read") -> dict[str, str]:
        limits = limits_of(self.tier, self.operation)
        taken = self.throttle.take(RateLimitedCall(client, operation_id), limits, self.operation.cost)
        return {name.decode(): value.decode() for name, value in asyncio.run(taken)}

    def refused(self, client: str = "acme", operation_id: str = "read", detail: str = "") -> dict[str, str]:
        with pytest.raises(ProblemError, match=detail) as refusal:
            self.call(client, operation_id)
        assert refusal.value.problem.status == 429
        return refusal.value.headers or {}


def test_a_refusal_says_what_the_call_counts_when_that_is_more_than_one() -> None:
    counted = Counted(cost=3)
    counted.call()

    counted.refused(detail="The limit of 5 in 1 s, of which this call counts 3, is used up; wait 1 s.")


def test_a_rate_is_counted_by_client_and_starts_anew_with_its_window() -> None:
    counted = Counted()
    for _ in range(5):
        counted.call()

    assert counted.refused()["Retry-After"] == "1"
    counted.call("other")

    counted.now += timedelta(seconds=1)
    counted.call()


def test_every_limit_holds_and_the_refusal_says_how_long_to_wait() -> None:
    counted = Counted()
    for _ in range(4):
        for _ in range(5):
            counted.call()
        counted.now += timedelta(seconds=1)

    assert counted.refused()["Retry-After"] == "56"
    counted.now += timedelta(seconds=56)
    counted.call()


def test_the_daily_quota_ends_with_the_day() -> None:
    counted = Counted("100/second", daily=3)
    for _ in range(3):
        counted.call()

    assert counted.refused()["Retry-After"] == str(12 * 3600)
    counted.now += timedelta(hours=12)
    counted.call()


def test_a_call_counts_its_cost() -> None:
    counted = Counted("10/second", cost=4)
    counted.call()
    counted.call()

    counted.refused()


def test_an_operation_may_have_a_limit_of_its_own_for_each_client() -> None:
    counted = Counted("100/second", rates="2/minute")
    counted.call()
    counted.call()

    counted.refused()
    counted.call(operation_id="write")
    counted.call("other")


def test_a_refused_call_counts_nothing() -> None:
    counted = Counted("2/second; 3/minute")
    counted.call()
    counted.call()
    for _ in range(10):
        counted.refused()

    counted.now += timedelta(seconds=1)
    counted.call()
    counted.refused()


def test_the_answer_tells_the_policies_and_what_is_left() -> None:
    counted = Counted()

    fields = counted.call()

    assert fields["ratelimit-policy"] == '"1s";q=5;w=1, "60s";q=20;w=60, "86400s";q=1000;w=86400'
    assert fields["ratelimit"] == '"1s";r=4;t=1'
    for _ in range(4):
        fields = counted.call()
    assert fields["ratelimit"] == '"1s";r=0;t=1'
    assert counted.refused()["ratelimit"] == '"1s";r=0;t=1'


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(1, 3)), max_size=80))
def test_no_window_ever_lets_more_through_than_its_limit(calls: list[tuple[int, int]]) -> None:
    counted = Counted("7/second; 25/minute")
    seconds: Counter[int] = Counter()
    minutes: Counter[int] = Counter()
    for milliseconds, cost in calls:
        counted.now += timedelta(milliseconds=milliseconds)
        counted.operation = Operation("t", "safe", "a:b", cost=cost)
        try:
            counted.call()
        except ProblemError:
            continue
        seconds[int(counted.now.timestamp())] += cost
        minutes[int(counted.now.timestamp()) // 60] += cost

    assert max(seconds.values(), default=0) <= 7
    assert max(minutes.values(), default=0) <= 25


class SlowCounts(MemoryStorage):
    """Counts that others get at while one waits for them."""

    async def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        await asyncio.sleep(0.001)
        return await super().incr(key, expiry, amount)


def test_a_call_whose_lease_others_used_up_meanwhile_takes_another_one() -> None:
    throttle = RateLimiter(lambda: NOW, SlowCounts())
    limits = limits_of(ThrottleTier("200/second; 3000/minute", 10_000, 1), Operation("t", "safe", "a:b"))

    async def together() -> int:
        taken = [throttle.take(RateLimitedCall("acme", "read"), limits, 1) for _ in range(250)]
        return sum(isinstance(each, list) for each in await asyncio.gather(*taken, return_exceptions=True))

    assert asyncio.run(together()) == 200


class LateCounts(MemoryStorage):
    """Counts of which the first says, late, that others have used up the window."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.answer = asyncio.Event(), asyncio.Event()

    async def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        if not self.asked.is_set():
            self.asked.set()
            await self.answer.wait()
            return 1000
        return await super().incr(key, expiry, amount)


def test_what_is_said_of_a_window_after_its_end_does_not_count_in_the_next() -> None:
    limits = limits_of(ThrottleTier("5/second", 10_000, 1), Operation("t", "safe", "a:b"))

    async def calls() -> tuple[Headers, Headers]:
        counts = LateCounts()
        throttle = RateLimiter(lambda: NOW, counts)
        late = asyncio.create_task(throttle.take(CALL, limits, 1, NOW))
        await counts.asked.wait()
        following = asyncio.create_task(throttle.take(CALL, limits, 1, NOW + timedelta(seconds=1)))
        await asyncio.sleep(0)  # it turns the window, and waits for the lease
        counts.answer.set()
        return await asyncio.gather(late, following)

    late, following = asyncio.run(calls())
    assert dict(following)[b"ratelimit"] == b'"1s";r=4;t=1'
    assert dict(late)[b"ratelimit"] == b'"1s";r=3;t=2'


TIERED = (
    CATALOGUE.replace(
        'read = { scope = "shop:read", tier = "t"', 'read = { scope = "shop:read", tier = "first"'
    ).replace('sees = { scope = "shop:read", tier = "t"', 'sees = { scope = "shop:read", tier = "last"')
    + """
[service_tiers.first]
objective = "seconds"
timeout = 10
sheds_at = 3

[service_tiers.last]
objective = "hours"
timeout = 10
sheds_at = 2
"""
)


def asgi_scope(method: str, path: str, headers: dict[str, str]) -> Any:
    """Return the scope of a request, as a server makes it."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
        "state": {},
    }


class Running:
    """Calls of one client that have passed the policies and have not ended."""

    def __init__(self, door: Door) -> None:
        self._gate = door.gate
        self._headers = {name.encode(): value.encode() for name, value in door.headers().items()}

    async def begin(self, operation_id: str) -> Call:
        """Let a call in, or raise its refusal."""
        pipeline = self._gate.pipelines[operation_id]
        call = self._gate.call(pipeline, "/shop/v1/read", "v1", self._headers)
        try:
            if (waiting := pipeline.enter(call)) is not None:
                await waiting
        except ProblemError:
            pipeline.leave(call)
            raise
        return call

    def end(self, call: Call) -> None:
        self._gate.pipelines[call.rules.operation_id].leave(call)


def test_a_client_has_so_many_calls_at_once_and_no_more(tmp_path: Path) -> None:
    door = Door(tmp_path)
    door.catalogue.write_text(CATALOGUE.replace("concurrent = 50", "concurrent = 2"))
    door.live_catalogue.look()

    async def calls() -> ProblemError:
        running = Running(door)
        first, _ = await running.begin("read"), await running.begin("sees")
        with pytest.raises(ProblemError, match="2 calls of yours") as refused:
            await running.begin("sees")
        running.end(first)
        await running.begin("sees")
        return refused.value

    refused = asyncio.run(calls())
    assert (refused.problem.status, refused.headers) == (429, {"Retry-After": "1"})


def test_under_load_the_lower_service_tier_is_turned_away_first(tmp_path: Path) -> None:
    door = Door(tmp_path)
    door.catalogue.write_text(TIERED)
    door.live_catalogue.look()

    async def calls() -> ProblemError:
        running = Running(door)
        carried = [await running.begin("sees"), await running.begin("sees")]
        with pytest.raises(ProblemError) as shed:
            await running.begin("sees")
        carried.append(await running.begin("read"))
        with pytest.raises(ProblemError, match="higher tiers"):
            await running.begin("read")
        for call in reversed(carried):
            running.end(call)
        await running.begin("sees")
        return shed.value

    shed = asyncio.run(calls())
    assert (shed.problem.status, shed.headers) == (503, {"Retry-After": "1"})


def test_calls_that_are_open_to_all_take_nothing_from_those_of_clients(tmp_path: Path) -> None:
    door = Door(tmp_path)
    door.catalogue.write_text(CATALOGUE.replace("sheds_at = 100", "sheds_at = 8"))
    door.live_catalogue.look()

    async def calls() -> list[Call]:
        running = Running(door)
        carried = [await running.begin("hook"), await running.begin("hook")]  # a quarter of eight
        with pytest.raises(ProblemError, match="Too much is going on"):
            await running.begin("hook")
        carried += [await running.begin("read") for _ in range(8)]
        with pytest.raises(ProblemError, match="Too much is going on"):
            await running.begin("read")
        for call in carried:
            running.end(call)
        return [await running.begin("hook"), await running.begin("read")]

    assert len(asyncio.run(calls())) == 2


BEGUN: list[tuple[str, dict[str, str]]] = [("hook", {}), ("write", {}), ("order", {"idempotency-key": "k-1"})]


@pytest.mark.parametrize(("operation", "more"), BEGUN, ids=[each for each, _ in BEGUN])
def test_a_request_whose_body_never_comes_takes_no_slot(tmp_path: Path, operation: str, more: dict[str, str]) -> None:
    door = Door(tmp_path)
    headers = door.headers(WRITER) | {"host": "a", "content-type": "application/json"} | more
    request = ("POST", f"/shop/v1/{operation}", headers)

    async def calls() -> tuple[list[int], list[int]]:
        statuses, begun = list[int](), list[int]()

        async def heard(message: Any) -> None:
            statuses.extend([message["status"]] if message["type"] == "http.response.start" else [])

        async def nothing() -> Any:
            begun.append(1)
            await asyncio.Event().wait()

        async def whole() -> Any:
            return {"type": "http.request", "body": b'{"items": []}', "more_body": False}

        waiting = [asyncio.create_task(door.app(asgi_scope(*request), nothing, heard)) for _ in range(300)]
        await asyncio.wait(waiting, timeout=1)
        await door.app(asgi_scope(*request), whole, heard)
        await door.app(asgi_scope("GET", "/shop/v1/read", door.headers() | {"host": "a"}), whole, heard)
        for each in waiting:
            each.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        return statuses, begun

    statuses, begun = asyncio.run(calls())
    assert (statuses, len(begun)) == ([201, 200], 300)


def test_a_caller_meets_the_limits_at_the_door(tmp_path: Path) -> None:
    door = Door(tmp_path)
    door.catalogue.write_text(CATALOGUE.replace("1000/second", "2/second"))
    door.live_catalogue.look()

    answers = [door.client.get("/shop/v1/read", headers=door.headers()) for _ in range(3)]

    assert [each.status_code for each in answers] == [200, 200, 429]
    assert answers[0].headers["ratelimit"] == '"1s";r=1;t=1'
    assert answers[2].headers["retry-after"] == "1"
    assert answers[2].json()["type"] == "/problems/throttled"
    assert door.client.get("/health/live").status_code == 200


# ---- many replicas


RATE, REPLICAS, WINDOWS = 1000, 4, 3


def test_four_replicas_keep_a_limit_together_and_give_nearly_all_of_it(
    redis_server: RedisServer,
) -> None:
    command = [sys.executable, "-m", "tests.support.replica", redis_server.url, str(RATE)]
    began: list[int] = []
    everyone_is_ready = Barrier(REPLICAS, action=lambda: began.append(int(time.time()) + 1))

    def run(_: int) -> dict[str, int]:
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as replica:
            assert replica.stdout
            assert replica.stdout.readline() == "ready\n"
            everyone_is_ready.wait(60)
            return json.loads(replica.communicate(f"{began[0] + WINDOWS}\n")[0])

    allowed: Counter[int] = Counter()
    with ThreadPoolExecutor(REPLICAS) as pool:
        for counts in pool.map(run, range(REPLICAS)):
            allowed.update({int(second): count for second, count in counts.items()})

    windows = [allowed[began[0] + number] for number in range(WINDOWS)]
    assert max(windows) <= RATE * 1.01, windows
    assert min(windows) >= RATE * 0.95, windows


def test_when_redis_dies_and_comes_back_no_request_fails_and_it_is_said(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    door = Door(tmp_path, shared_storage(redis_server.url, 0.25))

    def calls(client: TestClient[Any]) -> set[int]:
        door.now += timedelta(seconds=1.5)
        return {client.get("/shop/v1/read", headers=door.headers()).status_code for _ in range(30)}

    def limits(client: TestClient[Any]) -> str:
        return str(client.get("/health/ready", headers=door.headers(GOVERNOR)).json().get("limits", "together"))

    with door.client as client:
        assert (calls(client), limits(client)) == ({200}, "together")
        redis_server.kill()
        assert calls(client) == {200}
        assert "counted in memory" in limits(client)
        redis_server.start()
        assert (calls(client), limits(client)) == ({200}, "together")
