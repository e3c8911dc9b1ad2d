"""The shop in v1: what was different from v2."""

from __future__ import annotations

from typing import Any

from policies.contract.transformations import FieldRenamed, OlderVersion, Unreadable, ValueRewritten
from tests.unit.policies.contract.shop.api import Line, Placed, Price, Wanted


def _price(text: Any) -> dict[str, Any]:
    amount, _, currency = str(text).partition(" ")
    if not amount.isdigit() or not currency:
        raise Unreadable('expected minor units and a currency, as in "100 EUR"')
    return {"amount": int(amount), "currency": currency}


def _text(price: Any) -> str:
    return f"{price['amount']} {price['currency']}"


PRICES = "A price is an object; it was a text such as `100 EUR`."
ITEMS = "An order has `lines`; they were `items`."
VERSION = OlderVersion(
    "v1",
    newer="v2",
    changes=(
        ValueRewritten(PRICES, Price, {"type": "string", "examples": ["100 EUR"]}, reads=_price, writes=_text),
        FieldRenamed(ITEMS, Wanted, old="items", new="lines"),
        FieldRenamed(ITEMS, Placed, old="items", new="lines"),
        FieldRenamed("How many is `count`; it was `number`.", Line, old="number", new="count"),
        FieldRenamed("There is a `ceiling`; it was `limit`.", Wanted, old="limit", new="ceiling"),
    ),
)
