"""How the lines of a contract become what Stripe takes: lines of one price are one item, and what one subscription
cannot hold becomes several.

A subscription takes a price once, twenty items at most, and one interval (API reference: Create a schedule). Which
lines an item stands for is written in its metadata, so every line is kept for itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from canonical.deals import PricedLine
from canonical.faults import Rejected

Row = dict[str, Any]
MAX_ITEMS = 20
LINE = "tiergate_line"
MAX_VALUE = 500
MAX_VALUES = 50
"""What metadata holds: fifty values of at most 500 characters (API reference: Metadata)."""


class Item(msgspec.Struct, frozen=True):
    """Lines of one product at one price, which are billed together."""

    lines: tuple[PricedLine, ...]

    @property
    def quantity(self) -> int:
        return sum(line.quantity for line in self.lines)

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


def price_key(line: PricedLine) -> str:
    """Return the natural key of a price: the same product at the same price is the same price."""
    return f"{line.sku}:{line.unit_price.currency}:{line.interval}:{line.unit_price.amount}"


def split(lines: Sequence[PricedLine]) -> tuple[Part, ...]:
    """Return the subscriptions that bill the lines: one, unless they have several intervals or too many prices."""
    by_interval: dict[str, list[PricedLine]] = {}
    for line in lines:
        if line.interval != "one_time":
            by_interval.setdefault(line.interval, []).append(line)
    recurring = [chunk for each in by_interval.values() for chunk in _chunks(_merged(each))]
    return with_once(recurring or [()], lines)


def with_once(recurring: Sequence[tuple[Item, ...]], lines: Iterable[PricedLine]) -> tuple[Part, ...]:
    """Return parts of these recurring items with the one-off lines among `lines`, as early as they fit.

    Raises `Rejected` when there are more than all of them can hold.
    """
    once = list(_chunks(_merged(line for line in lines if line.interval == "one_time")))
    if len(once) > len(recurring):
        reason = f"{sum(map(len, once))} one-off prices, and a subscription takes {MAX_ITEMS}"
        raise Rejected("billing", reason, field="lines")
    once += [()] * (len(recurring) - len(once))
    return tuple(Part(items, extra) for items, extra in zip(recurring, once, strict=True))


def delivered(phase: Row, lines: Iterable[PricedLine]) -> tuple[Item, ...]:
    """Return the recurring items that are left of a phase when only `lines` were delivered."""
    ids = {each for item in phase["items"] for each in _ids(item["metadata"])}
    return tuple(_merged(line for line in lines if line.interval != "one_time" and line.id in ids))


def _ids(metadata: dict[str, str]) -> Iterator[str]:
    for name, value in metadata.items():
        if name.startswith(LINE):
            yield from value.split()


def _merged(lines: Iterable[PricedLine]) -> list[Item]:
    by_price: dict[str, list[PricedLine]] = {}
    for line in lines:
        by_price.setdefault(price_key(line), []).append(line)
    return [Item(tuple(each)) for each in by_price.values()]


def _chunks(items: list[Item]) -> Iterator[tuple[Item, ...]]:
    for start in range(0, len(items), MAX_ITEMS):
        yield tuple(items[start : start + MAX_ITEMS])
