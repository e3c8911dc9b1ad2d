"""An order (a deal that is being turned into service), and what the channels see of it and of its postings."""

from __future__ import annotations

from datetime import date
from typing import Generic, Literal, TypeVar

import msgspec

from canonical.billing import Contract
from canonical.corrections import CorrectionSummary
from canonical.deals import PlacedLine, PricedLine
from canonical.disputes import DisputeSummary
from canonical.dunning import Dunning
from canonical.ids import Instant, Key
from canonical.money import CurrencyCode, Money, exponent
from canonical.parties import Customer
from canonical.states import OrderState

T = TypeVar("T")
LineState = Literal["waiting", "requested", "provisioned", "failed", "skipped"]
PostingState = Literal["waiting", "posted", "failed"]
PostingKind = Literal["invoice", "payment"]
PostingEntry = Literal["invoice", "payment", "credit", "reversal", "fee"]
"""What is booked: a credit note is an invoice below nothing, and what went back, or was taken as a fee, a payment below
nothing."""


class Plan(msgspec.Struct, frozen=True):
    """The decisions made when the deal was accepted: who buys, what, from whom, under which tax."""

    customer: Customer
    contract: Contract
    account_id: str


class OrderLine(msgspec.Struct, frozen=True):
    """A line and the state of its delivery."""

    line: PricedLine
    state: LineState
    reason: str = ""


class NewOrder(msgspec.Struct, frozen=True):
    """An order as a channel sends it on behalf of a customer. The same `key` again is the same order."""

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


class Cancellation(msgspec.Struct, frozen=True):
    """Why an order that waits for a platform is given up."""

    reason: str


class StateChange(msgspec.Struct, frozen=True):
    """A state that an order reached, and when."""

    state: OrderState
    at: Instant


class QueuePlace(msgspec.Struct, frozen=True):
    """Where an order or a posting stands among those that wait for the same platform."""

    platform: str
    """What it waits for, by its name in the catalogue."""
    since: Instant
    """When it began to wait."""
    ahead: int
    """How many of its sort are older, and go on before it."""


class Order(msgspec.Struct, frozen=True):
    """An order with its lines and its history.

    `blocked_reason` says in words what the order is waiting for, and is empty when it is not waiting. `plan` is set
    once the deal is accepted.
    """

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
    queue: QueuePlace | None = None
    """Its place among those that wait for a platform that is away; None for one that does not."""


class OrderSummary(msgspec.Struct, frozen=True):
    """One row of a list of orders."""

    id: str
    name: str
    state: OrderState
    blocked_reason: str = msgspec.field(name="waits_for")
    customer_id: str
    received_at: Instant


class PostingStatus(msgspec.Struct, frozen=True):
    """The state of the posting of an invoice or a payment, also of one below nothing: `entry` says what it is.

    `blocked_reason` says in words what it is waiting for; `number` and `balance` are the ERP's.
    """

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
    skipped: bool = False
    """Whether people have seen to it in another way; its last case says who, and why."""
    queue: QueuePlace | None = None
    """Its place among those that wait for a platform that is away; None for one that does not."""
    entry: PostingEntry = "invoice"
    cancelled: Literal["", "void", "uncollectible"] = ""
    """As what billing shows it since it was cancelled; empty for what is not. What is booked of it is taken back."""


class CustomerOverview(msgspec.Struct, frozen=True):
    """A customer with its orders, its postings and the number of its open cases. What is missing of the rest is not
    there, or not for who asks."""

    customer: Customer
    orders: tuple[OrderSummary, ...]
    postings: tuple[PostingStatus, ...]
    open_cases: int
    corrections: tuple[CorrectionSummary, ...] = ()
    disputes: tuple[DisputeSummary, ...] = ()
    dunnings: tuple[Dunning, ...] = ()


class Page(msgspec.Struct, Generic[T], frozen=True):
    """A page of a list, newest first. `next_cursor` asks for the next page; it is None on the last one."""

    items: tuple[T, ...]
    """The entries of this page, newest first."""
    next_cursor: str | None = None
    """What asks for the next page, as `cursor`; null on the last one."""
