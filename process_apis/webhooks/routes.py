"""The routes by which partners keep their webhooks, and people of ours see how those go."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
import sqlalchemy as sa
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import JSONBody, QueryParameter

from canonical.orders import Page
from canonical.partner_events import partner_type
from canonical.states import DeliveryState, IllegalTransition, WebhookState
from canonical.webhooks import (
    NewWebhook,
    NewWebhookSecret,
    ResendRequest,
    ResendResult,
    Webhook,
    WebhookChange,
    WebhookDelivery,
    WebhookTestResult,
    WebhookWithSecret,
)
from policies.business.events import EVENTS
from policies.context import correlation
from policies.contract.operation import operation
from policies.contract.parameters import CanonicalId, Cursor, Limit, PartnerEventType
from policies.identity.authentication import Principal
from policies.outbound.public_address import AddressRefused
from policies.problems import FORBIDDEN, INVALID, NOT_ALLOWED_NOW, FieldError, ProblemError
from process_apis.records import customers
from process_apis.records.webhook_deliveries import WebhookDeliveries
from process_apis.records.webhooks import OFF, Webhooks, kept_keys
from process_apis.runtime.context import WorkflowContext
from process_apis.webhooks.delivering import KIND, Delivering
from process_apis.webhooks.secrets import WebhookSecrets


def routes(context: WorkflowContext, records: Webhooks, secrets: WebhookSecrets) -> tuple[HTTPRouteHandler, ...]:
    """Return the routes of webhooks themselves."""

    @operation(
        "create_webhook",
        "POST",
        "/webhooks",
        summary="Have events sent to a URL",
        problems=(NOT_ALLOWED_NOW,),
        holds_secret=True,
        links={"get_webhook": ("webhook_id", "/webhook/id")},
    )
    async def create_webhook(principal: NamedDependency[Principal], data: JSONBody[NewWebhook]) -> WebhookWithSecret:
        """Make a webhook, and show its secret, this once. The same `key` again is the same webhook."""
        _require_partner(principal)
        wrong = await asyncio.to_thread(lambda: list(_wrong(context, principal, data.events, data.customer_ids)))
        wanted = msgspec.structs.replace(data, url=await _checked(context, principal, data.url, wrong))
        row = await asyncio.to_thread(records.create, wanted, principal, correlation.current())
        return await asyncio.to_thread(_with_secret, records, secrets, row)

    @operation(
        "list_webhooks",
        "GET",
        "/webhooks",
        summary="List webhooks, newest first",
        links={"get_webhook": ("webhook_id", "/items/0/id")},
        sync_to_thread=True,
    )
    def list_webhooks(
        principal: NamedDependency[Principal],
        webhook_state: Annotated[WebhookState | None, QueryParameter(name="state")] = None,
        cursor: Cursor = None,
        limit: Limit = 25,
    ) -> Page[Webhook]:
        """Return the webhooks of a partner, or of all for people of ours, and how each goes."""
        return records.page(principal, webhook_state, cursor, limit)

    @operation("get_webhook", "GET", "/webhooks/{webhook_id:str}", summary="Read a webhook", sync_to_thread=True)
    def get_webhook(principal: NamedDependency[Principal], webhook_id: CanonicalId) -> Webhook:
        """Return a webhook, and how it goes."""
        return records.shown(records.row(webhook_id, principal))

    @operation(
        "change_webhook",
        "PATCH",
        "/webhooks/{webhook_id:str}",
        summary="Change a webhook, or switch it on or off",
        problems=(NOT_ALLOWED_NOW,),
    )
    async def change_webhook(
        principal: NamedDependency[Principal], webhook_id: CanonicalId, data: JSONBody[WebhookChange]
    ) -> Webhook:
        """Change what is said, from now on. What is left out stays as it is."""
        _require_partner(principal)
        if data == OFF:
            return await asyncio.to_thread(_changed, context, records, webhook_id, data, principal)
        await asyncio.to_thread(records.row, webhook_id, principal)
        wanted_customers = data.customer_ids or ()
        wrong = await asyncio.to_thread(lambda: list(_wrong(context, principal, data.events or (), wanted_customers)))
        url = await _checked(context, principal, data.url, wrong)
        wanted = msgspec.structs.replace(data, url=url or None)
        return await asyncio.to_thread(_changed, context, records, webhook_id, wanted, principal)

    @operation(
        "delete_webhook", "DELETE", "/webhooks/{webhook_id:str}", summary="Delete a webhook", sync_to_thread=True
    )
    def delete_webhook(principal: NamedDependency[Principal], webhook_id: CanonicalId) -> Webhook:
        """Remove a webhook with its log, and return it as it was. What waits is not sent any more."""
        _require_partner(principal)
        removed = records.remove(webhook_id, principal)
        context.cases.resolve(webhook_id, "its partner has deleted it", KIND)
        return removed

    @operation(
        "add_webhook_secret",
        "POST",
        "/webhooks/{webhook_id:str}/secrets",
        summary="Make a new secret for a webhook",
        problems=(NOT_ALLOWED_NOW,),
        holds_secret=True,
        sync_to_thread=True,
    )
    def add_webhook_secret(
        principal: NamedDependency[Principal], webhook_id: CanonicalId, data: JSONBody[NewWebhookSecret]
    ) -> WebhookWithSecret:
        """Show a new secret, this once. The former ones sign beside it as long as is asked for."""
        _require_partner(principal)
        return _with_secret(records, secrets, records.add_key(webhook_id, data, principal))

    return create_webhook, list_webhooks, get_webhook, change_webhook, delete_webhook, add_webhook_secret


def delivery_routes(
    records: Webhooks, deliveries: WebhookDeliveries, delivering: Delivering
) -> tuple[HTTPRouteHandler, ...]:
    """Return the routes of what is sent to a webhook."""

    @operation(
        "test_webhook",
        "POST",
        "/webhooks/{webhook_id:str}/test",
        summary="Send a signed event of the type webhook.tested.v1 now",
        status=200,
    )
    async def test_webhook(principal: NamedDependency[Principal], webhook_id: CanonicalId) -> WebhookTestResult:
        """Return what the endpoint said."""
        _require_partner(principal)
        return await delivering.test(await asyncio.to_thread(records.row, webhook_id, principal))

    @operation(
        "list_webhook_deliveries",
        "GET",
        "/webhooks/{webhook_id:str}/deliveries",
        summary="List what was sent to a webhook, newest first",
        links={"resend_webhook_delivery": ("delivery_id", "/items/0/id")},
        sync_to_thread=True,
    )
    def list_webhook_deliveries(
        principal: NamedDependency[Principal],
        webhook_id: CanonicalId,
        delivery_state: Annotated[DeliveryState | None, QueryParameter(name="state")] = None,
        of_type: PartnerEventType = None,
        cursor: Cursor = None,
        limit: Limit = 25,
    ) -> Page[WebhookDelivery]:
        """Return the events that were, are and will be sent, each with its attempts."""
        records.row(webhook_id, principal)
        return deliveries.page(webhook_id, delivery_state, of_type, cursor, limit)

    @operation(
        "resend_webhook_delivery",
        "POST",
        "/webhooks/{webhook_id:str}/deliveries/{delivery_id:str}/resend",
        summary="Send an event again",
        status=200,
        problems=(NOT_ALLOWED_NOW,),
        sync_to_thread=True,
    )
    def resend_webhook_delivery(
        principal: NamedDependency[Principal], webhook_id: CanonicalId, delivery_id: CanonicalId
    ) -> WebhookDelivery:
        """Send it now, under the same `webhook-id`."""
        _require_partner(principal)
        records.row(webhook_id, principal)
        return deliveries.resend(webhook_id, delivery_id)

    @operation(
        "resend_webhook_deliveries",
        "POST",
        "/webhooks/{webhook_id:str}/resend",
        summary="Send all events since a moment again",
        status=200,
        problems=(NOT_ALLOWED_NOW,),
        sync_to_thread=True,
    )
    def resend_webhook_deliveries(
        principal: NamedDependency[Principal], webhook_id: CanonicalId, data: JSONBody[ResendRequest]
    ) -> ResendResult:
        """Send what has failed, or was missed while the webhook was switched off."""
        _require_partner(principal)
        records.row(webhook_id, principal)
        return deliveries.resend_since(webhook_id, data)

    return test_webhook, list_webhook_deliveries, resend_webhook_delivery, resend_webhook_deliveries


def _with_secret(records: Webhooks, secrets: WebhookSecrets, row: sa.Row[Any]) -> WebhookWithSecret:
    return WebhookWithSecret(records.shown(row), secrets.of(row.id, kept_keys(row)[-1]))


def _changed(
    context: WorkflowContext, records: Webhooks, webhook_id: str, wanted: WebhookChange, principal: Principal
) -> Webhook:
    """Change a webhook, and close its case when it is switched on again, or off by its partner."""
    try:
        row = records.change(webhook_id, wanted, principal)
    except IllegalTransition as error:
        raise ProblemError(NOT_ALLOWED_NOW, f"{error}.".capitalize()) from error
    if row.state != "stopped":
        context.cases.resolve(webhook_id, f"its partner has it {row.state}", KIND)
    return records.shown(row)


def _require_partner(principal: Principal) -> None:
    """Raise `ProblemError` (403) for people of ours: a webhook is its partner's."""
    if not principal.partner:
        raise ProblemError(FORBIDDEN, "Webhooks are made and changed by their partners alone.")


