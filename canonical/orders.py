"""An order: a deal that is being turned into service. And what the channels see of it and of its postings."""

from __future__ import annotations

from datetime import date
from typing import Generic, Literal, TypeVar

import msgspec

from canonical.billing import Contract
from canonical.deals import PlacedLine, PricedLine
from canonical.ids import Instant, Key
from canonical.money import CurrencyCode, Money, exponent
from canonical.parties import Customer
from canonical.states import OrderState

T = TypeVar("T")
LineState = Literal["waiting", "requested", "provisioned", "failed", "skipped"]
PostingState = Literal["waiting", "posted", "failed"]
PostingKind = Literal["invoice", "payment"]


class Plan(msgspec.Struct, frozen=True):
    """What was decided when the deal was accepted: who buys, what, from whom, under which tax."""

    customer: Customer
    contract: Contract
    account_id: str


class OrderLine(msgspec.Struct, frozen=True):
    """A line and how far its delivery is."""

    line: PricedLine
    state: LineState
    reason: str = ""


class NewOrder(msgspec.Struct, frozen=True):
    """What a channel asks for on behalf of a customer. The same `key` again is the same order."""

    key: Key
    customer_id: Key
    name: str
    legal_entity: str
    currency: CurrencyCode
    starts_on: date
    term_months: int
    lines: tuple[PlacedLine, ...]

    def __post_init__(self) -> None:
        exponent(self.currency)


class StateChange(msgspec.Struct, frozen=True):
    """When an order reached a state."""

    state: OrderState
    at: Instant


class Order(msgspec.Struct, frozen=True):
    """`blocked_reason` says in words what the order is waiting for; empty when it is not. `plan` is there once it is accepted."""

    id: str
    deal_id: str
    revision: int
    name: str
    state: OrderState
    blocked_reason: str = msgspec.field(name="waits_for")
    correlation_id: str
    received_at: Instant
    updated_at: Instant
    legal_entity: str = ""
    customer_id: str = ""
    plan: Plan | None = None
    lines: tuple[OrderLine, ...] = ()
    history: tuple[StateChange, ...] = ()
    placed_by: str = ""
    crm: str = ""
    """The CRM that the deal is in, by the platform's name in the catalogue."""


class OrderSummary(msgspec.Struct, frozen=True):
    """One row of a list of orders."""

    id: str
    name: str
    state: OrderState
    blocked_reason: str = msgspec.field(name="waits_for")
    customer_id: str
    received_at: Instant


class PostingStatus(msgspec.Struct, frozen=True):
    """Where the posting of an invoice or payment stands. `blocked_reason` is in words; `number` and `balance` are the ERP's."""

    kind: PostingKind
    id: str
    invoice_id: str
    customer_id: str
    contract_id: str
    legal_entity: str
    state: PostingState
    blocked_reason: str = msgspec.field(name="waits_for")
    attempts: int
    updated_at: Instant
    amount: Money | None = None
    tax: Money | None = None
    number: str = ""
    balance: Money | None = None
    billing: str = ""
    """The platform that issued the invoice, by its name in the catalogue."""


class CustomerOverview(msgspec.Struct, frozen=True):
    """A customer with all that is going on."""

    customer: Customer
    orders: tuple[OrderSummary, ...]
    postings: tuple[PostingStatus, ...]
    open_cases: int


class Page(msgspec.Struct, Generic[T], frozen=True):
    """A part of a list, newest first. `next_cursor` asks for the rest; none means that there is none."""

    items: tuple[T, ...]
    next_cursor: str | None = None
