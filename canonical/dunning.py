"""Dunning: what is overdue of a contract, and what follows from that."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

import msgspec

from canonical.ids import Instant
from canonical.money import Money
from canonical.states import DunningState

LastStep = Literal["cancel", "write_off", "keep"]
"""What is done of a contract whose debt nobody has paid: it is ended, the debt is written off, or it stays as it is."""


class OpenInvoice(msgspec.Struct, frozen=True):
    """What is left to be paid of an invoice that billing has issued, as billing collects it now.

    `attempts` counts those that billing has made. One that is `in_collection` has a payment on its way, which takes
    days for a direct debit. One that `needs_means` was refused for good by the bank of what it is charged to: billing
    tries that no more. `returned` is a payment that came back after the invoice was paid: billing shows that as paid.
    """

    id: str
    number: str
    due: Money
    since: Instant
    """When it was to be paid."""
    is_overdue: bool
    attempts: int = 0
    next_attempt_at: Instant | None = None
    """When billing tries again; null where it does not."""
    reason: str = ""
    """Why the last attempt has failed, in billing's words."""
    needs_means: bool = False
    in_collection: bool = False
    returned: bool = False


class OpenInvoices(msgspec.Struct, frozen=True):
    """What is left to be paid of a contract, the oldest first, and whether billing has ended all of it: by itself after
    its last attempt, or by people."""

    items: tuple[OpenInvoice, ...]
    is_over: bool = False


class DunningEntry(msgspec.Struct, frozen=True):
    """A state that a dunning came to, and what was owed then. `by` is who has decided that, empty for nobody."""

    state: DunningState
    at: Instant
    owed: Money
    suspended: bool = False
    by: str = ""
    reason: str = ""


class Dunning(msgspec.Struct, frozen=True):
    """What a customer owes for one contract, and how far that is. It is past due again when it owes again.

    `waits_for` says in words what comes next, and when. `owed` is the sum of its `invoices`, which are those of now.
    """

    id: str
    state: DunningState
    contract_id: str
    order_id: str
    customer_id: str
    legal_entity: str
    owed: Money
    suspended: bool
    """Whether the service is suspended for it."""
    found_at: Instant
    updated_at: Instant
    correlation_id: str
    since: Instant | None = None
    """Since when the oldest of its invoices is to be paid; null where nothing is owed."""
    blocked_reason: str = msgspec.field(name="waits_for", default="")
    invoices: tuple[OpenInvoice, ...] = ()
    next_attempt_at: Instant | None = None
    """When billing tries again; null where it does not."""
    postponed_until: date | None = None
    """The day before which nothing is suspended or ended, in the zone of the books."""
    amendment_id: str = ""
    """The amendment by which the contract is to end for it."""
    history: tuple[DunningEntry, ...] = ()


class DunningAction(msgspec.Struct, frozen=True):
    """What somebody decides about a dunning, and why.

    `postpone` suspends and ends nothing before the day `until`, and leaves the service as it is; `resume` lets the
    service go on and does the same; `end` lets it go on, and nothing follows any more from what is owed now.
    """

    action: Literal["postpone", "resume", "end"]
    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
    until: date | None = None
