"""A case: something that cannot go on by itself, for the team that owns it."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from canonical.faults import PlatformFault
from canonical.ids import Instant
from canonical.money import Money

Team = Literal["sales", "finance", "support", "platform"]
Action = Literal["retry", "skip", "compensate", "approve", "reject"]
CaseKind = Literal[
    "deal_invalid",
    "duplicate_customer",
    "merge_undone",
    "outside_region",
    "credit_limit",
    "platform_rejected",
    "waiting_for_platform",
    "status_not_shown",
    "not_delivered",
    "line_failed",
    "provisioning_failed",
    "charge_by_hand",
    "cannot_undo",
    "invoice_not_posted",
    "payment_not_posted",
    "credit_note_not_posted",
    "reversal_not_posted",
    "fee_not_posted",
    "refunded_without_credit_note",
    "payment_disputed",
    "correction_approval",
    "correction_not_agreed",
    "correction_refused",
    "payment_overdue",
    "service_suspended",
    "usage_not_billed",
    "usage_after_handover",
    "usage_correction_proposed",
    "usage_correction_refused",
    "customer_not_followed",
    "customer_tax_changed",
    "deal_changed",
    "invoice_cancelled",
    "amendment_invalid",
    "amendment_not_agreed",
    "amendment_approval",
    "amendment_not_delivered",
    "mass_change_approval",
    "mass_change_incomplete",
    "renewal_blocked",
    "catalogue_not_synced",
    "catalogue_item_refused",
    "record_not_read",
    "feed_stopped",
    "event_not_taken",
    "webhook_stopped",
]
CaseState = Literal["open", "resolved"]
CaseOrder = Literal["newest", "due", "amount"]
"""How cases are listed: the newest first, those that are due first, or what is worth most, currency by currency."""
CasesOf = Literal["me", "nobody"]
"""Whose cases are listed: those that the caller has taken, or those that nobody has."""
MOST_AT_ONCE = 100
"""Cases that are acted on in one call."""
LONGEST_NOTE = 2000
"""Characters of a note."""
Person = Annotated[str, msgspec.Meta(pattern=r"^[^\x00-\x1f\x7f]{0,120}\Z")]
"""Whom a case is given to, by the name that the issuer calls him or her; empty for nobody."""


class CaseAction(msgspec.Struct, frozen=True):
    """An action on a case, and the reason for it. Skipping needs a reason."""

    action: Literal["retry", "skip", "compensate"]
    reason: str = ""


class CasesAction(msgspec.Struct, frozen=True):
    """An action on several cases that have one cause, and the reason for it."""

    ids: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=MOST_AT_ONCE)]
    action: Literal["retry", "skip", "compensate"]
    reason: str = ""


class CaseOutcome(msgspec.Struct, frozen=True):
    """What became of one of several cases: done, or why not."""

    id: str
    done: bool
    problem: str = ""
    """What was wrong, and what to do about it; empty where it was done."""


class CaseOutcomes(msgspec.Struct, frozen=True):
    """What became of each of several cases, in the order in which they were named."""

    items: tuple[CaseOutcome, ...]


class Assignment(msgspec.Struct, frozen=True):
    """Who takes care of a case: `to` is empty when nobody does any more."""

    to: Person


class NewNote(msgspec.Struct, frozen=True):
    """What somebody wants others to know of a case."""

    text: Annotated[str, msgspec.Meta(pattern=r"\S", max_length=LONGEST_NOTE)]


class CaseNote(msgspec.Struct, frozen=True):
    """What somebody wrote of a case, when (UTC) and who."""

    at: Instant
    by: str
    text: str


class Approval(msgspec.Struct, frozen=True):
    """The decision of a second person on an action that somebody else asked for."""

    decision: Literal["approve", "reject"]
    reason: str = ""


class Finding(msgspec.Struct, frozen=True):
    """One thing that is wrong: which field, why, and which `platform` reported it (empty when we found it)."""

    field: str
    reason: str
    platform: str = ""

    @classmethod
    def of(cls, fault: PlatformFault) -> Finding:
        """Return what a platform's fault says, by the platform's name where it is about no field."""
        return cls(fault.field or fault.platform, fault.reason, fault.platform)


class Waiting(msgspec.Struct, frozen=True):
    """What of one sort waits for a platform: how many, and what they are worth, by currency."""

    count: int
    money: tuple[Money, ...] = ()
    """Of orders the net amounts of their first invoices, of postings what is to be booked."""
    without_amount: int = 0
    """How many of them are not in `money`: their amount is not known yet, or they have none."""
    oldest: tuple[str, ...] = ()
    """The ids of those that are woken first, five at the most."""


class Incident(msgspec.Struct, frozen=True):
    """An outage of one platform, with what waits for it now."""

    platform: str
    """Its name in the catalogue; that of the layer where no platform was reached."""
    since: Instant
    """When the first began to wait."""
    orders: Waiting
    postings: Waiting
    customers: Waiting
    """Customers whose changes are to be followed."""
    amendments: Waiting = Waiting(0)
    """Changes of contracts that are to be carried out."""
    catalogue_syncs: Waiting = Waiting(0)
    """Products and prices that are to be brought to the platforms."""
    corrections: Waiting = Waiting(0)
    """Credit notes, refunds and the like that are to be carried out."""


class Case(msgspec.Struct, frozen=True):
    """Work that needs a person. `kind` names the problem, `subject` the record, `input` what was being done.

    `incident` is there for an outage that lasts, and is computed when it is read. `amount` is what the record is worth
    that cannot go on; `due_at` (UTC) is until when its team wants it settled. `notes` are there where one case is read,
    the newest last.
    """

    id: str
    kind: CaseKind
    team: Team
    subject: str
    field: str
    reason: str
    actions: tuple[Action, ...]
    state: CaseState
    opened_at: Instant
    correlation_id: str
    input: dict[str, str] = {}
    resolved_at: Instant | None = None
    resolution: str = ""
    incident: Incident | None = None
    customer_id: str = ""
    amount: Money | None = None
    due_at: Instant | None = None
    assigned_to: str = ""
    notes: tuple[CaseNote, ...] = ()
