"""Products, their prices, and tax rates (API reference: Products, Prices, Tax Rates)."""

from __future__ import annotations

from sandbox.stripe import currencies, forms
from sandbox.stripe.account import Account
from sandbox.stripe.errors import invalid
from sandbox.stripe.forms import Params
from sandbox.stripe.objects import Object
from sandbox.stripe.parameters import require
from sandbox.stripe.tax import known_code

LONGEST = {"day": 1095, "week": 156, "month": 36, "year": 3}
"""The most intervals between two invoices."""


class Prices:
    """Create what is sold, what it costs, and what tax is added."""

    def __init__(self, account: Account) -> None:
        self.account = account

    def product(self, params: Params) -> Object:
        require(params, "name")
        key = params.get("id", "")
        if key and self.account.find("product", key):
            raise invalid("Product already exists.", "id", "resource_already_exists")
        if "tax_code" in params:
            known_code(params["tax_code"], "tax_code")
        values = {name: value for name, value in params.items() if name not in ("id", "active")}
        made = self.account.make("product", key, **values)
        return self.account.save(made | {"updated": made["created"]}, "product.created")

    def price(self, params: Params) -> Object:
        require(params, "currency", "product")
        self.account.get("product", params["product"], "product")
        given = [name for name in ("unit_amount", "unit_amount_decimal") if params.get(name)]
        if not given:
            raise invalid(
                "You must specify either `unit_amount` or `unit_amount_decimal`.", "unit_amount", "parameter_missing"
            )
        if len(given) > 1:
            raise invalid(f"You may only specify one of these parameters: {', '.join(given)}.", given[0])
        currency = currencies.known(params["currency"])
        amount = currencies.unit_amount(params[given[0]], given[0], currency)
        recurring = _recurring(params["recurring"]) if params.get("recurring") else None
        values = {
            key: params[key]
            for key in ("product", "lookup_key", "nickname", "metadata", "tax_behavior")
            if key in params
        }
        made = self.account.make(
            "price",
            **values,
            currency=currency,
            recurring=recurring,
            type="recurring" if recurring else "one_time",
            unit_amount=int(amount) if amount == amount.to_integral_value() else None,
            unit_amount_decimal=f"{amount.normalize():f}",
        )
        self.take_lookup_key(params, made["id"])
        return self.account.save(made, "price.created")

    def take_lookup_key(self, params: Params, own: str) -> None:
        """Take the lookup key that is asked for from the price that has it, where that is asked for too; refuse it
        otherwise (API reference: Create a price, `lookup_key`, `transfer_lookup_key`)."""
        lookup, moves = params.get("lookup_key"), forms.flag(params.pop("transfer_lookup_key", "false"))
        for each in self.account.all("price"):
            if lookup and each["lookup_key"] == lookup and each["id"] != own:
                if not moves:
                    raise invalid(
                        f"A price (`{lookup}`) already uses that lookup key.", "lookup_key", "resource_already_exists"
                    )
                self.account.save(each | {"lookup_key": None}, "price.updated", each)

    def check_update(self, kind: str, thing: Object, params: Params) -> None:
        """Raise `StripeError` for what a product or a price cannot become (API reference: Update a product, Update a
        price; what is refused of the default price is stripe-python issue 658)."""
        if kind == "price":
            self.take_lookup_key(params, thing["id"])
            product = self.account.find("product", thing["product"]) or {"default_price": None}
            if params.get("active") == "false" and product["default_price"] == thing["id"]:
                raise invalid("This price cannot be archived because it is the default price of its product.", "", "")
        if kind == "product" and params.get("default_price"):
            price = self.account.get("price", params["default_price"], "default_price")
            if price["product"] != thing["id"]:
                raise invalid("The price specified is not of this product.", "default_price", "")
            if not price["active"]:
                raise invalid(f"The price specified is inactive: {price['id']}.", "default_price", "")

    def check_deletable(self, product: Object) -> None:
        """Refuse to delete a product that has a price (API reference: Delete a product)."""
        if any(each["product"] == product["id"] for each in self.account.all("price")):
            reason = "This product cannot be deleted because it has one or more user-created prices."
            raise invalid(reason, "", "")

    def tax_rate(self, params: Params) -> Object:
        require(params, "display_name", "inclusive", "percentage")
        values: Params = params | {
            "inclusive": forms.flag(params["inclusive"]),
            "percentage": float(params["percentage"]),
        }
        return self.account.save(self.account.make("tax_rate", **values), "tax_rate.created")


def check_update(kind: str, thing: Object, params: Params) -> None:
    """Raise `StripeError` for what can be set once only (API reference: Update a price, `tax_behavior`)."""
    if kind == "product" and params.get("tax_code"):
        known_code(params["tax_code"], "tax_code")
    behavior = params.get("tax_behavior")
    if kind == "price" and behavior and thing["tax_behavior"] not in ("unspecified", behavior):
        raise invalid("You cannot change the tax_behavior of a price once it is set.", "tax_behavior", "")


def _recurring(params: Params) -> Object:
    """Return how often a price is billed (API reference: Create a price, `recurring`): three years apart at most."""
    interval, count = params.get("interval", ""), forms.whole(params, "interval_count", "recurring")
    if interval not in LONGEST:
        reason = f"Invalid recurring[interval]: must be one of {', '.join(LONGEST)}"
        raise invalid(reason, "recurring[interval]", "")
    if not 1 <= count <= LONGEST[interval]:
        raise invalid("The maximum interval is three years.", "recurring[interval_count]", "")
    return {
        "interval": interval,
        "interval_count": count,
        "meter": None,
        "usage_type": params.get("usage_type", "licensed"),
        "trial_period_days": None,
    }
