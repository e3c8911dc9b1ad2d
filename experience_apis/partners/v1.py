"""The partner API v1: what was different from v2."""

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
from policies.contract.transformations import FieldRenamed, OlderVersion, OperationAdded, Unreadable, ValueRewritten

MONEY = {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)? [A-Z]{3}$", "examples": ["119.00 EUR"]}


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


AMOUNTS = "Money is an object of minor units and currency; it was a text such as `119.00 EUR`."
ITEMS_OF_AN_ORDER = "An order has `lines`; they were `items`."
ITEMS_OF_A_CONTRACT = "A contract has `lines`; they were `items`."
CUSTOMER = "The customer's id is `customer_id`; it was `customer`."
CREATED = "When it was placed is `placed_at`; it was `created`."
WEBHOOKS = "Events of your customers' records are sent to webhooks; there were none."
OF_WEBHOOKS = (
    "create_webhook",
    "list_webhooks",
    "get_webhook",
    "change_webhook",
    "delete_webhook",
    "add_webhook_secret",
    "test_webhook",
    "list_webhook_deliveries",
    "resend_webhook_delivery",
    "resend_webhook_deliveries",
)
USAGE_SENT = "What customers use can be sent; v1 has no such call."
USAGE_READ = "What customers have used can be read; v1 has no such call."
VERSION = OlderVersion(
    "v1",
    newer="v2",
    changes=(
        OperationAdded(USAGE_SENT, "partners_record_usage"),
        OperationAdded(USAGE_READ, "partners_get_usage"),
        ValueRewritten(AMOUNTS, Money, MONEY, reads=_money, writes=_text),
        FieldRenamed(ITEMS_OF_AN_ORDER, PartnerOrderRequest, old="items", new="lines"),
        FieldRenamed(ITEMS_OF_A_CONTRACT, PartnerContract, old="items", new="lines"),
        FieldRenamed(CUSTOMER, PartnerOrderRequest, old="customer", new="customer_id"),
        FieldRenamed(CUSTOMER, PartnerOrder, old="customer", new="customer_id"),
        FieldRenamed(CUSTOMER, PartnerOrderSummary, old="customer", new="customer_id"),
        FieldRenamed(CREATED, PartnerOrder, old="created", new="placed_at"),
        FieldRenamed(CREATED, PartnerOrderSummary, old="created", new="placed_at"),
        *(OperationAdded(WEBHOOKS, f"partners_{each}") for each in OF_WEBHOOKS),
    ),
)
