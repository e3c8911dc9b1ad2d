"""Withdrawal: an amendment is given up before any platform has got it, by people or by the end of its contract."""

from __future__ import annotations

from canonical.amendments import AmendmentPreview
from canonical.cases import CaseKind
from canonical.states import AmendmentState
from process_apis.records.amendments import WENT_WITH_THE_END, Amendments, wake
from process_apis.runtime.context import WorkflowContext

KINDS: frozenset[CaseKind] = frozenset(
    {"amendment_invalid", "amendment_not_agreed", "amendment_approval", "amendment_not_delivered"}
)
"""The cases of amendments."""
WITHDRAWN: tuple[AmendmentState, ...] = ("requested", "checking", "awaiting_approval", "scheduled", "on_hold")
"""Where an amendment can be given up."""


def give_up(context: WorkflowContext, records: Amendments, amendment_id: str, why: str) -> bool:
    """Give up an amendment, and return whether it is: not one that is on its way to the platforms, or there."""
    with records.at(amendment_id) as one:
        row = one.row
        if row.state == "given_up":
            return True
        if row.state not in WITHDRAWN or row.held_in in ("provisioning", "applying"):
            return False
        one.advance("given_up", next_attempt_at=None, blocked_reason=why)
    context.cases.end(amendment_id, why, KINDS)
    wake(context.database, row.contract_id, context.clock())
    return True


def give_up_what_follows(
    context: WorkflowContext, records: Amendments, amendment_id: str, said: AmendmentPreview
) -> None:
    """Give up the changes of a contract that were to count once it is over, when `amendment_id` has agreed to its end.
    They stay given up where that end is taken back later: who wants them asks again."""
    over = said.ends_at if said.is_term else None if said.after else said.effective_at
    if over is None:
        return
    for each in records.versions(said.contract_id):
        if each.is_future and each.id != amendment_id and each.since >= over:
            give_up(context, records, each.id, f"{WENT_WITH_THE_END} {over:%Y-%m-%d}, with {amendment_id}")
