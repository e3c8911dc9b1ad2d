"""The process layer's governed routes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from litestar import Router
from litestar.di import NamedDependency
from litestar.params import FromQuery, JSONBody, QueryParameter
from litestar.types import ControllerRouterHandler

from canonical.cases import (
    Approval,
    Assignment,
    Case,
    CaseAction,
    CaseKind,
    CaseOutcomes,
    CasesAction,
    CaseState,
    NewNote,
    Team,
)
from canonical.events import Event, EventReceipt
from canonical.orders import (
    CustomerOverview,
    Order,
    OrderSummary,
    Page,
    PostingEntry,
    PostingKind,
    PostingState,
    PostingStatus,
)
from canonical.parties import Customer
from canonical.process_events import PROCESS_EVENTS
from canonical.states import OrderState
from policies.business.events import EVENTS
from policies.business.exports import EXPORT_TOO_LARGE
from policies.catalogue.live import LiveCatalogue
from policies.context import correlation
from policies.contract.operation import operation
from policies.contract.parameters import (
    AssignedTo,
    CanonicalId,
    CasesInOrder,
    ChangedFrom,
    ChangedTo,
    Cursor,
    Limit,
    OfCustomer,
    OfSeller,
    day,
)
from policies.identity.authentication import Principal
from policies.problems import INVALID, MISSING, NOT_ALLOWED_NOW, FieldError, ProblemError
from process_apis.case_actions import CaseActions
from process_apis.customer_overview import overview
from process_apis.events.dispatch import Dispatcher
from process_apis.records import customers, visibility
from process_apis.records.cases import Wanted
from process_apis.runtime.context import WorkflowContext


@operation(
    "take_event",
    "POST",
    "/events",
    summary="Take an event, once however often it is offered",
    status=200,
    sync_to_thread=True,
)
def take_event(
    live_catalogue: NamedDependency[LiveCatalogue], dispatcher: NamedDependency[Dispatcher], data: JSONBody[Event]
) -> EventReceipt:
    """Take an event: the source's own event id tells a repeat from a new one. What an event sets in motion is set in
    motion once."""
    if data.type not in EVENTS.of(live_catalogue.current) or data.type in PROCESS_EVENTS:
        whose = "comes from our own records alone" if data.type in PROCESS_EVENTS else "is not in the catalogue"
        refused = FieldError("$.type", f"the event {data.type} {whose}")
        raise ProblemError(INVALID, "The event may not enter the log.", (refused,))
    return EventReceipt(dispatcher.take(data, correlation.current()))


@operation(
    "list_orders",
    "GET",
    "/orders",
    summary="List orders, newest first",
    links={"get_order": ("order_id", "/items/0/id")},
    sync_to_thread=True,
)
def list_orders(
    context: NamedDependency[WorkflowContext],
    principal: NamedDependency[Principal],
    order_state: Annotated[OrderState | None, QueryParameter(name="state")] = None,
    customer_id: OfCustomer = None,
    cursor: Cursor = None,
    limit: Limit = 25,
) -> Page[OrderSummary]:
    """Orders of the legal entities, or of the partner's customers, that the caller may see."""
    return context.orders.page(principal, (order_state,) if order_state else (), customer_id, cursor, limit)


@operation(
    "decide_approval",
    "POST",
    "/cases/{case_id:str}/approval",
    summary="Approve or reject what a case asks for",
    status=200,
    problems=(NOT_ALLOWED_NOW,),
    asks_platforms=True,
    sync_to_thread=True,
)
def decide_approval(
    case_actions: NamedDependency[CaseActions],
    principal: NamedDependency[Principal],
    case_id: CanonicalId,
    data: JSONBody[Approval],
) -> Case:
    """Decide about a case that waits for an approval. Those who placed the order cannot."""
    return case_actions.act(case_id, data.decision, data.reason, principal)


