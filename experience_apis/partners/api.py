"""The partners' governed routes, in the newest version. An older one, `v1.py`, is what was different from the next."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from litestar import Request
from litestar.di import NamedDependency
from litestar.params import JSONBody, QueryParameter

from canonical.amendments import Amendment, AmendmentPreview, ContractSummary, ContractTimeline, NewAmendment
from canonical.orders import NewOrder, Order, OrderSummary, Page, PostingStatus
from canonical.parties import Customer
from canonical.states import AmendmentState, OrderState
from canonical.usage import ContractUsage, UsageReceipt, UsageRecord
from experience_apis.partners import contract
from experience_apis.partners.contract import (
    PartnerAmendment,
    PartnerAmendmentPreview,
    PartnerAmendmentRequest,
    PartnerContractSummary,
    PartnerContractTimeline,
    PartnerCreditNote,
    PartnerCustomer,
    PartnerInvoice,
    PartnerOrder,
    PartnerOrderRequest,
    PartnerOrderSummary,
)
from experience_apis.partners.webhooks import WEBHOOK_ROUTES
from experience_apis.process_client import Process
from experience_apis.usage_records import RECORDING, take_records
from policies.business.amendments import CHANGE_REFUSED, CONTRACT_OVER, KEY_TAKEN
from policies.contract.operation import operation
from policies.contract.parameters import CanonicalId, Cursor, Limit, Moment, OfCustomer
from policies.contract.version_chain import versioned
from policies.identity.authentication import Principal
from policies.problems import MISSING, NOT_ALLOWED_NOW, OUTSIDE_REGION


@operation("partners_list_customers", "GET", "/customers", summary="List your customers, newest first")
async def list_customers(
    process: NamedDependency[Process], principal: NamedDependency[Principal], cursor: Cursor = None, limit: Limit = 25
) -> Page[PartnerCustomer]:
    """Return the customers that you look after. Their ids are what you order with."""
    found = await process.read(principal, "customers", {"cursor": cursor, "limit": limit}, Page[Customer])
    return Page(tuple(map(contract.customer, found.items)), found.next_cursor)


@operation(
    "partners_place_order",
    "POST",
    "/orders",
    summary="Place an order for one of your customers",
    problems=(MISSING, OUTSIDE_REGION),
    asks_platforms=True,
    links={"partners_get_order": ("order_id", "/id")},
)
async def place_order(
    process: NamedDependency[Process],
    principal: NamedDependency[Principal],
    act: NamedDependency[str],
    data: JSONBody[PartnerOrderRequest],
) -> PartnerOrder:
    """Place an order at list prices. Send an `Idempotency-Key` of your own, and send the same again when you got no
    answer: it is one order, however often you send it. Follow it with its id."""
    wanted = NewOrder(
        act, data.customer_id, data.name, data.legal_entity, data.currency, data.starts_on, data.term_months, data.lines
    )
    return contract.order(await process.write(principal, "orders", wanted, Order))


@operation(
    "partners_list_orders",
    "GET",
    "/orders",
    summary="List the orders of your customers, newest first",
    links={"partners_get_order": ("order_id", "/items/0/id")},
)
async def list_orders(
    process: NamedDependency[Process],
    principal: NamedDependency[Principal],
    order_state: Annotated[OrderState | None, QueryParameter(name="state")] = None,
    customer_id: OfCustomer = None,
    cursor: Cursor = None,
    limit: Limit = 25,
) -> Page[PartnerOrderSummary]:
    """Return all orders of your customers, by whatever channel they came."""
    query = {"state": order_state, "customer_id": customer_id, "cursor": cursor, "limit": limit}
    found = await process.read(principal, "orders", query, Page[OrderSummary])
    return Page(tuple(map(contract.summary, found.items)), found.next_cursor)


@operation("partners_get_order", "GET", "/orders/{order_id:str}", summary="Read an order of one of your customers")
async def get_order(
    process: NamedDependency[Process], principal: NamedDependency[Principal], order_id: CanonicalId
) -> PartnerOrder:
    """Show how far the order is, what holds it up, and its contract once it is accepted."""
    return contract.order(await process.read(principal, f"orders/{order_id}", {}, Order))


@operation(
    "partners_list_invoices", "GET", "/invoices", summary="List the posted invoices of your customers, newest first"
)
async def list_invoices(
    process: NamedDependency[Process],
    principal: NamedDependency[Principal],
    customer_id: OfCustomer = None,
    cursor: Cursor = None,
    limit: Limit = 25,
) -> Page[PartnerInvoice]:
    """Invoices as they are in the books, with what is still due."""
    query = {"state": "posted", "entry": "invoice", "customer_id": customer_id, "cursor": cursor, "limit": limit}
    found = await process.read(principal, "postings", query, Page[PostingStatus])
    return Page(tuple(map(contract.invoice, found.items)), found.next_cursor)


@operation(
    "partners_list_credit_notes",
    "GET",
    "/credit-notes",
    summary="List the posted credit notes of your customers, newest first",
)
async def list_credit_notes(
    process: NamedDependency[Process],
    principal: NamedDependency[Principal],
    customer_id: OfCustomer = None,
    cursor: Cursor = None,
    limit: Limit = 25,
) -> Page[PartnerCreditNote]:
    """Credit notes as they are in the books, each with the invoice that it credits."""
    query = {"state": "posted", "entry": "credit", "customer_id": customer_id, "cursor": cursor, "limit": limit}
    found = await process.read(principal, "postings", query, Page[PostingStatus])
    return Page(tuple(map(contract.credit_note, found.items)), found.next_cursor)


@operation(
    "partners_list_contracts",
    "GET",
    "/contracts",
    summary="List the contracts of your customers, newest first",
    links={"partners_get_contract": ("contract_id", "/items/0/id")},
)
async def list_contracts(
    process: NamedDependency[Process],
    principal: NamedDependency[Principal],
    customer_id: OfCustomer = None,
    cursor: Cursor = None,
    limit: Limit = 25,
) -> Page[PartnerContractSummary]:
    """Return what runs, and what was ended."""
    query = {"customer_id": customer_id, "cursor": cursor, "limit": limit}
    found = await process.read(principal, "contracts", query, Page[ContractSummary])
    return Page(tuple(map(contract.contract_summary, found.items)), found.next_cursor)


@operation(
    "partners_get_contract",
    "GET",
    "/contracts/{contract_id:str}",
    summary="Read a contract of one of your customers: what it was, is and will be",
)
async def get_contract(
    process: NamedDependency[Process],
    principal: NamedDependency[Principal],
    contract_id: CanonicalId,
    as_of: Moment = None,
) -> PartnerContractTimeline:
    """Show every version of the contract, and which of them counts at `as_of`."""
    query = {"as_of": as_of}
    return contract.timeline(await process.read(principal, f"contracts/{contract_id}", query, ContractTimeline))


@operation(
    "partners_preview_amendment",
    "POST",
    "/contracts/{contract_id:str}/amendments/preview",
    summary="See what a change of a contract would cost",
    status=200,
    problems=(CONTRACT_OVER, CHANGE_REFUSED),
    asks_platforms=True,
)
async def preview_amendment(
    process: NamedDependency[Process],
    principal: NamedDependency[Principal],
    contract_id: CanonicalId,
    data: JSONBody[PartnerAmendmentRequest],
) -> PartnerAmendmentPreview:
    """Show what would be charged and credited. Nothing is changed."""
    path = f"contracts/{contract_id}/amendments/preview"
    return contract.preview(await process.write(principal, path, contract.wanted(data), AmendmentPreview))


@operation(
    "partners_request_amendment",
    "POST",
    "/contracts/{contract_id:str}/amendments",
    summary="Change a contract of one of your customers",
    problems=(CONTRACT_OVER, CHANGE_REFUSED, KEY_TAKEN, OUTSIDE_REGION),
    links={"partners_get_amendment": ("amendment_id", "/id")},
)
async def request_amendment(
    process: NamedDependency[Process],
    principal: NamedDependency[Principal],
    act: NamedDependency[str],
    contract_id: CanonicalId,
    data: JSONBody[PartnerAmendmentRequest],
) -> PartnerAmendment:
    """Ask for a change at the prices of the contract. Follow it with its id. The same `Idempotency-Key` again is the
    same change. A product that the customer does not have is an order."""
    wanted = NewAmendment(**msgspec.structs.asdict(contract.wanted(data)), key=act)
    return contract.amendment(await process.write(principal, f"contracts/{contract_id}/amendments", wanted, Amendment))


@operation(
    "partners_list_amendments",
    "GET",
    "/amendments",
    summary="List changes of your customers' contracts, newest first",
    links={"partners_get_amendment": ("amendment_id", "/items/0/id")},
)
async def list_amendments(
    process: NamedDependency[Process],
    principal: NamedDependency[Principal],
    contract_id: Annotated[str | None, QueryParameter(description="Of one contract alone.")] = None,
    amendment_state: Annotated[AmendmentState | None, QueryParameter(name="state")] = None,
    cursor: Cursor = None,
    limit: Limit = 25,
) -> Page[PartnerAmendment]:
    """Return all changes of your customers' contracts, by whatever channel they came."""
    query = {"contract_id": contract_id, "state": amendment_state, "cursor": cursor, "limit": limit}
    found = await process.read(principal, "amendments", query, Page[Amendment])
    return Page(tuple(map(contract.amendment, found.items)), found.next_cursor)


