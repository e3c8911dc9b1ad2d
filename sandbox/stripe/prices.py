"""Products, their prices, and tax rates (API reference: Products, Prices, Tax Rates)."""

from __future__ import annotations

from decimal import Decimal

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
        currency = currencies.known(params["currency"])
        recurring = _recurring(params["recurring"]) if params.get("recurring") else None
        tiers = self._tiers(params, currency)
        unit = None if tiers else _one_of(params, "unit_amount", currency)
        if unit is None and not tiers:
            raise invalid(
                "You must specify either `unit_amount` or `unit_amount_decimal`.", "unit_amount", "parameter_missing"
            )
        transform = _transform(params)
        self._check_meter(recurring, of_usage_alone=bool(tiers or transform))
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
            billing_scheme="tiered" if tiers else "per_unit",
            tiers_mode=params.get("tiers_mode"),
            transform_quantity=transform,
            **_amounts("unit_amount", unit),
        )
        self.take_lookup_key(params, made["id"])
        if tiers:
            self.account.save({"object": "price.tiers", "id": made["id"], "tiers": tiers})
        return self.account.save(made, "price.created")

    def _tiers(self, params: Params, currency: str) -> list[Object]:
        """Return the tiers of a price; each begins where the one before ends, and the last one has no end."""
        rows: list[Params] = params.get("tiers") or []
        is_tiered = params.get("billing_scheme", "per_unit") == "tiered"
        if params.get("billing_scheme", "per_unit") not in ("per_unit", "tiered"):
            raise invalid("Invalid billing_scheme: must be one of per_unit, tiered", "billing_scheme", "")
        if is_tiered != bool(rows) or is_tiered != bool(params.get("tiers_mode")):
            raise invalid("`tiers` and `tiers_mode` go with `billing_scheme=tiered`, and it with them.", "tiers", "")
        if not is_tiered:
            return []
        if params["tiers_mode"] not in ("graduated", "volume"):
            raise invalid("Invalid tiers_mode: must be one of graduated, volume", "tiers_mode", "")
        for name in ("unit_amount", "unit_amount_decimal", "transform_quantity"):
            if params.get(name):
                raise invalid(f"You cannot set `{name}` of a price with tiers.", name, "")
        return [_tier(each, place, rows, currency) for place, each in enumerate(rows)]

    def _check_meter(self, recurring: Object | None, *, of_usage_alone: bool) -> None:
        """Raise `StripeError` for usage without an active meter, and for a meter without usage (Changelog, basil:
        Removes support for legacy usage-based billing)."""
        is_usage = recurring is not None and recurring["usage_type"] == "metered"
        if of_usage_alone and not is_usage:
            raise invalid("The stand-in knows tiers and packages of metered prices alone.", "tiers", "")
        key: str | None = recurring["meter"] if recurring else None
        if is_usage and key is None:
            reason = "Metered prices must be backed by a meter: set `recurring[meter]`."
            raise invalid(reason, "recurring[meter]", "parameter_missing")
        if key is not None and not is_usage:
            raise invalid("Only a metered price has a meter.", "recurring[meter]", "")
        if key is not None and self.account.get("billing.meter", key, "recurring[meter]")["status"] != "active":
            raise invalid(f"The meter {key} is inactive.", "recurring[meter]", "")

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
    usage = params.get("usage_type", "licensed")
    if usage not in ("licensed", "metered"):
        raise invalid("Invalid recurring[usage_type]: must be one of licensed, metered", "recurring[usage_type]", "")
    return {
        "interval": interval,
        "interval_count": count,
        "meter": params.get("meter"),
        "usage_type": usage,
        "trial_period_days": None,
    }


def _one_of(params: Params, name: str, currency: str, at: str = "") -> Decimal | None:
    """Return an amount that is given as an integer or as a decimal, None where it is not given."""
    given = [each for each in (name, f"{name}_decimal") if params.get(each)]
    if len(given) > 1:
        raise invalid(f"You may only specify one of these parameters: {', '.join(given)}.", f"{at}{given[0]}")
    return currencies.unit_amount(params[given[0]], given[0], currency) if given else None


def _amounts(name: str, amount: Decimal | None) -> Object:
    """Return an amount in both forms: as an integer where it is one, and as a decimal."""
    if amount is None:
        return {name: None, f"{name}_decimal": None}
    is_whole = amount == amount.to_integral_value()
    return {name: int(amount) if is_whole else None, f"{name}_decimal": f"{amount.normalize():f}"}


def _tier(row: Params, place: int, rows: list[Params], currency: str) -> Object:
    at = f"tiers[{place}]"
    unit, flat = _one_of(row, "unit_amount", currency, at), _one_of(row, "flat_amount", currency, at)
    if flat is not None and flat != flat.to_integral_value():
        raise invalid(f"Invalid integer: {flat}", f"{at}[flat_amount]", "parameter_invalid_integer")
    if unit is None and flat is None:
        raise invalid("A tier has a `unit_amount`, a `flat_amount`, or both.", at, "parameter_missing")
    is_last = place == len(rows) - 1
    if (row.get("up_to") == "inf") != is_last:
        raise invalid("The last tier, and no other one, has `up_to=inf`.", f"{at}[up_to]", "")
    top = None if is_last else forms.whole(row, "up_to", at, default=0)
    if top is not None and top <= (forms.whole(rows[place - 1], "up_to", at) if place else 0):
        raise invalid("Each tier ends above the one before.", f"{at}[up_to]", "")
    return {**_amounts("unit_amount", unit), **_amounts("flat_amount", flat), "up_to": top}


def _transform(params: Params) -> Object | None:
    """Return by what a quantity is divided before it is charged (Create a price, `transform_quantity`)."""
    row: Params | None = params.get("transform_quantity")
    if not row:
        return None
    size = forms.whole(row, "divide_by", "transform_quantity", default=0)
    if size < 1 or row.get("round") not in ("up", "down"):
        raise invalid("A quantity is divided by at least 1, and rounded up or down.", "transform_quantity", "")
    return {"divide_by": size, "round": row["round"]}