@operation(
    "get_order",
    "GET",
    "/orders/{order_id:str}",
    summary="Read an order with its lines and history",
    links={"get_customer_overview": ("customer_id", "/customer_id")},
    sync_to_thread=True,
)
def get_order(
    context: NamedDependency[WorkflowContext], principal: NamedDependency[Principal], order_id: CanonicalId
) -> Order:
    """Return the order with its plan, its lines, and the states it went through."""
    order = context.orders.visible(order_id, principal)
    if order is None:
        raise ProblemError(MISSING, f"There is no order {order_id}.")
    return visibility.order_for(principal, order)


@operation(
    "list_postings",
    "GET",
    "/postings",
    summary="List where the posting of each invoice and payment stands",
    sync_to_thread=True,
)
def list_postings(
    context: NamedDependency[WorkflowContext],
    principal: NamedDependency[Principal],
    posting_state: Annotated[PostingState | None, QueryParameter(name="state")] = None,
    kind: FromQuery[PostingKind | None] = None,
    entry: FromQuery[PostingEntry | None] = None,
    customer_id: OfCustomer = None,
    cursor: Cursor = None,
    limit: Limit = 25,
) -> Page[PostingStatus]:
    """Return one entry for each invoice, payment, credit note and payment that went back, which has to be booked in the
    ERP. `kind` counts the latter two among the former."""
    found = context.postings.page(principal, posting_state, kind, entry, customer_id, cursor, limit)
    return Page(tuple(visibility.posting_for(principal, each) for each in found.items), found.next_cursor)


@operation(
    "export_postings",
    "GET",
    "/postings/export",
    summary="List many postings at once, for a file",
    problems=(EXPORT_TOO_LARGE,),
    sync_to_thread=True,
)
def export_postings(
    context: NamedDependency[WorkflowContext],
    principal: NamedDependency[Principal],
    posting_state: Annotated[PostingState | None, QueryParameter(name="state")] = None,
    kind: FromQuery[PostingKind | None] = None,
    entry: FromQuery[PostingEntry | None] = None,
    seller: OfSeller = None,
    first_day: ChangedFrom = None,
    last_day: ChangedTo = None,
    cursor: Cursor = None,
) -> Page[PostingStatus]:
    """Return up to 1,000 postings of an export, without their places in queues. There are at most 50,000 in all."""
    days = day("from", first_day), day("to", last_day)
    found = context.postings.batch(principal, posting_state, kind, entry, seller, days, cursor)
    return Page(tuple(visibility.posting_for(principal, each) for each in found.items), found.next_cursor)


@operation(
    "list_cases",
    "GET",
    "/cases",
    summary="List cases",
    links={"get_case": ("case_id", "/items/0/id"), "act_on_case": ("case_id", "/items/0/id")},
    sync_to_thread=True,
)
def list_cases(
    case_actions: NamedDependency[CaseActions],
    principal: NamedDependency[Principal],
    case_state: Annotated[CaseState | None, QueryParameter(name="state")] = None,
    team: FromQuery[Team | None] = None,
    kind: FromQuery[CaseKind | None] = None,
    customer_id: OfCustomer = None,
    assigned_to: AssignedTo = None,
    order: CasesInOrder = "newest",
    cursor: Cursor = None,
    limit: Limit = 25,
) -> Page[Case]:
    """Return what cannot go on by itself, with the team it belongs to and the actions that it allows."""
    who = {"me": principal.subject, "nobody": "", None: None}[assigned_to]
    wanted = Wanted(case_state, team, kind, customer_id, who, order)
    return case_actions.page(principal, wanted, cursor, limit)


@operation("get_case", "GET", "/cases/{case_id:str}", summary="Read a case", sync_to_thread=True)
def get_case(
    case_actions: NamedDependency[CaseActions], principal: NamedDependency[Principal], case_id: CanonicalId
) -> Case:
    """Return a case with what was being done, why it stopped, and what may be done about it now."""
    return case_actions.get(case_id, principal)


