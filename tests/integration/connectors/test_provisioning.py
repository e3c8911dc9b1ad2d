"""The connector of webhook targets passes the kit."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import httpx
import msgspec
import pytest

from policies.outbound.platform_server import PlatformServer
from policies.store.secret import Secret
from sandbox.provisioning.app import Provisioning as Target
from sandbox.provisioning.app import provisioning_app
from sandbox.store import SandboxClock, Store
from system_apis.provisioning import webhook
from system_apis.provisioning.port import Provisioning
from tests.support.connector_kit import samples
from tests.support.connector_kit.kit import Act, behaviours, run
from tests.support.connector_kit.provisioning import ProvisioningKit, ProvisioningSubject
from tiergate.platforms import Connector

SECRET = "whsec_" + base64.b64encode(b"a secret of the target's").decode()
OTHER = "whsec_" + base64.b64encode(b"somebody else's secret").decode()


class WebhookTarget(ProvisioningSubject):
    connector = cast("Connector", webhook)
    secrets = (SECRET, SECRET.removeprefix("whsec_"))
    webhook_secret = SECRET
    webhook_secret_setting = "secret"

    def __init__(self, folder: Path) -> None:
        self._store = Store(folder / "target.sqlite")
        self._target = Target(self._store, SandboxClock(), SECRET)

    def settings(self, url: str) -> PlatformServer:
        return webhook.Settings(url=url, secret=Secret(SECRET))

    def platform(self) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(cast("Any", provisioning_app(self._target)))
        return httpx.AsyncClient(transport=transport, base_url="http://target")

    async def jobs(self, order_id: str) -> list[tuple[str, int]]:
        found = self._target.jobs(order_id)
        return [(each["line_id"], each["attempt"]) for each in found if each["state"] != "removed"]

    async def suspended(self, order_id: str) -> bool:
        return bool(self._target.service(order_id)["suspended"])

    async def holder(self, order_id: str) -> str:
        return str(self._target.service(order_id)["holder"])

    async def refused(self, connector: Provisioning) -> tuple[Act, str]:
        self._target.accept(OTHER)
        return (lambda: connector.put(samples.provisioning_request("refused"), "correlation-1")), ""

    async def report(self) -> bytes:
        report = {"order_id": "ord_1", "line_id": "lin_1", "attempt": 1, "succeeded": True, "reason": ""}
        return msgspec.json.encode(report)

    def sign(self, body: bytes, at: datetime, secret: str) -> Mapping[str, str]:
        """Sign as the specification says, written out: the package signs with no empty key."""
        stamp = str(int(at.timestamp()))
        key = base64.b64decode(secret.removeprefix("whsec_"))
        digest = hmac.new(key, b"msg_1." + stamp.encode() + b"." + body, hashlib.sha256).digest()
        signature = f"v1,{base64.b64encode(digest).decode()}"
        return {"webhook-id": "msg_1", "webhook-timestamp": stamp, "webhook-signature": signature}

    async def close(self) -> None:
        await self._target.close()
        self._store.close()


@pytest.mark.parametrize("behaviour", behaviours(ProvisioningKit))
def test_the_connector(behaviour: str, tmp_path: Path) -> None:
    run(ProvisioningKit, WebhookTarget(tmp_path), behaviour, tmp_path)
