"""Customers with their tax numbers and payment methods (API reference: Customers, Tax IDs, Payment Methods)."""

from __future__ import annotations

import hashlib
import secrets

from sandbox.stripe import tax_ids, test_clocks
from sandbox.stripe.account import Account
from sandbox.stripe.errors import declined, invalid, missing
from sandbox.stripe.forms import Params
from sandbox.stripe.objects import Object, sepa_debit
from sandbox.stripe.parameters import require
from sandbox.stripe.payments import REFUSED_AT_ATTACH, SEPA_TOKENS
from sandbox.stripe.tax import NO_LOCATION, Tax


class Customers:
    """Create customers, and give them what belongs to them."""

    def __init__(self, account: Account, tax: Tax) -> None:
        self.account = account
        self.tax = tax

    def create(self, params: Params) -> Object:
        """Create a customer with its payment method and tax numbers."""
        values = {
            key: value
            for key, value in params.items()
            if key not in ("tax", "tax_id_data", "payment_method", "invoice_settings", "address")
        }
        if "test_clock" in values:
            test_clocks.check_room(self.account, values["test_clock"])
        prefix = values.pop("invoice_prefix", secrets.token_hex(4).upper())
        customer = self.account.make("customer", **values, invoice_prefix=prefix)
        if "address" in params:
            customer["address"] = (
                dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state")) | params["address"]
            )
        self.check_location(customer, params)
        customer["invoice_settings"] |= params.get("invoice_settings", {})
        if token := params.get("payment_method"):
            attached = self.attach(token, customer)  # refused: then there is no customer either
            if customer["invoice_settings"]["default_payment_method"] == token:
                customer["invoice_settings"]["default_payment_method"] = attached["id"]
        if balance := int(values.get("balance", 0)):
            customer["balance"] = balance
        numbers = [self._tax_id(customer, each) for each in params.get("tax_id_data", [])]
        self.account.save(customer, "customer.created")
        for each in numbers:
            self.account.save(each, "customer.tax_id.created")
        return customer

    def check_location(self, customer: Object, params: Params) -> None:
        """Refuse a place that cannot be taxed, where that is asked (Create a customer, `tax.validate_location`)."""
        at_once = params.get("tax", {}).get("validate_location") == "immediately"
        if at_once and self.tax.place(customer) is None:
            raise invalid(NO_LOCATION, "address", "customer_tax_location_invalid")

    def add_tax_id(self, customer: Object, params: Params) -> Object:
        require(params, "type", "value")
        made = self._tax_id(customer, params)
        return self.account.save(made, "customer.tax_id.created")

    def _tax_id(self, customer: Object, params: Params) -> Object:
        kind, value = params["type"], params["value"]
        made = self.account.make(
            "tax_id",
            type=kind,
            value=value,
            customer=customer["id"],
            country=tax_ids.country(kind, value),
            owner={"type": "customer", "customer": customer["id"], "customer_account": None},
        )
        made["verification"]["status"] = tax_ids.verification(kind)
        return made

    def tax_id(self, customer: Object, key: str) -> Object:
        """Return a tax number of a customer (API reference: Retrieve a customer tax ID)."""
        found = self.account.get("tax_id", key)
        if found["customer"] != customer["id"]:
            raise missing("tax_id", key)
        return found

    def of(self, customer: Object) -> list[Object]:
        """Return the tax numbers of a customer, newest first."""
        found = [each for each in self.account.all("tax_id") if each["customer"] == customer["id"]]
        return found[::-1]

    def attach(self, token: str, customer: Object) -> Object:
        """Attach a payment method of its own for a test token; some tokens are refused.

        (Stripe: Testing, declined payments.)
        """
        if token in REFUSED_AT_ATTACH:
            raise declined(REFUSED_AT_ATTACH[token])
        method = self.account.find("payment_method", token)
        if method is None:
            if not token.startswith("pm_card_") and token not in SEPA_TOKENS:
                raise missing("payment_method", token)
            method = self.account.make("payment_method", metadata={"token": token})
            if token in SEPA_TOKENS:
                del method["card"]
                method |= {"type": "sepa_debit", "sepa_debit": sepa_debit()}
            method[method["type"]]["fingerprint"] = hashlib.sha256(token.encode()).hexdigest()[:16]
        return self.account.save(method | {"customer": customer["id"]}, "payment_method.attached")
