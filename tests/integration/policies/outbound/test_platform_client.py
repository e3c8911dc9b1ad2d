"""What leaves for a platform: within its limits, given up in time, repeated when that is safe, and not begun in
vain."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from canonical.faults import Throttled, Unavailable, UnknownOutcome
from canonical.ids import utc_now
from policies.catalogue.live import LiveCatalogue, governed_by
from policies.context import deadline
from policies.http.client import HttpResponse
from policies.observe import tracing
from policies.observe.metrics import Metrics
from policies.observe.tracing import Tracer
from policies.outbound.layer_client import AsyncLayerClient
from policies.outbound.ownership import TECHNICAL
from policies.outbound.platform_client import PlatformClient
from policies.outbound.platform_metrics import PlatformMetrics
from policies.outbound.residency import Residency, record_of
from policies.problems import ProblemError
from policies.traffic.rate_limit import RateLimiter
from tests.support.governed_app import CATALOGUE, Door

T = TypeVar("T")
RULES = """
[regions.eu]
legal_entities = ["DE01"]
may_leave = ["order.id"]

[ownership.customer]
id = { owner = "tiergate", projections = ["erp"] }
name = { owner = "crm", projections = ["erp"] }
contact = { owner = "crm", projections = ["billing"] }
tax_number = { owner = "erp" }

[ownership.order]
id = { owner = "tiergate", projections = ["erp"] }

[platforms.erp-one]
domain = "erp"
connector = "tryton"
owner = "somebody"
region = "eu"
rate = "1000/second"
concurrent = 50
retries = { first = 0.01, most = 0.1, budget = 0.2 }
breaker = { failures = 100, rest = 0.2 }
calls.default = { timeout = 5, tries = 3 }
calls.put_erp_invoice = { timeout = 5, tries = 2 }

