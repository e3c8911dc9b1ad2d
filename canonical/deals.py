"""A deal as the CRM closed it: what was sold, to whom, at which price. Nothing is validated here."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Annotated, Literal

import msgspec

from canonical.cases import Finding
from canonical.ids import Key
from canonical.money import Money
from canonical.parties import Account

Interval = Literal["one_time", "month", "year"]


class DealLine(msgspec.Struct, frozen=True):
    """One product of a deal. `listed` says whether the price list has it in the deal's currency."""

    id: str
    sku: str
    name: str
    quantity: Decimal
    unit_price: Decimal
    interval: str
    listed: bool


class Deal(msgspec.Struct, frozen=True):
    """A closed opportunity with all that an order is made from. Its id and the lines' ids are the CRM's.

    `revision` starts at 1.
    """

    id: str
    name: str
    revision: int
    account: Account
    currency: str
    legal_entity: str | None
    starts_on: date
    term_months: int
    lines: tuple[DealLine, ...]
    won: bool
    placed_by: str = ""
    """Who asked for it: the CRM's user, or the partner that placed the order."""


class PlacedLine(msgspec.Struct, frozen=True):
    """A product and how much of it. The price list says what it costs."""

    sku: str
    quantity: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]


class PlacedDeal(msgspec.Struct, frozen=True):
    """An order that came in through a channel, on its way to the CRM, which owns what was sold.

    `key` is its natural key in the CRM.
    """

    key: Key
    name: str
    account_id: str
    legal_entity: str
    currency: str
    starts_on: date
    term_months: int
    lines: tuple[PlacedLine, ...]
    placed_by: str


class DealReference(msgspec.Struct, frozen=True):
    """The CRM's own id of a deal."""

    id: str


class DealStatus(msgspec.Struct, frozen=True):
    """What the CRM shows of an order: a projection.

    `findings` say why it stopped and replace `detail`: the CRM shows each with its own label of the field. With a
    `contract_id`, the CRM gets that contract too, as activated.
    """

    order_id: str
    state: str
    detail: str = ""
    account_id: str = ""
    customer_id: str = ""
    contract_id: str = ""
    starts_on: date | None = None
    term_months: int = 0
    legal_entity: str = ""
    revision: str = ""
    """The revision of the account that the customer's data was read from."""
    findings: tuple[Finding, ...] = ()


class PricedLine(msgspec.Struct, frozen=True):
    """A line whose product, quantity and price are validated. `unit_price` is per interval, net of tax.

    `tax` is the code of its tax, `tax_percent` the rate; both are empty where they are the contract's.
    """

    id: Key
    sku: str
    name: str
    quantity: int
    unit_price: Money
    interval: Interval
    tax: str = ""
    tax_percent: str = ""

    @property
    def net(self) -> Money:
        return self.unit_price.times(self.quantity)


class OrderReference(msgspec.Struct, frozen=True):
    """An order by its id."""

    id: str


class ProvisioningRequest(msgspec.Struct, frozen=True):
    """The lines of an order that are to be delivered. `attempt` starts at 1; a higher number is a new attempt."""

    order_id: Key
    lines: tuple[PricedLine, ...]
    attempt: int = 1
    legal_entity: str = ""
