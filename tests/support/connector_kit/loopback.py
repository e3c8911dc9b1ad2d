"""The loopback address that a connector under test speaks to: it passes requests on to the platform, records them,
and makes trouble on demand, so that a platform needs no switches of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Literal, cast

import httpx
import msgspec

PAGE = b"<!doctype html><title>Maintenance</title><p>We are back soon."
HOP = {
    b"connection",
    b"content-length",
    b"transfer-encoding",
    b"content-encoding",
    b"keep-alive",
    b"host",
    b"accept-encoding",
}
ALWAYS = 1_000_000


class Seen(msgspec.Struct, frozen=True):
    """A request as the connector sent it. `path` has its query."""

    method: str
    path: str
    body: bytes


Matching = Callable[[Seen], bool]


class Trouble(msgspec.Struct):
    """What happens to the next `times` requests that match: `lost_answer` acts and says nothing, `no_answer`
    neither acts nor answers, `answered` does not act and answers `status`, `headers` and `body`."""

    kind: Literal["lost_answer", "no_answer", "answered"]
    matching: Matching
    status: int = 503
    headers: Mapping[str, str] = {}
    body: bytes = b""
    times: int = 1


class Loopback:
    """A server on a free port of 127.0.0.1, in front of `upstream`."""

    def __init__(self, upstream: httpx.AsyncClient) -> None:
        self._upstream = upstream
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._server: asyncio.Server | None = None
        self.port = 0
        self.seen: list[Seen] = []
        self.troubles: list[Trouble] = []
        self.before: Callable[[Seen], Awaitable[None]] | None = None
        """Called with each request before it is passed on: to write to the platform while a list is read."""
        self.rewritten: Callable[[bytes], bytes] | None = None
        """Called with the body of each answer before it is passed on: to say what the platform would never store."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Refuse connections from here on, until `start`."""
        if self._server:
            self._server.close()
            running = dict(self._connections)
            for writer in running.values():
                writer.close()
            await asyncio.gather(*running)
            await self._server.wait_closed()
            self._server = None

    async def close(self) -> None:
        await self.stop()
        await self._upstream.aclose()

    def trouble(self, trouble: Trouble) -> None:
        self.troubles.append(trouble)

    def calm(self) -> None:
        self.troubles.clear()
        self.before = self.rewritten = None

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = cast("asyncio.Task[None]", asyncio.current_task())
        self._connections[task] = writer
        try:
            while await self._exchange(reader, writer):
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the connector, or `stop`, ended the connection
        finally:
            del self._connections[task]
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Exchange one request and its answer. Return whether the connection stays."""
        line, *fields = (await reader.readuntil(b"\r\n\r\n")).strip().split(b"\r\n")
        method, path, _ = line.decode().split(" ")
        headers = [
            (name.strip().lower(), value.strip()) for name, _, value in (each.partition(b":") for each in fields)
        ]
        body = await reader.readexactly(int(dict(headers).get(b"content-length", b"0")))
        request = Seen(method, path, body)
        self.seen.append(request)
        if self.before:
            await self.before(request)
        trouble = self._take(request)
        if trouble and trouble.kind == "no_answer":
            return False
        if trouble and trouble.kind == "answered":
            given = [(name.encode(), value.encode()) for name, value in trouble.headers.items()]
            _answer(writer, trouble.status, given, trouble.body)
            return True
        sent = [each for each in headers if each[0] not in HOP]
        response = await self._upstream.request(method, path, content=body, headers=sent)
        if trouble:
            return False
        content = self.rewritten(response.content) if self.rewritten else response.content
        _answer(writer, response.status_code, response.headers.raw, content)
        return True

    def _take(self, request: Seen) -> Trouble | None:
        for each in self.troubles:
            if each.matching(request):
                each.times -= 1
                if not each.times:
                    self.troubles.remove(each)
                return each
        return None


def _answer(writer: asyncio.StreamWriter, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    lines = [name + b": " + value for name, value in headers if name.lower() not in HOP]
    head = [b"HTTP/1.1 %d X" % status, *lines, b"content-length: %d" % len(body), b"", b""]
    writer.write(b"\r\n".join(head) + body)
