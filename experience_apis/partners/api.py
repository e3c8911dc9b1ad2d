"""The partners' governed routes, in the newest version. An older one, `v1.py`, is what was different from the next."""

from __future__ import annotations

from typing import Annotated

from litestar.di import NamedDependency
from litestar.params import JSONBody, QueryParameter

from canonical.orders import NewOrder, Order, OrderSummary, Page, PostingStatus
from canonical.parties import Customer
from canonical.states import OrderState
from experience_apis.partners import contract
from experience_apis.partners.contract import (
    PartnerCustomer,
    PartnerInvoice,
    PartnerOrder,
    PartnerOrderRequest,
    PartnerOrderSummary,
)
from experience_apis.process_client import Process
from policies.contract.operation import operation
from policies.contract.parameters import CanonicalId, Cursor, Limit, OfCustomer
from policies.contract.version_chain import versioned
from policies.identity.authentication import Principal
from policies.problems import MISSING, OUTSIDE_REGION


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
    query = {"state": "posted", "kind": "invoice", "customer_id": customer_id, "cursor": cursor, "limit": limit}
    found = await process.read(principal, "postings", query, Page[PostingStatus])
    return Page(tuple(map(contract.invoice, found.items)), found.next_cursor)


routers = versioned("partners", __name__, [list_customers, place_order, list_orders, get_order, list_invoices])
