"""The items of subscriptions and phases: which prices go together, and what an item is (API reference: Subscription
Items)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sandbox.stripe import forms
from sandbox.stripe.account import Account
from sandbox.stripe.errors import invalid, missing
from sandbox.stripe.forms import Params
from sandbox.stripe.objects import Object, empty
from sandbox.stripe.tax import Tax

MAX_ITEMS = 20
"""The most items of a subscription or a phase (API reference: Create a subscription; Create a schedule)."""
OVER = ("canceled", "completed", "released")
"""The states in which a subscription or schedule no longer binds its customer to a currency."""


def metered(price: Object) -> bool:
    """Return whether a price is billed by usage, after the period."""
    return price["recurring"]["usage_type"] == "metered"


class SubscriptionItems:
    """Check prices, and make items of them."""

    def __init__(self, account: Account, tax: Tax) -> None:
        self.account = account
        self.tax = tax

    def priced(self, customer: Object, items: list[Params], extra: list[Params], at: str = "") -> list[Object]:
        """Return the prices of recurring items, which one subscription may have together.

        (API reference: Create a subscription, Create a schedule; Billing: Subscriptions with multiple products.)
        """
        name, extras = (f"{at}[items]", f"{at}[add_invoice_items]") if at else ("items", "add_invoice_items")
        if not items:
            raise invalid(f"Missing required param: {name}.", name, "parameter_missing")
        at_most(name, items)
        at_most(extras, extra)
        prices = [self.account.get("price", each.get("price", ""), f"{name}[0][price]") for each in items]
        once = [self.account.get("price", each.get("price", ""), f"{extras}[0][price]") for each in extra]
        self.together(prices, name)
        for place, (price, each) in enumerate(zip(prices, items, strict=True)):
            check_quantity(price, each, f"{name}[{place}]")
        self.of_one_currency(customer, [each["currency"] for each in (*prices, *once)])
        return prices

    def on_sale(self, rows: Iterable[Params], at: str) -> None:
        """Refuse prices that are out of use, or whose product is: nothing new is sold of them (API reference: The Price
        object, `active`; The Product object, `active`; stripe-go issue 1031)."""
        for each in rows:
            price = self.account.get("price", each.get("price", ""), f"{at}[0][price]")
            if not price["active"]:
                reason = f"The price specified is inactive: {price['id']}. This field only accepts active prices."
                raise invalid(reason, f"{at}[0][price]", "")
            product = self.account.find("product", price["product"])
            if product and not product["active"]:
                reason = (
                    f"The product {product['id']} is marked as inactive, and thus no new subscriptions can be created "
                    "to any prices of this product."
                )
                raise invalid(reason, f"{at}[0][price]", "")

    def together(self, prices: list[Object], name: str) -> None:
        """Raise `StripeError` for prices that one subscription cannot have together."""
        if any(each["recurring"] is None for each in prices):
            raise invalid(
                "The price specified is set to `type=one_time` "
                "but this field only accepts prices with `type=recurring`.",
                f"{name}[0][price]",
            )
        for place, each in enumerate(prices):
            if each["id"] in [other["id"] for other in prices[:place]]:
                raise invalid(f"Cannot add multiple subscription items with the same plan: {each['id']}", "plan")
        first = prices[0]["recurring"]
        same = ("interval", "interval_count")
        if any(each["recurring"][key] != first[key] for each in prices for key in same):
            raise invalid(
                "All prices on a subscription must have the same `recurring.interval` and `recurring.interval_count`.",
                name,
            )

    def of_one_currency(self, customer: Object, currencies: list[str]) -> None:
        """Refuse a second currency of what a customer has now (Billing: Customers; Subscriptions: currencies)."""
        present = [
            each["currency"] if each["object"] == "subscription" else each["phases"][0]["currency"]
            for kind in ("subscription", "subscription_schedule")
            for each in self.account.all(kind)
            if each["customer"] == customer["id"] and each["status"] not in OVER
        ]
        currencies = [*present, *currencies]
        if len(set(currencies)) > 1:
            raise invalid(
                "You cannot combine currencies on a single customer. This customer has an active subscription, "
                f"subscription schedule, discount, quote, or invoice item with currency {currencies[0]}.",
                code="",
            )

    def automatic_tax(self, customer: Object, params: Params, at: str = "") -> Object:
        """Return the `automatic_tax` of a subscription or a phase. Raises `StripeError` where it cannot be used.

        (Collect tax on subscriptions; API reference: Create a schedule, `phases.automatic_tax`.)
        """
        wanted = self.tax.wanted(params, at)
        if wanted["enabled"]:
            items = [*params.get("items", []), *params.get("add_invoice_items", [])]
            rates = [*params.get("default_tax_rates", []), *(each.get("tax_rates") for each in items)]
            prices = [self.account.get("price", each.get("price", ""), "price") for each in items]
            self.tax.check(customer, prices, rates, f"{at}[default_tax_rates]" if at else "default_tax_rates")
        return wanted

    def make(self, subscription: Object, price: Object, item: Params, start: int, end: int) -> Object:
        """Return a new item for the period from `start` to `end`."""
        made = self.account.make(
            "subscription_item",
            price=price,
            plan=_plan(price),
            subscription=subscription["id"],
            metadata=item.get("metadata", {}),
            tax_rates=self.rates(item.get("tax_rates", [])),
            current_period_start=start,
            current_period_end=end,
        )
        counted(made, None if metered(price) else forms.whole(item, "quantity", "items[0]"))
        return made

    def repriced(self, item: Object, price: Object) -> None:
        """Give an item another price."""
        item |= {"price": price, "plan": _plan(price)}

    def rates(self, keys: Any) -> list[Object]:
        """Return tax rates by their ids; those of a phase are expanded already."""
        rows: list[Any] = keys or []
        ids: list[str] = [each if isinstance(each, str) else each["id"] for each in rows]
        return [self.account.get("tax_rate", each, "tax_rates") for each in ids]

    def find(self, key: str) -> tuple[Object, Object]:
        """Return an item and its subscription. An item that was deleted, or is of none, is not found."""
        for subscription in self.account.all("subscription"):
            for each in subscription["items"]["data"]:
                if each["id"] == key:
                    return each, subscription
        raise missing("subscription_item", key)


def at_most(name: str, rows: Iterable[Any]) -> None:
    if len(list(rows)) > MAX_ITEMS:
        raise invalid(f"You may only pass up to {MAX_ITEMS} items.", name, "parameter_invalid_integer")


def check_quantity(price: Object, item: Params, name: str) -> None:
    """Refuse a quantity of a price that is billed by usage (Billing: Usage-based billing; Subscription Items)."""
    if metered(price) and "quantity" in item:
        raise invalid("You cannot set the quantity for metered plans.", f"{name}[quantity]", "")


def counted(item: Object, quantity: int | None) -> None:
    """Give an item its quantity. One that is billed by usage does not say any (The Subscription Item object)."""
    item.pop("quantity", None)
    if quantity is not None:
        item["quantity"] = quantity


def _plan(price: Object) -> Object:
    return {
        **empty("nickname trial_period_days"),
        **{name: price[name] for name in ("id", "currency", "created", "product", "billing_scheme", "tiers_mode")},
        "meter": price["recurring"]["meter"],
        "transform_usage": price["transform_quantity"],
        "object": "plan",
        "active": True,
        "amount": price["unit_amount"],
        "amount_decimal": price["unit_amount_decimal"],
        "interval": price["recurring"]["interval"],
        "interval_count": price["recurring"]["interval_count"],
        "livemode": False,
        "metadata": {},
        "usage_type": price["recurring"]["usage_type"],
    }
