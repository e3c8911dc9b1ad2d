"""Calls that leave for a platform: bounded in time, and what it means when there is no answer."""

from __future__ import annotations

import httpx
from pyreqwest.client import ClientBuilder
from pyreqwest.compatibility.httpx import HttpxTransport

from canonical.faults import PlatformFault, Unavailable, UnknownOutcome

NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)


class Http:
    """Sends bounded requests to one address. httpx's requests, answers and errors over a fast transport, without the
    client's cookies, redirects and authentication, which none of our peers has and which cost as much as the request.
    """

    def __init__(self, base_url: str, timeout: float) -> None:
        """`timeout` is in seconds, for the whole exchange."""
        self._base_url = base_url
        self._transport = HttpxTransport(ClientBuilder().build())
        self._extensions = {"timeout": {"read": timeout}}

    async def request(
        self, method: str, path: str, *, content: bytes = b"", headers: dict[str, str] | None = None
    ) -> httpx.Response:
        """The answer, with its body. Raises `httpx.RequestError` when there is none."""
        request = httpx.Request(
            method, self._base_url + path, content=content, headers=headers, extensions=self._extensions
        )
        response = await self._transport.handle_async_request(request)
        await response.aread()
        return response

    async def close(self) -> None:
        await self._transport.aclose()


def fault_of(error: httpx.RequestError, platform: str, *, safe: bool) -> PlatformFault:
    """What a broken exchange means. `safe` requests change nothing, so their outcome is never in doubt."""
    if safe or isinstance(error, NEVER_SENT):
        return Unavailable(platform, f"no answer ({type(error).__name__})")
    return UnknownOutcome(platform, f"no answer after the request was sent ({type(error).__name__})")
