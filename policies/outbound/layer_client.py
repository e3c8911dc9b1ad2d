"""Calls from one layer to the next: bounded in time, with a token for that layer and the correlation id."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any, TypeVar

import msgspec

from canonical.faults import Rejected, Throttled, Unavailable
from canonical.jobs import JobsReceipt, JobsReport
from policies.catalogue.model import Client
from policies.context import correlation, deadline
from policies.contract.operation import LINES
from policies.http.client import HttpResponse, TransportFailure
from policies.http.http1 import AsyncHttpClient, HttpClient
from policies.identity.authentication import Principal
from policies.identity.issuer import Issuer
from policies.observe import tracing
from policies.problems import FAULT_BY_NAME, FieldError, name_in

T = TypeVar("T")
NOT_ITS_ANSWER = "the answer is not one of the layer's"
"""What something between the layers says in its place, as a proxy does."""
JSON = b"application/json"
Token = Callable[[], str]


def token_for(
    principal: Principal, issuer: Issuer, name: str, client: Client, scopes: frozenset[str] | None = None
) -> str:
    """Return a token with which the layer `name` calls the next one on behalf of its own caller.

    It allows no more than that caller may; `scopes` are the caller's own if None.
    """
    return issuer.token(
        name,
        client,
        scopes=principal.scopes if scopes is None else scopes,
        on_behalf_of=principal.subject,
        entities=principal.entities,
        partner=principal.partner,
    )


class LayerResponse(msgspec.Struct, frozen=True):
    """The response of a layer. `retry_after` is in seconds."""

    status: int
    content: bytes
    media_type: str
    retry_after: float | None


class LayerClient:
    """Call one layer from a thread. Faults of the platforms behind it are raised as the same faults."""

    def __init__(self, base_url: str, layer: str, token: Token, timeout: float) -> None:
        """Create a client of `layer` at `base_url`. `timeout` is in seconds, for a whole exchange."""
        self._http = HttpClient(base_url)
        self._timeout = timeout
        self._layer = layer
        self._token = token

    def call(self, method: str, path: str, expected: type[T], body: Any = None) -> T:
        """Return the body of a layer's answer, decoded as `expected`. Raises a leaf of `PlatformFault`."""
        content = b"" if body is None else msgspec.json.encode(body)
        left = _left(self._layer, self._timeout)
        try:
            headers = _headers(self._token(), left)
            reply = self._http.request(method, path, seconds=left, content=content, headers=headers)
        except TransportFailure as error:
            raise error.fault(self._layer, safe=method == "GET") from error
        return _decoded(_answer(reply, self._layer), self._layer, expected)

    def close(self) -> None:
        self._http.close()


class AsyncLayerClient:
    """Call one layer from the event loop."""

    def __init__(self, base_url: str, layer: str, timeout: float) -> None:
        """Create a client of `layer` at `base_url`. `timeout` is in seconds, for a whole exchange."""
        self._timeout = timeout
        self._http = AsyncHttpClient(base_url, timeout)
        self._layer = layer

    async def call(self, method: str, path: str, token: str, expected: type[T], body: Any = None) -> T:
        """Return the body of a layer's answer, decoded as `expected`. Raises a leaf of `PlatformFault`."""
        return _decoded(await self.forward(method, path, token, body), self._layer, expected)

    async def fetch(self, path: str, token: str) -> LayerResponse:
        """Return the answer to a read as it came, for a caller that passes it on.

        Raises `Unavailable` when there is none, or the layer does not accept our token.
        """
        current = correlation.current()
        left = _left(self._layer, self._timeout)
        headers = f"authorization: Bearer {token}\r\n{deadline.HEADER}: {int(left * 1000)}\r\n"
        if current:
            headers += f"{correlation.HEADER}: {current}\r\n"
        if present := tracing.outgoing():
            headers += f"{tracing.HEADER}: {present}\r\n"
        try:
            return _answer(await self._http.get(path, headers, left), self._layer)
        except TransportFailure as error:
            raise error.fault(self._layer, safe=True) from error

    async def forward(self, method: str, path: str, token: str, body: Any = None) -> LayerResponse:
        """Return the answer as it came, for a caller that passes it on. A body of bytes is lines of JSON already.

        Raises a leaf of `PlatformFault` only when there is none, or the layer does not accept our token.
        """
        if method == "GET":
            return await self.fetch(path, token)
        content = body if isinstance(body, bytes) else b"" if body is None else msgspec.json.encode(body)
        left = _left(self._layer, self._timeout)
        try:
            headers = _headers(token, left) | ({"content-type": LINES} if isinstance(body, bytes) else {})
            reply = await self._http.request(method, path, seconds=left, content=content, headers=headers)
        except TransportFailure as error:
            raise error.fault(self._layer, safe=False) from error
        return _answer(reply, self._layer)

    async def close(self) -> None:
        await self._http.close()