[apis.erp]
layer = "system"
owner = "somebody"
title = "ERP"
audit_days = 60
versions.v1 = { state = "active" }
operations.put_erp_invoice = { open = "signature", tier = "t", idempotency = "natural" }
"""
KNOWN = {
    "party": {
        "code": "customer.id",
        "name": "customer.name",
        "mail": "customer.contact",
        "vat": "customer.tax_number",
        "order": "order.id",
        "sort": TECHNICAL,
        "nested.*": "customer.name",
        "shoe_size": "customer.shoe_size",
    },
}
OK = (200, 0.0)
DROP = (0, 0.0)
BUSY = (503, 0.0)


class Server:
    """A platform on loopback. `script` holds (status, seconds) for the next requests, 0 for a broken connection; then
    all is well."""

    live_catalogue: LiveCatalogue

    def __init__(self, *script: tuple[int, float]) -> None:
        self.script = list(script)
        self.metrics = Metrics("system")
        self.seen: list[float] = []
        self.heads: list[str] = []
        self.running = 0
        self.most = 0
        self.connections = 0
        self.extra = b""
        """Headers of every answer, each with its line end."""

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                asked = await reader.readuntil(b"\r\n\r\n")
                self.heads.append(asked.decode().lower())
                self.seen.append(time.time())
                status, seconds = self.script.pop(0) if self.script else OK
                self.running += 1
                self.most = max(self.most, self.running)
                await asyncio.sleep(seconds)
                self.running -= 1
                if not status:
                    break
                head = b"HTTP/1.1 %d X\r\ncontent-length: 2\r\ncontent-type: application/json\r\n" % status
                head += b"".join(each + b"\r\n" for each in asked.split(b"\r\n") if each.startswith(b"x-exchange: "))
                writer.write(head + self.extra + b"\r\n{}")
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def run(
    tmp_path: Path,
    server: Server,
    act: Callable[[PlatformClient], Awaitable[T]],
    *changes: tuple[str, str],
    jitter: float = 0.0,
    address: Callable[[str], str] = str,
) -> T:
    """Return what `act` returns, with an outbound client to `server` under the rules above, changed. `address`
    returns the platform's own address, from that of the server."""
    rules = RULES
    for old, new in changes:
        assert old in rules
        rules = rules.replace(old, new)
    path = tmp_path / "catalogue.toml"
    path.write_text(CATALOGUE + rules)

    async def whole() -> T:
        listening = await asyncio.start_server(server.connected, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        server.live_catalogue = LiveCatalogue(path)
        residency = Residency(server.live_catalogue, "eu")
        outbound = PlatformClient(
            "erp-one",
            address(url),
            KNOWN,
            server.live_catalogue,
            residency,
            RateLimiter(utc_now),
            lambda: jitter,
            PlatformMetrics(server.metrics),
        )
        try:
            return await act(outbound)
        finally:
            await outbound.close()
            listening.close()

    return asyncio.run(whole())


async def read(outbound: PlatformClient) -> HttpResponse:
    return await outbound.request("GET", "/", safe=True, carries=[])


async def write(outbound: PlatformClient) -> HttpResponse:
    return await outbound.request("POST", "/", safe=False, carries=[], content=b"{}")


def test_each_try_is_a_span_that_the_platform_hears_of_while_calls_are_traced(tmp_path: Path) -> None:
    silent, server, exporter = Server(), Server(DROP), InMemorySpanExporter()
    run(tmp_path, silent, read)
    tracing.turn_on(Tracer("system", 1.0, SimpleSpanProcessor(exporter)))
    try:
        run(tmp_path, server, read)
    finally:
        tracing.turn_off()

    spans = exporter.get_finished_spans()
    heard = [
        found[1] for head in server.heads for found in [re.search(r"traceparent: 00-\w{32}-(\w{16})-", head)] if found
    ]
    assert heard == [f"{each.context.span_id:016x}" for each in spans if each.context]
    assert [each.status.is_ok for each in spans] == [False, True]
    assert "traceparent" not in silent.heads[0]


def test_a_read_is_tried_again_after_a_broken_connection(tmp_path: Path) -> None:
    server = Server(DROP, DROP)

    assert run(tmp_path, server, read).status == 200
    assert len(server.seen) == 3


def test_a_write_whose_outcome_is_unknown_is_not_tried_again(tmp_path: Path) -> None:
    server = Server(DROP)

    with pytest.raises(UnknownOutcome):
        run(tmp_path, server, write)

    assert len(server.seen) == 1


@pytest.mark.parametrize("status", [429, 503])
def test_even_a_write_is_tried_again_when_the_platform_turned_it_away(tmp_path: Path, status: int) -> None:
    server = Server((status, 0.0))

    assert run(tmp_path, server, write).status == 200
    assert len(server.seen) == 2


def test_the_last_answer_is_given_when_the_tries_are_used_up(tmp_path: Path) -> None:
    server = Server(*[BUSY] * 9)

    assert run(tmp_path, server, read).status == 503
    assert len(server.seen) == 3


def test_pauses_grow_and_a_random_part_of_each_is_waited(tmp_path: Path) -> None:
    server = Server(BUSY, BUSY)

    run(tmp_path, server, read, ("first = 0.01, most = 0.1", "first = 0.1, most = 5"), jitter=0.9)

    first, second = (later - sooner for sooner, later in zip(server.seen, server.seen[1:], strict=False))
    assert first >= 0.09
    assert second >= 0.18


def test_new_tries_stay_within_the_budget(tmp_path: Path) -> None:
    server = Server(*[BUSY] * 1000)

    async def many(outbound: PlatformClient) -> None:
        for _ in range(100):
            await read(outbound)

    run(tmp_path, server, many, ("failures = 100", "failures = 10000"))

    assert len(server.seen) <= 100 + 10 + 0.2 * 100


def test_a_platform_that_fails_again_and_again_is_left_alone_and_then_asked_again(tmp_path: Path) -> None:
    server = Server(*[(500, 0.0)] * 3)

    async def act(outbound: PlatformClient) -> None:
        for _ in range(3):
            await read(outbound)
        for _ in range(5):
            with pytest.raises(Unavailable, match="3 times in a row"):
                await read(outbound)
        assert len(server.seen) == 3
        async with asyncio.timeout(5):
            while len(server.seen) == 3:  # until it is asked again
                with contextlib.suppress(Unavailable):
                    assert (await read(outbound)).status == 200
                await asyncio.sleep(0.01)

    run(tmp_path, server, act, ("failures = 100", "failures = 3"))


def test_no_more_calls_run_at_once_than_the_platform_has_places(tmp_path: Path) -> None:
    server = Server(*[(200, 0.02)] * 20)

    async def many(outbound: PlatformClient) -> None:
        await asyncio.gather(*(read(outbound) for _ in range(20)))

    run(tmp_path, server, many, ("concurrent = 50", "concurrent = 4"))

    assert (len(server.seen), server.most) == (20, 4)


def test_who_finds_no_place_in_time_is_told_so(tmp_path: Path) -> None:
    server = Server((200, 1.0))

    async def act(outbound: PlatformClient) -> None:
        slow = asyncio.create_task(read(outbound))
        await asyncio.sleep(0.05)
        with deadline.within("get_posting", 0.1), pytest.raises(Unavailable, match="1 connections"):
            await read(outbound)
        await slow

    run(tmp_path, server, act, ("concurrent = 50", "concurrent = 1"))

    assert len(server.seen) == 1


def test_the_platforms_rate_is_kept_and_nobody_is_lost(tmp_path: Path) -> None:
    server = Server()

    async def many(outbound: PlatformClient) -> None:
        await asyncio.gather(*(read(outbound) for _ in range(12)))

    run(tmp_path, server, many, ("1000/second", "5/second"))

    assert len(server.seen) == 12
    # five, five and two: the last two begin a third second, and the first may arrive some time after it was counted
    assert server.seen[-1] - server.seen[0] >= 0.5


def test_a_call_that_the_rate_leaves_no_room_for_is_not_made(tmp_path: Path) -> None:
    server = Server()

    async def act(outbound: PlatformClient) -> None:
        await read(outbound)
        with deadline.within("get_posting", 0.1), pytest.raises(Throttled, match="1/day"):
            await read(outbound)

    run(tmp_path, server, act, ("1000/second", "1/day"))

    assert len(server.seen) == 1


def test_an_exchange_ends_when_the_call_ends_that_needs_it(tmp_path: Path) -> None:
    server = Server((200, 3.0))

    async def act(outbound: PlatformClient) -> float:
        began = time.monotonic()
        with deadline.within("get_posting", 0.2), pytest.raises(Unavailable):
            await read(outbound)
        return time.monotonic() - began

    assert run(tmp_path, server, act) < 1.5


def test_nothing_is_begun_that_cannot_end_in_time(tmp_path: Path) -> None:
    server = Server((200, 0.4), (200, 0.0))

    async def act(outbound: PlatformClient) -> None:
        with deadline.within("put_erp_invoice", 5.0):
            await write(outbound)
        with deadline.within("put_erp_invoice", 0.2), pytest.raises(Unavailable, match="not asked"):
            await write(outbound)
        with deadline.within("get_posting", 0.2):  # another operation has its own history
            await write(outbound)

    run(tmp_path, server, act)

    assert len(server.seen) == 2


def test_a_platform_that_was_slow_once_is_asked_again(tmp_path: Path) -> None:
    server = Server((200, 0.4))

    async def act(outbound: PlatformClient) -> int:
        with deadline.within("get_credit", 5.0):
            await read(outbound)
        for tried in range(20):
            try:
                with deadline.within("get_credit", 0.2):
                    await read(outbound)
            except Unavailable:
                continue
            return tried
        raise AssertionError("it was never asked again")

    assert 0 < run(tmp_path, server, act) < 10


def test_a_rule_of_an_operation_goes_before_the_default(tmp_path: Path) -> None:
    server = Server(*[BUSY] * 20)

    async def act(outbound: PlatformClient) -> list[int]:
        found: list[int] = []
        for operation in ("", "put_erp_invoice"):
            before = len(server.seen)
            with deadline.within(operation, 5.0):
                await read(outbound)
            found.append(len(server.seen) - before)
        return found

    assert run(tmp_path, server, act) == [3, 2]


def test_a_changed_catalogue_holds_from_the_next_call_on(tmp_path: Path) -> None:
    server = Server(*[BUSY] * 20)

    async def act(outbound: PlatformClient) -> int:
        path = tmp_path / "catalogue.toml"
        path.write_text(path.read_text().replace("timeout = 5, tries = 3", "timeout = 5, tries = 1"))
        server.live_catalogue.look()
        await read(outbound)
        return len(server.seen)

    assert run(tmp_path, server, act) == 1


def test_the_catalogue_that_let_a_call_in_governs_what_is_sent_because_of_it(tmp_path: Path) -> None:
    server = Server(*[BUSY] * 20)

    async def act(outbound: PlatformClient) -> list[int]:
        path = tmp_path / "catalogue.toml"
        with governed_by(server.live_catalogue.current):
            path.write_text(path.read_text().replace("timeout = 5, tries = 3", "timeout = 5, tries = 1"))
            server.live_catalogue.look()
            await read(outbound)
            before = len(server.seen)
        await read(outbound)
        return [before, len(server.seen) - before]

    assert run(tmp_path, server, act) == [3, 1]


def test_a_platform_that_is_left_alone_stays_so_when_something_else_of_the_catalogue_changes(tmp_path: Path) -> None:
    server = Server(*[(500, 0.0)] * 3)

    async def act(outbound: PlatformClient) -> None:
        for _ in range(3):
            await read(outbound)
        path = tmp_path / "catalogue.toml"
        path.write_text(path.read_text().replace("timeout = 5, tries = 2", "timeout = 4, tries = 2"))
        server.live_catalogue.look()
        with pytest.raises(Unavailable, match="3 times in a row"):
            await read(outbound)

    run(tmp_path, server, act, ("failures = 100, rest = 0.2", "failures = 3, rest = 60"))
    assert len(server.seen) == 3


def test_the_time_that_is_left_travels_to_the_next_layer() -> None:
    server = Server()

    async def act() -> None:
        listening = await asyncio.start_server(server.connected, "127.0.0.1", 0)
        client = AsyncLayerClient(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}", "process", 30.0)
        with deadline.within("read", 2.0):
            await client.fetch("/", "token")
            await client.forward("POST", "/", "token", {})
        with deadline.within("read", 0.0), pytest.raises(Unavailable, match="the time of the call is over"):
            await client.fetch("/", "token")
        await client.close()
        listening.close()

    asyncio.run(act())

    reported = [int(head.split("x-request-timeout: ")[1].split("\r\n")[0]) for head in server.heads]
    assert len(reported) == 2
    assert all(1000 < each <= 2000 for each in reported)


@pytest.mark.parametrize(
    ("asked", "least", "most"), [("2500", 2, 2.5), ("99999999", 9, 10), ("soon", 9, 10), ("", 9, 10)]
)
def test_a_call_has_the_time_of_its_tier_or_less_if_its_caller_waits_less(
    tmp_path: Path, asked: str, least: float, most: float
) -> None:
    door = Door(tmp_path)
    with door.client as client:
        left = client.get("/shop/v1/left", headers=door.headers() | {"x-request-timeout": asked}).json()

    assert least < left <= most


@pytest.mark.parametrize("script", [(0, 0.0), (200, 5.0)], ids=["broken", "late"])
def test_a_write_that_was_sent_and_not_answered_has_an_unknown_outcome(
    tmp_path: Path, script: tuple[int, float]
) -> None:
    server = Server(script)

    async def act(outbound: PlatformClient) -> None:
        with deadline.within("put_erp_invoice", 0.5):
            await write(outbound)

    with pytest.raises(UnknownOutcome):
        run(tmp_path, server, act)
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("variable", "scheme"), [("http_proxy", "http://"), ("all_proxy", "http://"), ("http_proxy", "")]
)
def test_a_platform_is_reached_through_the_proxy_that_the_environment_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, scheme: str
) -> None:
    proxy = Server()

    def address(proxy_url: str) -> str:
        monkeypatch.setenv(variable, proxy_url.replace("http://", scheme))
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        return "http://erp.example.com"

    assert run(tmp_path, proxy, read, address=address).status == 200
    assert proxy.heads[0].startswith("get http://erp.example.com/ http/1.1")


