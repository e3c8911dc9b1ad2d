"""The provisioning port on a webhook target."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec

from canonical.deals import Holder, ProvisioningRequest, Suspension, is_whole
from canonical.events import LINE_PROVISIONED, Event
from canonical.faults import Conflict, NotFound, Rejected, Throttled, Unavailable, UnknownOutcome
from policies.http.client import HttpResponse, decoded
from policies.identity import webhook_signature
from policies.outbound.ownership import TECHNICAL, Fields
from policies.outbound.paths import path_of
from policies.outbound.platform_server import PlatformServer
from policies.problems import INVALID, ProblemError
from policies.store.secret import Secret
from system_apis.connector import ConnectorContext

FIELDS: dict[str, Fields] = {
    "jobs": {
        "order_id": "order.id",
        "line_id": "line.id",
        "sku": "line.sku",
        "quantity": "line.quantity",
        "attempt": TECHNICAL,
        "callback_url": TECHNICAL,
        "correlation_id": "order.correlation_id",
    },
    "removals": {},
    "suspensions": {"suspended": TECHNICAL, "correlation_id": "order.correlation_id"},
    "holders": {"customer_id": "customer.id", "correlation_id": "order.correlation_id"},
}
"""The fields that are sent to a target, each with its field of the canonical model."""


JSON = msgspec.json.Encoder(decimal_format="number")


class Settings(PlatformServer, frozen=True, kw_only=True):
    """The settings of a target: where it takes jobs, and the secret that signs both ways (Standard
    Webhooks: `whsec_…`).
    """

    secret: Secret


class _Report(msgspec.Struct, frozen=True):
    """The body of a call-back."""

    order_id: str
    line_id: str
    attempt: int
    succeeded: bool
    reason: str = ""


class WebhookTarget:
    """Implement `system_apis.provisioning.port.Provisioning`."""

    def __init__(self, settings: Settings, context: ConnectorContext) -> None:
        self._secret = settings.secret
        self._instance = context.instance
        self._callback_url = context.webhook_url
        self._client = context.client
        self._clock = context.clock

    async def put(self, request: ProvisioningRequest, correlation_id: str) -> None:
        jobs = [
            {
                "order_id": request.order_id,
                "line_id": line.id,
                "sku": line.sku,
                "quantity": int(quantity) if is_whole(quantity := line.terms.quantity) else quantity,
                "attempt": request.attempt,
                "callback_url": self._callback_url,
                "correlation_id": correlation_id,
            }
            for line in request.lines
        ]
        await self._send("/jobs", f"{request.order_id}:{request.attempt}", "jobs", jobs)

    async def remove(self, order_id: str) -> None:
        with contextlib.suppress(NotFound):
            await self._send(
                f"/{path_of('provisioning', 'orders', order_id, 'removal')}", f"{order_id}:removal", "removals", {}
            )

    async def suspend(self, wanted: Suspension, correlation_id: str) -> None:
        path = f"/{path_of('provisioning', 'orders', wanted.order_id, 'suspension')}"
        state = "suspended" if wanted.suspended else "running"
        content = {"suspended": wanted.suspended, "correlation_id": correlation_id}
        await self._send(path, f"{wanted.order_id}:{wanted.change_id}:{state}", "suspensions", content)

    async def hand_over(self, wanted: Holder, correlation_id: str) -> None:
        path = f"/{path_of('provisioning', 'orders', wanted.order_id, 'holder')}"
        content = {"customer_id": wanted.customer_id, "correlation_id": correlation_id}
        await self._send(path, f"{wanted.order_id}:{wanted.change_id}:holder", "holders", content)

    async def _send(self, path: str, message_id: str, record: str, content: Any) -> None:
        """Send a message. The target knows it by its id: sent twice, it is done once."""
        body = JSON.encode(content)
        headers = webhook_signature.signed_headers(self._secret.reveal(), message_id, self._clock(), body)
        response = await self._client.request(
            "POST", path, safe=True, carries=[(record, content)], content=body, headers=headers
        )
        _check(response, safe=False)

    def reported(self, headers: Mapping[str, str], body: bytes) -> Event:
        webhook_signature.verify(self._secret.reveal(), headers, body, self._clock)
        try:
            report = msgspec.convert(decoded(body), _Report)
        except (ValueError, RecursionError) as error:
            raise ProblemError(INVALID, f"The call-back is not a report: {error}.") from error
        return Event(
            id=f"{report.order_id}:{report.line_id}:{report.attempt}",
            source=f"provisioning/{self._instance}",
            type=LINE_PROVISIONED,
            subject=report.order_id,
            time=self._clock(),
            data={
                "line": report.line_id,
                "succeeded": str(report.succeeded).lower(),
                "reason": report.reason,
                "attempt": str(report.attempt),
            },
        )

    async def check(self) -> None:
        response = await self._client.request("GET", "/health", safe=True, carries=[])
        _check(response, safe=True)


def _check(response: HttpResponse, *, safe: bool) -> None:
    """Raise the fault for an answer that is not a success.

    A page for people is not the target's own: one that is under maintenance may send it with any status. An answer that
    cannot be explained leaves open what a write has done.
    """
    reason = f"the target answered {response.status}"
    unclear = Unavailable if safe else UnknownOutcome
    match response.status:
        case HTTPStatus.TOO_MANY_REQUESTS:
            raise Throttled("provisioning", "the target is too busy", retry_after=response.retry_after or 1.0)
        case HTTPStatus.SERVICE_UNAVAILABLE:
            raise Unavailable("provisioning", reason)
        case HTTPStatus.NOT_FOUND | HTTPStatus.GONE:
            raise NotFound("provisioning", reason)
        case HTTPStatus.CONFLICT:
            raise Conflict("provisioning", reason)
        case _ if response.is_server_error:
            raise unclear("provisioning", reason)
        case _ if not response.is_success:
            raise Rejected("provisioning", reason)
        case _ if response.is_page:
            raise unclear("provisioning", f"{reason} with a page")
        case _:
            pass


def connect(settings: Settings, context: ConnectorContext) -> WebhookTarget:
    """Return the connector of one target."""
    return WebhookTarget(settings, context)
