"""Calls that leave for the next layer: bounded in time, with a token of our own and the correlation id."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any, TypeVar

import httpx
import msgspec
from pyreqwest.client import ClientBuilder, SyncClientBuilder
from pyreqwest.compatibility.httpx import HttpxTransport, SyncHttpxTransport

from canonical.faults import PlatformFault, Rejected, Throttled, Unavailable, UnknownOutcome
from policies import correlation
from policies.problems import FAULT_BY_NAME

T = TypeVar("T")
Token = Callable[[], str]
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


class _Refusal(msgspec.Struct, frozen=True):
    """The members of a problem that the caller acts on."""

    type: str = ""
    detail: str = ""
    platform: str = ""
    field: str = ""


def _decoded(response: httpx.Response, layer: str, expected: type[T]) -> T:
    if response.is_success:
        return msgspec.json.decode(response.content, type=expected)
    try:
        refusal = msgspec.json.decode(response.content, type=_Refusal)
    except msgspec.DecodeError:
        refusal = _Refusal(detail=f"{layer} answered {response.status_code}")
    fault = FAULT_BY_NAME.get(refusal.type.removeprefix("/problems/"))
    platform = refusal.platform or layer
    if fault is not None:
        after = response.headers.get("retry-after")
        raise fault(platform, refusal.detail, field=refusal.field, retry_after=float(after) if after else None)
    if response.status_code == HTTPStatus.TOO_MANY_REQUESTS:
        raise Throttled(platform, refusal.detail)
    if response.is_server_error:
        raise Unavailable(platform, refusal.detail)
    raise Rejected(platform, refusal.detail, field=refusal.field)


def _headers(token: str) -> dict[str, str]:
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    if current := correlation.current():
        headers[correlation.HEADER] = current
    return headers


class LayerClient:
    """Calls one deployable from a thread. Faults of the platforms behind it come back as the same faults."""

    def __init__(self, base_url: str, layer: str, token: Token, timeout: float) -> None:
        self._base_url = base_url
        self._transport = SyncHttpxTransport(SyncClientBuilder().build())
        self._extensions = {"timeout": {"read": timeout}}
        self._layer = layer
        self._token = token

    def call(self, method: str, path: str, expected: type[T], body: Any = None) -> T:
        """Raises a leaf of `PlatformFault`."""
        content = b"" if body is None else msgspec.json.encode(body)
        request = httpx.Request(
            method, self._base_url + path, content=content, headers=_headers(self._token()), extensions=self._extensions
        )
        try:
            response = self._transport.handle_request(request)
            response.read()
        except httpx.RequestError as error:
            raise fault_of(error, self._layer, safe=method == "GET") from error
        return _decoded(response, self._layer, expected)

    def close(self) -> None:
        self._transport.close()


class AsyncLayerClient:
    """Calls one deployable from the event loop."""

    def __init__(self, base_url: str, layer: str, timeout: float) -> None:
        self._http = Http(base_url, timeout)
        self._layer = layer

    async def call(self, method: str, path: str, token: str, expected: type[T], body: Any = None) -> T:
        """Raises a leaf of `PlatformFault`."""
        return _decoded(await self._exchange(method, path, token, body), self._layer, expected)

    async def forward(self, method: str, path: str, token: str, body: Any = None) -> httpx.Response:
        """The answer as it came, for those who pass it on. Raises only when there is none."""
        return await self._exchange(method, path, token, body)

    async def _exchange(self, method: str, path: str, token: str, body: Any) -> httpx.Response:
        content = b"" if body is None else msgspec.json.encode(body)
        try:
            return await self._http.request(method, path, content=content, headers=_headers(token))
        except httpx.RequestError as error:
            raise fault_of(error, self._layer, safe=method == "GET") from error

    async def close(self) -> None:
        await self._http.close()
