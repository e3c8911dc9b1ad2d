"""Coupons, and the discounts they are redeemed for (API reference: Coupons, Discounts)."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from typing import Any

from sandbox.stripe import currencies, forms
from sandbox.stripe.account import Account
from sandbox.stripe.errors import invalid, missing
from sandbox.stripe.forms import Params
from sandbox.stripe.objects import Object
from sandbox.stripe.periods import later

DURATIONS = ("forever", "once", "repeating")


class Coupons:
    """Create coupons, redeem them, and let discounts end."""

    def __init__(self, account: Account) -> None:
        self.account = account

    def create(self, params: Params) -> Object:
        """Create a coupon of a percentage or of an amount in one currency (API reference: Create a coupon)."""
        percent, amount = params.get("percent_off"), params.get("amount_off")
        if (percent is None) == (amount is None):
            raise invalid("Must provide percent_off or amount_off when creating a coupon.", "", "")
        if amount is not None and "currency" not in params:
            raise invalid("You must pass currency when passing amount_off.", "currency", "parameter_missing")
        duration = params.get("duration", "once")
        if duration not in DURATIONS:
            raise invalid(f"Invalid duration: must be one of {', '.join(DURATIONS)}", "duration", "")
        if (duration == "repeating") != ("duration_in_months" in params):
            raise invalid(
                "duration_in_months is required for repeating coupons, and for no others.", "duration_in_months", ""
            )
        key = params.get("id", "")
        if key and self.account.find("coupon", key):
            raise invalid("Coupon already exists.", "id", "resource_already_exists")
        for each in params.get("applies_to", {}).get("products", []):
            self.account.get("product", each, "applies_to[products]")
        made = self.account.make(
            "coupon",
            key,
            **{name: params[name] for name in ("name", "metadata", "applies_to") if name in params},
            percent_off=_percent(percent) if percent is not None else None,
            amount_off=_positive(params, "amount_off") if amount is not None else None,
            currency=currencies.known(params["currency"]) if amount is not None else None,
            duration=duration,
            duration_in_months=_positive(params, "duration_in_months") if duration == "repeating" else None,
            max_redemptions=_positive(params, "max_redemptions") if "max_redemptions" in params else None,
            redeem_by=int(params["redeem_by"]) if "redeem_by" in params else None,
        )
        return self.account.save(made, "coupon.created")

    def wanted(self, given: Any, currency: str, at: str) -> list[Params]:
        """Return the discounts of a request, `""` being none. Raises `StripeError` for what cannot be redeemed."""
        rows: list[Params] = given or []
        for place, each in enumerate(rows):
            name = f"{at}[{place}]"
            if len(each) != 1 or not each.keys() <= {"coupon", "discount"}:
                raise invalid("You must specify exactly one of `coupon` or `discount`.", name, "")
            if "discount" in each:
                self.account.get("discount", each["discount"], f"{name}[discount]")
                continue
            coupon = self.account.find("coupon", each["coupon"])
            if coupon is None:
                raise missing("coupon", each["coupon"], f"{name}[coupon]")
            if not self.is_valid(coupon):
                raise invalid(f"Coupon {coupon['id']} is used up or has expired.", f"{name}[coupon]", "coupon_expired")
            if coupon["currency"] not in (None, currency):
                reason = f"The coupon {coupon['id']} is in {coupon['currency']}, and what it is for in {currency}."
                raise invalid(reason, f"{name}[coupon]", "")
        return rows

    def redeem(self, rows: Iterable[Params], customer: str, start: int, **owner: str) -> list[str]:
        """Make a discount of each coupon, and keep those that are named. Return their ids."""
        return [each["discount"] if "discount" in each else self._redeem(each, customer, start, owner) for each in rows]

    def _redeem(self, row: Params, customer: str, start: int, owner: dict[str, str]) -> str:
        coupon = self.account.get("coupon", row["coupon"])
        months = coupon["duration_in_months"]
        made = self.account.make(
            "discount",
            customer=customer,
            start=start,
            end=later(start, "month", months) if months else None,
            source={"type": "coupon", "coupon": coupon["id"]},
            **owner,
        )
        times = coupon["times_redeemed"] + 1
        self.account.save(coupon | {"times_redeemed": times, "valid": self.is_valid(coupon, times)})
        del made["livemode"], made["created"]
        return self.account.save(made, "customer.discount.created")["id"]

    def is_valid(self, coupon: Object, times: int | None = None) -> bool:
        redeemed = coupon["times_redeemed"] if times is None else times
        used_up = coupon["max_redemptions"] is not None and redeemed >= coupon["max_redemptions"]
        return not used_up and (coupon["redeem_by"] or self.account.clock.seconds() + 1) > self.account.clock.seconds()

    def holding(self, keys: list[str], at: int) -> list[str]:
        """Return the discounts that still hold at a time. The others are ended."""
        found = [self.account.get("discount", each) for each in keys]
        over = [each for each in found if each["end"] is not None and each["end"] <= at]
        for each in over:
            self.account.save(each, "customer.discount.deleted")
        return [each["id"] for each in found if each not in over]

    def used(self, keys: list[str]) -> list[str]:
        """Return the discounts that are left after an invoice: those of coupons that hold once are ended."""
        left: list[str] = []
        for key in keys:
            found = self.account.get("discount", key)
            if self.account.coupon_of(found)["duration"] == "once":
                ended = found | {"end": self.account.clock.seconds()}
                self.account.save(ended, "customer.discount.deleted")
            else:
                left.append(key)
        return left

    def update(self, coupon: Object, params: Params) -> Object:
        """Change the name or the metadata: nothing else of a coupon changes (API reference: Update a coupon)."""
        before = dict(coupon)
        metadata: Params = coupon["metadata"] | (params.get("metadata") or {})
        changed: Object = {"metadata": {name: each for name, each in metadata.items() if each != ""}}
        return self.account.save(
            coupon | changed | ({"name": params["name"]} if "name" in params else {}), "coupon.updated", before
        )


def _percent(value: str) -> float:
    try:
        percent = Decimal(value)
    except InvalidOperation:
        percent = Decimal(0)
    if not 0 < percent <= 100:
        raise invalid("percent_off must be greater than 0 and at most 100.", "percent_off", "")
    return float(percent)


def _positive(params: Params, name: str) -> int:
    value = forms.whole(params, name)
    if value < 1:
        raise invalid("This value must be greater than or equal to 1.", name, "parameter_invalid_integer")
    return value
