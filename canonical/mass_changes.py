"""Mass changes: a new price of a product for many contracts, asked for, approved and followed as one."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

import msgspec

from canonical.amendments import NumberRefused, RecurringInterval, Settlement, check_number
from canonical.ids import Instant, Key
from canonical.money import CurrencyCode, Money
from canonical.states import MassChangeState

MOST_CUSTOMERS = 1000
MOST_PRICES = 100
HUNDRED_PERCENT = 10_000
"""Basis points."""
MassEffective = Literal["date", "period_end"]
"""From when the new price counts: from the start of a day, or from the end of the period that is paid."""
SelectedState = Literal["pending", "active"]
"""The states of contracts of which the price can change."""
LeftOut = Literal[
    "cancelled",
    "term_over",
    "without_product",
    "no_price",
    "already_at_price",
    "change_on_its_way",
    "not_allowed",
]
"""Why a contract is left out: it has ended, its term is over, it has the product no more, no price is given for its
currency and interval, it has the price already, its activation or another change of it is not carried out yet, or it
does not allow it."""
MassItemState = Literal[
    "to_do",
    "left_out",
    "failed",
    "cancelled",
    "on_its_way",
    "awaiting_approval",
    "held",
    "scheduled",
    "changed",
    "given_up",
    "to_undo",
    "undo_on_its_way",
    "undo_held",
    "undone",
    "not_undone",
]
"""How far the change of one contract is. From `on_its_way` on it is the state of its amendment."""
MassChangeStep = Literal["submit", "pause", "resume", "cancel", "retry", "undo"]
"""What people do with a mass change."""


class PricePercentage(msgspec.Struct, frozen=True, tag_field="by", tag="percentage"):
    """A price that is higher by a percentage, or lower: 250 basis points are 2.5 percent more."""

    basis_points: Annotated[int, msgspec.Meta(ge=1 - HUNDRED_PERCENT, le=10 * HUNDRED_PERCENT)]


class NewPrice(msgspec.Struct, frozen=True):
    """What one unit costs for an interval, before discounts and net of tax."""

    interval: RecurringInterval
    unit_price: Money

    def __post_init__(self) -> None:
        if self.unit_price.amount < 0:
            raise NumberRefused("unit_price", "it cannot be less than 0")
        check_number(self.unit_price.decimal, "unit_price")


class PriceList(msgspec.Struct, frozen=True, tag_field="by", tag="prices"):
    """A price for each currency and interval. What it does not name stays as it is."""

    prices: Annotated[tuple[NewPrice, ...], msgspec.Meta(min_length=1, max_length=MOST_PRICES)]

    def of(self, currency: str, interval: str) -> Money | None:
        """Return the price of one unit, None where the list has none."""
        same = (each for each in self.prices if (each.unit_price.currency, each.interval) == (currency, interval))
        return next((each.unit_price for each in same), None)


class MassChangeRequest(msgspec.Struct, frozen=True):
    """A new price of a product, for the contracts of one selling company that have it.

    A discount of a line stays: it is the price before it that changes. `effective_on` is the day for a change that is
    `effective` at a date, and left out for any other. Without customers it is for those of all.
    """

    sku: Key
    legal_entity: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9]{1,20}\Z")]
    """The selling company."""
    price: PricePercentage | PriceList
    currency: CurrencyCode | None = None
    """Only contracts in this currency."""
    customers: Annotated[tuple[Key, ...], msgspec.Meta(max_length=MOST_CUSTOMERS)] = ()
    """Only contracts of these customers, by their ids."""
    states: Annotated[tuple[SelectedState, ...], msgspec.Meta(min_length=1, max_length=2)] = ("pending", "active")
    effective: MassEffective = "period_end"
    effective_on: date | None = None
    settlement: Settlement = "next_invoice"
    reason: Annotated[str, msgspec.Meta(max_length=500)] = ""


class NewMassChange(MassChangeRequest, frozen=True, kw_only=True):
    """A mass change that is to be selected and shown. The same `key` again is the same one."""

    key: Key


class MassChangeAction(msgspec.Struct, frozen=True):
    """What is to be done with a mass change."""

    action: MassChangeStep


class RevenueChange(msgspec.Struct, frozen=True):
    """The monthly recurring revenue of contracts in one currency, before and after; net of tax, and no charge."""

    contracts: int
    before: Money
    after: Money
    delta: Money


class StateCount(msgspec.Struct, frozen=True):
    """How many contracts are in a state; of those that are left out, for which reason."""

    state: MassItemState
    contracts: int
    reason: LeftOut | None = None


class MassChange(msgspec.Struct, frozen=True):
    """A mass change: how far it is, what it is worth, and how many contracts are in which state.

    `revenue` is that of the contracts that are to change, as they were selected. `undoing` is whether what was changed
    is taken back.
    """

    id: str
    state: MassChangeState
    undoing: bool
    legal_entity: str
    request: NewMassChange
    requested_by: str
    requested_at: Instant
    updated_at: Instant
    correlation_id: str
    revenue: tuple[RevenueChange, ...]
    counts: tuple[StateCount, ...]


class MassChangeSummary(msgspec.Struct, frozen=True):
    """A mass change in a list."""

    id: str
    state: MassChangeState
    undoing: bool
    legal_entity: str
    sku: str
    requested_by: str
    requested_at: Instant
    updated_at: Instant


class MassChangeItem(msgspec.Struct, frozen=True):
    """The change of one contract: its monthly recurring revenue as it was selected, and what became of it.

    `amendment_id` is the change, `reversal_id` what takes it back; both empty for none.
    """

    contract_id: str
    customer_id: str
    state: MassItemState
    before: Money
    after: Money
    reason: LeftOut | None = None
    detail: str = ""
    amendment_id: str = ""
    reversal_id: str = ""
