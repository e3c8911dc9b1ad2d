"""The shop in v3."""

from __future__ import annotations

from typing import Annotated

import msgspec
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from policies.contract.operation import operation
from policies.contract.version_chain import versioned
from policies.problems import MISSING, ProblemError


class Price(msgspec.Struct, frozen=True):
    """Minor units of a currency."""

    amount: Annotated[int, msgspec.Meta(le=10_000)]
    currency: str


class Line(msgspec.Struct, frozen=True):
    """What is ordered, at which price for one."""

    sku: str
    quantity: Annotated[int, msgspec.Meta(ge=1)]
    price: Price


class Wanted(msgspec.Struct, frozen=True):
    """An order that is placed."""

    customer_id: str
    lines: tuple[Line, ...]
    purchase_order: str
    remark: str | None = None


class Placed(msgspec.Struct, frozen=True):
    """An order that was placed."""

    id: str
    customer_id: str
    lines: tuple[Line, ...]
    purchase_order: str
    remark: str | None


class Book:
    """The orders that were placed, by their ids."""

    def __init__(self) -> None:
        self.orders: dict[str, Placed] = {}


@operation("shop_place_order", "POST", "/orders", summary="Place an order", sync_to_thread=False)
def place_order(book: NamedDependency[Book], data: JSONBody[Wanted]) -> Placed:
    """Places an order."""
    made = Placed(f"ord-{len(book.orders) + 1}", data.customer_id, data.lines, data.purchase_order, data.remark)
    book.orders[made.id] = made
    return made


@operation("shop_get_order", "GET", "/orders/{order_id:str}", summary="Read an order", sync_to_thread=False)
def get_order(book: NamedDependency[Book], order_id: FromPath[str]) -> Placed:
    """Reads an order."""
    if order_id not in book.orders:
        raise ProblemError(MISSING, f"There is no order {order_id}.")
    return book.orders[order_id]


@operation("shop_return", "DELETE", "/returns/{order_id:str}", summary="Return it", sync_to_thread=False)
def return_order(order_id: FromPath[str]) -> str:
    """Returns an order."""
    return order_id


routers = versioned("shop", __name__, [place_order, get_order, return_order])
