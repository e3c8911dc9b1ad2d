"""The platform team's governed routes: this layer's own governance, and what the process layer knows of events and
records."""

from __future__ import annotations

from datetime import date
from typing import Annotated

import msgspec
from litestar import Response
from litestar.di import NamedDependency
from litestar.params import JSONBody, PathParameter, QueryParameter

from canonical.event_log import EventDetail, LoggedEvent, ReplayPlan, ReplayRequest, SubscriberStatus
from canonical.lineage import Lineage
from canonical.orders import Page
from canonical.states import DeliveryState, WebhookState
from canonical.webhooks import Webhook, WebhookDelivery
from experience_apis.process_client import Process
from policies.catalogue.explain import Explanation, Unknown
from policies.catalogue.model import Layer
from policies.catalogue.model import State as LifeState
from policies.chain.gate import Gate
from policies.chain.pipeline import explain
from policies.contract.deprecation_usage import DeprecatedCalls
from policies.contract.operation import operation
from policies.contract.parameters import (
    CanonicalId,
    Cursor,
    EventNumber,
    EventSubject,
    EventType,
    ForeignKey,
    Limit,
    Moment,
    PartnerEventType,
)
from policies.contract.version_chain import versioned
from policies.identity.authentication import Principal
from policies.problems import MISSING, NOT_ALLOWED_NOW, OVERLOADED, ProblemError
from policies.store.documents import StoreAway

Name = Annotated[str, PathParameter(pattern=r"^[a-z][a-z0-9_-]{0,59}\Z", description="A name of the catalogue")]


class VersionStatus(msgspec.Struct, frozen=True):
    """Where a major version is in its life. Dates are days in UTC."""

    version: str
    state: LifeState
    deprecated_on: date | None
    sunset_on: date | None
    successor: str | None


class ApiStatus(msgspec.Struct, frozen=True):
    """An API that the catalogue governs. `operations` are its operation ids."""

    name: str
    title: str
    layer: Layer
    owner: str
    versions: tuple[VersionStatus, ...]
    operations: tuple[str, ...]


@operation(
    "operations_list_apis",
    "GET",
    "/apis",
    summary="List every API with its versions, as they are in force",
    links={"operations_explain": ("operation", "/items/0/operations/0")},
    sync_to_thread=False,
)
def list_apis(gate: NamedDependency[Gate]) -> Page[ApiStatus]:
    """Return the catalogue in force on the replica that answers: versions with their life, owners, operations."""
    found = tuple(
        ApiStatus(
            name,
            api.title,
            api.layer,
            api.owner,
            tuple(
                VersionStatus(each, life.state, life.deprecated_on, life.sunset_on, life.successor)
                for each, life in api.versions.items()
            ),
            tuple(api.operations),
        )
        for name, api in gate.live_catalogue.current.apis.items()
    )
    return Page(found)


@operation(
    "operations_list_deprecated_calls",
    "GET",
    "/deprecated-calls",
    summary="List who still calls deprecated versions, by day",
)
async def list_deprecated_calls(gate: NamedDependency[Gate]) -> Page[DeprecatedCalls]:
    """Return one entry for each client, version and day, so that you know whom to call before the sunset."""
    try:
        return Page(await gate.usage.counted())
    except StoreAway as error:
        raise ProblemError(
            OVERLOADED, "The counts cannot be read at the moment.", headers={"Retry-After": "5"}
        ) from error


@operation(
    "operations_explain",
    "GET",
    "/explanations/{client:str}/{operation:str}",
    summary="Say what would happen if a client called an operation, and which line decides it",
    sync_to_thread=False,
)
def explain_call(gate: NamedDependency[Gate], client: Name, operation: Name) -> Explanation:
    """Goes through the policies in the order in which the chain asks, with the line of the catalogue that decides
    each."""
    try:
        return explain(*gate.live_catalogue.latest, client, operation, gate.now().date())
    except Unknown as error:
        raise ProblemError(MISSING, f"{error}.".capitalize()) from error


