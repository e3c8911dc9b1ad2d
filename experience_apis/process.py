"""The process APIs as the channels see them: one call for one answer, on behalf of whoever asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

from litestar import Response

from policies.authentication import Principal
from policies.catalogue import Client
from policies.layers import AsyncLayerClient
from policies.tokens import Issuer

NAME = "experience-layer"


class Process:
    """Passes answers through as bytes; problems too, so that a caller sees what went wrong where it went wrong."""

    def __init__(self, client: AsyncLayerClient, issuer: Issuer, identity: Callable[[], Client]) -> None:
        self._client = client
        self._issuer = issuer
        self._identity = identity

    async def get(self, principal: Principal, path: str, query: Mapping[str, Any]) -> Response[bytes]:
        """Empty query values are left out."""
        wanted = urlencode({key: value for key, value in query.items() if value is not None})
        return await self._forward(
            principal, "GET", f"/process/v1/{path}?{wanted}" if wanted else f"/process/v1/{path}", None
        )

    async def post(self, principal: Principal, path: str, body: Any) -> Response[bytes]:
        return await self._forward(principal, "POST", f"/process/v1/{path}", body)

    async def alive(self) -> None:
        """Raises a leaf of `PlatformFault` when the process layer does not answer."""
        await self._client.call("GET", "/health/live", "", dict[str, str])

    async def close(self) -> None:
        await self._client.close()

    async def _forward(self, principal: Principal, method: str, path: str, body: Any) -> Response[bytes]:
        token = self._issuer.token(
            NAME, self._identity(), scopes=principal.scopes, on_behalf_of=principal.subject, entities=principal.entities
        )
        answer = await self._client.forward(method, path, token, body)
        return Response(answer.content, status_code=answer.status, media_type=answer.media_type)
