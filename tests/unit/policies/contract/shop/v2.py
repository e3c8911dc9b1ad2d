"""The shop in v2: what was different from v3."""

from __future__ import annotations

from typing import Any

from policies.contract.transformations import FieldAdded, FieldRemoved, FieldRenamed, OlderVersion, OperationAdded
from tests.unit.policies.contract.shop.api import Line, Placed, Price, Wanted


def _fee(order: dict[str, Any]) -> dict[str, Any]:
    """Return a tenth of what was ordered."""
    amount = sum(line["quantity"] * line["price"]["amount"] for line in order["lines"])
    return {"amount": amount // 10, "currency": order["lines"][0]["price"]["currency"]}


def _ceiling(_: dict[str, Any]) -> dict[str, Any]:
    """Return what the example of a request has."""
    return {"amount": 500, "currency": "EUR"}


VERSION = OlderVersion(
    "v2",
    newer="v3",
    changes=(
        FieldAdded("An order names the `purchase_order` that it answers.", Wanted, "purchase_order", default="none"),
        FieldAdded("An order names the `purchase_order` that it answers.", Placed, "purchase_order"),
        FieldAdded("An order may have a `remark`.", Wanted, "remark"),
        FieldAdded("An order may have a `remark`.", Placed, "remark"),
        FieldRemoved("There is no `fee` any more.", Placed, "fee", Price, _fee),
        FieldRemoved("There is no `ceiling` any more.", Wanted, "ceiling", Price, _ceiling),
        FieldRenamed("How many is `quantity`; it was `count`.", Line, old="count", new="quantity"),
        OperationAdded("Orders can be returned.", "shop_return"),
    ),
)
