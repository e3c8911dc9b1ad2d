"""The pool of kept connections: one answer for each question, whatever the other side does."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from functools import partial
from typing import Any

import pytest

from canonical.faults import Unavailable, UnknownOutcome
from policies.http.client import HttpResponse, TransportFailure
from policies.http.http1 import LONGEST_LIFE, AsyncHttpClient, HttpClient, Origin

Answerer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n%bcontent-length: %d\r\n\r\n%b"


def named(request: bytes) -> bytes:
    """Return the header with which a layer names the request that it answers."""
    return next(line + b"\r\n" for line in request.split(b"\r\n") if line.startswith(b"x-exchange: "))


def answer_to(request: bytes, body: bytes) -> bytes:
    return ANSWER % (named(request), len(body), body)


Asked = Callable[..., Coroutine[Any, Any, tuple[list[bytes], int]]]


async def ask(
    kind: str,
    answer: Answerer,
    times: int = 1,
    seconds: float = 2.0,
    method: str = "GET",
    content: bytes = b"",
    pause: float = 0.0,
) -> tuple[list[bytes], int]:
    """Return the bodies of so many answers, one after another, and how many connections they took. Raises as
    `AsyncHttpClient.request`."""
    connections = 0

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await answer(reader, writer)
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    client, blocking, found = AsyncHttpClient(url, seconds), HttpClient(url), list[bytes]()
    try:
        for number in range(times):
            if kind == "in the loop":
                reply = await client.request(method, f"/{number}", seconds=seconds, content=content)
            else:
                reply = await asyncio.to_thread(
                    blocking.request, method, f"/{number}", seconds=seconds, content=content
                )
            found.append(reply.content)
            await asyncio.sleep(pause)
    finally:
        await client.close()
        blocking.close()
        server.close()
    return found, connections


@pytest.fixture(params=["in the loop", "in a thread"])
def asked(request: pytest.FixtureRequest) -> Asked:
    """Return `ask`, with each kind of connection."""
    return partial(ask, request.param)


def echo(*, count: int = 1000) -> Answerer:
    """Answers `count` requests on a connection with the path that was asked for, then closes it."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(count):
            request = await reader.readuntil(b"\r\n\r\n")
            path = request.split(b" ")[1]
            writer.write(answer_to(request, path))

    return answer


def test_reads_share_a_connection(asked: Asked) -> None:
    assert asyncio.run(asked(echo(), times=5)) == ([b"/0", b"/1", b"/2", b"/3", b"/4"], 1)


def test_a_kept_connection_that_was_closed_over_there_is_replaced_without_a_fault(asked: Asked) -> None:
    found, connections = asyncio.run(asked(echo(count=1), times=4))

    assert found == [b"/0", b"/1", b"/2", b"/3"]
    assert connections == 4


def test_an_answer_in_chunks_and_pieces_is_put_together(asked: Asked) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        mark = named(await reader.readuntil(b"\r\n\r\n"))
        for piece in (
            b"HTTP/1.1 200 OK\r\n" + mark + b"transfer-enc",
            b"oding: chunked\r\n\r\n3\r\nabc\r",
            b"\n2\r\nde\r\n0\r\n\r\n",
        ):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.01)

    assert asyncio.run(asked(answer))[0] == [b"abcde"]


async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()  # until the other side goes


async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    mark = named(await reader.readuntil(b"\r\n\r\n"))
    writer.write(b"HTTP/1.1 200 OK\r\n" + mark + b"content-length: 100\r\n\r\nabc")
    await writer.drain()


async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
    await writer.drain()


async def deaf(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
    """Closes at once."""


@pytest.mark.parametrize("answer", [silent, half, nonsense, deaf])
def test_no_answer_in_time_or_at_all_is_a_platform_that_is_away(asked: Asked, answer: Answerer) -> None:
    with pytest.raises(TransportFailure) as failed:
        asyncio.run(asked(answer, seconds=0.2))

    assert isinstance(failed.value.fault("erp", safe=True), Unavailable)
    assert isinstance(failed.value.fault("erp", safe=False), UnknownOutcome)


def test_nobody_there_is_a_platform_that_was_never_asked() -> None:
    async def ask() -> None:
        await AsyncHttpClient("http://127.0.0.1:1", 1.0).request("POST", "/", seconds=1.0)

    with pytest.raises(TransportFailure) as failed:
        asyncio.run(ask())
    with pytest.raises(TransportFailure) as refused:
        HttpClient("http://127.0.0.1:1").request("POST", "/", seconds=1.0)

    for each in (failed, refused):
        assert isinstance(each.value.fault("erp", safe=False), Unavailable)


def test_a_write_is_sent_whole_and_never_twice(asked: Asked) -> None:
    came: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        came.append(head.split(b" ")[0] + b" " + await reader.readexactly(5))
        if len(came) == 1:
            writer.write(answer_to(head, b"ok"))
            await reader.readuntil(b"\r\n\r\n")  # the second one comes, and the connection ends without a word

    with pytest.raises(TransportFailure) as failed:
        asyncio.run(asked(answer, times=2, method="POST", content=b"12345"))

    assert failed.value.request_sent
    assert came == [b"POST 12345"]


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("/a?b=c%20d&e=f", "/a?b=c%20d&e=f"),
        ("/a b", "/a%20b"),
        ("/ü\x9b", "/%C3%BC%C2%9B"),
        ("/a HTTP/1.1\r\nhost: b", "/a%20HTTP/1.1%0D%0Ahost:%20b"),
    ],
)
def test_a_path_is_one_whatever_is_in_it(path: str, sent: str) -> None:
    assert Origin("http://a").written("GET", path, None, b"") == f"GET {sent} HTTP/1.1\r\nhost: a\r\n\r\n".encode()


