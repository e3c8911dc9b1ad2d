"""The support channel's governed routes."""

from __future__ import annotations

from typing import Annotated

from litestar import Response
from litestar.di import NamedDependency
from litestar.params import FromQuery, JSONBody, QueryParameter

from canonical.cases import (
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
from canonical.corrections import (
    Correction,
    NewCorrection,
)
from canonical.disputes import DisputeAction, DisputeRecord
from canonical.drift import Drift, DriftAcceptance
from canonical.orders import Cancellation, CustomerOverview, Order, Page, PostingStatus
from canonical.states import DriftState
from canonical.usage import ContractUsage
from experience_apis import corrections, disputes, dunnings
from experience_apis.process_client import Process
from policies.business.amendments import KEY_TAKEN
from policies.business.corrections import INVOICE_RESERVED, PROBLEMS
from policies.business.disputes import ANSWER_TOO_LATE, DISPUTE_DECIDED, EVIDENCE_TOO_LARGE
from policies.contract.operation import operation
from policies.contract.parameters import (
    AssignedTo,
    CanonicalId,
    CasesInOrder,
    Cursor,
    ForeignKey,
    Instance,
    Limit,
    Moment,
    OfCustomer,
)
from policies.contract.version_chain import versioned
from policies.identity.authentication import Principal
from policies.problems import DRIFT_STAYS, NOT_ALLOWED_NOW, OUTSIDE_REGION, OWNER_CHANGED


@operation(
    "support_list_cases",
    "GET",
    "/cases",
    summary="List exceptions, with what may be done about each",
    answers=Page[Case],
    passes="cases",
    links={"support_get_case": ("case_id", "/items/0/id"), "support_act_on_case": ("case_id", "/items/0/id")},
)
async def list_cases(
    process: NamedDependency[Process],
    principal: NamedDependency[Principal],
    case_state: Annotated[CaseState | None, QueryParameter(name="state")] = None,
    team: FromQuery[Team | None] = None,
    kind: FromQuery[CaseKind | None] = None,
    customer_id: OfCustomer = None,
    assigned_to: AssignedTo = None,
    order: CasesInOrder = "newest",
    cursor: Cursor = None,
    limit: Limit = 25,
) -> Response[bytes]:
    """Filter by state, by the team that a case belongs to, by what happened, by the customer, or by who has it."""
    wanted = {
        "state": case_state,
        "team": team,
        "kind": kind,
        "customer_id": customer_id,
        "assigned_to": assigned_to,
        "order": order,
        "cursor": cursor,
        "limit": limit,
    }
    return await process.get(principal, "cases", wanted)


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
    "support_act_on_cases",
    "POST",
    "/cases/actions",
    summary="Do the same about several exceptions",
    answers=CaseOutcomes,
    status=200,
    asks_platforms=True,
)
async def act_on_cases(
    process: NamedDependency[Process], principal: NamedDependency[Principal], data: JSONBody[CasesAction]
) -> Response[bytes]:
    """Act on each of them as if it were the only one, and say of each what became of it."""
    return await process.post(principal, "cases/actions", data)


@operation(
    "support_assign_case",
    "PUT",
    "/cases/{case_id:str}/assignment",
    summary="Give an exception to somebody",
    answers=Case,
    problems=(NOT_ALLOWED_NOW,),
)
async def assign_case(
    process: NamedDependency[Process],
    principal: NamedDependency[Principal],
    case_id: CanonicalId,
    data: JSONBody[Assignment],
) -> Response[bytes]:
    """Say who takes care of an open case; nobody, where the name is empty."""
    return await process.put(principal, f"cases/{case_id}/assignment", data)


@operation(
    "support_note_case",
    "POST",
    "/cases/{case_id:str}/notes",
    summary="Write a note of an exception",
    answers=Case,
    status=200,
)
async def note_case(
    process: NamedDependency[Process],
    principal: NamedDependency[Principal],
    case_id: CanonicalId,
    data: JSONBody[NewNote],
) -> Response[bytes]:
    """Add a note that all who see the case can read. The same note sent again is there once."""
    return await process.post(principal, f"cases/{case_id}/notes", data)


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
    """Return the customer, its newest orders, postings, corrections, disputes and dunnings, and how many cases are
    open."""
    return await process.get(principal, f"customers/{customer_id}", {})


@operation(
    "support_list_postings",
    "GET",
    "/postings",
    summary="List the invoices and payments of a customer, and where the posting of each stands",
    answers=Page[PostingStatus],
    passes="postings",
)
async def list_postings(
    process: NamedDependency[Process],
    principal: NamedDependency[Principal],
    customer_id: OfCustomer = None,
    cursor: Cursor = None,
    limit: Limit = 25,
) -> Response[bytes]:
    """Return what was billed and paid, newest first: under which number it is in the books, and what is still due."""
    query = {"customer_id": customer_id, "cursor": cursor, "limit": limit}
    return await process.get(principal, "postings", query)


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


