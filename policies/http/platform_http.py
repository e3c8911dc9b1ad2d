"""Requests to servers on the Internet, with the transport of httpx (docs/decisions/0015-httpx-for-platforms.md).

What its client does beside sending is done here, or not wanted: no cookies are kept, and no .netrc is read. HTTP/2 is
used where it is offered, as are the environment's proxies (`HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`) and the certificate
files of the settings. No redirect is followed.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import zlib
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any
from urllib.parse import quote, urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

from policies.http.client import CONNECTING, LONGEST, RESERVED, HttpResponse, TransportFailure
from policies.http.tls import tls_context

LONGEST_LIFE = 60.0
"""Seconds after which new connections are made.

So a changed address of a name is followed, however busy the old connections are.
"""
IDLE = 30.0
"""Seconds for which an idle connection is open.

Shorter than load balancers leave theirs, so that few requests meet its end.
"""
LONGEST_TARGET = 65536
"""Bytes of a path with its query."""
GZIP = zlib.MAX_WBITS | 16
DOTS = re.compile(r"/\.\.?(?=[/?#]|$)")
ACCEPTED = [("accept", "*/*"), ("accept-encoding", "gzip")]


class _Session:
    """Connections that are retired together."""

    __slots__ = ("connections", "made_at", "proxied", "running", "transport")

    def __init__(self, connections: int, tls: ssl.SSLContext, proxy: str | None, made_at: float) -> None:
        limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=IDLE)
        self.proxied = proxy is not None
        self.transport = httpx.AsyncHTTPTransport(verify=tls, http2=True, limits=limits, proxy=proxy)
        self.connections = connections
        self.made_at = made_at
        self.running = 0


class PlatformHttp:
    """Send requests to one origin, over at most `connections` connections."""

    def __init__(
        self, base_url: str, connections: int, tls: ssl.SSLContext | None = None, clock: Callable[[], float] = monotonic
    ) -> None:
        """Create a client of `base_url`, with no connection yet.

        `clock` returns seconds, and never goes back. Raises `ValueError` for a URL that is no address.
        """
        try:
            self._base = httpx.URL(base_url)
        except httpx.InvalidURL as error:
            raise ValueError("no address") from error
        self._prefix = urlsplit(base_url).path.rstrip("/")
        self._tls = tls or tls_context()
        self._clock = clock
        self._session: _Session | None = None
        self._left: list[_Session] = []
        self.connections = connections

    async def request(
        self, method: str, path: str, *, seconds: float, content: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> HttpResponse:
        """Return the answer, with its body decompressed. `seconds` bounds the whole exchange.

        Raises `TransportFailure`, and `ValueError` for a path or header that cannot be part of a request.
        """
        session = self._current()
        request = self._written(session, method, path, content, headers or {}, seconds)
        sent = False

        async def trace(event: str, info: dict[str, Any]) -> None:
            nonlocal sent
            # A CONNECT that opens a tunnel through a proxy is not the request.
            if event.endswith("send_request_headers.started") and info["request"].method != b"CONNECT":
                sent = True

        request.extensions["trace"] = trace
        session.running += 1
        try:
            async with asyncio.timeout(seconds):
                response = await session.transport.handle_async_request(request)
                try:
                    found = {name.lower(): value for name, value in response.headers.raw}
                    return HttpResponse(response.status_code, found, _unpacked(found, await _whole(response)))
                finally:
                    await response.aclose()
        except TimeoutError as error:
            raise TransportFailure("no answer in time", request_sent=sent) from error
        except _Unreadable as error:
            raise TransportFailure(str(error), request_sent=sent) from error
        except (httpx.TransportError, zlib.error) as error:
            raise TransportFailure(type(error).__name__, request_sent=sent) from error
        finally:
            session.running -= 1
            await self._close_left()

    def _written(
        self, session: _Session, method: str, path: str, content: bytes, headers: Mapping[str, str], seconds: float
    ) -> httpx.Request:
        if not all(f"{name}{value}".isprintable() for name, value in headers.items()):
            raise ValueError("a line end or a control character in a header")
        if (path and path[0] not in "/?") or DOTS.search(path):
            raise ValueError("the path would lead elsewhere")
        target = quote(f"{self._prefix}{path}", safe=RESERVED).encode() or b"/"
        if len(target) > LONGEST_TARGET:
            raise ValueError("the path is too long")
        limits = {"connect": min(CONNECTING, seconds), "read": None, "write": None, "pool": None}
        if session.proxied:  # it would take the target for its own
            url, extensions = self._base.copy_with(raw_path=target), {"timeout": limits}
        else:  # a URL would be taken apart and put together again
            url, extensions = self._base, {"timeout": limits, "target": target}
        return httpx.Request(method, url, content=content, headers=[*ACCEPTED, *headers.items()], extensions=extensions)

    def _current(self) -> _Session:
        """Return the connections for the next request.

        They are new ones when the present ones are too old, or when the number of connections was changed.
        """
        now, session = self._clock(), self._session
        if session is not None:
            if now - session.made_at < LONGEST_LIFE and session.connections == self.connections:
                return session
            self._left.append(session)
        self._session = session = _Session(self.connections, self._tls, _proxy(self._base), now)
        return session

    async def _close_left(self) -> None:
        """Close the retired connections on which the last request has ended."""
        while (ended := next((each for each in self._left if not each.running), None)) is not None:
            self._left.remove(ended)
            await ended.transport.aclose()

    async def close(self) -> None:
        for each in (self._session, *self._left):
            if each is not None:
                await each.transport.aclose()


class _Unreadable(Exception):
    """There is an answer, and it cannot be read."""


def _proxy(url: httpx.URL) -> str | None:
    """Return the proxy that the environment names for a URL, None when it is reached directly."""
    named = getproxies()
    direct = [each.strip() for each in named.get("no", "").split(",")]
    if "*" in direct or proxy_bypass(f"{url.host}:{url.port}" if url.port else url.host):
        return None
    proxy = named.get(url.scheme) or named.get("all")
    return f"http://{proxy}" if proxy and "://" not in proxy else proxy


async def _whole(response: httpx.Response) -> bytes:
    parts: list[bytes] = []
    size = 0
    assert isinstance(response.stream, httpx.AsyncByteStream)
    async for part in response.stream:
        size += len(part)
        if size > LONGEST:
            raise _Unreadable("the answer is too long")
        parts.append(part)
    return b"".join(parts)


def _unpacked(headers: Mapping[bytes, bytes], content: bytes) -> bytes:
    """Return the decompressed body, of at most `LONGEST` bytes: httpx has no bound for what a few bytes become."""
    encoding = headers.get(b"content-encoding", b"identity").lower()
    if encoding == b"identity" or not content:
        return content
    if encoding not in {b"gzip", b"x-gzip"}:
        raise _Unreadable("the answer is packed in a way that was not asked for")
    unpacking = zlib.decompressobj(GZIP)
    plain = unpacking.decompress(content, LONGEST)
    if not unpacking.eof or unpacking.unused_data:
        raise _Unreadable("the answer is too long, or not packed whole")
    return plain
