"""The states of all that has some: a table each, which is checked at every change and drawn in the docs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeVar, get_args

State = TypeVar("State", bound=str)

OrderState = Literal[
    "received",
    "validating",
    "credit_review",
    "awaiting_approval",
    "onboarding",
    "subscribing",
    "provisioning",
    "partially_active",
    "active",
    "on_hold",
    "compensating",
    "cancelled",
    "failed",
]
MEANING: dict[OrderState, str] = {
    "received": "the order is known, and nothing was done about it yet",
    "validating": "it is checked whether it can be fulfilled",
    "credit_review": "what the customer owes is held against its credit limit",
    "awaiting_approval": "it is over the credit limit, and a person decides",
    "onboarding": "billing and the books get the customer",
    "subscribing": "billing gets the contract, and bills nothing yet",
    "provisioning": "the lines are ordered, and each is delivered for itself",
    "partially_active": "some lines are delivered and billed, others are not",
    "active": "all is delivered, and billed from its first day on",
    "on_hold": "a person has to decide or to correct something",
    "compensating": "what was created for it is taken back",
    "cancelled": "it was given up, and nothing of it is left",
    "failed": "it could not be fulfilled",
}
"""What a state of an order means, for those who read of it in a contract."""
BEFORE_CREATION: tuple[OrderState, ...] = ("validating", "credit_review")
"""Where an order is checked: nothing was created for it yet."""
BilledState = Literal["pending", "active", "amending", "past_due", "renewing", "cancelled", "expired"]
"""What a contract may be for billing, which bills on while it is paused, and voids that."""
ContractState = Literal[BilledState, "paused"]
"""What a contract may be at a moment."""

ORDER_TRANSITIONS: dict[OrderState, frozenset[OrderState]] = {
    "received": frozenset({"validating", "cancelled"}),
    "validating": frozenset({"credit_review", "on_hold", "cancelled", "failed"}),
    "credit_review": frozenset({"awaiting_approval", "onboarding", "on_hold", "cancelled", "failed"}),
    "awaiting_approval": frozenset({"onboarding", "compensating", "cancelled"}),
    "onboarding": frozenset({"subscribing", "on_hold", "compensating", "failed"}),
    "subscribing": frozenset({"provisioning", "on_hold", "compensating", "failed"}),
    "provisioning": frozenset({"partially_active", "active", "on_hold", "compensating", "failed"}),
    "partially_active": frozenset({"active", "on_hold", "compensating"}),
    "active": frozenset(),
    "on_hold": frozenset(
        {
            "validating",
            "credit_review",
            "onboarding",
            "subscribing",
            "provisioning",
            "partially_active",
            "compensating",
            "cancelled",
        }
    ),
    "compensating": frozenset({"on_hold", "cancelled", "failed"}),
    "cancelled": frozenset(),
    "failed": frozenset({"compensating"}),
}

CONTRACT_TRANSITIONS: dict[ContractState, frozenset[ContractState]] = {
    "pending": frozenset({"active", "cancelled"}),
    "active": frozenset({"amending", "paused", "past_due", "renewing", "cancelled", "expired"}),
    "amending": frozenset({"active", "past_due", "cancelled"}),
    "paused": frozenset({"active", "cancelled", "expired"}),
    "past_due": frozenset({"active", "cancelled", "expired"}),
    "renewing": frozenset({"active", "past_due", "cancelled", "expired"}),
    "cancelled": frozenset(),
    "expired": frozenset(),
}
AmendmentState = Literal[
    "requested",
    "checking",
    "awaiting_approval",
    "scheduled",
    "provisioning",
    "applying",
    "applied",
    "on_hold",
    "given_up",
]
AMENDMENT_TRANSITIONS: dict[AmendmentState, frozenset[AmendmentState]] = {
    "requested": frozenset({"checking", "given_up"}),
    "checking": frozenset({"awaiting_approval", "scheduled", "provisioning", "applying", "on_hold", "given_up"}),
    "awaiting_approval": frozenset({"checking", "given_up"}),
    "scheduled": frozenset({"checking", "given_up"}),
    "provisioning": frozenset({"applying", "on_hold"}),
    "applying": frozenset({"applied", "on_hold"}),
    "applied": frozenset(),
    "on_hold": frozenset({"checking", "provisioning", "applying", "given_up"}),
    "given_up": frozenset(),
}
MassChangeState = Literal["selecting", "previewed", "awaiting_approval", "running", "paused", "done", "cancelled"]
MASS_CHANGE_TRANSITIONS: dict[MassChangeState, frozenset[MassChangeState]] = {
    "selecting": frozenset({"previewed", "cancelled"}),
    "previewed": frozenset({"awaiting_approval", "cancelled"}),
    "awaiting_approval": frozenset({"running", "done", "cancelled"}),
    "running": frozenset({"paused", "done", "cancelled"}),
    "paused": frozenset({"running", "cancelled"}),
    "done": frozenset({"running", "awaiting_approval"}),
    "cancelled": frozenset({"awaiting_approval"}),
}
CatalogueSyncState = Literal["planning", "planned", "applying", "applied", "on_hold", "given_up"]
CATALOGUE_SYNC_TRANSITIONS: dict[CatalogueSyncState, frozenset[CatalogueSyncState]] = {
    "planning": frozenset({"planned", "on_hold"}),
    "planned": frozenset({"applying"}),
    "applying": frozenset({"applied", "on_hold"}),
    "applied": frozenset({"applying"}),
    "on_hold": frozenset({"planning", "applying", "given_up"}),
    "given_up": frozenset(),
}

DriftState = Literal["open", "repaired", "accepted", "gone"]
DRIFT_TRANSITIONS: dict[DriftState, frozenset[DriftState]] = {
    "open": frozenset({"repaired", "accepted", "gone"}),
    "accepted": frozenset({"open", "repaired", "gone"}),
    "repaired": frozenset({"open"}),
    "gone": frozenset({"open", "repaired"}),  # a look may come between a repair's writing and its note
}

RenewalState = Literal[
    "found",
    "quoted",
    "scheduled",
    "blocked",
    "renewed",
    "lapsing",
    "grace",
    "expired",
    "dropped",
    "by_hand",
]
RENEWAL_TRANSITIONS: dict[RenewalState, frozenset[RenewalState]] = {
    "found": frozenset({"quoted", "scheduled", "blocked", "renewed", "lapsing", "dropped"}),
    "blocked": frozenset({"found", "quoted", "scheduled", "renewed", "lapsing", "dropped", "by_hand"}),
    "quoted": frozenset({"scheduled", "blocked", "renewed", "lapsing", "dropped"}),
    "scheduled": frozenset({"found", "quoted", "blocked", "renewed", "lapsing", "dropped"}),
    "lapsing": frozenset({"scheduled", "renewed", "grace", "expired", "dropped", "by_hand"}),
    "grace": frozenset({"expired", "renewed", "dropped"}),
    "renewed": frozenset(),
    "expired": frozenset(),
    "dropped": frozenset({"found"}),
    "by_hand": frozenset(),
}

DunningState = Literal[
    "noticed",
    "past_due",
    "waiting_for_means",
    "suspended",
    "kept",
    "ended",
    "written_off",
    "recovered",
]
OWING: tuple[DunningState, ...] = ("past_due", "waiting_for_means", "suspended", "kept")
"""Where a dunning is of a contract that runs and owes."""
_OWES: frozenset[DunningState] = frozenset({"past_due", "waiting_for_means", "suspended", "kept", "ended"})
_RECOVERED: frozenset[DunningState] = frozenset({"recovered"})
_SETTLED: frozenset[DunningState] = frozenset({"written_off", "recovered"})
_ENDED: frozenset[DunningState] = frozenset({"ended"})
DUNNING_TRANSITIONS: dict[DunningState, frozenset[DunningState]] = {
    "noticed": _OWES,
    "past_due": (_OWES - {"past_due"}) | _SETTLED,
    "waiting_for_means": (_OWES - {"waiting_for_means"}) | _SETTLED,
    "suspended": (_OWES - {"suspended"}) | _SETTLED,
    "kept": _ENDED | _SETTLED,
    "ended": (_OWES - _ENDED) | _SETTLED,  # a contract comes back to who still owes for it
    "written_off": _OWES | _RECOVERED,
    "recovered": _OWES | (_SETTLED - _RECOVERED),  # what people had taken out of collection is given up
}

CustomerMergeState = Literal["taken_over", "asked", "kept", "switched", "in_question", "stayed", "undone"]
MERGED_MEANING: dict[CustomerMergeState, str] = {
    "taken_over": "one customer: the account that is left has taken it over",
    "asked": "two customers under one account, and nobody has said yet which leads",
    "kept": "two customers, of which that of the account that was left leads",
    "switched": "two customers, of which that of the merged account leads",
    "in_question": "the account is alive again, and people say whether its customer goes back to it",
    "stayed": "the account is alive again, and its customer stays where it was",
    "undone": "the customer is its own account's again",
}
"""What a state of a merge means, for those who read of it in a contract."""
CUSTOMER_MERGE_TRANSITIONS: dict[CustomerMergeState, frozenset[CustomerMergeState]] = {
    "taken_over": frozenset({"in_question", "undone"}),
    "asked": frozenset({"kept", "switched", "in_question", "undone"}),
    "kept": frozenset({"switched", "in_question", "undone"}),
    "switched": frozenset({"kept", "in_question", "undone"}),
    "in_question": frozenset({"taken_over", "asked", "kept", "switched", "stayed", "undone"}),  # merged again meanwhile
    "stayed": frozenset(),
    "undone": frozenset(),
}

CorrectionState = Literal[
    "requested",
    "checking",
    "awaiting_approval",
    "carrying_out",
    "carried_out",
    "booked",
    "on_hold",
    "given_up",
]
CORRECTION_TRANSITIONS: dict[CorrectionState, frozenset[CorrectionState]] = {
    "requested": frozenset({"checking", "given_up"}),
    "checking": frozenset({"awaiting_approval", "carrying_out", "on_hold", "given_up"}),
    "awaiting_approval": frozenset({"checking", "given_up"}),
    "carrying_out": frozenset({"checking", "carried_out", "on_hold"}),
    "carried_out": frozenset({"booked", "on_hold"}),
    "booked": frozenset(),
    "on_hold": frozenset({"checking", "carrying_out", "carried_out", "given_up"}),
    "given_up": frozenset(),
}

WebhookState = Literal["active", "disabled", "stopped"]
WEBHOOK_MEANING: dict[WebhookState, str] = {
    "active": "events are delivered",
    "disabled": "its partner has switched it off",
    "stopped": "we have switched it off: it is gone, or has failed for days",
}
"""What a state of a webhook means, for those who read of it in a contract."""
WEBHOOK_TRANSITIONS: dict[WebhookState, frozenset[WebhookState]] = {
    "active": frozenset({"disabled", "stopped"}),
    "disabled": frozenset({"active"}),
    "stopped": frozenset({"active", "disabled"}),
}

DeliveryState = Literal["pending", "delivered", "failed", "missed", "withheld"]
DELIVERY_MEANING: dict[DeliveryState, str] = {
    "pending": "it is sent, now or at the next attempt",
    "delivered": "the endpoint has taken it",
    "failed": "all attempts have failed",
    "missed": "the webhook was switched off",
    "withheld": "the partner may not see what it is about, or not any more",
}
"""What a state of a delivery to a webhook means, for those who read of it in a contract."""
DELIVERY_TRANSITIONS: dict[DeliveryState, frozenset[DeliveryState]] = {
    "pending": frozenset({"delivered", "failed", "missed", "withheld"}),
    "delivered": frozenset({"pending"}),
    "failed": frozenset({"pending"}),
    "missed": frozenset({"pending"}),
    "withheld": frozenset({"pending"}),
}


UsagePeriodState = Literal["open", "closed", "blocked", "handed_over", "by_hand"]
USAGE_PERIOD_TRANSITIONS: dict[UsagePeriodState, frozenset[UsagePeriodState]] = {
    "open": frozenset({"closed", "blocked", "by_hand"}),
    "closed": frozenset({"handed_over", "blocked", "by_hand"}),
    "blocked": frozenset({"open", "closed", "by_hand"}),
    "handed_over": frozenset(),
    "by_hand": frozenset(),
}

UsageCorrectionState = Literal["found", "proposed", "approved", "carried_out", "on_hold", "rejected", "by_hand", "gone"]
USAGE_CORRECTION_MEANING: dict[UsageCorrectionState, str] = {
    "found": "the records come to something else than what is charged, and billing is to say what that is worth",
    "proposed": "somebody who has not sent the records decides",
    "approved": "billing is to credit or to charge the difference",
    "carried_out": "billing has credited the difference, or charges it with the next invoice",
    "on_hold": "billing refuses it: a person corrects that, settles it by hand, or rejects it",
    "rejected": "the difference stays as it is",
    "by_hand": "people have credited or charged the difference",
    "gone": "the records come to what is charged again",
}
"""What a state of a usage correction means, for those who read of it in a contract."""
USAGE_CORRECTION_TRANSITIONS: dict[UsageCorrectionState, frozenset[UsageCorrectionState]] = {
    "found": frozenset({"proposed", "on_hold", "gone"}),
    "proposed": frozenset({"found", "approved", "rejected", "gone"}),
    "approved": frozenset({"carried_out", "on_hold"}),
    "carried_out": frozenset(),
    "on_hold": frozenset({"found", "approved", "rejected", "by_hand", "gone"}),
    "rejected": frozenset(),
    "by_hand": frozenset(),
    "gone": frozenset(),
}

BilledDisputeState = Literal["inquired", "open", "answered", "won", "lost", "closed"]
"""What a dispute may be for billing."""
DisputeState = Literal["reported", BilledDisputeState]
DISPUTE_MEANING: dict[DisputeState, str] = {
    "reported": "billing has reported it, and was not read yet",
    "inquired": "the bank asks about a payment, and has taken nothing",
    "open": "the bank has taken the money, and takes an answer",
    "answered": "the bank looks at what we have answered",
    "won": "the money is ours again",
    "lost": "the money is gone",
    "closed": "it ended without a decision: nothing was taken",
}
"""What a state of a dispute means, for those who read of it in a contract."""
DISPUTE_TRANSITIONS: dict[DisputeState, frozenset[DisputeState]] = {
    "reported": frozenset({"inquired", "open", "answered", "won", "lost", "closed"}),
    "inquired": frozenset({"open", "answered", "won", "lost", "closed"}),
    "open": frozenset({"answered", "won", "lost", "closed"}),
    "answered": frozenset({"inquired", "open", "won", "lost", "closed"}),
    "won": frozenset({"open", "answered", "lost", "closed"}),  # a bank may decide again, and hear us before it does
    "lost": frozenset({"open", "answered", "won", "closed"}),
    "closed": frozenset({"open", "answered", "won", "lost"}),
}


class IllegalTransition(ValueError):
    """The table has no such change: the caller acted on an outdated state of the record."""


def check_order(present: OrderState, wanted: OrderState) -> None:
    """Raise `IllegalTransition` unless the table allows `present → wanted` or both are the same."""
    _check("an order", ORDER_TRANSITIONS, present, wanted)


def check_contract(present: ContractState, wanted: ContractState) -> None:
    """Raise `IllegalTransition` unless the table allows `present → wanted` or both are the same."""
    _check("a contract", CONTRACT_TRANSITIONS, present, wanted)


def check_amendment(present: AmendmentState, wanted: AmendmentState) -> None:
    """Raise `IllegalTransition` unless the table allows `present → wanted` or both are the same."""
    _check("an amendment", AMENDMENT_TRANSITIONS, present, wanted)


def check_mass_change(present: MassChangeState, wanted: MassChangeState) -> None:
    """Raise `IllegalTransition` unless the table allows `present → wanted` or both are the same."""
    _check("a mass change", MASS_CHANGE_TRANSITIONS, present, wanted)


def check_catalogue_sync(present: CatalogueSyncState, wanted: CatalogueSyncState) -> None:
    """Raise `IllegalTransition` unless the table allows `present → wanted` or both are the same."""
    _check("a catalogue sync", CATALOGUE_SYNC_TRANSITIONS, present, wanted)


def check_drift(present: DriftState, wanted: DriftState) -> None:
    """Raise `IllegalTransition` unless the table allows `present → wanted` or both are the same."""
    _check("a drift", DRIFT_TRANSITIONS, present, wanted)


def check_renewal(present: RenewalState, wanted: RenewalState) -> None:
    """Raise `IllegalTransition` unless the table allows `present → wanted` or both are the same."""
    _check("a renewal", RENEWAL_TRANSITIONS, present, wanted)


def check_dunning(present: DunningState, wanted: DunningState) -> None:
    """Raise `IllegalTransition` unless the table allows `present → wanted` or both are the same."""
    _check("a dunning", DUNNING_TRANSITIONS, present, wanted)


def check_customer_merge(present: CustomerMergeState, wanted: CustomerMergeState) -> None:
    """Raise `IllegalTransition` unless the table allows `present → wanted` or both are the same."""
    _check("a merge of customers", CUSTOMER_MERGE_TRANSITIONS, present, wanted)


def check_correction(present: CorrectionState, wanted: CorrectionState) -> None:
    """Raise `IllegalTransition` unless the table allows `present → wanted` or both are the same."""
    _check("a correction", CORRECTION_TRANSITIONS, present, wanted)


def check_webhook(present: WebhookState, wanted: WebhookState) -> None:
    """Raise `IllegalTransition` unless the table allows `present → wanted` or both are the same."""
    _check("a webhook", WEBHOOK_TRANSITIONS, present, wanted)


def check_delivery(present: DeliveryState, wanted: DeliveryState) -> None:
    """Raise `IllegalTransition` unless the table allows `present → wanted` or both are the same."""
    _check("a delivery to a webhook", DELIVERY_TRANSITIONS, present, wanted)


def check_usage_period(present: UsagePeriodState, wanted: UsagePeriodState) -> None:
    """Raise `IllegalTransition` unless the table allows `present → wanted` or both are the same."""
    _check("a period of usage", USAGE_PERIOD_TRANSITIONS, present, wanted)


def check_usage_correction(present: UsageCorrectionState, wanted: UsageCorrectionState) -> None:
    """Raise `IllegalTransition` unless the table allows `present → wanted` or both are the same."""
    _check("a usage correction", USAGE_CORRECTION_TRANSITIONS, present, wanted)


def check_dispute(present: DisputeState, wanted: DisputeState) -> None:
    """Raise `IllegalTransition` unless the table allows `present → wanted` or both are the same."""
    _check("a dispute", DISPUTE_TRANSITIONS, present, wanted)


def _check(what: str, transitions: Mapping[State, frozenset[State]], present: State, wanted: State) -> None:
    if wanted != present and wanted not in transitions[present]:
        raise IllegalTransition(f"{what} cannot go from {present} to {wanted}")


def mermaid(transitions: Mapping[State, frozenset[State]]) -> str:
    """Return the table as a Mermaid state diagram, for the documentation."""
    lines = ["stateDiagram-v2"]
    for source, targets in transitions.items():
        lines += [f"    {source} --> {target}" for target in sorted(targets)] or [f"    {source} --> [*]"]
    return "\n".join(lines)


ORDER_STATES: tuple[OrderState, ...] = get_args(OrderState)
CONTRACT_STATES: tuple[ContractState, ...] = get_args(ContractState)
AMENDMENT_STATES: tuple[AmendmentState, ...] = get_args(AmendmentState)
RENEWAL_STATES: tuple[RenewalState, ...] = get_args(RenewalState)
DUNNING_STATES: tuple[DunningState, ...] = get_args(DunningState)
CATALOGUE_SYNC_STATES: tuple[CatalogueSyncState, ...] = get_args(CatalogueSyncState)
DISPUTE_STATES: tuple[DisputeState, ...] = get_args(DisputeState)