async def report_jobs(client: AsyncLayerClient, token: str, report: JobsReport, correlation_id: str) -> None:
    """Report to the process layer how the jobs of another go on. Raises a leaf of `PlatformFault`."""
    with correlation.correlated(correlation_id):
        await client.call("POST", "/process/v1/jobs", token, JobsReceipt, report)


class Refusal(msgspec.Struct, frozen=True):
    """The members of a problem that the caller acts on."""

    type: str = ""
    detail: str = ""
    platform: str = ""
    field: str = ""
    errors: tuple[FieldError, ...] = ()

    @property
    def name(self) -> str:
        """Return the name of the problem's type."""
        return name_in(self.type)


def _answer(reply: HttpResponse, layer: str) -> LayerResponse:
    if reply.status == HTTPStatus.UNAUTHORIZED:
        # Our own token was refused, not the caller: it was revoked, or a key was changed. A new one comes with a retry.
        raise Unavailable(layer, "it does not accept the token of the layer that asks")
    media_type = reply.headers.get(b"content-type", JSON).decode("latin-1")
    return LayerResponse(reply.status, reply.content, media_type, reply.retry_after)


def result(answer: LayerResponse, layer: str, expected: type[T]) -> T | Refusal:
    """Return what a layer answered, or why it refused.

    Raises the leaf of `PlatformFault` that a refusal names, and `Unavailable` for an answer that is not the layer's.
    """
    try:
        if answer.status < HTTPStatus.MULTIPLE_CHOICES:
            return msgspec.json.decode(answer.content, type=expected)
        refusal = msgspec.json.decode(answer.content, type=Refusal)
    except msgspec.DecodeError as error:
        raise Unavailable(layer, NOT_ITS_ANSWER) from error
    if (fault := FAULT_BY_NAME.get(refusal.name)) is not None:
        raise fault(refusal.platform or layer, refusal.detail, field=refusal.field, retry_after=answer.retry_after)
    return refusal


def _decoded(answer: LayerResponse, layer: str, expected: type[T]) -> T:
    found = result(answer, layer, expected)
    if not isinstance(found, Refusal):
        return found
    platform = found.platform or layer
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
        raise Throttled(platform, found.detail, retry_after=answer.retry_after)
    if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise Unavailable(platform, found.detail)
    named = found.errors[0].path if found.errors else ""
    raise Rejected(platform, found.detail, field=found.field or named)


def _left(layer: str, timeout: float) -> float:
    """Return the seconds that a call to a layer may take.

    Raises `Unavailable` when the present call has no time left.
    """
    left = deadline.left(timeout)
    if left <= 0:
        raise Unavailable(layer, "not asked: the time of the call is over")
    return left


def _headers(token: str, left: float) -> dict[str, str]:
    headers = {
        "authorization": f"Bearer {token}",
        "content-type": "application/json",
        deadline.HEADER: str(int(left * 1000)),
    }
    if current := correlation.current():
        headers[correlation.HEADER] = current
    if present := tracing.outgoing():
        headers[tracing.HEADER] = present
    return headers
