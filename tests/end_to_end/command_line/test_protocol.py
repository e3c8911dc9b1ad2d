"""How a layer is reached: reads that take the short way and all other requests share connections, and none is
confused."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Generator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

from tests.support.environment import Environment

READ = "/sales/v1/orders?limit=1"
MISSING = "/sales/v1/orders/ord_" + "0" * 32
ELSEWHERE = "/problems/not-found"
"""A path that is not passed through."""


class Connection:
    """One connection to the experience layer, byte by byte."""

    def __init__(self, environment: Environment) -> None:
        address = urlsplit(environment.sandbox.url("experience"))
        self._socket = socket.create_connection((address.hostname or "", address.port or 0), timeout=15)
        self._token = environment.channels.headers("sales-app")["authorization"]
        self._buffer = b""

    def request(self, path: str, *extra: str, method: str = "GET", version: str = "1.1", body: bytes = b"") -> bytes:
        lines = [f"{method} {path} HTTP/{version}", "host: x", f"authorization: {self._token}", *extra, "", ""]
        return "\r\n".join(lines).encode() + body

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def answer(self) -> tuple[int, bytes]:
        """Return (status, body) of the next answer."""
        while b"\r\n\r\n" not in self._buffer:
            self._more()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        length = next(int(each[15:]) for each in head.lower().split(b"\r\n") if each.startswith(b"content-length:"))
        while len(self._buffer) < length:
            self._more()
        body, self._buffer = self._buffer[:length], self._buffer[length:]
        return int(head.split(b" ")[1]), body

    def ended(self) -> bool:
        """Return whether the other side has closed, with nothing left unread."""
        return not self._buffer and not self._socket.recv(1)

    def _more(self) -> None:
        data = self._socket.recv(65536)
        if not data:
            raise ConnectionError(f"closed after {self._buffer!r}")
        self._buffer += data

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def connection(environment: Environment) -> Generator[Connection]:
    with connected(environment) as made:
        yield made


@contextmanager
def connected(environment: Environment) -> Generator[Connection]:
    made = Connection(environment)
    try:
        yield made
    finally:
        made.close()


def statuses(connection: Connection, count: int) -> list[int]:
    return [connection.answer()[0] for _ in range(count)]


def test_reads_writes_and_pages_share_a_connection(connection: Connection) -> None:
    found: list[int] = []
    for path, method in (
        (READ, "GET"),
        (ELSEWHERE, "GET"),
        (READ, "GET"),
        (READ, "POST"),
        (MISSING, "GET"),
        (READ, "GET"),
    ):
        connection.send(
            connection.request(path, "content-length: 0" if method == "POST" else "accept: */*", method=method)
        )
        found.append(connection.answer()[0])

    assert found == [200, 200, 200, 405, 404, 200]


def test_requests_that_are_sent_without_waiting_are_answered_in_order(connection: Connection) -> None:
    read, missing, page = (connection.request(path) for path in (READ, MISSING, ELSEWHERE))

    connection.send(read + missing + page + read)
    assert statuses(connection, 4) == [200, 404, 200, 200]

    for each in (read, missing, read, page, missing):  # one after the other, and none waits for the one before
        connection.send(each)
        time.sleep(0.001)
    assert statuses(connection, 5) == [200, 404, 200, 200, 404]


def test_a_request_may_come_in_pieces(connection: Connection) -> None:
    for byte in connection.request(READ):
        connection.send(bytes([byte]))
    assert statuses(connection, 1) == [200]

    half = connection.request(MISSING)
    connection.send(connection.request(READ) + half[:20])
    connection.send(half[20:])
    assert statuses(connection, 2) == [200, 404]


@pytest.mark.parametrize(("extra", "version"), [("connection: close", "1.1"), ("accept: */*", "1.0")])
def test_a_connection_ends_when_its_caller_wants_no_more(connection: Connection, extra: str, version: str) -> None:
    connection.send(connection.request(READ, extra, version=version))

    assert connection.answer()[0] == 200
    assert connection.ended()


@pytest.mark.parametrize(
    ("header", "body"),
    [
        ("content-length: 40", b"GET /sales/v1/orders HTTP/1.1\r\nx: yyyy\r\n\r\n"[:40]),
        ("transfer-encoding: chunked", b"1c\r\nGET /problems/x HTTP/1.1\r\n\r\n\r\n0\r\n\r\n"),
    ],
)
def test_the_body_of_a_read_is_never_taken_for_a_request(connection: Connection, header: str, body: bytes) -> None:
    connection.send(connection.request(READ, header, body=body))
    connection.send(connection.request(MISSING))

    assert statuses(connection, 2) == [200, 404]


def test_what_belongs_to_a_request_is_never_taken_for_one_wherever_it_is_cut(connection: Connection) -> None:
    inner = connection.request(READ)
    connection.send(f"GET {ELSEWHERE} HTTP/1.1\r\nx: ".encode())  # its host is in the rest of its head
    time.sleep(0.05)
    connection.send(inner)  # the end of that head, which looks like a request
    assert statuses(connection, 1) == [200]
    connection.send(connection.request(MISSING))
    assert statuses(connection, 1) == [404], "the inner request was answered too"

    connection.send(connection.request(READ, f"content-length: {len(inner)}", method="POST"))
    assert statuses(connection, 1) == [405]  # before its body has come
    connection.send(inner)
    connection.send(connection.request(MISSING))
    assert statuses(connection, 1) == [404], "the body was answered too"


@pytest.mark.parametrize(
    ("broken", "expected"),
    [
        (b"GET /sales/v1/orders?limit=1 HTTP/1.1\r\nhost x\r\n\r\n", 400),
        (b"GET /sales/v1/orders?limit=1 HTTP/1.1\r\nx: \x00\r\n\r\n", 400),
        (b"GET /sales/v1/orders?limit=1 HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", 400),
        (b"GET /sales/v1/orders?limit=1 HTTP/1.1\r\n" + b"x: " + b"y" * 40_000 + b"\r\n\r\n", 431),
        (b"GET /sales/v1/orders?limit=" + b"1" * 40_000 + b" HTTP/1.1\r\n\r\n", 431),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01", 400),
    ],
    ids=["no colon", "nul", "two lengths", "long header", "long path", "not HTTP"],
)
def test_what_is_no_request_is_refused_and_the_connection_ends(
    connection: Connection, broken: bytes, expected: int
) -> None:
    connection.send(broken)

    assert connection.answer()[0] == expected
    assert connection.ended()


def test_a_short_way_without_a_token_is_refused_like_any_other(environment: Environment) -> None:
    with connected(environment) as connection:
        connection.send(f"GET {READ} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
        status, body = connection.answer()

    assert (status, json.loads(body)["type"]) == (401, "/problems/unauthenticated")