@pytest.mark.parametrize(
    ("location", "place"),
    [
        ("https://user:hush@login.example.com/sso?token=hush#hush", "https://login.example.com/sso,"),
        ("/elsewhere?token=hush", "/elsewhere,"),
    ],
)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_and_where_it_points_is_told_without_its_query(
    tmp_path: Path, status: int, location: str, place: str
) -> None:
    server = Server((status, 0.0))
    server.extra = f"location: {location}\r\n".encode()

    with pytest.raises(UnknownOutcome, match="redirects to") as refused:
        run(tmp_path, server, write)

    assert place in refused.value.reason
    assert "hush" not in str(refused.value)
    assert refused.value.field == "url"
    assert len(server.seen) == 1


@pytest.mark.parametrize("headers", [b"location: /maintenance\r\n", b"location: http://[\r\n", b""])
def test_a_read_that_is_redirected_may_be_asked_again_later(tmp_path: Path, headers: bytes) -> None:
    server = Server((302, 0.0))
    server.extra = headers

    with pytest.raises(Unavailable, match="redirects to"):
        run(tmp_path, server, read)


@pytest.mark.parametrize(("asked", "seconds"), [("0.2", 0.2), ("²", 0.0), ("-5", 0.0)])
def test_a_pause_is_as_long_as_the_platform_asks_for_and_nonsense_is_no_pause(
    tmp_path: Path, asked: str, seconds: float
) -> None:
    server = Server(BUSY)
    server.extra = f"retry-after: {asked}\r\n".encode("latin-1")

    assert run(tmp_path, server, read).status == 200

    first, second = server.seen
    assert second - first >= seconds


