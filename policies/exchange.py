"""One exchange over HTTP: bounded in time, and what it means when there is no answer."""

from __future__ import annotations

from datetime import timedelta

import httpx
from pyreqwest import exceptions
from pyreqwest.client import ClientBuilder

from canonical.faults import PlatformFault, Unavailable, UnknownOutcome

CONNECTING = timedelta(seconds=3)
"""How long a connection may take to be made: what failed then was never sent."""
NEVER_SENT = (httpx.ConnectError, httpx.PoolTimeout, httpx.UnsupportedProtocol)


def never_sent(error: exceptions.RequestError) -> bool:
    """Whether the fast client broke off before it sent anything. Its classes do not tell: a connection that ends before
    the answer is a `ConnectError` to it too, and an answer that comes too late a `ConnectTimeoutError`."""
    causes = (error.details or {}).get("causes") or []
    return any(cause["message"] == "client error (Connect)" for cause in causes)


class WholeBodies(httpx.AsyncBaseTransport):
    """A transport for httpx that sends and reads bodies whole. Reading them in pieces costs more than all the rest."""

    def __init__(self) -> None:
        self._client = ClientBuilder().connect_timeout(CONNECTING).build()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        builder = self._client.request(request.method, str(request.url)).headers(request.headers.multi_items())
        timeout = timedelta(seconds=request.extensions["timeout"])
        try:
            response = await builder.timeout(timeout).body_bytes(request.content).build().send()
            content = bytes(await response.bytes())
        except exceptions.RequestError as error:
            kind: type[httpx.RequestError] = httpx.ReadError
            if isinstance(error, exceptions.PoolTimeoutError):
                kind = httpx.PoolTimeout
            elif never_sent(error):
                kind = httpx.ConnectError
            elif isinstance(error, exceptions.RequestTimeoutError):
                kind = httpx.ReadTimeout
            raise kind(error.message, request=request) from error
        return httpx.Response(response.status, headers=list(response.headers.items()), content=content, request=request)

    async def aclose(self) -> None:
        await self._client.close()


class Http:
    """Sends bounded requests to one address. httpx's requests, answers and errors over a fast transport, without the
    client's cookies, redirects and authentication, which none of our peers has and which cost as much as the request.
    """

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url
        self._transport = WholeBodies()

    async def request(
        self, method: str, path: str, *, seconds: float, content: bytes = b"", headers: dict[str, str] | None = None
    ) -> httpx.Response:
        """The answer, with its body. `seconds` bounds the whole exchange. Raises `httpx.RequestError` when
        there is none."""
        url, bounds = self._base_url + path, {"timeout": seconds}
        request = httpx.Request(method, url, content=content, headers=headers, extensions=bounds)
        return await self._transport.handle_async_request(request)

    async def close(self) -> None:
        await self._transport.aclose()


def fault_of(error: httpx.RequestError | exceptions.RequestError, platform: str, *, safe: bool) -> PlatformFault:
    """What a broken exchange means, through either client. `safe` requests change nothing, so their outcome is never in doubt."""
    unsent = isinstance(error, NEVER_SENT) if isinstance(error, httpx.RequestError) else never_sent(error)
    if safe or unsent:
        return Unavailable(platform, f"no answer ({type(error).__name__})")
    return UnknownOutcome(platform, f"no answer after the request was sent ({type(error).__name__})")
