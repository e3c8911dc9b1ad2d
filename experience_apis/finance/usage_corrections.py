"""Usage corrections, as finance reads and decides them."""

from __future__ import annotations

from typing import Annotated

from litestar import Response
from litestar.di import NamedDependency
from litestar.params import JSONBody, QueryParameter

from canonical.orders import Page
from canonical.states import UsageCorrectionState
from canonical.usage_corrections import UsageCorrection, UsageDecision
from experience_apis.process_client import Process
from policies.business.usage import USAGE_CORRECTION_CHANGED
from policies.contract.operation import operation
from policies.contract.parameters import CanonicalId, Cursor, Limit, OfContract, OfCustomer
from policies.identity.authentication import Principal
from policies.problems import NOT_ALLOWED_NOW


@operation(
    "finance_list_usage_corrections",
    "GET",
    "/usage-corrections",
    summary="List what records change of periods that are charged, newest first",
    answers=Page[UsageCorrection],
    passes="usage-corrections",
    links={"finance_get_usage_correction": ("usage_correction_id", "/items/0/id")},
)
async def list_usage_corrections(
    process: NamedDependency[Process],
    principal: NamedDependency[Principal],
    correction_state: Annotated[UsageCorrectionState | None, QueryParameter(name="state")] = None,
    contract_id: OfContract = None,
    customer_id: OfCustomer = None,
    cursor: Cursor = None,
    limit: Limit = 25,
) -> Response[bytes]:
    """Filter by state, by contract or by customer; those that are `proposed` wait for a decision."""
    wanted = {"state": correction_state, "contract_id": contract_id, "customer_id": customer_id}
    return await process.get(principal, "usage-corrections", wanted | {"cursor": cursor, "limit": limit})


@operation(
    "finance_get_usage_correction",
    "GET",
    "/usage-corrections/{usage_correction_id:str}",
    summary="Read a usage correction: the quantities, what it is worth, and how far it is",
    answers=UsageCorrection,
    passes="usage-corrections/{usage_correction_id}",
)
async def get_usage_correction(
    process: NamedDependency[Process], principal: NamedDependency[Principal], usage_correction_id: CanonicalId
) -> Response[bytes]:
    """Return it with the `revision` that a decision names."""
    return await process.get(principal, f"usage-corrections/{usage_correction_id}", {})


@operation(
    "finance_decide_usage_correction",
    "POST",
    "/usage-corrections/{usage_correction_id:str}/decision",
    summary="Approve or reject a usage correction as it was read",
    answers=UsageCorrection,
    status=200,
    problems=(NOT_ALLOWED_NOW, USAGE_CORRECTION_CHANGED),
)
async def decide_usage_correction(
    process: NamedDependency[Process],
    principal: NamedDependency[Principal],
    usage_correction_id: CanonicalId,
    data: JSONBody[UsageDecision],
) -> Response[bytes]:
    """Let billing credit or charge the difference, or leave it as it is. Who has sent the records cannot approve it;
    what has changed since it was read is refused."""
    return await process.post(principal, f"usage-corrections/{usage_correction_id}/decision", data)


HANDLERS = (list_usage_corrections, get_usage_correction, decide_usage_correction)
"""The routes of the finance channel."""
