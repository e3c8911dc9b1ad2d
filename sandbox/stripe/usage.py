"""What usage costs: the lines of an invoice for what was metered in a period (Products and prices: Recurring pricing
models; Billing: Usage-based billing)."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import NamedTuple

from sandbox.stripe.account import Account
from sandbox.stripe.invoicing import Invoicing, rounded_amount
from sandbox.stripe.meters import Meters
from sandbox.stripe.objects import Object
from sandbox.stripe.subscription_items import metered

SYMBOLS = {"eur": "€", "gbp": "£", "usd": "$"}
"""Currencies whose unit prices a line shows."""
ROUNDING = {"up": ROUND_CEILING, "down": ROUND_FLOOR}


class Part(NamedTuple):
    """A quantity at one unit price, in minor units. `place` is the number of its tier; a flat fee `is_flat`."""

    quantity: Decimal
    unit: str
    place: int = 0
    is_flat: bool = False


class Usage:
    """Make the lines of metered items, and make them again while an invoice is a draft."""

    def __init__(self, account: Account, invoicing: Invoicing, meters: Meters) -> None:
        self.account = account
        self.invoicing = invoicing
        self.meters = meters

    def of(self, subscription: Object, item: Object, period: tuple[int, int]) -> Decimal:
        """Return how much of an item was used from the start of a period until before its end."""
        return self.meters.used(item["price"]["recurring"]["meter"], subscription["customer"], *period)

    def lines(self, subscription: Object, item: Object, period: tuple[int, int], quantity: Decimal) -> list[Object]:
        """Return the lines for what was used in a period: one for each tier, and one for each flat fee."""
        return [self._line(subscription, item, period, each) for each in self.parts(item["price"], quantity)]

    def parts(self, price: Object, used: Decimal) -> Iterator[Part]:
        """Return what is charged for a quantity, tier by tier.

        `volume` charges all at the price of the tier that is reached, `graduated` each part at its own; a flat fee is
        that of a tier which is reached (API reference: Create a price, `tiers`, `tiers_mode`).
        """
        if price["billing_scheme"] != "tiered":
            transform: Object | None = price["transform_quantity"]
            if transform:
                used = (used / transform["divide_by"]).to_integral_value(ROUNDING[transform["round"]])
            yield Part(used, price["unit_amount_decimal"])
            return
        below, tiers = Decimal(0), self.account.get("price.tiers", price["id"])["tiers"]
        for place, tier in enumerate(tiers, start=1):
            top = used if tier["up_to"] is None else min(Decimal(tier["up_to"]), used)
            is_volume = price["tiers_mode"] == "volume"
            if (is_volume and top < used) or (place > 1 and top <= below and not is_volume):
                below = top
                continue
            yield Part(used if is_volume else top - below, tier["unit_amount_decimal"] or "0", place)
            if used and tier["flat_amount_decimal"] is not None:
                yield Part(Decimal(1), tier["flat_amount_decimal"], place, is_flat=True)
            if is_volume:
                return
            below = top

    def _line(self, subscription: Object, item: Object, period: tuple[int, int], part: Part) -> Object:
        price, key = item["price"], subscription["id"]
        amount = rounded_amount(part.unit, part.quantity)
        is_whole = part.quantity == part.quantity.to_integral_value()
        details: Object = {
            "invoice_item": None,
            "proration": False,
            "proration_details": None,
            "subscription": key,
            "subscription_item": item["id"],
        }
        return self.account.make(
            "line_item",
            amount=amount,
            subtotal=amount,
            currency=price["currency"],
            quantity=int(part.quantity) if is_whole else None,
            quantity_decimal=f"{part.quantity.normalize():f}",
            description=self._description(price, part),
            discounts=list(item["discounts"]),
            metadata=dict(subscription["metadata"]),
            period={"start": period[0], "end": period[1]},
            pricing=self.invoicing.pricing(price) | {"unit_amount_decimal": part.unit},
            subscription=key,
            taxes=self.invoicing.taxes(
                amount, price["currency"], item["tax_rates"] or subscription["default_tax_rates"]
            ),
            parent={
                "type": "subscription_item_details",
                "invoice_item_details": None,
                "subscription_item_details": details,
            },
        )

    def _description(self, price: Object, part: Part) -> str:
        """Return Stripe's words, such as `1000 × Call (Tier 1 at €0.01 / month)`."""
        name = self.account.get("product", price["product"])["name"]
        thing = name if part.is_flat else f"{part.quantity.normalize():f} × {name}"
        symbol = SYMBOLS.get(price["currency"])
        shown = f" at {symbol}{_written(Decimal(part.unit) / 100)}" if symbol else ""
        tier = f"Tier {part.place}" if part.place else ""
        return f"{thing} ({f'{tier}{shown}'.strip()} / {price['recurring']['interval']})"

    # ---- while the invoice is a draft

    def counted_again(self, draft: Object) -> Object:
        """Return a draft with what was reported since it was made: usage counts until the invoice is finalized (Usage-
        based billing: Configure grace period)."""
        rows: list[Object] = []
        done: dict[str, list[Object]] = {}
        for line in draft["lines"]["data"]:
            item = self._item(line)
            if item is None:
                rows.append(line)
            elif item["id"] not in done:
                done[item["id"]] = self._again(draft, item, line)
                rows += done[item["id"]]
        if not done or [_sum(each) for each in rows] == [_sum(each) for each in draft["lines"]["data"]]:
            return draft
        before = dict(draft)
        lines: Object = draft["lines"] | {"data": rows}
        return self.account.save(self.invoicing.totalled(draft | {"lines": lines}), "invoice.updated", before)

    def _item(self, line: Object) -> Object | None:
        """Return the metered item that a line is of. One that was deleted is not counted again."""
        details: Object | None = line["parent"]["subscription_item_details"] if line["parent"] else None
        if details is None or details["proration"]:
            return None
        subscription = self.account.get("subscription", details["subscription"])
        rows = (each for each in subscription["items"]["data"] if each["id"] == details["subscription_item"])
        item = next(rows, None)
        same = item is not None and item["price"]["id"] == line["pricing"]["price_details"]["price"]
        return item if item and same and metered(item["price"]) else None

    def _again(self, draft: Object, item: Object, line: Object) -> list[Object]:
        subscription = self.account.get("subscription", draft["subscription"])
        period = (line["period"]["start"], line["period"]["end"])
        known = [each for each in draft["lines"]["data"] if self._item(each) == item]
        rows = self.lines(subscription, item, period, self.of(subscription, item, period))
        kept = [each["id"] for each in known[: len(rows)]]
        for row, key in zip(rows, kept, strict=False):
            row["id"] = key
        return [each | {"invoice": draft["id"], "discounts": list(line["discounts"])} for each in rows]


def _sum(line: Object) -> tuple[int, str | None]:
    return line["amount"], line["quantity_decimal"]


def _written(amount: Decimal) -> str:
    whole, _, digits = f"{amount.normalize():f}".partition(".")
    return f"{whole}.{digits.ljust(2, '0')}"