@operation(
    "operations_list_events",
    "GET",
    "/events",
    summary="List the events of the log, newest first",
    answers=Page[LoggedEvent],
    passes="events",
    links={"operations_get_event": ("number", "/items/0/number")},
)
async def list_events(
    process: NamedDependency[Process],
    principal: NamedDependency[Principal],
    event_type: EventType = None,
    subject: EventSubject = None,
    since: Moment = None,
    until: Moment = None,
    cursor: Cursor = None,
    limit: Limit = 25,
) -> Response[bytes]:
    """Return the events about records that the caller may see, with who has not taken each."""
    wanted = {"type": event_type, "subject": subject, "since": since, "until": until}
    return await process.get(principal, "events", wanted | {"cursor": cursor, "limit": limit})


@operation(
    "operations_get_event",
    "GET",
    "/events/{number:str}",
    summary="Read an event",
    answers=EventDetail,
    passes="events/{number}",
)
async def get_event(
    process: NamedDependency[Process], principal: NamedDependency[Principal], number: EventNumber
) -> Response[bytes]:
    """Return an event with who has taken it, and the records and workflows that it set in motion."""
    return await process.get(principal, f"events/{number}", {})


@operation(
    "operations_list_subscribers",
    "GET",
    "/subscribers",
    summary="List who reacts to events, and how far",
    answers=Page[SubscriberStatus],
    passes="subscribers",
)
async def list_subscribers(process: NamedDependency[Process], principal: NamedDependency[Principal]) -> Response[bytes]:
    """Return each capability with the types of events that it reacts to, and how many it has not taken."""
    return await process.get(principal, "subscribers", {})


@operation(
    "operations_replay_events",
    "POST",
    "/replays",
    summary="Say what a replay of events would do, and begin it",
    answers=ReplayPlan,
    status=200,
    problems=(NOT_ALLOWED_NOW,),
)
async def replay_events(
    process: NamedDependency[Process], principal: NamedDependency[Principal], data: JSONBody[ReplayRequest]
) -> Response[bytes]:
    """Return what a replay would do: without `go` nothing is changed. With it, the events whose work is missing are
    reacted to again, at the pace that is asked for; to begin the same again changes nothing."""
    return await process.post(principal, "replays", data)


@operation(
    "operations_get_lineage",
    "GET",
    "/lineage/{record:str}",
    summary="Read all that happened to a record",
    answers=Lineage,
    passes="lineage/{record}",
)
async def get_lineage(
    process: NamedDependency[Process], principal: NamedDependency[Principal], record: ForeignKey, as_of: Moment = None
) -> Response[bytes]:
    """Return what happened in every system, in order of time, to an order, contract, customer, invoice, payment or
    case, by our id or a platform's. It shows what the caller's scopes allow to read as records."""
    return await process.get(principal, f"lineage/{record}", {"as_of": as_of})


@operation(
    "operations_list_webhooks",
    "GET",
    "/webhooks",
    summary="List the webhooks of all partners, newest first",
    answers=Page[Webhook],
    passes="webhooks",
    links={"operations_list_webhook_deliveries": ("webhook_id", "/items/0/id")},
)
async def list_webhooks(
    process: NamedDependency[Process],
    principal: NamedDependency[Principal],
    webhook_state: Annotated[WebhookState | None, QueryParameter(name="state")] = None,
    cursor: Cursor = None,
    limit: Limit = 25,
) -> Response[bytes]:
    """Return where each partner is sent events, and how that goes: what waits, and since when it fails."""
    return await process.get(principal, "webhooks", {"state": webhook_state, "cursor": cursor, "limit": limit})


@operation(
    "operations_list_webhook_deliveries",
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
    """Return the events that were, are and will be sent, each with its attempts."""
    query = {"state": delivery_state, "type": of_type, "cursor": cursor, "limit": limit}
    return await process.get(principal, f"webhooks/{webhook_id}/deliveries", query)


routers = versioned(
    "operations",
    __name__,
    [
        list_apis,
        list_deprecated_calls,
        explain_call,
        list_events,
        get_event,
        list_subscribers,
        replay_events,
        get_lineage,
        list_webhooks,
        list_webhook_deliveries,
    ],
)
