"""Corrections: what somebody asks to be taken off an invoice or paid back, what the platforms would make of it, and how
far that is."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from canonical.billing import Invoice, InvoiceLine, Posting
from canonical.cases import Finding
from canonical.credits import CreditNote, RefundPart
from canonical.ids import Instant, Key
from canonical.money import Money
from canonical.states import CorrectionState

CorrectionKind = Literal["credit_note", "refund", "void", "write_off"]
CreditReason = Literal["duplicate", "fraudulent", "order_change", "product_unsatisfactory"]
"""Why an invoice is credited, in the words that billing prints on a credit note."""
Words = Annotated[str, msgspec.Meta(max_length=500)]
MOST_LINES = 100
"""Lines of an invoice that one credit note names at the most."""


class CreditedLine(msgspec.Struct, frozen=True):
    """A line of an invoice that is credited: so many of its pieces, or an amount before tax. One of the two is given.

    `line` is billing's id of it.
    """

    line: Key
    quantity: Annotated[int, msgspec.Meta(ge=1)] | None = None
    amount: Money | None = None


Lines = Annotated[tuple[CreditedLine, ...], msgspec.Meta(max_length=MOST_LINES)]


class CorrectionRequest(msgspec.Struct, frozen=True):
    """What is asked of an invoice.

    A `credit_note` credits `lines`, or with none all that is left of each. First it takes off what is still to be paid.
    What of it was paid already goes back: so much as `refund`, `to_balance` and `outside` say, which add up to that.
    `refunds` are refunds that were made without a credit note before, of which it says why.
    A `refund` pays back `amount` of the payment `payment_id`, or of the only one there is; with no amount all that is
    left of it. A `void` and a `write_off` are of all that is open.
    """

    kind: CorrectionKind
    text: Words
    """Why, for those who decide and for those who read of it later."""
    lines: Lines = ()
    refund: Money | None = None
    to_balance: Money | None = None
    outside: Money | None = None
    refunds: tuple[RefundPart, ...] = ()
    reason: CreditReason | None = None
    payment_id: Key | None = None
    amount: Money | None = None


class NewCorrection(CorrectionRequest, frozen=True, kw_only=True):
    """A correction that is asked for. The same key for the same invoice is the same correction."""

    key: Key


class CreditOrder(msgspec.Struct, frozen=True):
    """A credit note that billing is to issue, once for its `id`, which is ours. `attempt` counts how often it was asked
    for: people have it tried again after a refusal."""

    id: Key
    invoice_id: Key
    legal_entity: str
    lines: Annotated[tuple[CreditedLine, ...], msgspec.Meta(min_length=1, max_length=MOST_LINES)]
    refund: Money
    to_balance: Money
    outside: Money
    refunds: tuple[RefundPart, ...] = ()
    reason: CreditReason | None = None
    text: Words = ""
    attempt: int = 1


class RefundOrder(msgspec.Struct, frozen=True):
    """A refund that billing is to make, once for its `id`, which is ours. `attempt` as of a `CreditOrder`."""

    id: Key
    invoice_id: Key
    legal_entity: str
    payment_id: Key
    amount: Money
    attempt: int = 1


class InvoiceEnd(msgspec.Struct, frozen=True):
    """An invoice of which no money is to be expected any more. `id` is our id of what asks for it, `attempt` as of a
    `CreditOrder`."""

    invoice_id: Key
    legal_entity: str
    id: Annotated[str, msgspec.Meta(max_length=120)] = ""
    attempt: int = 1


class Refund(msgspec.Struct, frozen=True):
    """A refund as billing has it. `id` is billing's; that of `order_id` is ours."""

    id: Key
    order_id: Key
    invoice_id: Key
    payment_id: Key
    amount: Money
    state: Literal["pending", "succeeded", "failed"]


class PaidPart(msgspec.Struct, frozen=True):
    """A payment of an invoice, and how much of it can go back the way it came: nothing of one outside of billing."""

    payment_id: Key
    amount: Money
    refundable: Money
    disputed: bool = False


class LineLeft(msgspec.Struct, frozen=True):
    """What of a line of an invoice is not credited yet: its pieces, None where it was credited by amounts, and its net
    and tax."""

    line: InvoiceLine
    quantity: int | None
    net: Money
    tax: Money


class Correctable(msgspec.Struct, frozen=True):
    """What of an invoice can still be corrected in billing. `credited` is what all its credit notes are worth; `kept`
    is what was paid and has gone back in no way, neither by a refund nor into the customer's balance nor outside;
    `unexplained` is what of its refunds no credit note names; `made` are our ids of what was asked of it and is
    there."""

    invoice: Invoice
    lines: tuple[LineLeft, ...]
    credited: Money
    payments: tuple[PaidPart, ...]
    kept: Money
    unexplained: tuple[RefundPart, ...] = ()
    processing: bool = False
    """Whether a payment is on its way, of which nobody knows yet how it ends."""
    made: tuple[str, ...] = ()


class CorrectionReason(msgspec.Struct, frozen=True):
    """Why an amount of a correction is what it is: the rule, and who decides it. `expected` is what the rule says,
    where it can be worked out beforehand."""

    of: str
    amount: Money
    rule: str
    owner: str
    expected: Money | None = None
    explained: bool = True


class CorrectionPreview(msgspec.Struct, frozen=True):
    """What billing and the ERP would make of a correction.

    `open_before` and `open_after` are what the ERP has as still to be paid of the invoice. `paid_back` is what goes to
    the customer, `written_off` what is given up.
    """

    kind: CorrectionKind
    invoice: Invoice
    open_before: Money
    open_after: Money
    paid_back: Money
    written_off: Money
    credit_note: CreditNote | None = None
    posting: Posting | None = None
    """What the ERP would book for the credit note, or for the counterpart of an invoice that is void."""
    explanations: tuple[CorrectionReason, ...] = ()
    differences: tuple[Finding, ...] = ()
    """Where billing and the ERP are not of one mind: it is not carried out."""
    approvals: tuple[str, ...] = ()
    """What of it somebody else has to approve, each in a sentence."""


class CorrectionStep(msgspec.Struct, frozen=True):
    """A state that a correction came to, when and why; `by` whom, where people decided it."""

    state: CorrectionState
    at: Instant
    by: str
    reason: str


class CorrectionSummary(msgspec.Struct, frozen=True):
    """A correction in a list."""

    id: Key
    kind: CorrectionKind
    state: CorrectionState
    invoice_id: Key
    customer_id: str
    contract_id: str
    legal_entity: str
    amount: Money
    """What it takes off, pays back or gives up."""
    requested_by: str
    requested_at: Instant
    updated_at: Instant
    reference: str
    """Billing's id of the credit note or the refund; that of the invoice where it is void or written off."""
    blocked_reason: str


class Correction(CorrectionSummary, frozen=True, kw_only=True):
    """A correction with what was asked for, what every platform said, and all that became of it."""

    request: NewCorrection
    proposed: bool
    """Whether support has asked for it: then finance decides, whatever the amount is."""
    correlation_id: Key
    preview: CorrectionPreview | None = None
    history: tuple[CorrectionStep, ...] = ()
