"""The partner API v1: v2 and what was different."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

from canonical.money import Money, UnknownCurrency
from experience_apis.partners.contract import (
    PartnerContract,
    PartnerOrder,
    PartnerOrderRequest,
    PartnerOrderSummary,
)
from policies.contract.transformations import FieldRenamed, OlderVersion, Unreadable, ValueRewritten

PATTERN = r"^-?[0-9]+(\.[0-9]+)? [A-Z]{3}$"


def _money(text: Any) -> dict[str, Any]:
    try:
        value, currency = str(text).split(" ")
        money = Money.of(Decimal(value), currency)
    except (ValueError, InvalidOperation, UnknownCurrency) as error:
        raise Unreadable('expected an amount and a currency, as in "119.00 EUR"') from error
    return {"amount": money.amount, "currency": money.currency}


def _text(money: Any) -> str:
    made = Money(money["amount"], money["currency"])
    return f"{made.decimal:f} {made.currency}"


V1 = OlderVersion(
    "v1",
    "v2",
    (
        ValueRewritten(
            Money, {"type": "string", "pattern": PATTERN, "examples": ["119.00 EUR"]}, _money, _text,
            "Money is an object of minor units and currency; it was a text such as `119.00 EUR`.",
        ),
        FieldRenamed(PartnerOrderRequest, "items", "lines", "An order has `lines`; they were `items`."),
        FieldRenamed(PartnerContract, "items", "lines", "A contract has `lines`; they were `items`."),
        FieldRenamed(PartnerOrderRequest, "customer", "customer_id", "The customer's id is `customer_id`; it was `customer`."),
        FieldRenamed(PartnerOrder, "customer", "customer_id", "The customer's id is `customer_id`; it was `customer`."),
        FieldRenamed(PartnerOrderSummary, "customer", "customer_id", "The customer's id is `customer_id`; it was `customer`."),
        FieldRenamed(PartnerOrder, "created", "placed_at", "When it was placed is `placed_at`; it was `created`."),
        FieldRenamed(PartnerOrderSummary, "created", "placed_at", "When it was placed is `placed_at`; it was `created`."),
    ),
)  # fmt: skip
