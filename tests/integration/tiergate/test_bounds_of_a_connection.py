"""What one connection may cost a layer: bytes, time, and how many there are. On the short way and on uvicorn's own."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Generator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from tiergate.dev.ports import free_port
from tiergate.dev.processes import Child, wait_for

SERVED = """
import asyncio, sys
from litestar import Litestar
from policies.chain.gate import STREAMED
from tiergate.server import server as serving
from tiergate.settings import Server

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        for step in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{step}.complete"})
        return
    body, more = b"", scope["path"] != "/unread"
    while more:
        message = await receive()
        if message["type"] != "http.request":
            return
        body, more = body + message["body"], message["more_body"]
    answer = b"%d %d" % (len(scope["headers"]), len(body)) if scope["path"] != "/long" else b"x" * 8_000_000
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(answer))]})
    await send({"type": "http.response.body", "body": answer})

class Layer(Litestar):
    async def __call__(self, scope, receive, send):
        await app(scope, receive, send)

layer = Layer(route_handlers=[])
layer.state[STREAMED] = {"/streamed"}
serving.log_as_json()
bounds = dict(connections=40, connections_per_address=30, head_seconds=1, body_seconds=1, write_seconds=1)
serving.run(layer, int(sys.argv[1]), Server(fast_path=sys.argv[2] == "on", **bounds))
"""
POST = b"POST / HTTP/1.1\r\nhost: a\r\n"
CHUNKED = POST + b"transfer-encoding: chunked\r\n\r\n"
WHOLE = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"


class Served:
    """A layer in a process of its own."""

    def __init__(self, port: int, child: Child) -> None:
        self.port = port
        self.child = child

    def connect(self, source: str = "127.0.0.1") -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), 10, (source, 0))

    def cpu(self) -> float:
        """Return the seconds of CPU that the process has used."""
        fields = Path(f"/proc/{self.child.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.fixture(scope="module", params=["on", "off"], ids=["short way", "uvicorn"])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[Served]:
    port = free_port()
    log = tmp_path_factory.mktemp("served") / "log"
    child = Child("layer", [sys.executable, "-c", SERVED, str(port), request.param], log)
    try:
        wait_for(f"http://127.0.0.1:{port}/", child, 30)
        yield Served(port, child)
    finally:
        child.stop()


def sent(connection: socket.socket, data: bytes) -> bytes:
    """Send something and return all that comes until the connection ends."""
    with suppress(ConnectionError):  # it may end before all was sent
        connection.sendall(data)
    return rest(connection)


def rest(connection: socket.socket) -> bytes:
    found = b""
    with suppress(ConnectionResetError):
        while data := connection.recv(65536):
            found += data
    return found


def status(answer: bytes) -> int:
    return int(answer.split(b" ")[1])


ENDLESS = {
    "request line": (b"GET /", b"a" * 65536, 431),
    "name of a header": (b"GET / HTTP/1.1\r\n", b"a" * 65536, 431),
    "value of a header": (b"GET / HTTP/1.1\r\nhost: a\r\nx: ", b"a" * 65536, 431),
    "headers": (b"GET / HTTP/1.1\r\nhost: a\r\n", b"x: y\r\n" * 8192, 431),
    "size of a chunk": (CHUNKED, b"0" * 65536, 431),
    "extension of a chunk": (CHUNKED + b"1;a=", b"a" * 65536, 431),
    "trailer": (CHUNKED + b"0\r\nx: ", b"a" * 65536, 431),
    "body": (POST + b"content-length: 1000000000\r\n\r\n", b"a" * 65536, 413),
    "chunks": (CHUNKED, b"10\r\n" + b"a" * 16 + b"\r\n", 413),
}


@pytest.mark.parametrize("part", ENDLESS)
def test_what_has_no_end_is_refused_before_it_is_gathered(served: Served, part: str) -> None:
    begin, piece, expected = ENDLESS[part]
    used = served.cpu()
    with closing(served.connect()) as connection:
        connection.sendall(begin)
        count = 0
        with suppress(ConnectionError):
            while count < 100_000_000:
                count += connection.send(piece * (65536 // len(piece)))
        answer = rest(connection)

    assert count < 16_000_000  # what the sockets of both sides hold
    assert not answer or status(answer) == expected  # a reset may overtake the answer
    assert served.cpu() - used < 0.5


@pytest.mark.parametrize(("part", "expected"), [("name of a header", 431), ("request line", 431), ("trailer", 431)])
def test_a_part_that_is_a_little_too_long_is_refused_with_a_problem(served: Served, part: str, expected: int) -> None:
    begin, piece, _ = ENDLESS[part]
    with closing(served.connect()) as connection:
        answer = sent(connection, begin + piece)

    head, _, body = answer.partition(b"\r\n\r\n")
    assert status(head) == expected
    assert b"connection: close" in head
    assert json.loads(body)["type"] == "/problems/head-too-large"


REFUSED = {
    "a trailer": CHUNKED + b"1\r\na\r\n0\r\nauthorization: Bearer x\r\n\r\n",
    "HTTP/2.0": b"GET / HTTP/2.0\r\nhost: a\r\n\r\n",
    "HTTP/0.9": b"GET / HTTP/0.9\r\nhost: a\r\n\r\n",
    "no version": b"GET /\r\n\r\n",
    "the beginning of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "another transfer coding": POST + b"transfer-encoding: gzip, chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
    "two transfer codings": POST
    + b"transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n1\r\na\r\n0\r\n\r\n",
    "a transfer coding of HTTP/1.0": CHUNKED.replace(b"1.1", b"1.0") + b"1\r\na\r\n0\r\n\r\n",
    "a folded header": b"GET / HTTP/1.1\r\nhost: a\r\nx: a\r\n b\r\n\r\n",
    "a line end of its own": b"GET / HTTP/1.1\nhost: a\n\n",
    "a space before the colon": b"GET / HTTP/1.1\r\nhost : a\r\n\r\n",
    "a byte beyond ASCII": b"GET /\xff HTTP/1.1\r\nhost: a\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01",
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_two_readers_would_read_in_two_ways_is_refused(served: Served, kind: str) -> None:
    with closing(served.connect()) as connection:
        answer = sent(connection, REFUSED[kind])

    head, _, body = answer.partition(b"\r\n\r\n")
    assert status(head) == 400
    assert json.loads(body)["type"] == "/problems/bad-request"
    assert json.loads(body)["correlation_id"].startswith("cor_")
    assert answer.count(b"HTTP/1.1 4") == 1


def test_no_connection_has_any_number_of_requests_waiting(served: Served) -> None:
    with closing(served.connect()) as connection:
        assert sent(connection, WHOLE * 200).count(b"HTTP/1.1 200") < 200


def test_an_upgrade_is_not_taken_and_http_goes_on(served: Served) -> None:
    upgrade = WHOLE.replace(b"\r\n\r\n", b"\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n")
    with closing(served.connect()) as connection:
        connection.sendall(upgrade + WHOLE.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))

        assert rest(connection).count(b"HTTP/1.1 200") == 2


@pytest.mark.parametrize(
    ("begun", "expected"),
    [
        (b"", b""),
        (b"POST / HTTP/1.1\r\nho", b"408"),
        (POST + b"content-length: 5\r\n\r\nab", b"408"),
        (CHUNKED + b"2\r\na", b"408"),
        (WHOLE + b"POST / HT", b"408"),
        (POST.replace(b"/ ", b"/unread ") + b"content-length: 5\r\n\r\nab", b"200"),
    ],
    ids=["nothing", "a head", "a body", "a chunk", "the next head", "a body that was not waited for"],
)
def test_a_request_that_never_becomes_whole_ends_its_connection(served: Served, begun: bytes, expected: bytes) -> None:
    with closing(served.connect()) as connection:
        began = time.monotonic()
        answers = sent(connection, begun)

    assert time.monotonic() - began < 5
    assert [each[:3] for each in answers.split(b"HTTP/1.1 ")[1:]][-1:] == ([expected] if expected else [])


def test_a_request_that_comes_byte_by_byte_has_no_more_time(served: Served) -> None:
    with closing(served.connect()) as connection:
        began = time.monotonic()
        for byte in (b"GET / HTTP/1.1\r\nx: " + b"y" * 1000)[:100]:
            try:
                connection.sendall(bytes([byte]))
            except ConnectionError:
                break
            time.sleep(0.05)

        assert time.monotonic() - began < 5


def streamed(connection: socket.socket, part: bytes, parts: int, length: int) -> bytes:
    """Send parts of a streamed body, ten a second, and return what comes until the connection ends."""
    head = b"POST /streamed HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
    connection.sendall(head % length)
    for _ in range(parts):
        connection.sendall(part)
        time.sleep(0.1)
    return rest(connection)


def test_a_streamed_body_has_time_while_it_comes_on_and_no_longer(served: Served) -> None:
    length = 25 * 16_384
    with closing(served.connect()) as steady:
        answered = streamed(steady, b"x" * 16_384, 25, length)
    with closing(served.connect()) as slow:
        ended = streamed(slow, b"x" * 4_096, 9, length)

    assert status(answered) == 200
    assert answered.endswith(b" %d" % length)
    assert status(ended) == 408


def test_an_answer_that_nobody_reads_ends_its_connection(served: Served) -> None:
    with closing(served.connect()) as connection:
        connection.sendall(b"GET /long HTTP/1.1\r\nhost: a\r\n\r\n")
        time.sleep(3)  # three times as long as it may wait

        assert len(rest(connection)) < 8_000_000


def test_no_address_has_all_connections_and_those_that_end_make_room(served: Served) -> None:
    open_ones = [served.connect() for _ in range(30)]
    try:
        for each in open_ones:
            each.sendall(WHOLE)
            assert b" 200 " in each.recv(4096)
        with closing(served.connect()) as connection:
            refused = sent(connection, b"")
        with closing(served.connect("127.0.0.2")) as other:
            other.sendall(WHOLE)
            assert b" 200 " in other.recv(4096)
            more = [served.connect("127.0.0.2") for _ in range(10)]
            for each in more[:9]:
                each.sendall(WHOLE)
                assert b" 200 " in each.recv(4096)
            full = rest(more[9])
            for each in more:
                each.close()
    finally:
        for each in open_ones:
            each.close()

    assert b" 503 " in refused
    assert b"from this address" in refused
    assert b" 503 " in full
    assert b"Too many connections are open" in full
    with closing(served.connect()) as connection:
        connection.sendall(WHOLE)
        assert b" 200 " in connection.recv(4096)
