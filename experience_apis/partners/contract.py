"""What a partner sees, in the newest version: nothing of how we work inside."""

from __future__ import annotations

from datetime import date
from typing import Annotated

import msgspec

from canonical.amendments import (
    MOST_ACTIONS,
    Amendment,
    AmendmentPreview,
    AmendmentRequest,
    Cancel,
    ChangeQuantity,
    ContractSummary,
    ContractTimeline,
    ContractVersion,
    Effective,
    Pause,
    RemoveLine,
    Resume,
    Transfer,
)
from canonical.billing import Invoice
from canonical.deals import Interval, LineTerms, PlacedLine, PricedLine
from canonical.ids import Instant
from canonical.money import CurrencyCode, Money, exponent
from canonical.orders import LineState, Order, OrderSummary, PostingStatus
from canonical.parties import Customer
from canonical.states import AmendmentState, ContractState, OrderState
from policies.catalogue.model import LEGAL_ENTITY

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=120)]


class PartnerCustomer(msgspec.Struct, frozen=True):
    """A customer that the partner looks after."""

    id: str
    """Our id of the customer: `cus_` and 32 hexadecimal digits."""
    name: str
    """The customer's registered name."""
    country: str
    """The country of its address, an ISO 3166-1 alpha-2 code."""
    tax_number: str | None
    """Its tax number with the country's prefix, such as a VAT number; null if it has none."""


class PartnerOrderRequest(msgspec.Struct, frozen=True):
    """What a customer orders through the partner, at the prices of the price list."""

    customer_id: Annotated[str, msgspec.Meta(pattern=r"^cus_[0-9a-f]{32}\Z")]
    """The customer that orders: one that the partner looks after."""
    name: Text
    """What the order is called, for people."""
    legal_entity: Annotated[str, msgspec.Meta(pattern=rf"^{LEGAL_ENTITY}\Z")]
    """The company of ours that sells, by its code."""
    currency: CurrencyCode
    """The currency of the price list that applies, an ISO 4217 code."""
    starts_on: date
    """The first day of the contract (ISO 8601, UTC)."""
    lines: Annotated[tuple[PlacedLine, ...], msgspec.Meta(min_length=1, max_length=100)]
    """The products that are ordered."""
    term_months: Annotated[int, msgspec.Meta(ge=1, le=120)] = 12
    """How many months the contract runs."""

    def __post_init__(self) -> None:
        exponent(self.currency)


class ContractLine(msgspec.Struct, frozen=True):
    """A product of the contract."""

    id: str
    """The id of the line, unique within its contract."""
    sku: str
    """The product, by its number in the price list."""
    name: str
    """What the product is called, for people."""
    quantity: int
    """How many of the product."""
    unit_price: Money
    """The price of one per `interval`, net of tax."""
    interval: Interval
    """What the price is for: once, a month or a year."""
    delivery: LineState
    """Where the delivery of the line is."""
    agreed: LineTerms | None = None
    """What was agreed, where that is no whole quantity at a price in minor units, or with a discount, or is charged by
    use, of which this is the price of one unit; else null."""
    billing_months: int | None = None
    """How many months each invoice of the line is for; null where that is its `interval`."""


class PartnerContract(msgspec.Struct, frozen=True):
    """What was agreed."""

    id: str
    """Our id of the contract: `con_` and 32 hexadecimal digits."""
    starts_on: date
    """The first day of the contract (ISO 8601, UTC)."""
    term_months: int
    """How many months it runs; 0 for one without end."""
    lines: tuple[ContractLine, ...]
    """What was bought."""
    net: Money
    """What the first invoice comes to, before tax."""


class PartnerOrder(msgspec.Struct, frozen=True):
    """An order of a customer of the partner."""

    id: str
    """Our id of the order: `ord_` and 32 hexadecimal digits."""
    customer_id: str
    """The customer that ordered."""
    name: str
    """What the order is called, for people."""
    legal_entity: str
    """The company of ours that sells, by its code."""
    state: OrderState
    """Where the order is."""
    waits_for: str
    """What the order waits for, in words; empty when it waits for nothing."""
    placed_at: Instant
    """When the order reached us (ISO 8601, UTC)."""
    updated_at: Instant
    """When it last changed (ISO 8601, UTC)."""
    contract: PartnerContract | None = None
    """What was agreed; null until the order is accepted."""


class PartnerOrderSummary(msgspec.Struct, frozen=True):
    """One row of a list of orders."""

    id: str
    """Our id of the order: `ord_` and 32 hexadecimal digits."""
    customer_id: str
    """The customer that ordered."""
    name: str
    """What the order is called, for people."""
    state: OrderState
    """Where the order is."""
    placed_at: Instant
    """When the order reached us (ISO 8601, UTC)."""


