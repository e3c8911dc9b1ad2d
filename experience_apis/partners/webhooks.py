"""The partners' governed routes of webhooks: where events of their customers' records are sent."""

from __future__ import annotations

from typing import Annotated

import msgspec
from litestar import Response
from litestar.di import NamedDependency
from litestar.params import JSONBody, QueryParameter

from canonical.orders import Page
from canonical.states import DeliveryState, WebhookState
from canonical.webhooks import (
    NewWebhook,
    NewWebhookSecret,
    ResendRequest,
    ResendResult,
    Webhook,
    WebhookChange,
    WebhookDelivery,
    WebhookRequest,
    WebhookSecretRequest,
    WebhookTestResult,
    WebhookWithSecret,
)
from experience_apis.process_client import Process
from policies.contract.operation import operation
from policies.contract.parameters import CanonicalId, Cursor, Limit, PartnerEventType
from policies.identity.authentication import Principal
from policies.problems import NOT_ALLOWED_NOW


@operation(
    "partners_create_webhook",
    "POST",
    "/webhooks",
    summary="Have events of your customers sent to a URL of yours",
    problems=(NOT_ALLOWED_NOW,),
    holds_secret=True,
    links={"partners_get_webhook": ("webhook_id", "/webhook/id")},
)
async def create_webhook(
    process: NamedDependency[Process],
    principal: NamedDependency[Principal],
    act: NamedDependency[str],
    data: JSONBody[WebhookRequest],
) -> WebhookWithSecret:
    """Make a webhook, and keep the secret that the answer shows: it is shown this once. Events that happen from now on
    are sent."""
    wanted = NewWebhook(**msgspec.structs.asdict(data), key=act)
    return await process.write(principal, "webhooks", wanted, WebhookWithSecret)


@operation(
    "partners_list_webhooks",
    "GET",
    "/webhooks",
    summary="List your webhooks, newest first",
    answers=Page[Webhook],
    passes="webhooks",
    links={"partners_get_webhook": ("webhook_id", "/items/0/id")},
)
async def list_webhooks(
    process: NamedDependency[Process],
    principal: NamedDependency[Principal],
    webhook_state: Annotated[WebhookState | None, QueryParameter(name="state")] = None,
    cursor: Cursor = None,
    limit: Limit = 25,
) -> Response[bytes]:
    """Return where you are sent events, and how that goes."""
    return await process.get(principal, "webhooks", {"state": webhook_state, "cursor": cursor, "limit": limit})


@operation(
    "partners_get_webhook",
    "GET",
    "/webhooks/{webhook_id:str}",
    summary="Read one of your webhooks",
    answers=Webhook,
    passes="webhooks/{webhook_id}",
)
async def get_webhook(
    process: NamedDependency[Process], principal: NamedDependency[Principal], webhook_id: CanonicalId
) -> Response[bytes]:
    """Show where it sends, what waits, and since when it fails."""
    return await process.get(principal, f"webhooks/{webhook_id}", {})


@operation(
    "partners_change_webhook",
    "PATCH",
    "/webhooks/{webhook_id:str}",
    summary="Change a webhook, or switch it on or off",
    problems=(NOT_ALLOWED_NOW,),
)
async def change_webhook(
    process: NamedDependency[Process],
    principal: NamedDependency[Principal],
    webhook_id: CanonicalId,
    data: JSONBody[WebhookChange],
) -> Webhook:
    """Change what you send. What you leave out stays as it is. What was missed while it was switched off is sent when
    you ask for it."""
    return await process.write(principal, f"webhooks/{webhook_id}", data, Webhook, "PATCH")


@operation(
    "partners_delete_webhook",
    "DELETE",
    "/webhooks/{webhook_id:str}",
    summary="Delete a webhook",
)
async def delete_webhook(
    process: NamedDependency[Process], principal: NamedDependency[Principal], webhook_id: CanonicalId
) -> Webhook:
    """Remove it with its log. What waits is not sent any more."""
    return await process.write(principal, f"webhooks/{webhook_id}", None, Webhook, "DELETE")


