"""What discounts take off the lines of an invoice (Billing: Coupons and promotion codes; Stacking discounts)."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from sandbox.stripe import currencies
from sandbox.stripe.account import Account
from sandbox.stripe.objects import Object


def net(line: Object) -> int:
    """Return the amount of a line after its discounts, before tax."""
    return line["amount"] - sum(each["amount"] for each in line["discount_amounts"])


class Discounts:
    """Take discounts off lines: those of a line first, then those of its invoice, each off what is left."""

    def __init__(self, account: Account) -> None:
        self.account = account

    def apply(self, invoice: Object) -> None:
        """Compute what is off each line of a draft. Lines that take none keep what they show."""
        lines = [each for each in invoice["lines"]["data"] if each["discountable"]]
        for line in lines:
            line["discount_amounts"] = []
            for key in line["discounts"]:
                self.take(key, [line])
        for key in invoice["discounts"]:
            self.take(key, lines)

    def take(self, key: str, lines: Sequence[Object], *, evenly: bool = False) -> None:
        """Take one discount off lines of one currency, in proportion to what is left of them.

        A fixed amount is spread so that its parts sum up to it. `evenly` each line bears the same part, as prorations
        in classic billing mode have it (Compare classic and flexible billing mode).
        """
        coupon = self.account.coupon_of(self.account.get("discount", key))
        lines = [each for each in lines if net(each) > 0 and self._applies(coupon, each)]
        if not lines:
            return
        if coupon["percent_off"] is not None:
            part = Decimal(str(coupon["percent_off"])) / 100
            shares = [currencies.rounded(net(each) * part, each["currency"]) for each in lines]
        else:
            weights = [1 if evenly else net(each) for each in lines]
            off = min(coupon["amount_off"], sum(net(each) for each in lines))
            shares = [min(a, net(b)) for a, b in zip(_spread(off, weights, lines[0]["currency"]), lines, strict=True)]
        for line, amount in zip(lines, shares, strict=True):
            line["discount_amounts"].append({"amount": amount, "discount": key})

    def totals(self, lines: list[Object]) -> list[Object]:
        """Return what each discount takes off an invoice (The Invoice object, `total_discount_amounts`)."""
        sums: dict[str, int] = {}
        for line in lines:
            for each in line["discount_amounts"]:
                sums[each["discount"]] = sums.get(each["discount"], 0) + each["amount"]
        return [{"amount": amount, "discount": key} for key, amount in sums.items()]

    def _applies(self, coupon: Object, line: Object) -> bool:
        """Return whether a coupon is for the product of a line (API reference: Create a coupon, `applies_to`)."""
        if coupon["applies_to"] is None:
            return True
        pricing: Object = line["pricing"] or {"price_details": {"product": ""}}
        return pricing["price_details"]["product"] in coupon["applies_to"]["products"]


def _spread(amount: int, weights: list[int], currency: str) -> list[int]:
    """Return an amount in parts by weight, in steps that can be charged, which sum up to it."""
    step, left, parts = currencies.step(currency), sum(weights), list[int]()
    for weight in weights:
        part = min(amount, currencies.rounded(Decimal(amount) * weight / left, currency)) if left > 0 else 0
        parts.append(part if step == 1 or part < amount else amount)
        amount, left = amount - parts[-1], left - weight
    return parts