class AgreedLine(msgspec.Struct, frozen=True):
    """A product of a contract that runs, as it was agreed."""

    id: str
    """The id of the line, unique within its contract."""
    sku: str
    """The product, by its number in the price list."""
    name: str
    """What the product is called, for people."""
    interval: Interval
    """What its price is for: once, a month or a year."""
    terms: LineTerms
    """How much of it there is, at which price, in major units of the currency, net of tax."""


class PartnerContractVersion(msgspec.Struct, frozen=True):
    """What a contract is from a moment on, until the next of its versions."""

    since: Instant
    """From when on it counts (ISO 8601, UTC)."""
    state: ContractState
    """What the contract is from then on."""
    lines: tuple[AgreedLine, ...]
    """What the customer has."""
    amendment_id: str
    """The amendment that made it; empty for what was sold at first."""


class PartnerContractSummary(msgspec.Struct, frozen=True):
    """One row of a list of contracts, as each is now."""

    id: str
    """Our id of the contract: `con_` and 32 hexadecimal digits."""
    order_id: str
    """The order that it came of."""
    customer_id: str
    """The customer whose contract it is."""
    name: str
    """What its order is called, for people."""
    legal_entity: str
    """The company of ours that sells, by its code."""
    state: ContractState
    """What it is now."""
    starts_on: date
    """Its first day (ISO 8601, UTC)."""
    ends_on: date | None
    """The first day after its term; null for one without end."""
    products: tuple[str, ...]
    """The products that it has, by their numbers in the price list."""


class PartnerContractTimeline(msgspec.Struct, frozen=True):
    """A contract with what it was, is and will be."""

    id: str
    """Our id of the contract: `con_` and 32 hexadecimal digits."""
    order_id: str
    """The order that it came of."""
    customer_id: str
    """The customer whose contract it is."""
    legal_entity: str
    """The company of ours that sells, by its code."""
    currency: str
    """The currency of its prices, an ISO 4217 code."""
    starts_on: date
    """Its first day (ISO 8601, UTC)."""
    ends_on: date | None
    """The first day after its term; null for one without end."""
    present: PartnerContractVersion | None
    """The version that counts at the moment that was asked for; null before its first day."""
    versions: tuple[PartnerContractVersion, ...]
    """All of its versions, the earliest first."""
    pending: tuple[str, ...]
    """The ids of amendments that are neither carried out nor given up."""


class EndContract(msgspec.Struct, frozen=True, tag_field="action", tag="cancel"):
    """The end of the contract with all of its lines, by the customer. It stands alone."""


class PartnerAmendmentRequest(msgspec.Struct, frozen=True):
    """A change of a contract at the prices that it has. A product that is new to a customer is an order."""

    actions: Annotated[
        tuple[ChangeQuantity | RemoveLine | EndContract | Pause | Resume, ...],
        msgspec.Meta(min_length=1, max_length=MOST_ACTIONS),
    ]
    """What changes, in this order, as one change."""
    effective: Effective = "now"
    """From when it counts: from now on, from the start of a day, or from the end of the period that is paid."""
    effective_on: date | None = None
    """The day, for a change that is `effective` at a date; null for any other."""
    reason: Annotated[str, msgspec.Meta(max_length=500)] = ""
    """Why, for those who read of it later."""


class PreviewedInvoice(msgspec.Struct, frozen=True):
    """An invoice that the change would lead to; negative amounts are a credit."""

    net: Money
    """What it comes to, before tax."""
    tax: Money
    """How much tax is on it."""
    total: Money
    """What it comes to, with tax."""


class PartnerAmendmentPreview(msgspec.Struct, frozen=True):
    """What a change would be. Nothing was changed."""

    contract_id: str
    """The contract that would change."""
    effective_at: Instant
    """From when it would count (ISO 8601, UTC)."""
    before: tuple[AgreedLine, ...]
    """What the customer has until then."""
    after: tuple[AgreedLine, ...]
    """What it has from then on; nothing when the contract ends."""
    invoices: tuple[PreviewedInvoice, ...]
    """What would be charged and credited for the change."""
    needs_approval: bool
    """Whether somebody of ours has to approve it."""
    is_agreed: bool
    """Whether our billing and our books say the same: else we look into it before it is carried out."""
    pauses_on: date | None = None
    """The first day of a pause; null for any other change."""
    resumes_on: date | None = None
    """The first day on which the contract goes on after a pause; null where that is not known, or for any other
    change."""