@pytest.mark.parametrize("asked", ["3600", "3600.5"])
def test_a_pause_that_is_longer_than_the_call_is_told_to_the_caller(tmp_path: Path, asked: str) -> None:
    server = Server((429, 0.0))
    server.extra = f"retry-after: {asked}\r\n".encode()

    async def in_a_call(outbound: PlatformClient) -> HttpResponse:
        with deadline.within("any", 1.0):
            return await read(outbound)

    answer = run(tmp_path, server, in_a_call)

    assert (answer.status, answer.retry_after, len(server.seen)) == (429, float(asked), 1)


def test_no_more_connections_are_made_than_the_platform_has_places(tmp_path: Path) -> None:
    server = Server(*[(200, 0.02)] * 20)

    async def many(outbound: PlatformClient) -> None:
        await asyncio.gather(*(read(outbound) for _ in range(20)))
        await read(outbound)

    run(tmp_path, server, many, ("concurrent = 50", "concurrent = 4"))

    assert (len(server.seen), server.connections) == (21, 4)


# ---- what may leave

Party = dict[str, object]


def sent(tmp_path: Path, party: Party, *changes: tuple[str, str], entity: str = "DE01") -> tuple[int, str]:
    """Return how many requests reached the platform, and which field was refused."""
    server = Server()

    async def act(outbound: PlatformClient) -> str:
        with record_of(entity):
            try:
                await outbound.request("POST", "/", safe=False, carries=[("party", [party])], content=b"{}")
            except ProblemError as refused:
                return refused.errors[0].path
        return ""

    field = run(tmp_path, server, act, *changes)
    return len(server.seen), field


