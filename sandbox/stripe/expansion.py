"""Objects in the place of ids, where a request asks for them (API reference: Expanding responses)."""

from __future__ import annotations

from typing import Any, cast

import msgspec

from sandbox.stripe.account import Account
from sandbox.stripe.customers import Customers
from sandbox.stripe.errors import invalid
from sandbox.stripe.invoicing import Invoicing
from sandbox.stripe.lists import shortened
from sandbox.stripe.objects import Object, listing

EXPANDABLE = {
    "customer": "customer",
    "product": "product",
    "price": "price",
    "latest_invoice": "invoice",
    "invoice": "invoice",
    "subscription": "subscription",
    "schedule": "subscription_schedule",
    "default_payment_method": "payment_method",
    "payment_method": "payment_method",
    "payment_intent": "payment_intent",
    "latest_charge": "charge",
    "charge": "charge",
    "refund": "refund",
    "credit_note": "credit_note",
    "customer_balance_transaction": "customer_balance_transaction",
    "balance_transaction": "balance_transaction",
    "failure_balance_transaction": "balance_transaction",
    "default_price": "price",
    "tax_rate": "tax_rate",
    "coupon": "coupon",
    "discount": "discount",
    "discounts": "discount",
    "test_clock": "test_helpers.test_clock",
}


class Expansion:
    """Expand answers."""

    def __init__(self, account: Account, invoicing: Invoicing, customers: Customers) -> None:
        self.account = account
        self.invoicing = invoicing
        self.customers = customers

    def expanded(self, thing: Object, paths: list[str]) -> Object:
        if len(paths) > 20:
            raise invalid("You cannot expand more than 20 properties at once.", "expand", "parameter_invalid")
        copy: Object = msgspec.json.decode(msgspec.json.encode(thing))
        for path in paths:
            self._expand(copy, path.split("."), path)
        return shortened(copy)

    def _expand(self, node: Any, path: list[str], whole: str) -> None:
        if not path or node is None:
            return
        if isinstance(node, list):
            for each in cast("list[Any]", node):
                self._expand(each, path, whole)
            return
        head, rest = path[0], path[1:]
        if head == "payments" and node.get("object") == "invoice" and "payments" not in node:
            node["payments"] = listing(
                "/v1/invoice_payments", [dict(each) for each in self.invoicing.payments(node["id"])]
            )
        if head == "tax_ids" and node.get("object") == "customer" and "tax_ids" not in node:
            node["tax_ids"] = listing(f"/v1/customers/{node['id']}/tax_ids", self.customers.of(node))
        if head == "tiers" and node.get("object") == "price":
            node["tiers"] = self._tiers(node)
        if head not in node:
            raise invalid(f"This property cannot be expanded ({whole}).", "expand", "parameter_invalid")
        value = node[head]
        if isinstance(value, str) and head in EXPANDABLE:
            node[head] = value = self._object(head, value)
        if isinstance(value, list) and head in EXPANDABLE:
            rows = cast("list[Any]", value)
            node[head] = value = [self._object(head, each) if isinstance(each, str) else each for each in rows]
        self._expand(value, rest, whole)

    def _tiers(self, price: Object) -> list[Object] | None:
        found = self.account.find("price.tiers", price["id"])
        return [dict(each) for each in found["tiers"]] if found else None

    def _object(self, head: str, key: str) -> Object:
        return msgspec.json.decode(msgspec.json.encode(self.account.retrieve(EXPANDABLE[head], key)))
