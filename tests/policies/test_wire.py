"""The pool of kept connections that reads go over: one answer for each question, whatever the other side does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from canonical.faults import Unavailable
from policies.wire import Wire

Answerer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: %d\r\n\r\n%b"


async def asked(answer: Answerer, times: int = 1, seconds: float = 2.0) -> tuple[list[bytes], int]:
    """The bodies of so many reads, one after another, and how many connections they took. Raises as `Wire.get`."""
    connections = 0

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await answer(reader, writer)
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    wire = Wire(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", seconds)
    try:
        found = [(await wire.get(f"/{number}", b"")).body for number in range(times)]
    finally:
        await wire.close()
        server.close()
    return found, connections


def echo(*, count: int = 1000) -> Answerer:
    """Answers `count` requests on a connection with the path that was asked for, then closes it."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(count):
            request = await reader.readuntil(b"\r\n\r\n")
            path = request.split(b" ")[1]
            writer.write(ANSWER % (len(path), path))

    return answer


def test_reads_share_a_connection() -> None:
    assert asyncio.run(asked(echo(), times=5)) == ([b"/0", b"/1", b"/2", b"/3", b"/4"], 1)


def test_a_kept_connection_that_was_closed_over_there_is_replaced_without_a_fault() -> None:
    found, connections = asyncio.run(asked(echo(count=1), times=4))

    assert found == [b"/0", b"/1", b"/2", b"/3"]
    assert connections == 4


def test_an_answer_in_chunks_and_pieces_is_put_together() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for piece in (
            b"HTTP/1.1 200 OK\r\ntransfer-enc",
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
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nabc")
    await writer.drain()


async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
    await writer.drain()


async def deaf(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
    """Closes at once."""


@pytest.mark.parametrize("answer", [silent, half, nonsense, deaf])
def test_no_answer_in_time_or_at_all_is_a_platform_that_is_away(answer: Answerer) -> None:
    with pytest.raises(Unavailable, match="no answer"):
        asyncio.run(asked(answer, seconds=0.2))


def test_nobody_there_is_a_platform_that_is_away() -> None:
    async def ask() -> None:
        await Wire("http://127.0.0.1:1", 1.0).get("/", b"")

    with pytest.raises(Unavailable, match="no answer"):
        asyncio.run(ask())


def test_a_read_that_is_given_up_leaves_its_answer_to_nobody_else() -> None:
    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            path = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1]
            await asyncio.sleep(0.1 if path == b"/slow" else 0)
            writer.write(ANSWER % (len(path), path))

    async def run() -> bytes:
        server = await asyncio.start_server(late, "127.0.0.1", 0)
        wire = Wire(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", 2.0)
        given_up = asyncio.create_task(wire.get("/slow", b""))
        await asyncio.sleep(0.02)
        given_up.cancel()
        await asyncio.gather(given_up, return_exceptions=True)
        found = (await wire.get("/quick", b"")).body
        await wire.close()
        server.close()
        return found

    assert asyncio.run(run()) == b"/quick"
