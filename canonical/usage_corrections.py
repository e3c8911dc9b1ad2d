"""Usage corrections: what the records of a period come to after it was charged, proposed to people and then settled."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

import msgspec

from canonical.ids import Instant, Key
from canonical.money import Money
from canonical.states import UsageCorrectionState


class UsageCorrection(msgspec.Struct, frozen=True):
    """The difference between what is charged of a meter's period and what its records come to by now."""

    id: Key
    """Our id of it."""
    state: UsageCorrectionState
    """How far it is."""
    contract_id: str
    """The contract under which it was used."""
    customer_id: str
    """The customer who had the contract then."""
    legal_entity: str
    """The company of ours that sells."""
    meter: str
    """The name of the meter."""
    sku: str
    """The product that is charged by it."""
    starts_at: Instant
    """The first moment of the period."""
    ends_at: Instant
    """The first moment after it."""
    charged: Decimal
    """How much billing has charged before this correction."""
    quantity: Decimal
    """What the records come to by now."""
    difference: Decimal
    """How much more is to be charged; below nothing, how much is to be credited. What was rejected before is left."""
    amount: Money | None
    """What the difference is worth before tax, by billing; below nothing for a credit, null until billing has said
    it."""
    invoice_id: str
    """The invoice on which the period was charged; empty until billing has said it."""
    revision: int
    """The number of the proposal, which grows with each change of the quantity. A decision names it."""
    reference: str
    """What has settled it: billing's id of the invoice item, or our id of the correction of the invoice."""
    decided_by: str
    """Who has approved or rejected it, or settled it by hand."""
    reason: str
    """Why, in words."""
    blocked_reason: str
    """What it waits for."""
    found_at: Instant
    """When the records came to something else first."""
    updated_at: Instant
    """When it changed last."""
    correlation_id: str
    """The id that follows it through all systems."""


class UsageDecision(msgspec.Struct, frozen=True):
    """What a person decides about a usage correction, as it was read."""

    decision: Literal["approve", "reject"]
    """Whether the difference is settled in billing, or stays as it is."""
    revision: Annotated[int, msgspec.Meta(ge=1)]
    """The `revision` that was read: another one is refused, for nobody has seen it."""
    reason: Annotated[str, msgspec.Meta(max_length=500)] = ""
    """Why; needed to reject."""
