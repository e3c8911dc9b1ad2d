"""How the lines of a contract become what Stripe takes: lines of one price are one item, and what one subscription
cannot hold becomes several.

A subscription takes a price once, twenty items at most, and one interval (API reference: Create a schedule). Which
lines an item stands for is written in its metadata, so every line is kept for itself.

The quantity of an item is a whole number. A line is billed by its units where they are whole and their price times
their number is its amount to the minor unit; every other line is billed as pieces of its whole amount. So Stripe never
rounds an amount, and what was agreed is written at the price, of which a line of an invoice names the id.

A line that is charged by use is an item of its own without a quantity, at the price of one unit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from canonical.deals import MONTHS, LineTerms, PricedLine, is_whole, plain
from canonical.faults import Rejected
from canonical.money import digits_of, exponent
from system_apis.billing.stripe.amounts import takes_decimals

Row = dict[str, Any]
MAX_ITEMS = 20
LINE = "tiergate_line"
UNITS, UNIT_PRICE = "tiergate_units", "tiergate_unit_price"
LIST_PRICE, DISCOUNT = "tiergate_list_price", "tiergate_discount_percent"
MAX_VALUE = 500
MAX_VALUES = 50
"""What metadata holds: fifty values of at most 500 characters (API reference: Metadata)."""


class Item(msgspec.Struct, frozen=True):
    """Lines of one product at one price, which are billed together."""

    lines: tuple[PricedLine, ...]

    @property
    def quantity(self) -> int | None:
        """Return how many pieces are billed; None for what is charged by use (The Subscription Item object)."""
        return None if self.lines[0].meter else sum(pieces(line) for line in self.lines)

    def metadata(self) -> dict[str, str]:
        """Return the ids of the lines. Raises `Rejected` for more of them than metadata holds."""
        values = [""]
        for line in self.lines:
            longer = f"{values[-1]} {line.id}".strip()
            values[-1:] = [longer] if len(longer) <= MAX_VALUE else [values[-1], line.id]
        if len(values) > MAX_VALUES:
            raise Rejected("billing", f"{len(self.lines)} lines of {self.lines[0].sku} at one price", field="lines")
        return {LINE if place == 1 else f"{LINE}_{place}": value for place, value in enumerate(values, 1)}


class Part(msgspec.Struct, frozen=True):
    """What one subscription bills: items of one interval, and what is charged once with its first invoice."""

    recurring: tuple[Item, ...]
    once: tuple[Item, ...] = ()

    @property
    def items(self) -> tuple[Item, ...]:
        return (*self.recurring, *self.once)


def pieces(line: PricedLine) -> int:
    """Return how many pieces of a line are billed."""
    return int(line.terms.quantity) if _is_billed_by_unit(line) else line.quantity


def piece_price(line: PricedLine) -> Decimal:
    """Return the price of one piece on one invoice, in major units; of what is charged by use, that of one unit."""
    return line.terms.unit_price if line.meter or _is_billed_by_unit(line) else line.charge.decimal


def months(line: PricedLine) -> int | None:
    """Return how many months each invoice of a line is for; None for one that is charged once."""
    if line.interval == "one_time":
        return None
    return line.billing_months or MONTHS[line.interval]


def piece_terms(line: PricedLine) -> LineTerms | None:
    """Return what was agreed for one piece, None where its price says it."""
    terms = line.terms
    if (line.meter or _is_billed_by_unit(line)) and not terms.discount_percent:
        return None
    return msgspec.structs.replace(terms, quantity=terms.quantity / pieces(line))


def _is_billed_by_unit(line: PricedLine) -> bool:
    terms, currency = line.terms, line.unit_price.currency
    if not is_whole(terms.quantity) or terms.quantity * terms.unit_price != line.net.decimal:
        return False
    is_minor = digits_of(terms.unit_price) <= exponent(currency)
    return is_minor or takes_decimals(terms.unit_price, currency)


def meter_key(line: PricedLine, contract_id: str) -> str:
    """Return the natural key of the meter of a line that is charged by use: each contract has its own, since a meter
    counts what a customer uses with all that it has."""
    return f"{contract_id}:{line.meter}"


def price_key(line: PricedLine, contract_id: str) -> str:
    """Return the natural key of a price: the same product at the same price and terms is the same price. What is
    charged by use has one for each contract, since a price has one meter."""
    currency = line.unit_price.currency
    amount = plain(piece_price(line).scaleb(exponent(currency)))
    interval = f"{line.billing_months}_months" if line.billing_months else line.interval
    key = f"{line.sku}:{currency}:{interval}:{amount}"
    if line.meter:
        key = f"{key}:{meter_key(line, contract_id)}"
    terms = piece_terms(line)
    return f"{key}:{':'.join(written(terms).values())}" if terms else key


def written(terms: LineTerms) -> dict[str, str]:
    """Return terms as they are written in metadata."""
    found = {UNITS: plain(terms.quantity), UNIT_PRICE: plain(terms.unit_price)}
    if terms.list_price is None:
        return found
    return found | {LIST_PRICE: plain(terms.list_price), DISCOUNT: plain(terms.discount_percent)}


def read(metadata: dict[str, str]) -> LineTerms | None:
    """Return the terms of one piece that a price's metadata holds, None for a price that says all by itself."""
    if UNITS not in metadata:
        return None
    listed = metadata.get(LIST_PRICE)
    return LineTerms(
        Decimal(metadata[UNITS]),
        Decimal(metadata[UNIT_PRICE]),
        Decimal(listed) if listed else None,
        Decimal(metadata.get(DISCOUNT) or 0),
    )


