"""The sales channel's governed routes."""

from __future__ import annotations

from typing import Annotated

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from canonical.orders import Order, OrderSummary, Page
from canonical.states import OrderState
from experience_apis.process_client import Process
from experience_apis.responses import answers
from policies.contract.parameters import CanonicalId, Cursor, Limit
from policies.contract.version_chain import versioned
from policies.identity.authentication import Principal


@get("/orders", operation_id="sales_list_orders", passes="orders", summary="List orders, newest first", responses=answers(Page[OrderSummary]))  # fmt: skip
async def list_orders(
    process: NamedDependency[Process], principal: NamedDependency[Principal], order_state: Annotated[OrderState | None, QueryParameter(name="state")] = None,
    cursor: Cursor = None, limit: Limit = 25,
) -> Response[bytes]:  # fmt: skip
    """Follow `next_cursor` for the rest. A cursor stays valid while the list grows."""
    return await process.get(principal, "orders", {"state": order_state, "cursor": cursor, "limit": limit})


@get("/orders/{order_id:str}", operation_id="sales_get_order", passes="orders/{order_id}", summary="Read an order: its state, what it waits for, its lines", responses=answers(Order))  # fmt: skip
async def get_order(
    process: NamedDependency[Process], principal: NamedDependency[Principal], order_id: CanonicalId
) -> Response[bytes]:
    """Shows what the order waits for in words, how far each line is, and when each state was reached."""
    return await process.get(principal, f"orders/{order_id}", {})


routers = versioned("sales", __name__, [list_orders, get_order])