@operation(
    "partners_add_webhook_secret",
    "POST",
    "/webhooks/{webhook_id:str}/secrets",
    summary="Make a new secret for a webhook",
    problems=(NOT_ALLOWED_NOW,),
    holds_secret=True,
)
async def add_webhook_secret(
    process: NamedDependency[Process],
    principal: NamedDependency[Principal],
    act: NamedDependency[str],
    webhook_id: CanonicalId,
    data: JSONBody[WebhookSecretRequest],
) -> WebhookWithSecret:
    """Show the new secret, this once. The former ones sign beside it for a day, or as long as you ask for: each
    delivery has a signature by each."""
    wanted = NewWebhookSecret(data.overlap_hours, key=act)
    return await process.write(principal, f"webhooks/{webhook_id}/secrets", wanted, WebhookWithSecret)


@operation(
    "partners_test_webhook",
    "POST",
    "/webhooks/{webhook_id:str}/test",
    summary="Send a signed event of the type webhook.tested.v1 now",
    status=200,
)
async def test_webhook(
    process: NamedDependency[Process], principal: NamedDependency[Principal], webhook_id: CanonicalId
) -> WebhookTestResult:
    """Answer with what your endpoint said."""
    return await process.write(principal, f"webhooks/{webhook_id}/test", None, WebhookTestResult)


@operation(
    "partners_list_webhook_deliveries",
    "GET",
    "/webhooks/{webhook_id:str}/deliveries",
    summary="List what was sent to a webhook, newest first",
    answers=Page[WebhookDelivery],
)
async def list_webhook_deliveries(
    process: NamedDependency[Process],
    principal: NamedDependency[Principal],
    webhook_id: CanonicalId,
    delivery_state: Annotated[DeliveryState | None, QueryParameter(name="state")] = None,
    of_type: PartnerEventType = None,
    cursor: Cursor = None,
    limit: Limit = 25,
) -> Response[bytes]:
    """Return the events that were, are and will be sent, each with its attempts and what your endpoint said."""
    query = {"state": delivery_state, "type": of_type, "cursor": cursor, "limit": limit}
    return await process.get(principal, f"webhooks/{webhook_id}/deliveries", query)


@operation(
    "partners_resend_webhook_delivery",
    "POST",
    "/webhooks/{webhook_id:str}/deliveries/{delivery_id:str}/resend",
    summary="Send an event again",
    status=200,
    problems=(NOT_ALLOWED_NOW,),
)
async def resend_webhook_delivery(
    process: NamedDependency[Process],
    principal: NamedDependency[Principal],
    webhook_id: CanonicalId,
    delivery_id: CanonicalId,
) -> WebhookDelivery:
    """Send it now, under the same `webhook-id`."""
    path = f"webhooks/{webhook_id}/deliveries/{delivery_id}/resend"
    return await process.write(principal, path, None, WebhookDelivery)


@operation(
    "partners_resend_webhook_deliveries",
    "POST",
    "/webhooks/{webhook_id:str}/resend",
    summary="Send all events since a moment again",
    status=200,
    problems=(NOT_ALLOWED_NOW,),
)
async def resend_webhook_deliveries(
    process: NamedDependency[Process],
    principal: NamedDependency[Principal],
    webhook_id: CanonicalId,
    data: JSONBody[ResendRequest],
) -> ResendResult:
    """Send what has failed, or was missed while the webhook was switched off."""
    return await process.write(principal, f"webhooks/{webhook_id}/resend", data, ResendResult)


WEBHOOK_ROUTES = (
    create_webhook,
    list_webhooks,
    get_webhook,
    change_webhook,
    delete_webhook,
    add_webhook_secret,
    test_webhook,
    list_webhook_deliveries,
    resend_webhook_delivery,
    resend_webhook_deliveries,
)
