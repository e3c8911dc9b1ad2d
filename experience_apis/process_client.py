"""The process APIs as the channels see them: one call for one answer, on behalf of the caller."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import urlencode

from litestar import Response

from canonical.faults import Unavailable
from canonical.jobs import JobsReport
from policies.catalogue.model import Client
from policies.contract.operation import Method
from policies.identity.authentication import Principal
from policies.identity.issuer import Issuer
from policies.outbound.layer_client import (
    NOT_ITS_ANSWER,
    AsyncLayerClient,
    LayerResponse,
    Refusal,
    report_jobs,
    result,
    token_for,
)
from policies.problems import TYPES, ProblemError

NAME = "experience-layer"
T = TypeVar("T")


class Process:
    """Passes answers through as bytes; problems too, so that a caller sees what went wrong where it went wrong."""

    def __init__(self, client: AsyncLayerClient, issuer: Issuer, identity: Callable[[], Client]) -> None:
        self._client = client
        self._issuer = issuer
        self._identity = identity

    async def get(self, principal: Principal, path: str, query: Mapping[str, Any]) -> Response[bytes]:
        """Empty query values are left out."""
        return _passed(await self._answer(principal, "GET", _with(path, query), None))

    async def fetch(self, principal: Principal, path: str) -> LayerResponse:
        """Return the answer to a path with its query, for those who pass it on. Raises a leaf of `PlatformFault`."""
        return await self._answer(principal, "GET", path, None)

    async def post(self, principal: Principal, path: str, body: Any) -> Response[bytes]:
        return _passed(await self._answer(principal, "POST", path, body))

    async def put(self, principal: Principal, path: str, body: Any) -> Response[bytes]:
        return _passed(await self._answer(principal, "PUT", path, body))

    async def read(self, principal: Principal, path: str, query: Mapping[str, Any], kind: type[T]) -> T:
        """Read as `get` does, for a channel that shapes the answer. Raises a leaf of `PlatformFault`, or
        `ProblemError` for a refusal."""
        return _shaped(await self._answer(principal, "GET", _with(path, query), None), kind)

    async def write(self, principal: Principal, path: str, body: Any, kind: type[T], method: Method = "POST") -> T:
        """Write as `post` does, for a channel that shapes the answer. Raises as `read` does."""
        return _shaped(await self._answer(principal, method, path, body), kind)

    async def alive(self) -> None:
        """Raise a leaf of `PlatformFault` when the process layer does not answer."""
        await self._client.call("GET", "/health/live", "", dict[str, str])

    async def report_jobs(self, report: JobsReport, correlation_id: str) -> None:
        """Report how the jobs of this layer go on, on its own behalf. Raises a leaf of `PlatformFault`."""
        await report_jobs(self._client, self._issuer.token(NAME, self._identity()), report, correlation_id)

    async def close(self) -> None:
        await self._client.close()

    async def _answer(self, principal: Principal, method: str, path: str, body: Any) -> LayerResponse:
        token = token_for(principal, self._issuer, NAME, self._identity())
        return await self._client.forward(method, f"/process/v1/{path}", token, body)


def _with(path: str, query: Mapping[str, Any]) -> str:
    wanted = urlencode({key: value for key, value in query.items() if value is not None})
    return f"{path}?{wanted}" if wanted else path


def _passed(answer: LayerResponse) -> Response[bytes]:
    return Response(answer.content, status_code=answer.status, media_type=answer.media_type)


def _shaped(answer: LayerResponse, kind: type[T]) -> T:
    found = result(answer, "process", kind)
    if not isinstance(found, Refusal):
        return found
    if found.name not in TYPES:
        raise Unavailable("process", NOT_ITS_ANSWER)
    headers = {} if answer.retry_after is None else {"Retry-After": f"{answer.retry_after:.0f}"}
    raise ProblemError(TYPES[found.name], found.detail, found.errors, headers)
