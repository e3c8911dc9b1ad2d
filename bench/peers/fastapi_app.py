"""What most Python teams would write: FastAPI, slowapi, PyJWT at each request, httpx, uvicorn."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any, cast

import httpx
import jwt
import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from slowapi import Limiter

PLAN: dict[str, Any] = json.loads(sys.argv[1])


def client_of(request: Request) -> str:
    return str(request.state.claims["client_id"])


def claims(request: Request) -> dict[str, Any]:
    token = request.headers.get("authorization", "").removeprefix("Bearer ")
    try:
        found: dict[str, Any] = jwt.decode(
            token, PLAN["publicKey"], algorithms=["EdDSA"], issuer=PLAN["issuer"], audience=PLAN["audience"]
        )
    except jwt.InvalidTokenError as error:
        raise HTTPException(401) from error
    request.state.claims = found
    return found


limiter = Limiter(key_func=client_of)
limit = cast("Any", limiter).limit  # it has no full types
app = FastAPI()
app.state.limiter = limiter
upstream = httpx.AsyncClient(base_url=PLAN["upstream"])


@app.get("/sales/v1/orders/{order_id}")
@limit("100000000/minute")
async def order(
    request: Request,  # noqa: ARG001 - the limiter reads the request
    order_id: str,
    _: Annotated[dict[str, Any], Depends(claims)],
) -> Response:
    answer = await upstream.get(f"/order.json/{order_id}")
    return Response(answer.content, media_type=answer.headers["content-type"])


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=PLAN["port"], log_level="error", access_log=False)
