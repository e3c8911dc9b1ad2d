"""The events of our own records: which event follows from which change of state.

A state that is not named here has none: it is a step on the way to one that is.
"""

from __future__ import annotations

from collections.abc import Mapping

from canonical.states import (
    AmendmentState,
    CatalogueSyncState,
    CorrectionState,
    CustomerMergeState,
    DisputeState,
    DriftState,
    DunningState,
    MassChangeState,
    OrderState,
    RenewalState,
    State,
    UsageCorrectionState,
    UsagePeriodState,
)

SOURCE = "process/tiergate"
"""What their events name as source, which no platform does."""
PREFIX = "com.tiergate.process."


def _types(entity: str, words: Mapping[State, str]) -> Mapping[str, str]:
    return {str(state): f"{PREFIX}{entity}.{word}.v1" for state, word in words.items()}


_ORDER: dict[OrderState, str] = {
    "received": "received",
    "on_hold": "held",
    "partially_active": "partially_activated",
    "active": "activated",
    "cancelled": "cancelled",
    "failed": "failed",
}
_AMENDMENT: dict[AmendmentState, str] = {
    "requested": "requested",
    "scheduled": "scheduled",
    "on_hold": "held",
    "applied": "applied",
    "given_up": "withdrawn",
}
_RENEWAL: dict[RenewalState, str] = {
    "found": "found",
    "quoted": "quoted",
    "scheduled": "scheduled",
    "blocked": "blocked",
    "renewed": "renewed",
    "lapsing": "lapsed",
    "expired": "expired",
    "dropped": "withdrawn",
}
_DUNNING: dict[DunningState, str] = {
    "past_due": "opened",
    "waiting_for_means": "refused",
    "suspended": "suspended",
    "kept": "kept",
    "ended": "ended",
    "written_off": "closed",
    "recovered": "recovered",
}
_MASS_CHANGE: dict[MassChangeState, str] = {
    "previewed": "previewed",
    "running": "started",
    "paused": "paused",
    "done": "completed",
    "cancelled": "cancelled",
}
_CATALOGUE_SYNC: dict[CatalogueSyncState, str] = {
    "planned": "planned",
    "applied": "applied",
    "on_hold": "held",
    "given_up": "withdrawn",
}
_DRIFT: dict[DriftState, str] = {"open": "found", "repaired": "repaired", "accepted": "accepted", "gone": "gone"}
_CUSTOMER_MERGE: dict[CustomerMergeState, str] = {
    "taken_over": "completed",
    "asked": "asked",
    "kept": "kept",
    "switched": "switched",
    "in_question": "questioned",
    "stayed": "stayed",
    "undone": "undone",
}
_CORRECTION: dict[CorrectionState, str] = {
    "requested": "requested",
    "awaiting_approval": "submitted",
    "carried_out": "applied",
    "booked": "posted",
    "on_hold": "held",
    "given_up": "withdrawn",
}
_USAGE: dict[UsagePeriodState, str] = {"handed_over": "reported", "blocked": "blocked", "by_hand": "withdrawn"}
_USAGE_CORRECTION: dict[UsageCorrectionState, str] = {
    "proposed": "proposed",
    "approved": "approved",
    "carried_out": "applied",
    "on_hold": "held",
    "rejected": "rejected",
    "by_hand": "withdrawn",
    "gone": "gone",
}
_DISPUTE: dict[DisputeState, str] = {
    "inquired": "inquired",
    "open": "opened",
    "answered": "answered",
    "won": "won",
    "lost": "lost",
    "closed": "closed",
}

ORDER_EVENTS = _types("order", _ORDER)
AMENDMENT_EVENTS = _types("amendment", _AMENDMENT)
RENEWAL_EVENTS = _types("renewal", _RENEWAL)
DUNNING_EVENTS = _types("dunning", _DUNNING)
MASS_CHANGE_EVENTS = _types("mass_change", _MASS_CHANGE)
CATALOGUE_SYNC_EVENTS = _types("catalogue_sync", _CATALOGUE_SYNC)
CUSTOMER_MERGE_EVENTS = _types("customer_merge", _CUSTOMER_MERGE)
DRIFT_EVENTS = _types("drift", _DRIFT)
CORRECTION_EVENTS = _types("correction", _CORRECTION)
USAGE_EVENTS = _types("usage", _USAGE)
USAGE_CORRECTION_EVENTS = _types("usage_correction", _USAGE_CORRECTION)
DISPUTE_EVENTS = _types("dispute", _DISPUTE)
INVOICE_POSTED = PREFIX + "invoice.posted.v1"
INVOICE_CREDITED = PREFIX + "invoice.credited.v1"
PAYMENT_BOOKED = PREFIX + "payment.booked.v1"
CREDIT_NOTE_POSTED = PREFIX + "credit_note.posted.v1"
CREDIT_NOTE_VOIDED = PREFIX + "credit_note.voided.v1"
PAYMENT_REVERSED = PREFIX + "payment.reversed.v1"
FEE_BOOKED = PREFIX + "fee.booked.v1"
POSTING_FAILED = PREFIX + "posting.failed.v1"
WEBHOOK_STOPPED = PREFIX + "webhook.stopped.v1"
WEBHOOK_RESUMED = PREFIX + "webhook.resumed.v1"
CASE_OPENED = PREFIX + "case.opened.v1"
CASE_RESOLVED = PREFIX + "case.resolved.v1"
PROCESS_EVENTS: dict[str, str] = {
    **{
        event_type: state
        for events in (
            ORDER_EVENTS,
            AMENDMENT_EVENTS,
            RENEWAL_EVENTS,
            DUNNING_EVENTS,
            MASS_CHANGE_EVENTS,
            CATALOGUE_SYNC_EVENTS,
            DRIFT_EVENTS,
            CUSTOMER_MERGE_EVENTS,
            CORRECTION_EVENTS,
            USAGE_EVENTS,
            USAGE_CORRECTION_EVENTS,
            DISPUTE_EVENTS,
        )
        for state, event_type in events.items()
    },
    INVOICE_POSTED: "posted",
    INVOICE_CREDITED: "posted",
    PAYMENT_BOOKED: "posted",
    CREDIT_NOTE_POSTED: "posted",
    CREDIT_NOTE_VOIDED: "posted",
    PAYMENT_REVERSED: "posted",
    FEE_BOOKED: "posted",
    POSTING_FAILED: "failed",
    WEBHOOK_STOPPED: "stopped",
    WEBHOOK_RESUMED: "active",
    CASE_OPENED: "open",
    CASE_RESOLVED: "resolved",
}
"""All of them, and the state in which each finds its record. They come from our records alone, never from outside."""