def split(lines: Sequence[PricedLine]) -> tuple[Part, ...]:
    """Return the subscriptions that bill the lines: one, unless they have several intervals or too many prices."""
    by_interval: dict[int, list[PricedLine]] = {}
    for line in lines:
        if interval := months(line):
            by_interval.setdefault(interval, []).append(line)
    recurring = [chunk for each in by_interval.values() for chunk in chunks(merged(each))]
    return with_once(recurring or [()], lines)


def with_once(recurring: Sequence[tuple[Item, ...]], lines: Iterable[PricedLine]) -> tuple[Part, ...]:
    """Return parts of these recurring items with the one-off lines among `lines`, as early as they fit.

    Raises `Rejected` when there are more than all of them can hold.
    """
    once = list(chunks(merged(line for line in lines if line.interval == "one_time")))
    if len(once) > len(recurring):
        reason = f"{sum(map(len, once))} one-off prices, and a subscription takes {MAX_ITEMS}"
        raise Rejected("billing", reason, field="lines")
    once += [()] * (len(recurring) - len(once))
    return tuple(Part(items, extra) for items, extra in zip(recurring, once, strict=True))


def delivered(phase: Row, lines: Iterable[PricedLine]) -> tuple[Item, ...]:
    """Return the recurring items that are left of a phase when only `lines` were delivered."""
    ids = {each for item in phase["items"] for each in line_ids(item["metadata"])}
    return tuple(merged(line for line in lines if line.interval != "one_time" and line.id in ids))


def line_ids(metadata: dict[str, str]) -> Iterator[str]:
    """Yield the ids of the lines that an item stands for, as its metadata names them."""
    for name, value in metadata.items():
        if name.startswith(LINE):
            yield from value.split()


def merged(lines: Iterable[PricedLine]) -> list[Item]:
    """Return lines of one contract as items: those of one price are one."""
    by_price: dict[str, list[PricedLine]] = {}
    for line in lines:
        by_price.setdefault(price_key(line, ""), []).append(line)
    return [Item(tuple(each)) for each in by_price.values()]


def chunks(items: list[Item]) -> Iterator[tuple[Item, ...]]:
    """Yield items by as many as one subscription takes."""
    for start in range(0, len(items), MAX_ITEMS):
        yield tuple(items[start : start + MAX_ITEMS])
