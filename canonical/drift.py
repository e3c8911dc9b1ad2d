"""Drift: a system that does not own a field holds another value in it than the owner."""

from __future__ import annotations

from typing import Annotated

import msgspec

from canonical.ids import Instant
from canonical.states import DriftState


class Drift(msgspec.Struct, frozen=True):
    """One difference, in one field of one record, between its owner and one other system. Seen again it is the same
    record, with the values of then."""

    id: str
    state: DriftState
    subject: str
    """Our id of the customer or the contract that the field is of."""
    field: str
    """The field of the canonical model, such as `customer.name`."""
    owner: str
    """Who owns the field: the domain of a platform, or `tiergate`."""
    owner_value: str
    """What the owner says, in words; empty for nothing."""
    system: str
    """The platform that says something else, by its name in the catalogue."""
    value: str
    """What it says; empty for nothing."""
    customer_id: str
    legal_entity: str
    since: Instant
    """When it was first seen."""
    seen_at: Instant
    """When it was seen last."""
    correlation_id: str
    settled_at: Instant | None = None
    """When it was repaired or accepted, or was seen no longer."""
    settled_by: str = ""
    """Who repaired or accepted it."""
    reason: str = ""
    """Why it was accepted."""


class DriftAcceptance(msgspec.Struct, frozen=True):
    """Why a system may go on with a value of its own."""

    reason: Annotated[str, msgspec.Meta(max_length=1000, pattern=r"\S")]
