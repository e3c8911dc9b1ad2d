"""The target as the provisioning port wants it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec

from canonical.deals import Holder, ProvisioningRequest, Suspension
from canonical.events import Event
from canonical.faults import Conflict, NotFound, PlatformFault, Rejected, Throttled, Unavailable, UnknownOutcome
from policies.http.client import HttpResponse
from policies.identity import webhook_signature
from policies.outbound.ownership import Carried
from policies.outbound.platform_server import PlatformServer
from policies.problems import INVALID, ProblemError
from policies.store.secret import Secret
from system_apis.connector import ConnectorContext

from . import mapping


class Settings(PlatformServer, frozen=True, kw_only=True):
    """The target's API key, and the secret of its webhooks (Standard Webhooks: `whsec_…`)."""

    api_key: Secret
    webhook_secret: Secret


class _Refusal(msgspec.Struct, frozen=True):
    """The target's error."""

    message: str = ""
    field: str = ""


class Target:
    """Implements `system_apis.provisioning.port.Provisioning`."""

    def __init__(self, settings: Settings, context: ConnectorContext) -> None:
        self._settings = settings
        self._context = context

    async def put(self, request: ProvisioningRequest, correlation_id: str) -> None:
        for line in request.lines:
            job = mapping.job(request, line, self._context.webhook_url, correlation_id)
            path = f"/orders/{request.order_id}/jobs/{mapping.job_key(request, line)}"
            await self._send("PUT", path, job, [("job", job)])

    async def remove(self, order_id: str) -> None:
        with contextlib.suppress(NotFound):  # it is removed already
            await self._send("DELETE", f"/orders/{order_id}", None, [])

    async def suspend(self, wanted: Suspension, correlation_id: str) -> None:
        suspension = mapping.suspension(wanted, correlation_id)
        await self._send("PUT", f"/orders/{wanted.order_id}/suspension", suspension, [("suspension", suspension)])

    async def hand_over(self, wanted: Holder, correlation_id: str) -> None:
        holder = mapping.holder(wanted, correlation_id)
        await self._send("PUT", f"/orders/{wanted.order_id}/holder", holder, [("holder", holder)])

    def reported(self, headers: Mapping[str, str], body: bytes) -> Event:
        secret = self._settings.webhook_secret.reveal()
        webhook_signature.verify(secret, headers, body, self._context.clock)
        try:
            report = msgspec.json.decode(body, type=mapping.Report)
        except msgspec.DecodeError as error:
            raise ProblemError(INVALID, f"The webhook is not a report: {error}.") from error
        return mapping.event(report, self._context.instance, self._context.clock())

    async def check(self) -> None:
        await self._send("GET", "/status", None, [])

    async def _send(self, method: str, path: str, body: Any, carries: list[Carried]) -> Any:
        """PUT and DELETE do the same once or twice: all requests of this target are safe to repeat."""
        headers = {
            "authorization": f"Bearer {self._settings.api_key.reveal()}",
            "content-type": "application/json",
        }
        content = b"" if body is None else msgspec.json.encode(body)
        response = await self._context.client.request(
            method, path, safe=True, carries=carries, content=content, headers=headers
        )
        safe = method == "GET"
        if response.is_success:
            return response.json("provisioning", safe=safe)
        raise _fault(response, safe=safe)


def _fault(response: HttpResponse, *, safe: bool) -> PlatformFault:
    """Return what the target's refusal means. After a write that it broke off, look before it is tried again."""
    try:
        refusal = msgspec.json.decode(response.content, type=_Refusal)
    except msgspec.DecodeError:
        refusal = _Refusal()
    reason = refusal.message or f"the target answered {response.status}"
    match response.status:
        case HTTPStatus.TOO_MANY_REQUESTS:
            return Throttled("provisioning", reason, retry_after=response.retry_after or 1.0)
        case HTTPStatus.SERVICE_UNAVAILABLE:
            return Unavailable("provisioning", reason)
        case HTTPStatus.NOT_FOUND:
            return NotFound("provisioning", reason, field=refusal.field)
        case HTTPStatus.CONFLICT:
            return Conflict("provisioning", reason, field=refusal.field)
        case _ if response.is_server_error:
            return (Unavailable if safe else UnknownOutcome)("provisioning", reason)
        case _:
            return Rejected("provisioning", reason, field=refusal.field)


def connect(settings: Settings, context: ConnectorContext) -> Target:
    """Return the connector of one target."""
    return Target(settings, context)