@pytest.mark.parametrize("header", ["x\r\nhost: b", "x\n", "x\0", "ü"])
def test_no_header_is_smuggled_into_a_request(header: str) -> None:
    with pytest.raises(ValueError, match=r"control character|ascii"):
        Origin("http://a").written("POST", "/", {"x-name": header}, b"")


def test_a_word_on_the_way_is_not_the_answer(asked: Asked) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" + answer_to(request, b"ok"))

    assert asyncio.run(asked(answer))[0] == [b"ok"]


def test_an_answer_of_no_length_ends_with_its_connection(asked: Asked) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        mark = named(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\n" + mark + b"\r\nall of ")
        await writer.drain()
        writer.write(b"it")

    assert asyncio.run(asked(answer, times=2)) == ([b"all of it", b"all of it"], 2)


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("pause", [0.0, 0.02], ids=["at once", "a moment later"])
def test_a_second_answer_is_the_answer_to_nothing(asked: Asked, pause: float, method: str) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        writer.write(answer_to(request, request.split(b" ")[1]))
        await asyncio.sleep(pause)
        writer.write(answer_to(request, b"other"))
        await reader.read()

    assert asyncio.run(asked(answer, times=2, method=method, pause=20 * pause))[0] == [b"/0", b"/1"]


@pytest.mark.parametrize("mark", [b"", b"x-exchange: 0-1\r\n", b"x-exchange:\r\n"], ids=["none", "another", "empty"])
def test_an_answer_that_names_another_request_is_none(asked: Asked, mark: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(ANSWER % (mark, 2, b"ok"))
        await reader.read()

    with pytest.raises(TransportFailure, match="not one of the layer's to this request") as failed:
        asyncio.run(asked(answer))

    assert failed.value.request_sent


SECOND = b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 1\r\n\r\nx"


@pytest.mark.parametrize(
    "tail",
    [SECOND, b"HTTP/1.1 101 Off\r\n\r\n", b"SSH-2.0", b"HT"],
    ids=["an answer", "an upgrade", "nonsense", "a beginning"],
)
def test_what_is_left_after_an_answer_closes_the_connection(asked: Asked, tail: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        writer.write(answer_to(request, request.split(b" ")[1]) + tail)
        await reader.read()

    assert asyncio.run(asked(answer, times=2, method="POST")) == ([b"/0", b"/1"], 2)


@pytest.mark.parametrize(
    ("begin", "more"),
    [
        (b"HTTP/1.1 200 OK\r\nx: ", b"y" * 4096),
        (b"HTTP/1.1 200 OK\r\n", b"x: y\r\n" * 700),
        (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100),
    ],
    ids=["a header", "headers", "1xx responses"],
)
def test_a_head_without_an_end_is_not_gathered(asked: Asked, begin: bytes, more: bytes) -> None:
    sent = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(begin)
        while sent < 50_000_000 and not writer.is_closing():
            writer.write(more)
            sent += len(more)
            await writer.drain()

    with pytest.raises(TransportFailure, match="head of the answer is too long"):
        asyncio.run(asked(answer, seconds=10))
    assert sent < 50_000_000


def test_a_read_that_is_given_up_leaves_its_answer_to_nobody_else() -> None:
    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            request = await reader.readuntil(b"\r\n\r\n")
            path = request.split(b" ")[1]
            await asyncio.sleep(0.1 if path == b"/slow" else 0)
            writer.write(answer_to(request, path))

    async def run() -> bytes:
        server = await asyncio.start_server(late, "127.0.0.1", 0)
        client = AsyncHttpClient(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", 2.0)
        given_up = asyncio.create_task(client.get("/slow", "", 2.0))
        await asyncio.sleep(0.02)
        given_up.cancel()
        await asyncio.gather(given_up, return_exceptions=True)
        found = (await client.get("/quick", "", 2.0)).content
        await client.close()
        server.close()
        return found

    assert asyncio.run(run()) == b"/quick"


@pytest.mark.parametrize("kind", ["in the loop", "in a thread"])
def test_a_name_that_has_moved_is_followed_however_busy_the_connection_is(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, host = 0.0, "127.0.0.1"
    resolve = socket.getaddrinfo

    def resolved(name: str, *args: Any, **options: Any) -> Any:
        return resolve(host if name == "layer.test" else name, *args, **options)

    async def run() -> list[bytes]:
        nonlocal now, host
        first, port = await serving("127.0.0.1", 0)
        second, _ = await serving("127.0.0.2", port)
        url, found = f"http://layer.test:{port}", list[bytes]()
        client, blocking = AsyncHttpClient(url, 2.0, lambda: now), HttpClient(url, lambda: now)
        for second_of_the_call in (0.0, LONGEST_LIFE - 1, LONGEST_LIFE, LONGEST_LIFE + 1):
            now = second_of_the_call
            if kind == "in the loop":
                reply = await client.request("POST", "/", seconds=2.0)
            else:
                reply = await asyncio.to_thread(blocking.request, "POST", "/", seconds=2.0)
            found.append(reply.content)
            host = "127.0.0.2"
        await client.close()
        blocking.close()
        first.close()
        second.close()
        return found

    monkeypatch.setattr(socket, "getaddrinfo", resolved)

    assert asyncio.run(run()) == [b"127.0.0.1", b"127.0.0.1", b"127.0.0.2", b"127.0.0.2"]


async def serving(host: str, port: int) -> tuple[asyncio.Server, int]:
    """Return a server that answers with its own address, and its port."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                writer.write(answer_to(await reader.readuntil(b"\r\n\r\n"), host.encode()))
        except asyncio.IncompleteReadError:
            writer.close()

    server = await asyncio.start_server(connected, host, port)
    return server, server.sockets[0].getsockname()[1]


# ---- a layer that lies

LIE, CUT, SLOW = 0.2, 0.02, 0.02
"""How many answers are followed by one that nobody asked for; after how many the connection ends; how many are late."""


class LyingLayer:
    """A layer that sends answers nobody asked for, at any moment, and late ones. It ends some connections."""

    def __init__(self, seed: int) -> None:
        self._draw = random.Random(seed)
        self._telling = set[asyncio.Task[None]]()
        self.lies = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while self._draw.random() > CUT:
                request = await reader.readuntil(b"\r\n\r\n")
                path = request.split(b" ")[1]
                if self._draw.random() < SLOW:
                    await asyncio.sleep(0.02)
                writer.write(answer_to(request, path))
                if self._draw.random() < LIE:
                    self.lies += 1
                    lie = self._draw.choice([answer_to(request, b"lie"), ANSWER % (b"", 3, b"lie")])
                    telling = asyncio.create_task(self._tell(writer, lie, self._draw.random() * 0.004))
                    self._telling.add(telling)
                    telling.add_done_callback(self._telling.discard)
        writer.close()

    async def _tell(self, writer: asyncio.StreamWriter, lie: bytes, pause: float) -> None:
        await asyncio.sleep(pause)
        if not writer.is_closing():
            writer.write(lie)


class Asking:
    """Callers of a layer that lies, of either kind: some wait too short a time, and some give up."""

    def __init__(self, url: str, seed: int) -> None:
        self.loop_client, self.thread_client = AsyncHttpClient(url, 0.01), HttpClient(url)
        self._draw = random.Random(seed)
        self.answered = 0

    async def in_the_loop(self, names: Iterable[str]) -> None:
        for name in names:
            method, seconds = self._draw.choice(["GET", "POST"]), self._draw.choice([2.0, 2.0, 0.01])
            asking = asyncio.create_task(self.loop_client.request(method, name, seconds=seconds))
            if self._draw.random() < 0.05:
                await asyncio.sleep(self._draw.random() * 0.002)
                asking.cancel()
            with contextlib.suppress(TransportFailure, asyncio.CancelledError):
                self._check(name, await asking)

    def in_a_thread(self, names: Iterable[str]) -> None:
        for name in names:
            method, seconds = self._draw.choice(["GET", "POST"]), self._draw.choice([2.0, 2.0, 0.01])
            with contextlib.suppress(TransportFailure):
                self._check(name, self.thread_client.request(method, name, seconds=seconds))

    def _check(self, name: str, answer: HttpResponse) -> None:
        assert answer.content == name.encode()
        assert answer.headers[b"content-type"] == b"text/plain"
        self.answered += 1


@pytest.mark.parametrize("times", [3_000, pytest.param(100_000, marks=pytest.mark.long)])
def test_no_caller_gets_an_answer_that_is_not_to_its_own_request(times: int) -> None:
    callers = 8
    names = [[f"/{caller}-{number}" for number in range(times // callers // 2)] for caller in range(2 * callers)]

    async def run() -> tuple[LyingLayer, Asking]:
        layer = LyingLayer(1)
        server = await asyncio.start_server(layer, "127.0.0.1", 0)
        asking = Asking(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", 2)
        await asyncio.gather(
            *(asking.in_the_loop(each) for each in names[:callers]),
            *(asyncio.to_thread(asking.in_a_thread, each) for each in names[callers:]),
        )
        await asking.loop_client.close()
        asking.thread_client.close()
        server.close()
        return layer, asking

    layer, asking = asyncio.run(run())
    assert layer.lies > times // 10
    assert asking.answered > times // 2