class PartnerAmendment(msgspec.Struct, frozen=True):
    """A change of a contract, and how far it has come."""

    id: str
    """Our id of the amendment: `amd_` and 32 hexadecimal digits."""
    contract_id: str
    """The contract that it changes."""
    order_id: str
    """The order that the contract came of."""
    customer_id: str
    """The customer whose contract it is."""
    state: AmendmentState
    """Where it is."""
    waits_for: str
    """What it waits for, in words; empty when it waits for nothing."""
    requested_at: Instant
    """When it reached us (ISO 8601, UTC)."""
    updated_at: Instant
    """When it last changed (ISO 8601, UTC)."""
    effective_at: Instant | None
    """From when on it counts (ISO 8601, UTC); null until that is decided."""
    preview: PartnerAmendmentPreview | None
    """What it changes and costs; null until that is known."""


class PartnerInvoice(msgspec.Struct, frozen=True):
    """An invoice that is posted to the books."""

    id: str
    """The id of the invoice, as billing gave it."""
    number: str
    """The number that is printed on the invoice."""
    customer_id: str
    """The customer that owes it."""
    contract_id: str
    """The contract that it is for; empty if it is for none."""
    total: Money | None
    """What it comes to, with tax; null until that is known."""
    tax: Money | None
    """How much of the total is tax; null until that is known."""
    balance: Money | None
    """What is still due; null until it is booked."""


class PartnerCreditNote(msgspec.Struct, frozen=True):
    """A credit note that is posted to the books. Its amounts are below nothing."""

    id: str
    """The id of the credit note, as billing gave it."""
    number: str
    """The number that it has in the books."""
    invoice_id: str
    """The invoice that it credits."""
    customer_id: str
    """The customer that it is for."""
    contract_id: str
    """The contract that it is for; empty if it is for none."""
    total: Money | None
    """What it comes to, with tax; null until that is known."""
    tax: Money | None
    """How much of the total is tax; null until that is known."""
    balance: Money | None
    """What of it the customer has in credit still; null until it is booked."""
    void: bool
    """Whether it was taken back: then it is worth nothing."""


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


def _line(of: PricedLine) -> AgreedLine:
    return AgreedLine(of.id, of.sku, of.name, of.interval, of.terms)


def _version(of: ContractVersion) -> PartnerContractVersion:
    return PartnerContractVersion(of.since, of.state, tuple(map(_line, of.lines)), of.amendment_id)


def contract_summary(of: ContractSummary) -> PartnerContractSummary:
    return PartnerContractSummary(
        of.id,
        of.order_id,
        of.customer_id,
        of.name,
        of.legal_entity,
        of.state,
        of.starts_on,
        of.ends_on,
        of.products,
    )


def timeline(of: ContractTimeline) -> PartnerContractTimeline:
    return PartnerContractTimeline(
        of.id,
        of.order_id,
        of.customer_id,
        of.legal_entity,
        of.currency,
        of.starts_on,
        of.ends_on,
        _version(of.present) if of.present else None,
        tuple(map(_version, of.versions)),
        of.pending,
    )


def wanted(of: PartnerAmendmentRequest) -> AmendmentRequest:
    actions = tuple(Cancel() if isinstance(each, EndContract) else each for each in of.actions)
    return AmendmentRequest(actions, of.effective, of.effective_on, reason=of.reason)


def _previewed(of: Invoice) -> PreviewedInvoice:
    return PreviewedInvoice(of.total - of.tax, of.tax, of.total)


def preview(of: AmendmentPreview) -> PartnerAmendmentPreview:
    return PartnerAmendmentPreview(
        of.contract_id,
        of.effective_at,
        tuple(map(_line, of.before)),
        tuple(map(_line, of.after)),
        () if of.transfer else tuple(map(_previewed, of.invoices)),  # those are another customer's
        bool(of.approvals),
        not of.differences,
        of.pauses_on,
        of.resumes_on,
    )


def amendment(of: Amendment) -> PartnerAmendment:
    """Return an amendment without our limits for approvals, which its reason for waiting names, and without what a
    transfer says of another customer."""
    is_ours = of.state == "awaiting_approval" or isinstance(of.request.actions[0], Transfer)
    return PartnerAmendment(
        of.id,
        of.contract_id,
        of.order_id,
        of.customer_id,
        of.state,
        "our approval" if of.blocked_reason and is_ours else of.blocked_reason,
        of.requested_at,
        of.updated_at,
        of.effective_at,
        preview(of.preview) if of.preview else None,
    )


def summary(of: OrderSummary) -> PartnerOrderSummary:
    return PartnerOrderSummary(of.id, of.customer_id, of.name, of.state, of.received_at)


def invoice(of: PostingStatus) -> PartnerInvoice:
    return PartnerInvoice(of.invoice_id, of.number, of.customer_id, of.contract_id, of.amount, of.tax, of.balance)


def credit_note(of: PostingStatus) -> PartnerCreditNote:
    return PartnerCreditNote(
        of.id,
        of.number,
        of.invoice_id,
        of.customer_id,
        of.contract_id,
        of.amount,
        of.tax,
        of.balance,
        of.cancelled == "void",
    )
