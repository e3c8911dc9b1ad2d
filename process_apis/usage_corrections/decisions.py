"""What people decide about a usage correction: to have it settled in billing, to leave it, or to settle it by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from canonical.cases import Action, Case
from canonical.ids import Clock
from canonical.states import IllegalTransition, UsageCorrectionState
from canonical.usage_corrections import UsageCorrection, UsageDecision
from policies.business.usage import USAGE_CORRECTION_CHANGED
from policies.identity.authentication import Principal
from policies.problems import FORBIDDEN, INVALID, MISSING, NOT_ALLOWED_NOW, FieldError, ProblemError
from process_apis.records.erased import subject_name
from process_apis.records.usage_corrections import UsageCorrections, senders
from process_apis.runtime.capability import Next
from process_apis.usage_corrections.workflow import REFUSED


class UsageCorrectionDecisions:
    """Acts on usage corrections. Deciding the same twice is deciding once."""

    def __init__(self, clock: Clock, records: UsageCorrections, look: Callable[[], None]) -> None:
        """`look` says that something is to be done at once."""
        self._clock = clock
        self._records = records
        self._look = look

    def read(self, correction_id: str, principal: Principal) -> UsageCorrection:
        """Return one. Raises `ProblemError` (404) when there is none for this caller."""
        found = None if principal.partner else self._records.visible(correction_id, principal)
        if found is None:
            raise ProblemError(MISSING, f"There is no usage correction {correction_id}.")
        return found

    def decide(self, correction_id: str, wanted: UsageDecision, principal: Principal) -> UsageCorrection:
        """Approve or reject one as it was read, and return it. What billing refuses, approved or not, can be rejected.

        Raises `ProblemError`: 404 when there is none for this caller; 403 for an approval by who has sent the records;
        409 for another revision than the one that was read, and for one that waits for no decision; 422 for a rejection
        without a reason.
        """
        self.read(correction_id, principal)
        if wanted.decision == "reject" and not wanted.reason.strip():
            raise ProblemError(INVALID, "A rejection needs a reason.", (FieldError("$.reason", "say why"),))
        with self._records.at(correction_id) as one:
            if not _is_decided(one.row, wanted, principal):
                _check(one.row, wanted, principal)
                said = {"decided_by": principal.subject, "reason": wanted.reason}
                state: UsageCorrectionState = "approved" if wanted.decision == "approve" else "rejected"
                one.advance(state, next_attempt_at=self._clock(), held_in="", **said)
        self._look()
        return self.read(correction_id, principal)

    # ---- cases

    def allowed(self, case: Case) -> tuple[Action, ...]:
        """Return what a case allows in the state that its correction has come to."""
        is_held = self._records.row(case.subject).state == "on_hold"
        return case.actions if is_held or case.kind != REFUSED else ()

    def act(self, case: Case, action: Action, by: str, why: str) -> Next:
        """Try again what billing has refused, or leave it to who has settled it by hand. Raises `IllegalTransition` for
        one that is refused no more."""
        with self._records.at(case.subject) as one:
            row = one.row
            if row.state != "on_hold":
                raise IllegalTransition(f"a usage correction that is {row.state} allows no {action}")
            if action == "retry":
                back: UsageCorrectionState = "approved" if row.held_in == "approved" else "found"
                one.advance(back, next_attempt_at=self._clock(), held_in="", tries=row.tries + 1)
            else:
                said = {"decided_by": by, "reason": why, "held_in": ""}
                one.advance("by_hand", next_attempt_at=self._clock(), **said)
        return self._look


def _is_decided(row: sa.Row[Any], wanted: UsageDecision, principal: Principal) -> bool:
    """Return whether the same was decided already, by the same."""
    after = ("approved", "carried_out") if wanted.decision == "approve" else ("rejected",)
    state = row.held_in or row.state  # billing may have refused what was approved, before the answer came
    return (row.revision, row.decided_by) == (wanted.revision, principal.subject) and state in after


def _check(row: sa.Row[Any], wanted: UsageDecision, principal: Principal) -> None:
    if row.revision != wanted.revision:
        detail = f"The difference is {row.difference} by now, in revision {row.revision}."
        raise ProblemError(USAGE_CORRECTION_CHANGED, detail)
    if row.state != "proposed" and (row.state, wanted.decision) != ("on_hold", "reject"):
        raise ProblemError(NOT_ALLOWED_NOW, f"The usage correction is {row.state}.")
    own = subject_name(principal.subject) in map(subject_name, senders(row))
    if own and wanted.decision == "approve":
        raise ProblemError(FORBIDDEN, "Who sent the records cannot approve it; ask somebody else.")