@pytest.mark.parametrize(
    ("party", "refused"),
    [
        ({"code": "cus_1", "name": "A", "vat": "DE1", "sort": 1, "nested": {"deep": ["x"]}}, ""),
        ({"code": "cus_1", "mail": None}, ""),
        ({"code": "cus_1", "mail": "a@example.com"}, "customer.contact"),
        ({"code": "cus_1", "shoe_size": 42}, "customer.shoe_size"),
        ({"code": "cus_1", "colour": "red"}, "party.colour"),
        ({"code": {"deep": "cus_1"}}, "party.code.deep"),
    ],
    ids=[
        "owned and copies",
        "nothing in it",
        "a copy that is not declared",
        "owned by nobody",
        "unknown",
        "unknown depth",
    ],
)
def test_a_write_carries_what_the_platform_owns_and_declared_copies_alone(
    tmp_path: Path, party: Party, refused: str
) -> None:
    assert sent(tmp_path, party) == (0 if refused else 1, refused)


ELSEWHERE = ('owner = "somebody"\nregion = "eu"', 'owner = "somebody"\nregion = "us"')
WITH_US = ("[ownership.customer]", '[regions.us]\nlegal_entities = ["US01"]\n\n[ownership.customer]')


def test_a_record_is_not_sent_outside_its_region(tmp_path: Path) -> None:
    assert sent(tmp_path, {"code": "cus_1", "order": "ord_1"}, ELSEWHERE, WITH_US) == (0, "customer.id")


def test_the_fields_that_may_leave_their_region_do(tmp_path: Path) -> None:
    assert sent(tmp_path, {"order": "ord_1"}, ELSEWHERE, WITH_US) == (1, "")
    assert sent(tmp_path, {"code": "cus_1"}, ELSEWHERE, WITH_US, entity="US01") == (1, "")


def test_a_record_of_no_region_is_sent_nowhere(tmp_path: Path) -> None:
    assert sent(tmp_path, {"code": "cus_1"}, entity="ZZ99") == (0, "legal_entity")


def test_what_has_no_legal_entity_yet_stays_where_it_is(tmp_path: Path) -> None:
    assert sent(tmp_path, {"code": "cus_1"}, entity="") == (1, "")
    assert sent(tmp_path, {"code": "cus_1"}, ELSEWHERE, WITH_US, entity="") == (0, "customer.id")
