"""Calls that leave for a platform: bounded in time, and what it means when there is no answer."""

from __future__ import annotations

from datetime import timedelta

import httpx
from pyreqwest import exceptions
from pyreqwest.client import ClientBuilder

from canonical.faults import PlatformFault, Unavailable, UnknownOutcome

NEVER_SENT = (
    httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol,
    exceptions.ConnectError, exceptions.ConnectTimeoutError, exceptions.PoolTimeoutError, exceptions.BuilderError,
)  # fmt: skip
BROKEN: dict[type[exceptions.RequestError], type[httpx.RequestError]] = {
    exceptions.ConnectTimeoutError: httpx.ConnectTimeout,
    exceptions.ConnectError: httpx.ConnectError,
    exceptions.PoolTimeoutError: httpx.PoolTimeout,
    exceptions.ReadTimeoutError: httpx.ReadTimeout,
    exceptions.RequestTimeoutError: httpx.ReadTimeout,
}


class WholeBodies(httpx.AsyncBaseTransport):
    """A transport for httpx that sends and reads bodies whole. Reading them in pieces costs more than all the rest."""

    def __init__(self, timeout: float) -> None:
        """`timeout` is in seconds, for the whole exchange."""
        self._client = ClientBuilder().timeout(timedelta(seconds=timeout)).build()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        builder = self._client.request(request.method, str(request.url)).headers(request.headers.multi_items())
        try:
            response = await builder.body_bytes(request.content).build().send()
            content = bytes(await response.bytes())
        except exceptions.RequestError as error:
            raise BROKEN.get(type(error), httpx.ReadError)(error.message, request=request) from error
        return httpx.Response(response.status, headers=list(response.headers.items()), content=content, request=request)

    async def aclose(self) -> None:
        await self._client.close()


class Http:
    """Sends bounded requests to one address. httpx's requests, answers and errors over a fast transport, without the
    client's cookies, redirects and authentication, which none of our peers has and which cost as much as the request.
    """

    def __init__(self, base_url: str, timeout: float) -> None:
        """`timeout` is in seconds, for the whole exchange."""
        self._base_url = base_url
        self._transport = WholeBodies(timeout)

    async def request(
        self, method: str, path: str, *, content: bytes = b"", headers: dict[str, str] | None = None
    ) -> httpx.Response:
        """The answer, with its body. Raises `httpx.RequestError` when there is none."""
        request = httpx.Request(method, self._base_url + path, content=content, headers=headers)
        return await self._transport.handle_async_request(request)

    async def close(self) -> None:
        await self._transport.aclose()


def fault_of(error: httpx.RequestError | exceptions.RequestError, platform: str, *, safe: bool) -> PlatformFault:
    """What a broken exchange means, through either client. `safe` requests change nothing, so their outcome is never in doubt."""
    if safe or isinstance(error, NEVER_SENT):
        return Unavailable(platform, f"no answer ({type(error).__name__})")
    return UnknownOutcome(platform, f"no answer after the request was sent ({type(error).__name__})")
