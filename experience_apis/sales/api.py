"""The sales channel's governed routes."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from litestar import Request, Response
from litestar.di import NamedDependency
from litestar.params import JSONBody, QueryParameter

from canonical.amendments import (
    Amendment,
    AmendmentPreview,
    AmendmentRequest,
    ContractSummary,
    ContractTimeline,
    NewAmendment,
)
from canonical.catalogue_sync import (
    CatalogueAction,
    CatalogueItem,
    CatalogueItemState,
    CatalogueSync,
    NewCatalogueSync,
    PreviewWanted,
)
from canonical.customer_merges import CustomerMerge, CustomerMergeAction, CustomerMergeSummary
from canonical.mass_changes import (
    MassChange,
    MassChangeAction,
    MassChangeItem,
    MassChangeRequest,
    MassChangeSummary,
    MassItemState,
    NewMassChange,
)
from canonical.orders import Order, OrderSummary, Page
from canonical.renewals import Renewal
from canonical.states import (
    AmendmentState,
    CatalogueSyncState,
    ContractState,
    CustomerMergeState,
    MassChangeState,
    OrderState,
    RenewalState,
)
from canonical.usage import ContractUsage, UsageReceipt, UsageRecord
from experience_apis.process_client import Process
from experience_apis.usage_records import RECORDING, take_records
from policies.business.amendments import ALREADY_RENEWED, CHANGE_REFUSED, CONTRACT_OVER, KEY_TAKEN
from policies.business.catalogue_sync import OWNED_ELSEWHERE, PREVIEW_OUTDATED
from policies.contract.operation import operation
from policies.contract.parameters import (
    CanonicalId,
    Cursor,
    Day,
    Limit,
    Moment,
    OfCurrency,
    OfCustomer,
    OfProduct,
    OfSeller,
)
from policies.contract.version_chain import versioned
from policies.identity.authentication import Principal
from policies.problems import NOT_ALLOWED_NOW, OUTSIDE_REGION


@operation(
    "sales_list_orders",
    "GET",
    "/orders",
    summary="List orders, newest first",
    answers=Page[OrderSummary],
    passes="orders",
    links={"sales_get_order": ("order_id", "/items/0/id")},
)
async def list_orders(
    process: NamedDependency[Process],
    principal: NamedDependency[Principal],
    order_state: Annotated[OrderState | None, QueryParameter(name="state")] = None,
    cursor: Cursor = None,
    limit: Limit = 25,
) -> Response[bytes]:
    """Follow `next_cursor` for the rest. A cursor stays valid while the list grows."""
    return await process.get(principal, "orders", {"state": order_state, "cursor": cursor, "limit": limit})


@operation(
    "sales_get_order",
    "GET",
    "/orders/{order_id:str}",
    summary="Read an order: its state, what it waits for, its lines",
    answers=Order,
    passes="orders/{order_id}",
)
async def get_order(
    process: NamedDependency[Process], principal: NamedDependency[Principal], order_id: CanonicalId
) -> Response[bytes]:
    """Show what the order waits for in words, how far each line is, and when each state was reached."""
    return await process.get(principal, f"orders/{order_id}", {})


@operation(
    "sales_list_contracts",
    "GET",
    "/contracts",
    summary="List contracts as they are now, newest first",
    answers=Page[ContractSummary],
    passes="contracts",
    links={"sales_get_contract": ("contract_id", "/items/0/id")},
)
async def list_contracts(
    process: NamedDependency[Process],
    principal: NamedDependency[Principal],
    customer_id: OfCustomer = None,
    sku: OfProduct = None,
    legal_entity: OfSeller = None,
    contract_state: Annotated[ContractState | None, QueryParameter(name="state")] = None,
    currency: OfCurrency = None,
    cursor: Cursor = None,
    limit: Limit = 25,
) -> Response[bytes]:
    """Show what runs, and what was ended. Follow `next_cursor` for the rest: with a filter, a page may have fewer than
    `limit` before the last one."""
    wanted = {"customer_id": customer_id, "sku": sku, "legal_entity": legal_entity, "currency": currency}
    query = wanted | {"state": contract_state, "cursor": cursor, "limit": limit}
    return await process.get(principal, "contracts", query)


@operation(
    "sales_get_contract",
    "GET",
    "/contracts/{contract_id:str}",
    summary="Read a contract: what it was, is and will be",
    answers=ContractTimeline,
    passes="contracts/{contract_id}",
)
async def get_contract(
    process: NamedDependency[Process],
    principal: NamedDependency[Principal],
    contract_id: CanonicalId,
    as_of: Moment = None,
) -> Response[bytes]:
    """Show every version of the contract, what each change was worth, and which version counts at `as_of`."""
    return await process.get(principal, f"contracts/{contract_id}", {"as_of": as_of})


@operation(
    "sales_preview_amendment",
    "POST",
    "/contracts/{contract_id:str}/amendments/preview",
    summary="See what a change of a contract would cost, on every platform",
    status=200,
    problems=(CONTRACT_OVER, ALREADY_RENEWED, CHANGE_REFUSED),
    asks_platforms=True,
)
async def preview_amendment(
    process: NamedDependency[Process],
    principal: NamedDependency[Principal],
    contract_id: CanonicalId,
    data: JSONBody[AmendmentRequest],
) -> AmendmentPreview:
    """Show what billing would charge and credit, what the books would say, and why each amount is what it is. Nothing
    is changed."""
    return await process.write(principal, f"contracts/{contract_id}/amendments/preview", data, AmendmentPreview)


@operation(
    "sales_request_amendment",
    "POST",
    "/contracts/{contract_id:str}/amendments",
    summary="Change a contract",
    problems=(CONTRACT_OVER, ALREADY_RENEWED, CHANGE_REFUSED, KEY_TAKEN, OUTSIDE_REGION),
    links={"sales_get_amendment": ("amendment_id", "/id")},
)
async def request_amendment(
    process: NamedDependency[Process],
    principal: NamedDependency[Principal],
    act: NamedDependency[str],
    contract_id: CanonicalId,
    data: JSONBody[AmendmentRequest],
) -> Amendment:
    """Ask for a change. It is carried out once billing and the books agree, and somebody else has approved what
    the company wants approved. Follow it with its id. The same `Idempotency-Key` again is the same change."""
    wanted = NewAmendment(**msgspec.structs.asdict(data), key=act)
    return await process.write(principal, f"contracts/{contract_id}/amendments", wanted, Amendment)


@operation(
    "sales_list_amendments",
    "GET",
    "/amendments",
    summary="List changes of contracts, newest first",
    answers=Page[Amendment],
    passes="amendments",
    links={"sales_get_amendment": ("amendment_id", "/items/0/id")},
)
async def list_amendments(
    process: NamedDependency[Process],
    principal: NamedDependency[Principal],
    contract_id: Annotated[str | None, QueryParameter(description="Of one contract alone.")] = None,
    amendment_state: Annotated[AmendmentState | None, QueryParameter(name="state")] = None,
    cursor: Cursor = None,
    limit: Limit = 25,
) -> Response[bytes]:
    """Follow `next_cursor` for the rest."""
    query = {"contract_id": contract_id, "state": amendment_state, "cursor": cursor, "limit": limit}
    return await process.get(principal, "amendments", query)


@operation(
    "sales_get_amendment",
    "GET",
    "/amendments/{amendment_id:str}",
    summary="Read a change of a contract: how far it is, and what every platform said",
    answers=Amendment,
    passes="amendments/{amendment_id}",
)
async def get_amendment(
    process: NamedDependency[Process], principal: NamedDependency[Principal], amendment_id: CanonicalId
) -> Response[bytes]:
    """Show what was asked for, what it waits for, and the preview that every platform agreed to."""
    return await process.get(principal, f"amendments/{amendment_id}", {})


@operation(
    "sales_withdraw_amendment",
    "POST",
    "/amendments/{amendment_id:str}/withdrawal",
    summary="Withdraw a change that is not carried out yet",
    status=200,
    problems=(NOT_ALLOWED_NOW,),
)
async def withdraw_amendment(
    process: NamedDependency[Process], principal: NamedDependency[Principal], amendment_id: CanonicalId
) -> Amendment:
    """Give up a change that waits: for its day, an approval or a correction."""
    return await process.write(principal, f"amendments/{amendment_id}/withdrawal", None, Amendment)


@operation(
    "sales_list_renewals",
    "GET",
    "/renewals",
    summary="List the terms that end, and what becomes of each, newest first",
    answers=Page[Renewal],
    passes="renewals",
    links={"sales_get_renewal": ("renewal_id", "/items/0/id")},
)
async def list_renewals(
    process: NamedDependency[Process],
    principal: NamedDependency[Principal],
    renewal_state: Annotated[RenewalState | None, QueryParameter(name="state")] = None,
    legal_entity: OfSeller = None,
    customer_id: OfCustomer = None,
    ends_before: Day = None,
    cursor: Cursor = None,
    limit: Limit = 25,
) -> Response[bytes]:
    """Show what each contract is worth now and in the next term, why one is blocked, its deal and its amendment. Follow
    `next_cursor` for the rest."""
    wanted = {"state": renewal_state, "legal_entity": legal_entity, "customer_id": customer_id}
    query = wanted | {"ends_before": ends_before, "cursor": cursor, "limit": limit}
    return await process.get(principal, "renewals", query)


@operation(
    "sales_get_renewal",
    "GET",
    "/renewals/{renewal_id:str}",
    summary="Read what becomes of a term that ends",
    answers=Renewal,
    passes="renewals/{renewal_id}",
    links={"sales_get_contract": ("contract_id", "/contract_id")},
)
async def get_renewal(
    process: NamedDependency[Process], principal: NamedDependency[Principal], renewal_id: CanonicalId
) -> Response[bytes]:
    """Show what the renewal waits for in words, and what it is worth."""
    return await process.get(principal, f"renewals/{renewal_id}", {})


@operation(
    "sales_list_customer_merges",
    "GET",
    "/customer-merges",
    summary="List the accounts that were merged, and what became of their customers, newest first",
    answers=Page[CustomerMergeSummary],
    passes="customer-merges",
    links={"sales_get_customer_merge": ("merge_id", "/items/0/id")},
)
async def list_customer_merges(
    process: NamedDependency[Process],
    principal: NamedDependency[Principal],
    merge_state: Annotated[CustomerMergeState | None, QueryParameter(name="state")] = None,
    customer_id: OfCustomer = None,
    cursor: Cursor = None,
    limit: Limit = 25,
) -> Response[bytes]:
    """Show merges that wait for a decision (`asked`, `in_question`), and those that are decided or undone."""
    query = {"state": merge_state, "customer_id": customer_id, "cursor": cursor, "limit": limit}
    return await process.get(principal, "customer-merges", query)


@operation(
    "sales_get_customer_merge",
    "GET",
    "/customer-merges/{merge_id:str}",
    summary="Read a merge with what each of its customers has",
    answers=CustomerMerge,
    asks_platforms=True,
)
async def get_customer_merge(
    process: NamedDependency[Process], principal: NamedDependency[Principal], merge_id: CanonicalId
) -> Response[bytes]:
    """Show what each customer has: contracts, open orders and cases, what it owes; and what may be chosen."""
    return await process.get(principal, f"customer-merges/{merge_id}", {})


@operation(
    "sales_act_on_customer_merge",
    "POST",
    "/customer-merges/{merge_id:str}/actions",
    summary="Choose which of two customers under one account leads",
    answers=CustomerMergeSummary,
    status=200,
    problems=(NOT_ALLOWED_NOW,),
)
async def act_on_customer_merge(
    process: NamedDependency[Process],
    principal: NamedDependency[Principal],
    merge_id: CanonicalId,
    data: JSONBody[CustomerMergeAction],
) -> Response[bytes]:
    """Let the customer of the account that was left lead (`keep`), or that of the merged account (`switch`). New deals
    are those of the customer that leads. The case that asks for it is closed."""
    return await process.post(principal, f"customer-merges/{merge_id}/actions", data)


@operation(
    "sales_plan_mass_change",
    "POST",
    "/mass-changes",
    summary="Select the contracts of a new price, and see what it is worth",
    problems=(CHANGE_REFUSED, KEY_TAKEN, OUTSIDE_REGION),
    links={"sales_get_mass_change": ("mass_change_id", "/id")},
)
async def plan_mass_change(
    process: NamedDependency[Process],
    principal: NamedDependency[Principal],
    act: NamedDependency[str],
    data: JSONBody[MassChangeRequest],
) -> MassChange:
    """Select the contracts as they are now. Follow it with its id: once it is `previewed` it says what it is worth and
    what is left out. Nothing is changed before it is submitted and approved."""
    wanted = NewMassChange(**msgspec.structs.asdict(data), key=act)
    return await process.write(principal, "mass-changes", wanted, MassChange)


@operation(
    "sales_list_mass_changes",
    "GET",
    "/mass-changes",
    summary="List changes of many contracts, newest first",
    answers=Page[MassChangeSummary],
    passes="mass-changes",
    links={"sales_get_mass_change": ("mass_change_id", "/items/0/id")},
)
async def list_mass_changes(
    process: NamedDependency[Process],
    principal: NamedDependency[Principal],
    mass_change_state: Annotated[MassChangeState | None, QueryParameter(name="state")] = None,
    cursor: Cursor = None,
    limit: Limit = 25,
) -> Response[bytes]:
    """Follow `next_cursor` for the rest."""
    return await process.get(principal, "mass-changes", {"state": mass_change_state, "cursor": cursor, "limit": limit})


@operation(
    "sales_get_mass_change",
    "GET",
    "/mass-changes/{mass_change_id:str}",
    summary="Read a mass change: what it is worth, and how many contracts are in which state",
    answers=MassChange,
    passes="mass-changes/{mass_change_id}",
    links={"sales_list_mass_change_items": ("mass_change_id", "/id")},
)
async def get_mass_change(
    process: NamedDependency[Process], principal: NamedDependency[Principal], mass_change_id: CanonicalId
) -> Response[bytes]:
    """Show the revenue before and after, by currency, and how far the change is."""
    return await process.get(principal, f"mass-changes/{mass_change_id}", {})


@operation(
    "sales_list_mass_change_items",
    "GET",
    "/mass-changes/{mass_change_id:str}/items",
    summary="List the contracts of a mass change, and what became of each",
    answers=Page[MassChangeItem],
    links={"sales_get_contract": ("contract_id", "/items/0/contract_id")},
)
async def list_mass_change_items(
    process: NamedDependency[Process],
    principal: NamedDependency[Principal],
    mass_change_id: CanonicalId,
    item_state: Annotated[MassItemState | None, QueryParameter(name="state")] = None,
    cursor: Cursor = None,
    limit: Limit = 25,
) -> Response[bytes]:
    """Show every contract that was selected, with those that are left out and why."""
    query = {"state": item_state, "cursor": cursor, "limit": limit}
    return await process.get(principal, f"mass-changes/{mass_change_id}/items", query)


@operation(
    "sales_act_on_mass_change",
    "POST",
    "/mass-changes/{mass_change_id:str}/actions",
    summary="Submit, pause, resume, cancel, retry or undo a mass change",
    status=200,
    problems=(NOT_ALLOWED_NOW,),
)
async def act_on_mass_change(
    process: NamedDependency[Process],
    principal: NamedDependency[Principal],
    mass_change_id: CanonicalId,
    data: JSONBody[MassChangeAction],
) -> MassChange:
    """Do the next step. What was submitted waits for an approval of somebody else."""
    return await process.write(principal, f"mass-changes/{mass_change_id}/actions", data, MassChange)


@operation(
    "sales_preview_catalogue_sync",
    "POST",
    "/catalogue-syncs",
    summary="See what differs from the CRM's catalogue",
    problems=(OWNED_ELSEWHERE,),
    links={"sales_get_catalogue_sync": ("sync_id", "/id")},
)
async def preview_catalogue_sync(
    process: NamedDependency[Process],
    principal: NamedDependency[Principal],
    act: NamedDependency[str],
    data: JSONBody[PreviewWanted],
) -> CatalogueSync:
    """Compare the products and list prices of the CRM with what the ERP and billing have of them. Nothing is written to
    them. The same `Idempotency-Key` again is the same preview."""
    return await process.write(principal, "catalogue-syncs", NewCatalogueSync(act, data.crm), CatalogueSync)


@operation(
    "sales_start_catalogue_sync",
    "POST",
    "/catalogue-syncs/{sync_id:str}/start",
    summary="Carry out what a preview has shown",
    status=200,
    problems=(PREVIEW_OUTDATED,),
)
async def start_catalogue_sync(
    process: NamedDependency[Process], principal: NamedDependency[Principal], sync_id: CanonicalId
) -> CatalogueSync:
    """Create, rename and retire products and prices as the preview says. What is refused is a case, and stops nothing
    else. Contracts that run keep their prices."""
    return await process.write(principal, f"catalogue-syncs/{sync_id}/start", None, CatalogueSync)


@operation(
    "sales_list_catalogue_syncs",
    "GET",
    "/catalogue-syncs",
    summary="List catalogue syncs, newest first",
    answers=Page[CatalogueSync],
    passes="catalogue-syncs",
    links={"sales_get_catalogue_sync": ("sync_id", "/items/0/id")},
)
async def list_catalogue_syncs(
    process: NamedDependency[Process],
    principal: NamedDependency[Principal],
    sync_state: Annotated[CatalogueSyncState | None, QueryParameter(name="state")] = None,
    cursor: Cursor = None,
    limit: Limit = 25,
) -> Response[bytes]:
    """Previews, and those that were carried out."""
    return await process.get(principal, "catalogue-syncs", {"state": sync_state, "cursor": cursor, "limit": limit})


@operation(
    "sales_get_catalogue_sync",
    "GET",
    "/catalogue-syncs/{sync_id:str}",
    summary="Read a catalogue sync: how far it is",
    answers=CatalogueSync,
    passes="catalogue-syncs/{sync_id}",
)
async def get_catalogue_sync(
    process: NamedDependency[Process], principal: NamedDependency[Principal], sync_id: CanonicalId
) -> Response[bytes]:
    """Show what it waits for, and how many items it has by action and by state."""
    return await process.get(principal, f"catalogue-syncs/{sync_id}", {})


@operation(
    "sales_list_catalogue_items",
    "GET",
    "/catalogue-syncs/{sync_id:str}/items",
    summary="List what a catalogue sync does, in its order",
    answers=Page[CatalogueItem],
)
async def list_catalogue_items(
    process: NamedDependency[Process],
    principal: NamedDependency[Principal],
    sync_id: CanonicalId,
    item_state: Annotated[CatalogueItemState | None, QueryParameter(name="state")] = None,
    action: CatalogueAction | None = None,
    cursor: Cursor = None,
    limit: Limit = 25,
) -> Response[bytes]:
    """Show each product and each price that is created, changed, replaced, retired or refused on a platform."""
    query = {"state": item_state, "action": action, "cursor": cursor, "limit": limit}
    return await process.get(principal, f"catalogue-syncs/{sync_id}/items", query)


@operation(
    "sales_record_usage",
    "POST",
    "/usage",
    summary="Send what was used, up to 100,000 records at a time",
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
    "sales_get_usage",
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


routers = versioned(
    "sales",
    __name__,
    [
        list_orders,
        get_order,
        list_contracts,
        get_contract,
        record_usage,
        get_usage,
        preview_amendment,
        request_amendment,
        list_amendments,
        get_amendment,
        withdraw_amendment,
        preview_catalogue_sync,
        start_catalogue_sync,
        list_catalogue_syncs,
        get_catalogue_sync,
        list_catalogue_items,
        list_renewals,
        get_renewal,
        list_customer_merges,
        get_customer_merge,
        act_on_customer_merge,
        plan_mass_change,
        list_mass_changes,
        get_mass_change,
        list_mass_change_items,
        act_on_mass_change,
    ],
)
