"""What a partner sees, in the newest version: nothing of how we work inside."""

from __future__ import annotations

from datetime import date
from typing import Annotated

import msgspec

from canonical.deals import Interval, LineTerms, PlacedLine
from canonical.ids import Instant
from canonical.money import CurrencyCode, Money, exponent
from canonical.orders import LineState, Order, OrderSummary, PostingStatus
from canonical.parties import Customer
from canonical.states import OrderState
from policies.catalogue.model import LEGAL_ENTITY

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=120)]


class PartnerCustomer(msgspec.Struct, frozen=True):
    """A customer that the partner looks after. `country` is ISO 3166-1 alpha-2."""

    id: str
    name: str
    country: str
    tax_number: str | None


class PartnerOrderRequest(msgspec.Struct, frozen=True):
    """What a customer orders through the partner. Prices are those of the price list in `currency` (ISO 4217)."""

    customer_id: Annotated[str, msgspec.Meta(pattern="^cus_[0-9a-f]{32}$")]
    name: Text
    legal_entity: Annotated[str, msgspec.Meta(pattern=f"^{LEGAL_ENTITY}$")]
    currency: CurrencyCode
    starts_on: date
    lines: Annotated[tuple[PlacedLine, ...], msgspec.Meta(min_length=1, max_length=100)]
    term_months: Annotated[int, msgspec.Meta(ge=1, le=120)] = 12

    def __post_init__(self) -> None:
        exponent(self.currency)


class ContractLine(msgspec.Struct, frozen=True):
    """A product of the contract. `unit_price` is for one, per `interval`, net of tax.

    `billing_months` is how many months each invoice is for, where that is not the `interval` of the price.

    `agreed` says what was agreed where that is no whole quantity at a price in minor units, or with a discount.
    """

    id: str
    sku: str
    name: str
    quantity: int
    unit_price: Money
    interval: Interval
    delivery: LineState
    agreed: LineTerms | None = None
    billing_months: int | None = None


class PartnerContract(msgspec.Struct, frozen=True):
    """What was agreed. `net` is what the first invoice comes to before tax; `term_months` are 0 for one without end."""

    id: str
    starts_on: date
    term_months: int
    lines: tuple[ContractLine, ...]
    net: Money


class PartnerOrder(msgspec.Struct, frozen=True):
    """An order of a customer of the partner. `contract` is there once it is accepted; `waits_for` says what holds it
    up."""

    id: str
    customer_id: str
    name: str
    legal_entity: str
    state: OrderState
    waits_for: str
    placed_at: Instant
    updated_at: Instant
    contract: PartnerContract | None = None


class PartnerOrderSummary(msgspec.Struct, frozen=True):
    """One row of a list of orders."""

    id: str
    customer_id: str
    name: str
    state: OrderState
    placed_at: Instant


class PartnerInvoice(msgspec.Struct, frozen=True):
    """An invoice that is posted to the books. `number` is the one on the invoice; `balance` is what is still due."""

    id: str
    number: str
    customer_id: str
    contract_id: str
    total: Money | None
    tax: Money | None
    balance: Money | None


def customer(of: Customer) -> PartnerCustomer:
    return PartnerCustomer(of.id, of.name, of.address.country, of.tax_number)


def order(of: Order) -> PartnerOrder:
    return PartnerOrder(
        of.id,
        of.customer_id,
        of.name,
        of.legal_entity,
        of.state,
        of.blocked_reason,
        of.received_at,
        of.updated_at,
        _contract(of),
    )


def _contract(of: Order) -> PartnerContract | None:
    if of.plan is None:
        return None
    agreed = of.plan.contract
    lines = tuple(
        ContractLine(
            each.line.id,
            each.line.sku,
            each.line.name,
            each.line.quantity,
            each.line.unit_price,
            each.line.interval,
            each.state,
            each.line.agreed,
            each.line.billing_months,
        )
        for each in of.lines
    )
    return PartnerContract(agreed.id, agreed.starts_on, agreed.term_months, lines, agreed.net)


def summary(of: OrderSummary) -> PartnerOrderSummary:
    return PartnerOrderSummary(of.id, of.customer_id, of.name, of.state, of.received_at)


def invoice(of: PostingStatus) -> PartnerInvoice:
    return PartnerInvoice(of.invoice_id, of.number, of.customer_id, of.contract_id, of.amount, of.tax, of.balance)
