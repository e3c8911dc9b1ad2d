"""The sales channel's governed routes."""

from __future__ import annotations

from typing import Annotated

from litestar import Response
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from canonical.orders import Order, OrderSummary, Page
from canonical.states import OrderState
from experience_apis.process_client import Process
from policies.contract.operation import operation
from policies.contract.parameters import CanonicalId, Cursor, Limit
from policies.contract.version_chain import versioned
from policies.identity.authentication import Principal


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


routers = versioned("sales", __name__, [list_orders, get_order])