@operation(
    "support_list_drifts",
    "GET",
    "/drifts",
    summary="List where a system holds another value than the owner of the field, newest first",
    answers=Page[Drift],
    passes="drifts",
    links={"support_get_drift": ("drift_id", "/items/0/id")},
)
async def list_drifts(
    process: NamedDependency[Process],
    principal: NamedDependency[Principal],
    drift_state: Annotated[DriftState | None, QueryParameter(name="state")] = None,
    system: Instance = None,
    customer_id: OfCustomer = None,
    cursor: Cursor = None,
    limit: Limit = 25,
) -> Response[bytes]:
    """Filter by state, by the system that holds the other value, or by customer."""
    wanted = {"state": drift_state, "system": system, "customer_id": customer_id}
    return await process.get(principal, "drifts", wanted | {"cursor": cursor, "limit": limit})


@operation(
    "support_get_drift",
    "GET",
    "/drifts/{drift_id:str}",
    summary="Read a drift",
    answers=Drift,
    passes="drifts/{drift_id}",
)
async def get_drift(
    process: NamedDependency[Process], principal: NamedDependency[Principal], drift_id: CanonicalId
) -> Response[bytes]:
    """Return what the owner says and what the other system says, as they were seen last."""
    return await process.get(principal, f"drifts/{drift_id}", {})


@operation(
    "support_repair_drift",
    "POST",
    "/drifts/{drift_id:str}/repair",
    summary="Write the owner's value to the system that holds another",
    answers=Drift,
    status=200,
    problems=(NOT_ALLOWED_NOW, OWNER_CHANGED, DRIFT_STAYS),
    asks_platforms=True,
)
async def repair_drift(
    process: NamedDependency[Process], principal: NamedDependency[Principal], drift_id: CanonicalId
) -> Response[bytes]:
    """Look first, write the one field, and look again. What is repaired or gone already is left as it is."""
    return await process.post(principal, f"drifts/{drift_id}/repair", None)


@operation(
    "support_accept_drift",
    "POST",
    "/drifts/{drift_id:str}/acceptance",
    summary="Let a system keep a value of its own",
    answers=Drift,
    status=200,
    problems=(NOT_ALLOWED_NOW,),
)
async def accept_drift(
    process: NamedDependency[Process],
    principal: NamedDependency[Principal],
    drift_id: CanonicalId,
    data: JSONBody[DriftAcceptance],
) -> Response[bytes]:
    """Say why. It is open again when either value changes."""
    return await process.post(principal, f"drifts/{drift_id}/acceptance", data)


@operation(
    "support_look_for_drift",
    "POST",
    "/drift-looks/{record:str}",
    summary="Compare a customer or a contract in every system now",
    answers=Page[Drift],
    status=200,
    problems=(NOT_ALLOWED_NOW,),
    asks_platforms=True,
)
async def look_for_drift(
    process: NamedDependency[Process], principal: NamedDependency[Principal], record: CanonicalId
) -> Response[bytes]:
    """Return the differences that are there now, accepted ones included. Nothing is written to any system."""
    return await process.post(principal, f"drift-looks/{record}", None)


@operation(
    "support_propose_correction",
    "POST",
    "/invoices/{invoice_id:str}/corrections",
    summary="Ask finance for a correction of an invoice, once for each key",
    answers=Correction,
    problems=(*PROBLEMS, INVOICE_RESERVED, KEY_TAKEN, OUTSIDE_REGION),
    asks_platforms=True,
    links={"support_get_correction": ("correction_id", "/id")},
)
async def propose_correction(
    process: NamedDependency[Process],
    principal: NamedDependency[Principal],
    invoice_id: ForeignKey,
    data: JSONBody[NewCorrection],
) -> Response[bytes]:
    """Ask for a credit note, a refund, a void or a write-off. Finance decides on it, whatever its amount is."""
    return await process.post(principal, f"invoices/{invoice_id}/correction-proposals", data)


@operation(
    "support_get_usage",
    "GET",
    "/contracts/{contract_id:str}/usage",
    summary="Read what was used under a contract in its present periods",
    answers=ContractUsage,
)
async def get_usage(
    process: NamedDependency[Process],
    principal: NamedDependency[Principal],
    contract_id: CanonicalId,
    as_of: Moment = None,
) -> Response[bytes]:
    """Return what the meters of the contract say, in the periods that `as_of` is in, up to then."""
    return await process.get(principal, f"contracts/{contract_id}/usage", {"as_of": as_of})


@operation(
    "support_act_on_dispute",
    "POST",
    "/disputes/{dispute_id:str}/actions",
    summary="Answer a dispute with evidence, or accept it",
    answers=DisputeRecord,
    status=200,
    problems=(NOT_ALLOWED_NOW, DISPUTE_DECIDED, ANSWER_TOO_LATE, EVIDENCE_TOO_LARGE),
)
async def act_on_dispute(
    process: NamedDependency[Process],
    principal: NamedDependency[Principal],
    dispute_id: ForeignKey,
    data: JSONBody[DisputeAction],
) -> Response[bytes]:
    """Say why. An answer is sent to the bank at once, and counts once. To accept gives the money up, and cannot be
    taken back."""
    return await process.post(principal, f"disputes/{dispute_id}/actions", data)


routers = versioned(
    "support",
    __name__,
    [
        list_cases,
        act_on_cases,
        assign_case,
        note_case,
        get_case,
        act_on_case,
        give_up_order,
        get_customer,
        list_postings,
        *corrections.handlers("support", propose_correction),
        get_usage,
        list_drifts,
        get_drift,
        repair_drift,
        accept_drift,
        look_for_drift,
        *dunnings.handlers("support"),
        *disputes.handlers("support"),
        act_on_dispute,
    ],
)
