"""What a partner's server does with a webhook, however it behaves: it is one result, in time, and harms nobody."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.http.tls import tls_context
from policies.outbound.public_address import OutboundAddresses, Resolve, networks_of
from policies.outbound.webhook_sender import LONGEST_EXCERPT, WebhookResult, WebhookSender, in_turn
from tests.integration.policies.http.test_platform_http import made, serving

Answerer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
LOOPBACK = OutboundAddresses(networks=networks_of("127.0.0.0/8"))
BODY = b'{"type":"order.activated.v1"}'


def answering(*parts: bytes) -> Answerer:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for each in parts:
            writer.write(each)
        await writer.drain()

    return answer


def endless(part: bytes, first: bytes = b"", pause: float = 0.0) -> Answerer:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(first)
        while True:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause)

    return answer


@asynccontextmanager
async def listening(answer: Answerer) -> AsyncGenerator[tuple[int, list[bytes]]]:
    """Yield the port of a server, and what it was sent."""
    got: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        got.append(head + await reader.readexactly(len(BODY)))
        again = asyncio.StreamReader()
        again.feed_data(head)
        try:
            await answer(again, writer)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], got
    finally:
        server.close()


def sent(answer: Answerer, seconds: float = 5.0) -> tuple[WebhookResult, list[bytes]]:
    async def act() -> tuple[WebhookResult, list[bytes]]:
        async with listening(answer) as (port, got):
            sender = WebhookSender(LOOPBACK, seconds=seconds)
            return await sender.send(f"http://127.0.0.1:{port}/hooks?a=b", BODY, {"webhook-id": "evt_1"}), got

    return asyncio.run(act())


def test_any_2xx_is_a_delivery_and_no_more_than_its_status_is_read() -> None:
    found, got = sent(endless(b"x" * 65536, b"HTTP/1.1 202 Accepted\r\n\r\n"))

    assert (found.status, found.is_delivered, found.excerpt) == (202, True, "")
    (request,) = got
    assert request.startswith(b"POST /hooks?a=b HTTP/1.1\r\n")
    assert b"webhook-id: evt_1\r\n" in request
    assert b"content-type: application/json\r\n" in request
    assert request.endswith(BODY)


def test_a_refusal_keeps_its_first_words_and_nothing_that_is_no_text() -> None:
    body = b"no such\ncustomer\x00 \x1b[31m" + b"z" * 100_000
    found, _ = sent(answering(b"HTTP/1.1 500 Oh\r\nretry-after: 7\r\n\r\n", body))

    assert (found.status, found.is_delivered, found.retry_after) == (500, False, 7.0)
    assert found.reason == "it answered 500"
    assert found.excerpt.startswith("no such customer [31mzzz")
    assert len(found.excerpt) == LONGEST_EXCERPT


def test_a_packed_refusal_is_not_unpacked() -> None:
    found, _ = sent(
        answering(b"HTTP/1.1 500 Oh\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\n\x1f\x8b\x08\x00")
    )

    assert (found.status, found.excerpt) == (500, "")


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(answering(b"hello\r\n\r\n"), id="no HTTP"),
        pytest.param(answering(), id="nothing"),
        pytest.param(endless(b"X-More: " + b"a" * 1000 + b"\r\n", b"HTTP/1.1 200 OK\r\n"), id="endless headers"),
        pytest.param(answering(b"HTTP/1.1 200 OK\r\n" + b"A: " + b"a" * 200_000), id="a header without an end"),
    ],
)
def test_what_is_no_answer_is_a_failure(answer: Answerer) -> None:
    found, _ = sent(answer)

    assert found.status is None
    assert found.reason.startswith("no answer that is HTTP")


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(endless(b"", pause=0.05), id="silence"),
        pytest.param(endless(b"a", b"HTTP/1.1 200 OK\r\nx: ", 0.05), id="a header, letter by letter"),
        pytest.param(endless(b"HTTP/1.1 100 Continue\r\n\r\n", pause=0.01), id="endless 1xx responses"),
    ],
)
def test_who_is_slow_is_waited_for_as_long_as_one_exchange_may_take(answer: Answerer) -> None:
    found, _ = sent(answer, seconds=0.5)

    assert (found.status, found.reason) == (None, "no answer within 0 s")
    assert 400 < found.milliseconds < 3000


def test_a_redirect_is_not_followed_wherever_it_leads() -> None:
    found, got = sent(answering(b"HTTP/1.1 307 There\r\nlocation: http://169.254.169.254/latest\r\n\r\n"))

    assert found.status == 307
    assert "not followed" in found.reason
    assert len(got) == 1


def test_nobody_who_listens_is_a_failure() -> None:
    async def act() -> WebhookResult:
        async with listening(answering()) as (port, _):
            pass
        return await WebhookSender(LOOPBACK).send(f"http://127.0.0.1:{port}/", BODY, {})

    assert asyncio.run(act()).reason == "no connection: nobody takes it"


def test_a_name_that_leads_elsewhere_at_the_delivery_is_not_called() -> None:
    answers = ["93.184.215.14", "127.0.0.1"]

    async def rebound(_: str) -> list[str]:
        return [answers.pop(0)]

    async def act() -> tuple[str, WebhookResult, list[bytes]]:
        async with listening(answering()) as (port, got):
            sender = WebhookSender(OutboundAddresses(ports=frozenset({port})), rebound)
            url = await sender.check(f"https://hooks.example.com:{port}/", "nord")
            return url, await sender.send(url, BODY, {}), got

    url, found, got = asyncio.run(act())
    assert url.startswith("https://hooks.example.com:")
    assert found.reason == "not called: hooks.example.com cannot be found on the public Internet"
    assert not got


def test_the_address_that_was_checked_is_called_and_no_name_is_looked_up_again(tmp_path: Path) -> None:
    looked_up: list[str] = []

    async def resolve(name: str) -> list[str]:
        looked_up.append(name)
        return ["127.0.0.1"]

    found, got = over_tls(tmp_path, "platform.test", resolve)

    assert found.status == 200
    assert looked_up == ["platform.test"]
    assert b"host: platform.test:" in got[0]


def test_a_server_with_a_certificate_of_another_name_gets_nothing(tmp_path: Path) -> None:
    async def resolve(_: str) -> list[str]:
        return ["127.0.0.1"]

    found, got = over_tls(tmp_path, "other.test", resolve)

    assert found.reason.startswith("no connection: its certificate is not good")
    assert not got


def test_a_refusal_that_ends_in_what_is_no_tls_is_still_a_refusal(tmp_path: Path) -> None:
    async def resolve(_: str) -> list[str]:
        return ["127.0.0.1"]

    refusal = b"HTTP/1.1 500 Oh\r\ncontent-length: 1000\r\n\r\nno "
    found, _ = over_tls(tmp_path, "platform.test", resolve, refusal, b"this is no record of TLS")

    assert (found.status, found.reason) == (500, "it answered 500")


def over_tls(
    folder: Path,
    name: str,
    resolve: Resolve,
    answer: bytes = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
    bare: bytes = b"",
) -> tuple[WebhookResult, list[bytes]]:
    """Send to `name`, at which a server has the certificate of platform.test. It answers, and goes on without TLS with
    what is `bare`."""
    files = made(folder, "platform.test")

    async def act() -> tuple[WebhookResult, list[bytes]]:
        got: list[bytes] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            got.append(await reader.readuntil(b"\r\n\r\n"))
            await reader.readexactly(len(BODY))
            writer.write(answer)
            await writer.drain()
            os.write(writer.get_extra_info("socket").fileno(), bare)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=serving(files))
        async with server:
            sender = WebhookSender(LOOPBACK, resolve, tls_context(files.certificate))
            port = server.sockets[0].getsockname()[1]
            return await sender.send(f"https://{name}:{port}/", BODY, {}), got

    return asyncio.run(act())


def test_the_proxies_of_the_environment_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for each in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(each, "http://127.0.0.1:9")

    found, _ = sent(answering(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"))

    assert found.is_delivered


@given(st.lists(st.sampled_from(["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2"]), min_size=1))
def test_addresses_of_both_families_are_tried_in_turn(addresses: list[str]) -> None:
    found = in_turn(addresses)

    assert sorted(found) == sorted(addresses)
    assert found[0] == addresses[0]
    families = {":" in each for each in found[:2]}
    assert len(families) == len({":" in each for each in addresses})


def test_the_next_address_of_a_name_is_tried_when_one_takes_no_connection() -> None:
    async def two(_: str) -> list[str]:
        return ["127.0.0.99", "127.0.0.1"]

    async def act() -> WebhookResult:
        async with listening(answering(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")) as (port, _):
            return await WebhookSender(LOOPBACK, two).send(f"http://hooks.example.com:{port}/", BODY, {})

    assert asyncio.run(act()).is_delivered
