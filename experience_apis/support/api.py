"""The support channel's governed routes."""

from __future__ import annotations

from typing import Annotated

from litestar import Response
from litestar.di import NamedDependency
from litestar.params import FromQuery, JSONBody, QueryParameter

from canonical.cases import Case, CaseAction, CaseState, Team
from canonical.orders import Cancellation, CustomerOverview, Order, Page
from experience_apis.process_client import Process
from policies.contract.operation import operation
from policies.contract.parameters import CanonicalId, Cursor, Limit
from policies.contract.version_chain import versioned
from policies.identity.authentication import Principal
from policies.problems import NOT_ALLOWED_NOW


@operation(
    "support_list_cases",
    "GET",
    "/cases",
    summary="List exceptions, newest first, with what may be done about each",
    answers=Page[Case],
    passes="cases",
    links={"support_get_case": ("case_id", "/items/0/id"), "support_act_on_case": ("case_id", "/items/0/id")},
)
async def list_cases(
    process: NamedDependency[Process],
    principal: NamedDependency[Principal],
    case_state: Annotated[CaseState | None, QueryParameter(name="state")] = None,
    team: FromQuery[Team | None] = None,
    cursor: Cursor = None,
    limit: Limit = 25,
) -> Response[bytes]:
    """Filter by state or by the team that a case belongs to."""
    return await process.get(principal, "cases", {"state": case_state, "team": team, "cursor": cursor, "limit": limit})


@operation(
    "support_get_case",
    "GET",
    "/cases/{case_id:str}",
    summary="Read an exception",
    answers=Case,
    passes="cases/{case_id}",
)
async def get_case(
    process: NamedDependency[Process], principal: NamedDependency[Principal], case_id: CanonicalId
) -> Response[bytes]:
    """Return a case with what was being done, why it stopped, and what may be done about it."""
    return await process.get(principal, f"cases/{case_id}", {})


@operation(
    "support_act_on_case",
    "POST",
    "/cases/{case_id:str}/actions",
    summary="Do one of the things that an exception allows",
    answers=Case,
    status=200,
    problems=(NOT_ALLOWED_NOW,),
    asks_platforms=True,
)
async def act_on_case(
    process: NamedDependency[Process],
    principal: NamedDependency[Principal],
    case_id: CanonicalId,
    data: JSONBody[CaseAction],
) -> Response[bytes]:
    """Do what the action says, which has to be one of those that the case allows; to skip, a reason is needed."""
    return await process.post(principal, f"cases/{case_id}/actions", data)


@operation(
    "support_get_customer",
    "GET",
    "/customers/{customer_id:str}",
    summary="Read a customer with all that is going on",
    answers=CustomerOverview,
    passes="customers/{customer_id}",
)
async def get_customer(
    process: NamedDependency[Process], principal: NamedDependency[Principal], customer_id: CanonicalId
) -> Response[bytes]:
    """Return the customer, its newest orders and postings, and how many cases are open."""
    return await process.get(principal, f"customers/{customer_id}", {})


@operation(
    "support_give_up_order",
    "POST",
    "/orders/{order_id:str}/cancellation",
    summary="Give up an order that waits for a platform",
    answers=Order,
    status=200,
    problems=(NOT_ALLOWED_NOW,),
    asks_platforms=True,
)
async def give_up_order(
    process: NamedDependency[Process],
    principal: NamedDependency[Principal],
    order_id: CanonicalId,
    data: JSONBody[Cancellation],
) -> Response[bytes]:
    """Cancel an order that waits for a platform that is away; why has to be said. What was created for it is taken
    back. An order that does not wait so is refused: act on its cases."""
    return await process.post(principal, f"orders/{order_id}/cancellation", data)


routers = versioned("support", __name__, [list_cases, get_case, act_on_case, give_up_order, get_customer])
