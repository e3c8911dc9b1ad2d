"""Prorations: what a change credits and charges, by the second of the period (Billing: Prorations).

A changed item has a line for its unused time and one for the time that remains. They are pending invoice items until an
invoice of the subscription takes them. In flexible billing mode a credit is a part of what was debited; in classic
billing mode it is computed from what the item is now (Compare classic and flexible billing mode).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec

from sandbox.stripe import currencies
from sandbox.stripe.account import Account
from sandbox.stripe.discounts import Discounts, net
from sandbox.stripe.invoicing import Invoicing, rounded_amount
from sandbox.stripe.objects import Object
from sandbox.stripe.periods import whole
from sandbox.stripe.subscription_items import metered

BEHAVIORS = ("always_invoice", "create_prorations", "none")


class Debit(msgspec.Struct, frozen=True):
    """What was charged for an item and a period: by a line of an invoice, or by an item that no invoice has yet.

    `gross` and `net` are before tax, in minor units: `net` is after discounts. `until` is where credits of it begin.
    """

    key: str
    reference: Object
    gross: int
    net: int
    start: int
    end: int
    until: int
    quantity: int
    pricing: Object
    rates: list[str]
    discounts: list[str]


class Prorations:
    """Make the invoice items that a change of a subscription brings."""

    def __init__(self, account: Account, invoicing: Invoicing) -> None:
        self.account = account
        self.invoicing = invoicing
        self.discounts = Discounts(account)

    def credit(self, subscription: Object, item: Object, at: int) -> list[Object]:
        """Credit the time of an item from `at` on. Time that was charged by several debits has several credits."""
        if metered(item["price"]):
            return []
        debits = list(self._debits(item))
        if subscription["billing_mode"]["type"] == "classic":
            return self._classic(subscription, item, at, debits)
        made: list[Object] = []
        for each in debits:
            since = max(at, each.start)
            if since >= each.until or not each.gross:
                continue
            part = Decimal(each.until - since) / (each.end - each.start)
            made.append(
                self._item(
                    subscription,
                    item,
                    (since, each.until),
                    -currencies.rounded(each.gross * part, item["price"]["currency"]),
                    -currencies.rounded(each.net * part, item["price"]["currency"]),
                    each,
                )
            )
        return made

    def _classic(self, subscription: Object, item: Object, at: int, debits: list[Debit]) -> list[Object]:
        last = debits[-1] if debits else None
        end: int = item["current_period_end"]
        if last and at < last.until < end:
            end = last.until
        gross, after = self._amounts(subscription, item, at, end, last.discounts if last else [])
        return [self._item(subscription, item, (at, end), -gross, -after, last, credited=True)] if gross else []

    def debit(self, subscription: Object, item: Object, at: int) -> Object | None:
        """Charge an item from `at` to the end of its period, with the discounts that hold now."""
        if metered(item["price"]):
            return None
        end, keys = item["current_period_end"], [*item["discounts"], *subscription["discounts"]]
        gross, after = self._amounts(subscription, item, at, end, keys)
        return self._item(subscription, item, (at, end), gross, after, None, keys=keys) if gross else None

    def _amounts(self, subscription: Object, item: Object, at: int, end: int, keys: list[str]) -> tuple[int, int]:
        """Return what a part of a period costs, before and after discounts."""
        price, anchor = item["price"], subscription["billing_cycle_anchor"]
        part = Decimal(max(end - at, 0)) / whole(anchor, item["current_period_start"], price["recurring"])
        full = Decimal(price["unit_amount_decimal"]) * item["quantity"]
        off = self._off(subscription, item, keys)
        return (
            currencies.rounded(full * part, price["currency"]),
            currencies.rounded((full - off) * part, price["currency"]),
        )

    def _off(self, subscription: Object, item: Object, keys: list[str]) -> int:
        """Return what discounts take off an item for a whole period, beside the other items of its subscription."""
        rows = [self._row(each) for each in subscription["items"]["data"] if not metered(each["price"])]
        if item["id"] not in [each["id"] for each in rows]:
            rows.append(self._row(item))
        evenly = subscription["billing_mode"]["type"] == "classic"
        (own,) = (each for each in rows if each["id"] == item["id"])
        for key in keys:
            self.discounts.take(key, [own] if key in item["discounts"] else rows, evenly=evenly)
        return own["amount"] - net(own)

    def _row(self, item: Object) -> Object:
        return {
            "id": item["id"],
            "amount": rounded_amount(item["price"]["unit_amount_decimal"], item["quantity"]),
            "currency": item["price"]["currency"],
            "pricing": self.invoicing.pricing(item["price"]),
            "discount_amounts": [],
        }

    def _item(
        self,
        subscription: Object,
        item: Object,
        period: tuple[int, int],
        gross: int,
        after: int,
        debit: Debit | None,
        *,
        keys: list[str] | None = None,
        credited: bool = False,
    ) -> Object:
        """Store a pending item. Its amount has the discounts in it, or they are itemized, as the billing mode says.

        (Changelog, clover: Adds the ability to itemize proration discount amounts.)
        """
        account, now = self.account, self.account.clock.seconds()
        is_credit = debit is not None or credited
        flexible: Object = subscription["billing_mode"].get("flexible") or {}
        itemized = flexible.get("proration_discounts") == "itemized"
        keys = debit.discounts if debit else keys or []
        quantity = debit.quantity if debit else item["quantity"]
        pricing = debit.pricing if debit else self.invoicing.pricing(item["price"])
        rates = debit.rates if debit else [each["id"] for each in item["tax_rates"]]
        off = gross - after if itemized else 0
        made = account.make(
            "invoiceitem",
            amount=gross if itemized else after,
            net_amount=after,
            currency=item["price"]["currency"],
            customer=subscription["customer"],
            date=now,
            description=self._description(pricing, quantity, period[0], is_credit=is_credit),
            discountable=False,
            discounts=keys,
            parent={
                "type": "subscription_details",
                "subscription_details": {"subscription": subscription["id"], "subscription_item": item["id"]},
            },
            period={"start": period[0], "end": period[1]},
            pricing=pricing,
            proration=True,
            proration_details={
                "credited_items": debit.reference if debit else None,
                "discount_amounts": [
                    {"amount": off if place == 0 else 0, "discount": each} for place, each in enumerate(keys)
                ],
            },
            quantity=quantity,
            quantity_decimal=str(quantity),
            tax_rates=[account.get("tax_rate", each) for each in rates],
        )
        return account.save(made, "invoiceitem.created")

    def _description(self, pricing: Object, quantity: int, at: int, *, is_credit: bool) -> str:
        """Return Stripe's words, such as `Unused time on 2 × Seat after 16 Sep 2021`."""
        name = self.account.get("product", pricing["price_details"]["product"])["name"]
        thing = name if quantity == 1 else f"{quantity} × {name}"
        word = "Unused" if is_credit else "Remaining"
        return f"{word} time on {thing} after {datetime.fromtimestamp(at, UTC):%d %b %Y}"

    # ---- what was charged

    def _debits(self, item: Object) -> Iterator[Debit]:
        """Return what was charged for an item, in the order in which it was: on invoices that are not void, and not
        yet on any (Prorations: Credit prorations)."""
        begun = self._credited(item)
        for invoice in self.account.all("invoice"):
            for line in invoice["lines"]["data"] if invoice["status"] != "void" else ():
                details: Object | None = line["parent"]["subscription_item_details"] if line["parent"] else None
                if details is None or details["subscription_item"] != item["id"] or line["amount"] < 0:
                    continue
                reference = {
                    "type": "invoice_line_items",
                    "invoice_item": None,
                    "invoice_line_item_details": {"invoice": invoice["id"], "invoice_line_items": [line["id"]]},
                }
                key = details["invoice_item"] or line["id"]
                rates = [each["tax_rate_details"]["tax_rate"] for each in line["taxes"]]
                keys = [each["discount"] for each in line["discount_amounts"]]
                automatic = invoice["automatic_tax"]["enabled"]
                yield _debit(line, key, reference, begun, [] if automatic else rates, net(line), keys)
        for each in self.account.all("invoiceitem"):
            if _belongs(each, item) and each["invoice"] is None and each["amount"] >= 0:
                reference = {"type": "invoice_item", "invoice_item": each["id"], "invoice_line_item_details": None}
                rates = [rate["id"] for rate in each["tax_rates"]]
                yield _debit(each, each["id"], reference, begun, rates, each["net_amount"], each["discounts"])

    def _credited(self, item: Object) -> dict[str, int]:
        """Return from when on each debit of an item is credited already, by the debit's key and by its line's id."""
        begun: dict[str, int] = {}
        for each in self.account.all("invoiceitem"):
            found: Object | None = each["proration_details"] and each["proration_details"]["credited_items"]
            if found is None or not _belongs(each, item):
                continue
            lines: Object = found["invoice_line_item_details"] or {"invoice_line_items": [found["invoice_item"]]}
            for key in lines["invoice_line_items"]:
                begun[key] = min(begun.get(key, each["period"]["start"]), each["period"]["start"])
        return begun


def _debit(
    row: Object, key: str, reference: Object, begun: dict[str, int], rates: list[str], after: int, keys: list[str]
) -> Debit:
    end: int = row["period"]["end"]
    until = min(end, *(begun.get(each, end) for each in (key, row["id"])))
    start: int = row["period"]["start"]
    return Debit(key, reference, row["amount"], after, start, end, until, row["quantity"], row["pricing"], rates, keys)


def _belongs(row: Object, item: Object) -> bool:
    parent: Any = row["parent"]
    return parent is not None and parent["subscription_details"]["subscription_item"] == item["id"]
