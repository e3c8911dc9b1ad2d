"""What each line of a previewed invoice is for: of which price, of which period, and of which lines of the contract."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec

from canonical.amendments import ChargedPart
from canonical.money import Money
from system_apis.billing.stripe import invoices
from system_apis.billing.stripe.amounts import from_stripe

Row = dict[str, Any]


class Sold(msgspec.Struct, frozen=True):
    """What the lines of an invoice are known by.

    `before` holds the ids of the contract's lines by the id of the item that billed them until now, `after` by the id
    of the price that bills them from now on. `period` are the seconds since 1970 at which the present period starts and
    ends, None for a subscription that is to begin. `charges` holds the lines of invoices that were charged before, by
    their ids, and `months` those of a price by its id.
    """

    currency: str
    before: Mapping[str, tuple[str, ...]]
    after: Mapping[str, tuple[str, ...]]
    period: tuple[int, int] | None
    charges: Mapping[str, Row]
    months: Mapping[str, int]


def details_of(line: Row) -> Row:
    """Return what a line says of the subscription item or the invoice item that it is of."""
    parent: Row = line["parent"] or {}
    return parent.get("subscription_item_details") or parent.get("invoice_item_details") or {}


def is_proration(line: Row) -> bool:
    return bool(details_of(line).get("proration"))


def credited(line: Row) -> tuple[str, list[str]] | None:
    """Return the invoice whose lines are credited by a line, and their ids; None where it credits none.

    (The Invoice Line Item object, `proration_details.credited_items`.)
    """
    proration: Row = details_of(line).get("proration_details") or {}
    found: Row | None = proration.get("credited_items")
    return (found["invoice"], found["invoice_line_items"]) if found else None


def charged_part(line: Row, sold: Sold) -> ChargedPart:
    """Return what a line is for. A credit is a part of what was charged before, a charge one of the price."""
    item, price = details_of(line).get("subscription_item") or "", invoices.price_of(line) or ""
    start, end = line["period"]["start"], line["period"]["end"]
    whole, period = from_stripe(line["amount"], sold.currency), (start, end)
    earlier = credited(line)
    if is_proration(line):
        charges = [sold.charges[key] for key in (earlier[1] if earlier else ()) if key in sold.charges]
        if line["amount"] < 0 and not charges:
            charges = _pending(line, sold)
        whole, period = _credited(charges, sold) if charges else (_full(line, sold), sold.period or period)
    is_new = not earlier and price in sold.after
    return ChargedPart(
        lines=sold.after[price] if is_new else sold.before.get(item, ()),
        starts_at=_moment(start),
        ends_at=_moment(end),
        prorated=is_proration(line),
        price=whole,
        period_starts_at=_moment(period[0]),
        period_ends_at=_moment(period[1]),
        months=sold.months.get(price, 0),
    )


def _pending(line: Row, sold: Sold) -> list[Row]:
    """Return the charge of an earlier change that a credit is of, which stands in the same preview: no invoice has it
    yet, so the credit does not name it."""
    item, price, period = details_of(line).get("subscription_item"), invoices.price_of(line), line["period"]
    return [
        each
        for each in sold.charges.values()
        if each["amount"] > 0
        and (details_of(each).get("subscription_item"), invoices.price_of(each)) == (item, price)
        and is_proration(each)
        and each["quantity"] == line["quantity"]
        and each["period"]["start"] <= period["start"]
        and period["end"] <= each["period"]["end"]
    ][-1:]


def _credited(charges: list[Row], sold: Sold) -> tuple[Money, tuple[int, int]]:
    """Return what was charged, after discounts, as a credit, and from when until when it was for."""
    off = sum(each["amount"] for charge in charges for each in charge["discount_amounts"] or ())
    amount = sum(each["amount"] for each in charges) - off
    starts, ends = zip(*((each["period"]["start"], each["period"]["end"]) for each in charges), strict=True)
    return -from_stripe(amount, sold.currency), (min(starts), max(ends))


def _full(line: Row, sold: Sold) -> Money:
    """Return what the items of a line cost for a whole period; below nothing for a credit."""
    unit, quantity = Decimal(line["pricing"]["unit_amount_decimal"]), Decimal(line["quantity_decimal"] or 1)
    amount = from_stripe(int((unit * quantity).to_integral_value()), sold.currency)
    return -amount if line["amount"] < 0 else amount


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
