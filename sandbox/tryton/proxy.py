"""A proxy in front of Tryton, so that faults can be injected there as in the stand-ins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import msgspec
from litestar import Litestar, Request, Response, route
from litestar.params import FromPath

HOP = {"connection", "content-length", "transfer-encoding", "content-encoding", "host", "keep-alive", "date", "server"}


def tryton_proxy(upstream: str) -> Litestar:
    """Return an app that passes every request on to `upstream` and the answer back, as they are."""
    client = httpx.AsyncClient(base_url=upstream, timeout=120)

    @route("/{_rest:path}", http_method=["GET", "POST", "PUT", "DELETE"])
    async def through(request: Request[Any, Any, Any], _rest: FromPath[Path]) -> Response[bytes]:
        headers = [(key, value) for key, value in request.headers.items() if key not in HOP]
        path = request.scope["raw_path"].decode()  # as it came: Tryton redirects without its last slash
        answer = await client.request(
            request.method,
            path,
            content=await request.body(),
            headers=headers,
            params=list(request.query_params.multi_items()),
        )
        passed_on = {key: value for key, value in answer.headers.items() if key not in HOP}
        kind = answer.headers.get("content-type")
        return Response(answer.content, status_code=answer.status_code, headers=passed_on, media_type=kind)

    async def close() -> None:
        await client.aclose()

    return Litestar([through], on_shutdown=[close], openapi_config=None, logging_config=None)


def error_body(status: int) -> bytes:
    """Return what a server in front of Tryton answers when Tryton is down."""
    return msgspec.json.encode({"error": ["ServiceUnavailable", [f"status {status}", "", None]]})
