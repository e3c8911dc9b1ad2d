"""The process layer's governed routes."""

from __future__ import annotations

from typing import Annotated

from litestar import Router, get, post
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from canonical.cases import Case, CaseAction
from canonical.events import Event
from canonical.orders import CustomerOverview, Order, OrderSummary, Page, PostingStatus
from policies import correlation
from policies.authentication import Principal
from policies.living import Living
from policies.problems import INVALID, MISSING, FieldError, ProblemError
from process_apis.desk import Desk
from process_apis.events.subscribers import Subscribers
from process_apis.exceptions import Exceptions
from process_apis.records import references


@post("/events", operation_id="take_event", summary="Take an event, once however often it is offered", status_code=200, sync_to_thread=True)  # fmt: skip
def take_event(state: State, data: JSONBody[Event]) -> dict[str, bool]:
    living: Living = state.living
    if data.type not in living.now.events:
        refused = FieldError("$.type", f"the catalogue has no event {data.type}")
        raise ProblemError(INVALID, "The event may not enter the log.", (refused,))
    subscribers: Subscribers = state.subscribers
    return {"new": subscribers.take(data, correlation.current())}


@get("/orders", operation_id="list_orders", summary="List orders, newest first", sync_to_thread=True)
def list_orders(
    state: State, principal: NamedDependency[Principal], order_state: Annotated[str | None, QueryParameter(name="state")] = None,
    customer_id: FromQuery[str | None] = None, cursor: FromQuery[str | None] = None, limit: FromQuery[int] = 25,
) -> Page[OrderSummary]:  # fmt: skip
    desk: Desk = state.desk
    return desk.orders.page(principal, order_state, customer_id, cursor, limit)


@get("/orders/{order_id:str}", operation_id="get_order", summary="Read an order with its lines and history", sync_to_thread=True)  # fmt: skip
def get_order(state: State, principal: NamedDependency[Principal], order_id: FromPath[str]) -> Order:
    desk: Desk = state.desk
    order = desk.orders.get(order_id) if desk.orders.exists(order_id) else None
    if order is None or not principal.may_see(order.legal_entity):
        raise ProblemError(MISSING, f"There is no order {order_id}.")
    return order


@get("/postings", operation_id="list_postings", summary="List where the posting of each invoice and payment stands", sync_to_thread=True)  # fmt: skip
def list_postings(
    state: State, principal: NamedDependency[Principal], posting_state: Annotated[str | None, QueryParameter(name="state")] = None,
    customer_id: FromQuery[str | None] = None, cursor: FromQuery[str | None] = None, limit: FromQuery[int] = 25,
) -> Page[PostingStatus]:  # fmt: skip
    desk: Desk = state.desk
    return desk.postings.page(principal, posting_state, customer_id, cursor, limit)


@get("/cases", operation_id="list_cases", summary="List cases, newest first", sync_to_thread=True)
def list_cases(
    state: State, principal: NamedDependency[Principal], case_state: Annotated[str | None, QueryParameter(name="state")] = None,
    team: FromQuery[str | None] = None, cursor: FromQuery[str | None] = None, limit: FromQuery[int] = 25,
) -> Page[Case]:  # fmt: skip
    desk: Desk = state.desk
    return desk.cases.page(principal, case_state, team, cursor, limit)


@get("/cases/{case_id:str}", operation_id="get_case", summary="Read a case", sync_to_thread=True)
def get_case(state: State, principal: NamedDependency[Principal], case_id: FromPath[str]) -> Case:
    desk: Desk = state.desk
    case = desk.cases.get(case_id, principal)
    if case is None:
        raise ProblemError(MISSING, f"There is no case {case_id}.")
    return case


@post("/cases/{case_id:str}/actions", operation_id="act_on_case", summary="Do one of the things that a case allows", status_code=200, sync_to_thread=True)  # fmt: skip
def act_on_case(
    state: State, principal: NamedDependency[Principal], case_id: FromPath[str], data: JSONBody[CaseAction]
) -> Case:
    exceptions: Exceptions = state.exceptions
    return exceptions.act(case_id, data.action, data.reason, principal)


@get("/customers/{customer_id:str}", operation_id="get_customer_overview", summary="Read a customer with all that is going on", sync_to_thread=True)  # fmt: skip
def get_customer_overview(
    state: State, principal: NamedDependency[Principal], customer_id: FromPath[str]
) -> CustomerOverview:
    desk: Desk = state.desk
    customer = references.customer(desk.database, customer_id)
    orders = desk.orders.page(principal, None, customer_id, None, 25).items
    if customer is None or not orders:
        raise ProblemError(MISSING, f"There is no customer {customer_id}.")
    postings = desk.postings.page(principal, None, customer_id, None, 25).items
    return CustomerOverview(customer, orders, postings, desk.cases.count_open(customer_id))


router = Router(
    "/process/v1",
    route_handlers=[
        take_event, list_orders, get_order, list_postings, list_cases, get_case, act_on_case, get_customer_overview,
    ],
    tags=["process"],
)  # fmt: skip
