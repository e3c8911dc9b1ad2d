"""A connector that does wrong whatever the kit asks about, to try the kit on. Nothing here is an example."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import unquote

import httpx

from canonical.deals import Holder, ProvisioningRequest, Suspension
from canonical.events import LINE_PROVISIONED, Event
from canonical.faults import Rejected, Throttled
from policies.outbound.platform_server import PlatformServer
from policies.problems import UNAUTHENTICATED, ProblemError
from policies.store.secret import Secret
from system_apis.connector import ConnectorContext
from system_apis.provisioning.port import Provisioning
from tests.support.connector_kit.kit import Act
from tests.support.connector_kit.provisioning import ProvisioningSubject
from tiergate.platforms import Connector

API_KEY = "key-of-the-bad-target"
SECRET = base64.b64encode(b"a secret of the bad target's").decode()


class BadSettings(PlatformServer, frozen=True, kw_only=True):
    api_key: Secret
    webhook_secret: Secret


@dataclass
class BadTarget:
    """Its `repr` shows the key."""

    api_key: str
    webhook_secret: Secret
    context: ConnectorContext

    async def put(self, request: ProvisioningRequest, correlation_id: str) -> None:
        """Create without looking for what exists, says of no field what it is, and has the key in the URL."""
        for line in request.lines:
            job = {"order": request.order_id, "line": line.id, "attempt": request.attempt, "about": correlation_id}
            await self._send("POST", f"/jobs?key={self.api_key}", job)

    async def remove(self, order_id: str) -> None:
        await self._send("DELETE", f"/orders/{order_id}", None)

    async def suspend(self, wanted: Suspension, correlation_id: str) -> None:
        """Take what is delivered back, and deliver nothing when the service is to go on."""
        if wanted.suspended:
            await self.remove(wanted.order_id)
        await self._send("POST", "/notes", {"order": wanted.order_id, "about": correlation_id})

    async def hand_over(self, wanted: Holder, correlation_id: str) -> None:
        """Deliver all of it again, to the other customer."""
        job = {"order": wanted.order_id, "line": wanted.customer_id, "attempt": 1, "about": correlation_id}
        await self._send("POST", "/jobs", job)

    async def _send(self, method: str, path: str, body: Any) -> None:
        """Take every limit for a second, an outage for a refusal, and a page for an answer."""
        content = b"" if body is None else json.dumps(body).encode()
        response = await self.context.client.request(method, path, safe=True, carries=[], content=content)
        if response.status == HTTPStatus.TOO_MANY_REQUESTS:
            raise Throttled("provisioning", "busy", retry_after=1.0)
        if not response.is_success:
            raise Rejected("provisioning", f"{response.status} for {path}")

    def reported(self, headers: Mapping[str, str], body: bytes) -> Event:
        """Verifies what it has parsed, at any time, with any secret; the event is another each time, and from
        nowhere."""
        report = json.loads(body)
        digest = _digest(self.webhook_secret.reveal(), json.dumps(report).encode())
        if headers.get("x-signature") != digest:
            raise ProblemError(UNAUTHENTICATED, "wrong")
        about = {"line": str(report["line"]), "succeeded": "true", "reason": ""}
        return Event(
            id=self.context.new_id("evt"),
            source="provisioning",
            type=LINE_PROVISIONED,
            subject=str(report["order"]),
            time=self.context.clock().replace(tzinfo=None),
            data=about,
        )

    async def check(self) -> None:
        """Asks nobody."""


def connect(settings: BadSettings, context: ConnectorContext) -> BadTarget:
    return BadTarget(settings.api_key.reveal(), settings.webhook_secret, context)


class BadSubject(ProvisioningSubject):
    """A target in memory that does nothing wrong itself."""

    connector = cast("Connector", SimpleNamespace(Settings=BadSettings, FIELDS={}, connect=connect))
    secrets = (API_KEY, SECRET)
    webhook_secret = SECRET
    webhook_secret_setting = "webhook_secret"

    def __init__(self) -> None:
        self._jobs: list[dict[str, Any]] = []

    def settings(self, url: str) -> PlatformServer:
        return BadSettings(url=url, api_key=Secret(API_KEY), webhook_secret=Secret(SECRET))

    def platform(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.MockTransport(self._answer), base_url="http://target")

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            self._jobs.append(json.loads(request.content))
            return httpx.Response(HTTPStatus.CREATED, json={})
        order = unquote(request.url.path.rpartition("/")[2])
        found = [each for each in self._jobs if each["order"] == order]
        self._jobs = [each for each in self._jobs if each["order"] != order]
        return httpx.Response(HTTPStatus.OK if found else HTTPStatus.NOT_FOUND, json={})

    async def jobs(self, order_id: str) -> list[tuple[str, int]]:
        return [(each["line"], each["attempt"]) for each in self._jobs if each["order"] == order_id]

    async def suspended(self, order_id: str) -> bool:
        return not await self.jobs(order_id)

    async def holder(self, order_id: str) -> str:
        return str((await self.jobs(order_id))[-1:] or "")

    async def refused(self, connector: Provisioning) -> tuple[Act, str]:
        return (lambda: connector.remove("never-there")), "order"

    async def report(self) -> bytes:
        return json.dumps({"order": "ord_1", "line": "lin_1", "done": True}).encode()

    def sign(self, body: bytes, at: datetime, secret: str) -> Mapping[str, str]:  # noqa: ARG002 - its signatures have no time
        return {"x-signature": _digest(secret, body)}


def _digest(secret: str, body: bytes) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
