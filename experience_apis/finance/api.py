"""The finance channel's governed routes."""

from __future__ import annotations

from typing import Annotated

from litestar import Response
from litestar.di import NamedDependency
from litestar.params import FromQuery, JSONBody, QueryParameter

from canonical.cases import Approval, Case
from canonical.corrections import (
    Correction,
    CorrectionKind,
    CorrectionPreview,
    CorrectionRequest,
    CorrectionSummary,
    NewCorrection,
)
from canonical.customer_merges import CustomerMerge, CustomerMergeSummary
from canonical.disputes import DisputeRecord, DisputeSummary
from canonical.orders import Page, PostingEntry, PostingState, PostingStatus
from canonical.states import CorrectionState, CustomerMergeState, DisputeState
from experience_apis import dunnings
from experience_apis.process_client import Process
from policies.business.amendments import KEY_TAKEN
from policies.business.corrections import INVOICE_RESERVED, PROBLEMS
from policies.contract.operation import operation
from policies.contract.parameters import (
    CanonicalId,
    Cursor,
    ForeignKey,
    Limit,
    Moment,
    OfContract,
    OfCustomer,
    OfInvoice,
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
    "finance_preview_correction",
    "POST",
    "/invoices/{invoice_id:str}/corrections/preview",
    summary="See what a correction of an invoice would be on every platform",
    answers=CorrectionPreview,
    status=200,
    problems=(*PROBLEMS, INVOICE_RESERVED),
    asks_platforms=True,
)
async def preview_correction(
    process: NamedDependency[Process],
    principal: NamedDependency[Principal],
    invoice_id: ForeignKey,
    data: JSONBody[CorrectionRequest],
) -> Response[bytes]:
    """Ask billing what it would credit, and the ERP what it would book. Without lines a credit note is of all that is
    left, and shows the lines of the invoice. Nothing is changed."""
    return await process.post(principal, f"invoices/{invoice_id}/corrections/preview", data)


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


@operation(
    "finance_list_corrections",
    "GET",
    "/corrections",
    summary="List corrections of invoices, newest first",
    answers=Page[CorrectionSummary],
    passes="corrections",
    links={"finance_get_correction": ("correction_id", "/items/0/id")},
)
async def list_corrections(
    process: NamedDependency[Process],
    principal: NamedDependency[Principal],
    correction_state: Annotated[CorrectionState | None, QueryParameter(name="state")] = None,
    kind: Annotated[CorrectionKind | None, QueryParameter(name="kind")] = None,
    invoice_id: OfInvoice = None,
    customer_id: OfCustomer = None,
    cursor: Cursor = None,
    limit: Limit = 25,
) -> Response[bytes]:
    """Filter by state, by kind, by invoice or by customer."""
    wanted = {"state": correction_state, "kind": kind, "invoice_id": invoice_id, "customer_id": customer_id}
    return await process.get(principal, "corrections", wanted | {"cursor": cursor, "limit": limit})


@operation(
    "finance_get_correction",
    "GET",
    "/corrections/{correction_id:str}",
    summary="Read a correction: how far it is, and what every platform said",
    answers=Correction,
    passes="corrections/{correction_id}",
)
async def get_correction(
    process: NamedDependency[Process], principal: NamedDependency[Principal], correction_id: CanonicalId
) -> Response[bytes]:
    """Return the correction with its preview, and who has decided what of it."""
    return await process.get(principal, f"corrections/{correction_id}", {})


@operation(
    "finance_withdraw_correction",
    "POST",
    "/corrections/{correction_id:str}/withdrawal",
    summary="Withdraw a correction that is not carried out yet",
    answers=Correction,
    status=200,
    problems=(NOT_ALLOWED_NOW,),
)
async def withdraw_correction(
    process: NamedDependency[Process], principal: NamedDependency[Principal], correction_id: CanonicalId
) -> Response[bytes]:
    """Give up a correction that waits for an approval or for people. One that billing has is refused."""
    return await process.post(principal, f"corrections/{correction_id}/withdrawal", None)


@operation(
    "finance_list_disputes",
    "GET",
    "/disputes",
    summary="List disputed payments, newest first",
    answers=Page[DisputeSummary],
    passes="disputes",
    links={"finance_get_dispute": ("dispute_id", "/items/0/id")},
)
async def list_disputes(
    process: NamedDependency[Process],
    principal: NamedDependency[Principal],
    dispute_state: Annotated[DisputeState | None, QueryParameter(name="state")] = None,
    customer_id: OfCustomer = None,
    contract_id: OfContract = None,
    due_before: Moment = None,
    cursor: Cursor = None,
    limit: Limit = 25,
) -> Response[bytes]:
    """Show what each dispute has cost, and how it goes on; support answers it."""
    wanted = {"state": dispute_state, "customer_id": customer_id, "contract_id": contract_id}
    query = wanted | {"due_before": due_before, "cursor": cursor, "limit": limit}
    return await process.get(principal, "disputes", query)


@operation(
    "finance_get_dispute",
    "GET",
    "/disputes/{dispute_id:str}",
    summary="Read a dispute with its history and what it has cost",
    answers=DisputeRecord,
    passes="disputes/{dispute_id}",
)
async def get_dispute(
    process: NamedDependency[Process], principal: NamedDependency[Principal], dispute_id: ForeignKey
) -> Response[bytes]:
    """Show the dispute as it was read in billing last, with who has asked for what, and why."""
    return await process.get(principal, f"disputes/{dispute_id}", {})


routers = versioned(
    "finance",
    __name__,
    [
        list_postings,
        decide_approval,
        preview_correction,
        request_correction,
        list_corrections,
        get_correction,
        withdraw_correction,
        list_customer_merges,
        get_customer_merge,
        list_disputes,
        get_dispute,
        *dunnings.handlers("finance"),
    ],
)
