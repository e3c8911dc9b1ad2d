"""Disputes: the bank of a customer takes a payment back, or asks about it, and somebody answers or accepts it."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

import msgspec

from canonical.ids import Instant, Key
from canonical.money import Money
from canonical.states import BilledDisputeState, DisputeState

DisputeAct = Literal["answer", "accept"]
"""What may be done about a dispute: to send evidence to the bank, or to give the money up."""
LONGEST_TEXT = 20_000
"""Characters of one text of an answer."""
LARGEST_ANSWER = 150_000
"""Characters of all texts of an answer together."""
EvidenceText = Annotated[str, msgspec.Meta(max_length=LONGEST_TEXT)]
Reason = Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]


class DisputeFee(msgspec.Struct, frozen=True):
    """What billing took from us for a dispute, on a day. `id` is billing's, and so the natural key everywhere else.

    `amount` is in the currency in which billing took it, which may be another than that of the dispute. It is below
    nothing where billing gave it back.
    """

    id: Key
    dispute_id: Key
    legal_entity: str
    amount: Money
    taken_on: date


class Dispute(msgspec.Struct, frozen=True):
    """A dispute as billing has it. `id` is billing's, and so the natural key everywhere else.

    `reason` is the bank's, in words. `respond_by` is until when an answer is taken; None where nobody can answer.
    `answered` says whether evidence was submitted for what is asked now.
    """

    id: Key
    invoice_id: Key
    payment_id: Key
    customer_id: str
    contract_id: str
    legal_entity: str
    state: BilledDisputeState
    amount: Money
    reason: str
    opened_at: Instant
    respond_by: Instant | None
    answered: bool
    fees: tuple[DisputeFee, ...] = ()


class Evidence(msgspec.Struct, frozen=True):
    """What an answer tells the bank, in texts of up to 20,000 characters each and 150,000 together.

    `explanation` says what the other texts do not.
    """

    explanation: EvidenceText = ""
    product: EvidenceText = ""
    """What was sold."""
    service_on: EvidenceText = ""
    """When it was delivered, in words."""
    usage: EvidenceText = ""
    """Logs that show that the customer has used it."""
    cancellation_terms: EvidenceText = ""
    """How the customer learned how to cancel."""
    no_cancellation: EvidenceText = ""
    """Why the contract was not cancelled."""
    refund_terms: EvidenceText = ""
    """How the customer learned when money is refunded."""
    no_refund: EvidenceText = ""
    """Why the customer gets no refund."""
    not_twice: EvidenceText = ""
    """How this payment differs from the one that the customer takes it for."""

    @property
    def texts(self) -> dict[str, str]:
        """Return the texts that are there, by their names."""
        return {name: text for name in self.__struct_fields__ if (text := getattr(self, name))}

    @property
    def length(self) -> int:
        """Return how many characters all texts have."""
        return sum(map(len, self.texts.values()))


class DisputeAction(msgspec.Struct, frozen=True):
    """What is to be done about a dispute, and why. To answer needs `evidence`; to accept cannot be taken back."""

    action: DisputeAct
    reason: Reason
    evidence: Evidence | None = None


class DisputeStep(msgspec.Struct, frozen=True):
    """A state that a dispute reached, or what was asked for in that state: when, by whom and why. `by` is empty for
    what billing reported."""

    state: DisputeState
    at: Instant
    asked: DisputeAct | None = None
    by: str = ""
    reason: str = ""


class DisputeSummary(msgspec.Struct, frozen=True):
    """A dispute as one row of a list. Its amount is not known before it was read from billing, as `reported` says."""

    id: str
    """Billing's."""
    state: DisputeState
    billing: str
    """The platform that has it, by its name in the catalogue."""
    invoice_id: str
    payment_id: str
    customer_id: str
    contract_id: str
    legal_entity: str
    reason: str
    answered: bool
    reported_at: Instant
    updated_at: Instant
    correlation_id: str
    amount: Money | None = None
    opened_at: Instant | None = None
    respond_by: Instant | None = None
    fees: tuple[DisputeFee, ...] = ()
    doing: DisputeAct | None = None
    """What was asked for, and billing has not done yet."""
    blocked_reason: str = msgspec.field(name="waits_for", default="")
    actions: tuple[DisputeAct, ...] = ()
    """What may be done now."""


class DisputeRecord(DisputeSummary, frozen=True, kw_only=True):
    """A dispute with its history, the oldest first."""

    history: tuple[DisputeStep, ...]
