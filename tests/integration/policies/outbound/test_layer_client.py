"""What a layer makes of the answers of the next one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread

import pytest

from canonical.faults import Throttled, Unavailable
from canonical.ids import utc_now
from experience_apis.process_client import Process
from policies.catalogue.check import load
from policies.http.client import EXCHANGE
from policies.identity.issuer import Issuer
from policies.identity.key_ring import KeyRing
from policies.outbound.layer_client import AsyncLayerClient, LayerClient
from policies.store.documents import FileDocument
from tests.support.process_context import SOMEBODY

Ask = Callable[[str], object]


@contextmanager
def layer(status: int, body: bytes = b"{}", **headers: str) -> Generator[str]:
    """Run a layer that always answers the same, and give its address."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response_only(status)
            own = {"content-length": str(len(body)), EXCHANGE: self.headers[EXCHANGE]}
            given = {name.replace("_", "-"): value for name, value in headers.items()}
            for name, value in (own | given).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def from_a_thread(address: str) -> object:
    client = LayerClient(address, "system", lambda: "token", 5)
    try:
        return client.call("GET", "/it", dict[str, str])
    finally:
        client.close()


def from_the_loop(address: str) -> object:
    async def ask() -> object:
        client = AsyncLayerClient(address, "system", 5)
        try:
            return await client.forward("GET", "/it", "token")
        finally:
            await client.close()

    return asyncio.run(ask())


@pytest.mark.parametrize("ask", [from_a_thread, from_the_loop])
def test_a_layer_that_does_not_accept_our_token_is_asked_again_later(ask: Ask) -> None:
    with layer(401, b'{"type": "/problems/unauthenticated"}') as address, pytest.raises(Unavailable, match="token"):
        ask(address)


def in_a_channel(address: str) -> object:
    async def read() -> object:
        client = AsyncLayerClient(address, "process", 5)
        with TemporaryDirectory() as folder:
            keys = KeyRing(Path(folder, "key.pem"), FileDocument(Path(folder, "published.json")), utc_now)
            keys.tend()
        process = Process(client, Issuer(keys, utc_now), lambda: load().clients["experience-layer"])
        try:
            return await process.read(SOMEBODY, "orders", {}, dict[str, str])
        finally:
            await client.close()

    return asyncio.run(read())


@pytest.mark.parametrize("ask", [from_a_thread, in_a_channel])
def test_an_answer_to_another_request_is_none_of_the_layer(ask: Ask) -> None:
    with layer(200, x_exchange="another") as address, pytest.raises(Unavailable, match="not one of the layer"):
        ask(address)


@pytest.mark.parametrize("ask", [from_a_thread, in_a_channel])
@pytest.mark.parametrize("status", [200, 404, 502])
def test_an_answer_of_something_between_the_layers_is_none_of_the_layer(ask: Ask, status: int) -> None:
    with layer(status, b"<html>") as address, pytest.raises(Unavailable, match="not one of the layer"):
        ask(address)


def test_a_problem_that_a_channel_does_not_know_is_none_of_the_layer() -> None:
    unknown = b'{"type": "/problems/of-others", "title": "", "status": 404}'

    with layer(404, unknown) as address, pytest.raises(Unavailable):
        in_a_channel(address)


@pytest.mark.parametrize(("asked", "seconds"), [("7", 7.0), ("Sun, 01 Mar 2026 12:00:09 GMT", 9.0), ("sometime", None)])
def test_a_layer_may_say_when_to_ask_again_in_seconds_or_by_a_date(asked: str, seconds: float | None) -> None:
    headers = {"retry_after": asked, "date": "Sun, 01 Mar 2026 12:00:00 GMT"}

    with (
        layer(429, b'{"type": "/problems/platform-throttled"}', **headers) as address,
        pytest.raises(Throttled) as raised,
    ):
        from_a_thread(address)

    assert raised.value.retry_after == seconds