@operation(
    "act_on_case",
    "POST",
    "/cases/{case_id:str}/actions",
    summary="Do one of the things that a case allows",
    status=200,
    problems=(NOT_ALLOWED_NOW,),
    asks_platforms=True,
    sync_to_thread=True,
)
def act_on_case(
    case_actions: NamedDependency[CaseActions],
    principal: NamedDependency[Principal],
    case_id: CanonicalId,
    data: JSONBody[CaseAction],
) -> Case:
    """Do what the action says, which has to be one of those that the case allows. A resolved case allows none."""
    return case_actions.act(case_id, data.action, data.reason, principal)


@operation(
    "act_on_cases",
    "POST",
    "/cases/actions",
    summary="Do the same about several cases",
    status=200,
    asks_platforms=True,
    sync_to_thread=True,
)
def act_on_cases(
    case_actions: NamedDependency[CaseActions], principal: NamedDependency[Principal], data: JSONBody[CasesAction]
) -> CaseOutcomes:
    """Act on each case as if it were the only one, and say of each what became of it."""
    return case_actions.act_on_each(data, principal)


@operation(
    "assign_case",
    "PUT",
    "/cases/{case_id:str}/assignment",
    summary="Give a case to somebody",
    problems=(NOT_ALLOWED_NOW,),
    sync_to_thread=True,
)
def assign_case(
    case_actions: NamedDependency[CaseActions],
    principal: NamedDependency[Principal],
    case_id: CanonicalId,
    data: JSONBody[Assignment],
) -> Case:
    """Say who takes care of an open case; nobody, where the name is empty."""
    return case_actions.assign(case_id, data.to, principal)


@operation(
    "note_case",
    "POST",
    "/cases/{case_id:str}/notes",
    summary="Write a note of a case",
    status=200,
    sync_to_thread=True,
)
def note_case(
    case_actions: NamedDependency[CaseActions],
    principal: NamedDependency[Principal],
    case_id: CanonicalId,
    data: JSONBody[NewNote],
) -> Case:
    """Add a note that all who see the case can read. The same note sent again is there once."""
    return case_actions.note(case_id, data.text, principal)


@operation(
    "list_customers",
    "GET",
    "/customers",
    summary="List customers, newest first",
    links={"get_customer_overview": ("customer_id", "/items/0/id")},
    sync_to_thread=True,
)
def list_customers(
    context: NamedDependency[WorkflowContext],
    principal: NamedDependency[Principal],
    cursor: Cursor = None,
    limit: Limit = 25,
) -> Page[Customer]:
    """Customers of whom the caller may see an order."""
    found = customers.page(context.database, principal, cursor, limit)
    return Page(tuple(visibility.customer_for(principal, each) for each in found.items), found.next_cursor)


@operation(
    "get_customer_overview",
    "GET",
    "/customers/{customer_id:str}",
    summary="Read a customer with all that is going on",
    sync_to_thread=True,
)
def get_customer_overview(
    context: NamedDependency[WorkflowContext], principal: NamedDependency[Principal], customer_id: CanonicalId
) -> CustomerOverview:
    """Return the customer, its newest orders and postings, and how many cases are open; and what was disputed,
    corrected and owed, as far as the caller's scopes allow."""
    customer = customers.visible(context.database, customer_id, principal)
    if customer is None:
        raise ProblemError(MISSING, f"There is no customer {customer_id}.")
    return overview(context, customer, principal)


OWN = (
    take_event,
    list_orders,
    get_order,
    list_postings,
    export_postings,
    list_cases,
    get_case,
    act_on_case,
    act_on_cases,
    assign_case,
    note_case,
    decide_approval,
    list_customers,
    get_customer_overview,
)


def router(routes: Iterable[ControllerRouterHandler]) -> Router:
    """Return all routes of the layer: reading the records, taking events, acting on cases, and those of the
    capabilities."""
    return Router("/process/v1", route_handlers=[*OWN, *routes], tags=["process"])
