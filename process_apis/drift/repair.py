"""What people do about drift: look now, have the owner's value written, or accept that the other one stays."""

from __future__ import annotations

from canonical.drift import Drift
from canonical.ids import is_identifier
from canonical.states import DriftState, IllegalTransition
from policies.identity.authentication import Principal
from policies.problems import DRIFT_STAYS, MISSING, NOT_ALLOWED_NOW, OWNER_CHANGED, ProblemError
from process_apis.amendments.contract import find
from process_apis.drift.comparison import Compared, OnItsWay
from process_apis.drift.looks import Look, keep, look_at
from process_apis.drift.records import STANDING, Drifts
from process_apis.records import customers
from process_apis.records.amendments import Amendments
from process_apis.runtime.context import WorkflowContext


class Repairs:
    """Acts on drifts, each time after a look at what is there now."""

    def __init__(self, context: WorkflowContext, records: Drifts) -> None:
        self._context = context
        self._records = records

    def look(self, record: str, principal: Principal) -> list[Drift]:
        """Look at a customer or a contract now. Return the differences that are there. Raises `ProblemError`: 404 for a
        record that is not there for this caller, 409 while a change of it is on its way."""
        context = self._context
        if is_identifier(record, "con"):
            find(context, Amendments(context.database, context.clock), record, principal)
        elif customers.visible(context.database, record, principal) is None:
            raise ProblemError(MISSING, f"There is no customer or contract {record}.")
        found = keep(self._records, record, self._look_at(record))
        return [each for each in found if principal.may_see(each.legal_entity)]

    def find(self, drift_id: str, principal: Principal) -> Drift:
        """Return a drift. Raises `ProblemError` (404) for one that is not there for this caller."""
        found = self._records.visible(drift_id, principal)
        if found is None:
            raise ProblemError(MISSING, f"There is no drift {drift_id}.")
        return found

    def repair(self, drift_id: str, principal: Principal) -> Drift:
        """Write the owner's value to the other system. What is repaired already, or gone, is left as it is. Raises
        `ProblemError`: 404 as `find`, 409 while a change is on its way, when the owner says something else by now, and
        when the other system holds its value all the same; and leaves of `PlatformFault`."""
        seen = self.find(drift_id, principal)
        if seen.state not in STANDING:
            return seen
        present = self._look_at(seen.subject)
        now = _of(present, seen)
        if now is None or not now.differs:
            keep(self._records, seen.subject, present)
            return self.find(drift_id, principal)
        if now.owner_value != seen.owner_value:
            keep(self._records, seen.subject, present)
            raise ProblemError(OWNER_CHANGED, f"The value of {seen.field} is another one by now.")
        present.write(now)
        after = self._look_at(seen.subject)
        left = _of(after, seen)
        if left is not None and left.differs:
            keep(self._records, seen.subject, after)
            raise ProblemError(DRIFT_STAYS, f"{seen.system} took the value of {seen.field}, and holds another still.")
        done = self._settle(seen, "repaired", principal)
        keep(self._records, seen.subject, after)
        return done

    def accept(self, drift_id: str, reason: str, principal: Principal) -> Drift:
        """Let the other system keep its value, while neither side changes. Raises `ProblemError`: 404 as `find`, 409
        for one that is there no longer."""
        return self._settle(self.find(drift_id, principal), "accepted", principal, reason)

    def _settle(self, seen: Drift, state: DriftState, principal: Principal, reason: str = "") -> Drift:
        try:
            return self._records.settle(seen.id, state, principal, reason)
        except IllegalTransition as error:
            raise ProblemError(NOT_ALLOWED_NOW, f"{error}.".capitalize()) from error

    def _look_at(self, record: str) -> Look:
        try:
            return look_at(self._context, record)
        except OnItsWay as change:
            raise ProblemError(NOT_ALLOWED_NOW, f"{change}: look again when that is done.".capitalize()) from change


def _of(look: Look, seen: Drift) -> Compared | None:
    """Return what a look says of the field that a drift is about; None where it is not compared."""
    return next((each for each in look.compared if each.key == (seen.field, seen.system)), None)
