"""What people decide about a merge: who leads, and whether a customer goes back to an account that is alive again."""

from __future__ import annotations

import sqlalchemy as sa

from canonical.cases import Action, Case
from canonical.customer_merges import CustomerMergeAction
from canonical.states import IllegalTransition
from policies.identity.authentication import Principal
from policies.problems import MISSING, NOT_ALLOWED_NOW, ProblemError
from process_apis import account_merges
from process_apis.records.customer_merges import CustomerMerges
from process_apis.runtime.capability import Next, nothing
from process_apis.runtime.context import WorkflowContext


class MergeDecisions:
    """Acts on merges. Doing the same twice is doing it once."""

    def __init__(self, context: WorkflowContext, records: CustomerMerges) -> None:
        self._context = context
        self._records = records

    def choose(self, merge_id: str, wanted: CustomerMergeAction, principal: Principal) -> sa.Row[object]:
        """Let one of two customers lead, and close the case that asks for it. Raises `ProblemError`: 404 for a merge
        that is not there for this caller, 409 for one that leaves nothing to choose."""
        row = self._records.visible(merge_id, principal)
        if row is None:
            raise ProblemError(MISSING, f"There is no merge {merge_id}.")
        try:
            self._records.choose(merge_id, wanted.action, principal.subject, wanted.reason)
        except IllegalTransition as error:
            raise ProblemError(NOT_ALLOWED_NOW, f"{error}.".capitalize()) from error
        note = f"{wanted.action} by {principal.subject}" + (f": {wanted.reason}" if wanted.reason else "")
        account_merges.close_what_is_settled(self._context, row.customer_id, note)
        return self._records.row(merge_id)

    def act(self, case: Case, action: Action, by: str, reason: str) -> Next:
        """Let a customer go to the account that a case is about, or stay where it is, and keep who says so, and why."""
        said = account_merges.BACK if action == "retry" else account_merges.STAY
        account_merges.answer(self._context, case, said, by, reason)
        return nothing
