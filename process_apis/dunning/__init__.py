"""Dunning: what follows when billing cannot collect what a contract owes. Billing tries again by itself; here it is
mirrored, and the catalogue says for each legal entity when the service is suspended, and what comes last.

`plan` says what becomes of a contract that owes, as things stand; `workflow` does it, `runs` starts what is due and
takes what people decide, and `routes` are what others call. What billing reports says no more than to look.
"""

from __future__ import annotations

from canonical.events import (
    BILLED_CUSTOMER_CHANGED,
    COLLECTION_CHANGED,
    CONTRACT_ENDED,
    CREDIT_NOTE_ISSUED,
    CREDIT_NOTE_VOIDED,
    DISPUTE_CLOSED,
    INVOICE_CANCELLED,
    INVOICE_PAID,
    MEANS_ATTACHED,
    PAYMENT_FAILED,
    PAYMENT_RECEIVED,
    PAYMENT_REINSTATED,
    PAYMENT_REVERSED,
)
from process_apis.dunning.routes import routes
from process_apis.dunning.runs import DunningRuns
from process_apis.dunning.workflow import KINDS
from process_apis.runtime.agenda import Due
from process_apis.runtime.capability import Capability, CaseOwner, Reaction
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.engine import Engine

MAY_SETTLE = (
    *(INVOICE_PAID, PAYMENT_RECEIVED, INVOICE_CANCELLED, CREDIT_NOTE_ISSUED, CREDIT_NOTE_VOIDED, PAYMENT_REINSTATED),
    *(CONTRACT_ENDED, DISPUTE_CLOSED),
)
"""Events that change what is owed only where something is."""


def reactions(runs: DunningRuns) -> dict[str, Reaction]:
    """Return what dunning does about each type of events."""
    return {
        PAYMENT_FAILED: runs.failed,
        COLLECTION_CHANGED: runs.failed,
        PAYMENT_REVERSED: runs.went_back,
        BILLED_CUSTOMER_CHANGED: runs.customer_changed,
        MEANS_ATTACHED: runs.customer_changed,
        **dict.fromkeys(MAY_SETTLE, runs.may_be_settled),
    }


def capability(context: WorkflowContext, engine: Engine) -> Capability:
    """Return what dunning brings."""
    runs = DunningRuns(context, engine)
    return Capability(
        "dunning",
        reactions=reactions(runs),
        is_made={PAYMENT_FAILED: runs.is_noticed},
        due=[Due(runs.agenda, runs.begin, runs.in_hand)],
        cases=CaseOwner(KINDS, runs.act, closed_by_action=False),
        routes=routes(runs),
    )
