"""The connector passes the kit: copy this to `tests/integration/connectors/`, beside the connector that it is about."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from docs.guides.templates import connector
from policies.outbound.platform_server import PlatformServer
from policies.store.secret import Secret
from system_apis.provisioning.port import Provisioning
from tests.support.connector_kit import samples
from tests.support.connector_kit.kit import Act, behaviours, run
from tests.support.connector_kit.provisioning import ProvisioningKit, ProvisioningSubject
from tiergate.platforms import Connector

API_KEY = "key-of-the-target"
SECRET = "whsec_" + base64.b64encode(b"a secret of the target's").decode()


class Target(ProvisioningSubject):
    """A stand-in of the target, in memory. With a test account, `platform` is a client of its `base_url` instead."""

    connector = cast("Connector", connector)
    secrets = (API_KEY, SECRET)
    webhook_secret = SECRET
    webhook_secret_setting = "webhook_secret"

    def __init__(self) -> None:
        self._orders: dict[str, dict[str, Any]] = {}
        self._suspended: dict[str, bool] = {}
        self._holders: dict[str, str] = {}
        self._closed = False

    def settings(self, url: str) -> PlatformServer:
        return connector.Settings(url=url, api_key=Secret(API_KEY), webhook_secret=Secret(SECRET))

    def platform(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.MockTransport(self._answer), base_url="http://target")

    def _answer(self, request: httpx.Request) -> httpx.Response:
        match request.method, request.url.path.split("/")[1:]:
            case _ if request.headers["authorization"] != f"Bearer {API_KEY}":
                return httpx.Response(HTTPStatus.UNAUTHORIZED, json={"message": "unknown key"})
            case "GET", ["status"]:
                return httpx.Response(HTTPStatus.OK, json={})
            case "PUT", ["orders", order, "jobs", key]:
                if self._closed:
                    refusal = {"message": "this product is not delivered", "field": "product"}
                    return httpx.Response(HTTPStatus.UNPROCESSABLE_ENTITY, json=refusal)
                self._orders.setdefault(order, {}).setdefault(key, json.loads(request.content))
                return httpx.Response(HTTPStatus.OK, json={})
            case method, ["orders", order, *_] if order in self._orders:
                if method == "DELETE":
                    del self._orders[order]
                elif request.url.path.endswith("/holder"):
                    self._holders[order] = json.loads(request.content)["customer"]
                else:
                    self._suspended[order] = json.loads(request.content)["suspended"]
                return httpx.Response(HTTPStatus.OK, json={})
            case _:
                return httpx.Response(HTTPStatus.NOT_FOUND, json={"message": "there is no such record"})

    async def jobs(self, order_id: str) -> list[tuple[str, int]]:
        return [(each["line"], each["attempt"]) for each in self._orders.get(order_id, {}).values()]

    async def suspended(self, order_id: str) -> bool:
        return self._suspended.get(order_id, False)

    async def holder(self, order_id: str) -> str:
        return self._holders.get(order_id, "")

    async def refused(self, connector: Provisioning) -> tuple[Act, str]:
        self._closed = True
        return (lambda: connector.put(samples.provisioning_request("refused"), "correlation-1")), "product"

    async def report(self) -> bytes:
        return json.dumps({"order": "ord_1", "line": "lin_1", "attempt": 1, "done": True}).encode()

    def sign(self, body: bytes, at: datetime, secret: str) -> Mapping[str, str]:
        stamp = str(int(at.timestamp()))
        key = base64.b64decode(secret.removeprefix("whsec_"))
        digest = hmac.new(key, b"msg_1." + stamp.encode() + b"." + body, hashlib.sha256).digest()
        signature = f"v1,{base64.b64encode(digest).decode()}"
        return {"webhook-id": "msg_1", "webhook-timestamp": stamp, "webhook-signature": signature}


@pytest.mark.parametrize("behaviour", behaviours(ProvisioningKit))
def test_the_connector(behaviour: str, tmp_path: Path) -> None:
    run(ProvisioningKit, Target(), behaviour, tmp_path)
