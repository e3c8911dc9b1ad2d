"""One exchange over HTTP: bounded in time, and what it means when there is no answer.

The fast client itself, without httpx's requests and answers around it: they cost as much as all the rest of the call, and
none of our peers has cookies, redirects or authentication that httpx would have to see to.
"""

from __future__ import annotations

from datetime import timedelta
from http import HTTPStatus

import msgspec
from pyreqwest.client import ClientBuilder
from pyreqwest.exceptions import PoolTimeoutError, RequestError

from canonical.faults import PlatformFault, Unavailable, UnknownOutcome

CONNECTING = timedelta(seconds=3)
"""How long a connection may take to be made: what failed then was never sent."""


class Reply(msgspec.Struct, frozen=True):
    """What came back, with its body whole. `retry_after` is the header of that name as it was sent."""

    status: int
    content: bytes
    retry_after: str = ""

    @property
    def is_success(self) -> bool:
        return HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES

    @property
    def is_server_error(self) -> bool:
        return self.status >= HTTPStatus.INTERNAL_SERVER_ERROR


class Http:
    """Sends bounded requests to one address."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url
        self._client = ClientBuilder().connect_timeout(CONNECTING).build()

    async def request(
        self, method: str, path: str, *, seconds: float, content: bytes = b"", headers: dict[str, str] | None = None
    ) -> Reply:
        """The answer, with its body. `seconds` bounds the whole exchange. Raises pyreqwest's `RequestError` when there
        is none."""
        request = self._client.request(method, self._base_url + path).timeout(timedelta(seconds=seconds))
        if headers:
            request = request.headers(headers)
        response = await request.body_bytes(content).build().send()
        return Reply(response.status, bytes(await response.bytes()), response.get_header("retry-after") or "")

    async def close(self) -> None:
        await self._client.close()


def fault_of(error: RequestError, platform: str, *, safe: bool) -> PlatformFault:
    """What a broken exchange means. `safe` requests change nothing, so their outcome is never in doubt."""
    if safe or never_sent(error):
        return Unavailable(platform, f"no answer ({type(error).__name__})")
    return UnknownOutcome(platform, f"no answer after the request was sent ({type(error).__name__})")


def never_sent(error: RequestError) -> bool:
    """Whether the client broke off before it sent anything. Its classes do not tell: a connection that ends before
    the answer is a `ConnectError` to it too, and an answer that comes too late a `ConnectTimeoutError`."""
    causes = (error.details or {}).get("causes") or []
    return isinstance(error, PoolTimeoutError) or any(cause["message"] == "client error (Connect)" for cause in causes)
