"""The support channel's governed routes."""

from __future__ import annotations

from typing import Annotated

from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromQuery, JSONBody, QueryParameter

from canonical.cases import Case, CaseAction, CaseState, Team
from canonical.orders import CustomerOverview, Page
from experience_apis.process_client import Process
from experience_apis.responses import answers
from policies.contract.parameters import CanonicalId, Cursor, Limit
from policies.contract.version_chain import versioned
from policies.identity.authentication import Principal
from policies.problems import NOT_ALLOWED_NOW


@get("/cases", operation_id="support_list_cases", passes="cases", summary="List exceptions, newest first, with what may be done about each", responses=answers(Page[Case]))  # fmt: skip
async def list_cases(
    process: NamedDependency[Process], principal: NamedDependency[Principal], case_state: Annotated[CaseState | None, QueryParameter(name="state")] = None,
    team: FromQuery[Team | None] = None, cursor: Cursor = None, limit: Limit = 25,
) -> Response[bytes]:  # fmt: skip
    """Filter by state or by the team that a case belongs to."""
    return await process.get(principal, "cases", {"state": case_state, "team": team, "cursor": cursor, "limit": limit})


@get("/cases/{case_id:str}", operation_id="support_get_case", passes="cases/{case_id}", summary="Read an exception", responses=answers(Case))  # fmt: skip
async def get_case(
    process: NamedDependency[Process], principal: NamedDependency[Principal], case_id: CanonicalId
) -> Response[bytes]:
    """A case with what was being done, why it stopped, and what may be done about it."""
    return await process.get(principal, f"cases/{case_id}", {})


@post("/cases/{case_id:str}/actions", operation_id="support_act_on_case", platforms=True, problems=(NOT_ALLOWED_NOW,), summary="Do one of the things that an exception allows", status_code=200, responses=answers(Case))  # fmt: skip
async def act_on_case(
    process: NamedDependency[Process],
    principal: NamedDependency[Principal],
    case_id: CanonicalId,
    data: JSONBody[CaseAction],
) -> Response[bytes]:
    """The action has to be one of those that the case allows; to skip, a reason is needed."""
    return await process.post(principal, f"cases/{case_id}/actions", data)


@get("/customers/{customer_id:str}", operation_id="support_get_customer", passes="customers/{customer_id}", summary="Read a customer with all that is going on", responses=answers(CustomerOverview))  # fmt: skip
async def get_customer(
    process: NamedDependency[Process], principal: NamedDependency[Principal], customer_id: CanonicalId
) -> Response[bytes]:
    """The customer, its newest orders and postings, and how many cases are open."""
    return await process.get(principal, f"customers/{customer_id}", {})


routers = versioned("support", __name__, [list_cases, get_case, act_on_case, get_customer])