async def _checked(context: WorkflowContext, principal: Principal, url: str | None, wrong: list[FieldError]) -> str:
    """Return a URL in its one form, empty for none. Raises `ProblemError` (422) for one that is not called, and for all
    else that is wrong."""
    checked = ""
    if url is not None:
        try:
            checked = await context.webhooks.sender.check(url, principal.partner)
        except AddressRefused as refused:
            wrong = [*wrong, FieldError("$.url", str(refused))]
    if wrong:
        raise ProblemError(INVALID, "The webhook cannot be as it is asked for.", wrong)
    return checked


def _wrong(
    context: WorkflowContext, principal: Principal, events: tuple[str, ...], customer_ids: tuple[str, ...]
) -> Iterator[FieldError]:
    """Yield what a partner may not have: events that it may not read about, and customers that are not its own."""
    known = EVENTS.of(context.live_catalogue.current).items()
    allowed = sorted(partner_type(name) for name, each in known if each.partners in principal.scopes)
    for place, name in enumerate(events):
        if name not in allowed:
            yield FieldError(f"$.events[{place}]", f"there are {', '.join(allowed) or 'none that you may see'}")
    for place, customer_id in enumerate(customer_ids):
        if customers.visible(context.database, customer_id, principal) is None:
            yield FieldError(f"$.customer_ids[{place}]", "you have no such customer")
