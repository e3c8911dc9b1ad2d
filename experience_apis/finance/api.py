"""The finance channel's governed routes."""

from __future__ import annotations

from typing import Annotated

from litestar import Response
from litestar.di import NamedDependency
from litestar.params import FromQuery, JSONBody, QueryParameter

from canonical.cases import Approval, Case
from canonical.corrections import (
    Correction,
    NewCorrection,
)
from canonical.customer_merges import CustomerMerge, CustomerMergeSummary
from canonical.orders import Page, PostingEntry, PostingState, PostingStatus
from canonical.states import CustomerMergeState
from experience_apis import corrections, disputes, dunnings
from experience_apis.finance import usage_corrections
from experience_apis.finance.exports import export_postings
from experience_apis.process_client import Process
from policies.business.amendments import KEY_TAKEN
from policies.business.corrections import INVOICE_RESERVED, PROBLEMS
from policies.contract.operation import operation
from policies.contract.parameters import (
    CanonicalId,
    Cursor,
    ForeignKey,
    Limit,
    OfCustomer,
)
from policies.contract.version_chain import versioned
from policies.identity.authentication import Principal
from policies.problems import NOT_ALLOWED_NOW, OUTSIDE_REGION


@operation(
    "finance_list_postings",
    "GET",
    "/postings",
    summary="List where the posting of each invoice and payment stands",
    answers=Page[PostingStatus],
    passes="postings",
)
async def list_postings(
    process: NamedDependency[Process],
    principal: NamedDependency[Principal],
    posting_state: Annotated[PostingState | None, QueryParameter(name="state")] = None,
    entry: FromQuery[PostingEntry | None] = None,
    cursor: Cursor = None,
    limit: Limit = 25,
) -> Response[bytes]:
    """Return what waits, and why, what is posted under which number, and what is still due."""
    return await process.get(
        principal, "postings", {"state": posting_state, "entry": entry, "cursor": cursor, "limit": limit}
    )


@operation(
    "finance_decide_approval",
    "POST",
    "/cases/{case_id:str}/approval",
    summary="Approve or reject what a case asks for",
    answers=Case,
    status=200,
    problems=(NOT_ALLOWED_NOW,),
    asks_platforms=True,
)
async def decide_approval(
    process: NamedDependency[Process],
    principal: NamedDependency[Principal],
    case_id: CanonicalId,
    data: JSONBody[Approval],
) -> Response[bytes]:
    """Decide about a case that waits for an approval. Those who placed the order cannot. A rejected order is
    cancelled, and what was made for it is undone."""
    return await process.post(principal, f"cases/{case_id}/approval", data)


@operation(
    "finance_list_customer_merges",
    "GET",
    "/customer-merges",
    summary="List the accounts that were merged, and what became of their customers, newest first",
    answers=Page[CustomerMergeSummary],
    passes="customer-merges",
    links={"finance_get_customer_merge": ("merge_id", "/items/0/id")},
)
async def list_customer_merges(
    process: NamedDependency[Process],
    principal: NamedDependency[Principal],
    merge_state: Annotated[CustomerMergeState | None, QueryParameter(name="state")] = None,
    customer_id: OfCustomer = None,
    cursor: Cursor = None,
    limit: Limit = 25,
) -> Response[bytes]:
    """Show where two customers have one credit limit, that of the customer that leads."""
    query = {"state": merge_state, "customer_id": customer_id, "cursor": cursor, "limit": limit}
    return await process.get(principal, "customer-merges", query)


@operation(
    "finance_get_customer_merge",
    "GET",
    "/customer-merges/{merge_id:str}",
    summary="Read a merge with what each of its customers has",
    answers=CustomerMerge,
    asks_platforms=True,
)
async def get_customer_merge(
    process: NamedDependency[Process], principal: NamedDependency[Principal], merge_id: CanonicalId
) -> Response[bytes]:
    """Show what each customer owes by the ERP, and the limit of each; that of the one that leads counts for both."""
    return await process.get(principal, f"customer-merges/{merge_id}", {})


@operation(
    "finance_request_correction",
    "POST",
    "/invoices/{invoice_id:str}/corrections",
    summary="Correct an invoice, once for each key",
    answers=Correction,
    problems=(*PROBLEMS, INVOICE_RESERVED, KEY_TAKEN, OUTSIDE_REGION),
    asks_platforms=True,
    links={"finance_get_correction": ("correction_id", "/id")},
)
async def request_correction(
    process: NamedDependency[Process],
    principal: NamedDependency[Principal],
    invoice_id: ForeignKey,
    data: JSONBody[NewCorrection],
) -> Response[bytes]:
    """Ask for a credit note, a refund, a void or a write-off. Above the limits of the catalogue somebody else approves
    it."""
    return await process.post(principal, f"invoices/{invoice_id}/corrections", data)


routers = versioned(
    "finance",
    __name__,
    [
        list_postings,
        export_postings,
        decide_approval,
        *corrections.handlers("finance", request_correction),
        list_customer_merges,
        get_customer_merge,
        *usage_corrections.HANDLERS,
        *disputes.handlers("finance"),
        *dunnings.handlers("finance"),
    ],
)