@operation(
    "partners_get_amendment",
    "GET",
    "/amendments/{amendment_id:str}",
    summary="Read a change of a contract: how far it is, and what it costs",
)
async def get_amendment(
    process: NamedDependency[Process], principal: NamedDependency[Principal], amendment_id: CanonicalId
) -> PartnerAmendment:
    """Show how far the change is, what holds it up, and what it comes to."""
    return contract.amendment(await process.read(principal, f"amendments/{amendment_id}", {}, Amendment))


@operation(
    "partners_withdraw_amendment",
    "POST",
    "/amendments/{amendment_id:str}/withdrawal",
    summary="Withdraw a change that is not carried out yet",
    status=200,
    problems=(NOT_ALLOWED_NOW,),
)
async def withdraw_amendment(
    process: NamedDependency[Process], principal: NamedDependency[Principal], amendment_id: CanonicalId
) -> PartnerAmendment:
    """Give up a change that waits: for its day, an approval or a correction."""
    path = f"amendments/{amendment_id}/withdrawal"
    return contract.amendment(await process.write(principal, path, None, Amendment))


@operation(
    "partners_record_usage",
    "POST",
    "/usage",
    summary="Send what your customers used, up to 100,000 records at a time",
    status=200,
    problems=RECORDING,
    lines=UsageRecord,
    streamed=True,
)
async def record_usage(
    request: Request[Any, Any, Any], process: NamedDependency[Process], principal: NamedDependency[Principal]
) -> UsageReceipt:
    """Send one record on each line. Each is kept once, by its key: send what had no answer again. A line that cannot be
    taken is named, and stops no other."""
    return await take_records(request, process, principal)


@operation(
    "partners_get_usage",
    "GET",
    "/contracts/{contract_id:str}/usage",
    summary="Read what one of your customers used under a contract in its present periods",
)
async def get_usage(
    process: NamedDependency[Process],
    principal: NamedDependency[Principal],
    contract_id: CanonicalId,
    as_of: Moment = None,
) -> ContractUsage:
    """Return what the meters of the contract say, in the periods that `as_of` is in, up to then."""
    return await process.read(principal, f"contracts/{contract_id}/usage", {"as_of": as_of}, ContractUsage)


routers = versioned(
    "partners",
    __name__,
    [
        list_customers,
        place_order,
        list_orders,
        get_order,
        list_invoices,
        list_credit_notes,
        list_contracts,
        get_contract,
        record_usage,
        get_usage,
        preview_amendment,
        request_amendment,
        list_amendments,
        get_amendment,
        withdraw_amendment,
        *WEBHOOK_ROUTES,
    ],
)
