"""Acting on a case: it is looked up, the duties are checked, its owner does what was decided, and it is closed."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec
import structlog

from canonical.cases import Action, Case, CaseKind, CaseOutcome, CaseOutcomes, CasesAction
from canonical.orders import Page
from canonical.states import IllegalTransition
from policies.business.case_routing import CASE_ROUTING
from policies.identity.authentication import Principal
from policies.problems import (
    FORBIDDEN,
    INVALID,
    MISSING,
    NOT_ALLOWED_NOW,
    OVERLOADED,
    FieldError,
    ProblemError,
)
from policies.store.documents import StoreAway
from process_apis.records.cases import Wanted
from process_apis.records.erased import is_placeholder, subject_name
from process_apis.runtime.capability import CaseOwner, Signed
from process_apis.runtime.context import WorkflowContext

ENDING: tuple[Action, ...] = ("compensate", "reject")
"""Actions that end the subject of a case. What else was wrong with it is no trouble any more."""

UNSEEN = " (whether it is who placed the order cannot be seen)"
log = structlog.get_logger("tiergate.cases")


class CaseActions:
    """Acts on cases. Doing the same twice is doing it once: a closed case allows nothing."""

    def __init__(self, context: WorkflowContext, owners: Mapping[CaseKind, CaseOwner]) -> None:
        """`owners` says for each kind of case what may be done about it."""
        self._context = context
        self._owners = owners

    def act(self, case_id: str, action: Action, reason: str, principal: Principal) -> Case:
        """Act on a case and resolve it, with the cases of its subject that are the same trouble.

        Raises `ProblemError`: 404 when there is no such case for this caller, 409 when the case does not allow it, 403
        when the approval is the caller's own request.
        """
        case = self.get(case_id, principal)
        if case.state != "open" or action not in case.actions:
            allowed = ", ".join(case.actions) if case.state == "open" else "nothing: it is resolved"
            raise ProblemError(NOT_ALLOWED_NOW, f"The case allows {allowed}.")
        owner = self._owners[case.kind]
        unseen = action == "approve" and not self._somebody_else(case, owner.asked_by(case), principal)
        if action == "skip" and not reason.strip():
            raise ProblemError(INVALID, "Skipping needs a reason.", (FieldError("$.reason", "say why"),))
        try:
            if isinstance(owner.act, Signed):
                go_on = owner.act.act(case, action, principal.subject, reason)
            else:
                go_on = owner.act(case, action)
        except IllegalTransition as error:
            raise ProblemError(NOT_ALLOWED_NOW, f"{error}.".capitalize()) from error
        note = f"{action} by {principal.subject}{UNSEEN if unseen else ''}" + (f": {reason}" if reason else "")
        if owner.closed_by_action:
            self._context.cases.close(case, note, self._same_trouble(case, action, owner))
        go_on()  # after the case is closed: what fails again opens another
        return self.get(case_id, principal)

    def get(self, case_id: str, principal: Principal) -> Case:
        """Return a case with what it allows now. Raises `ProblemError` (404) when there is none for this caller."""
        case = self._context.cases.get(case_id, principal)
        if case is None:
            raise ProblemError(MISSING, f"There is no case {case_id}.")
        return self._as_it_is_now(case)

    def act_on_each(self, wanted: CasesAction, principal: Principal) -> CaseOutcomes:
        """Act on several cases, one after the other. What one does not allow stops none of the others."""
        outcomes: list[CaseOutcome] = []
        for each in dict.fromkeys(wanted.ids):
            try:
                self.act(each, wanted.action, wanted.reason, principal)
            except ProblemError as error:
                reasons = "; ".join(field.reason for field in error.errors)
                outcomes.append(CaseOutcome(each, False, f"{error.detail} {reasons}".strip()))
            else:
                outcomes.append(CaseOutcome(each, True))
        return CaseOutcomes(tuple(outcomes))

    def assign(self, case_id: str, to: str, principal: Principal) -> Case:
        """Give an open case to somebody, or to nobody. Raises `ProblemError`: 404 when there is none for this caller,
        409 when it is resolved."""
        case = self.get(case_id, principal)
        if not self._context.cases.assign(case.id, to.strip()):
            raise ProblemError(NOT_ALLOWED_NOW, "The case is resolved: nobody has to take care of it.")
        return self.get(case_id, principal)

    def note(self, case_id: str, text: str, principal: Principal) -> Case:
        """Write a note of a case, open or not. Raises `ProblemError` (404) when there is none for this caller."""
        self._context.cases.note(self.get(case_id, principal), text.strip(), principal.subject)
        return self.get(case_id, principal)

    def page(self, principal: Principal, wanted: Wanted, cursor: str | None, limit: int) -> Page[Case]:
        """Return a page of cases, each with what it allows now."""
        found = self._context.cases.page(principal, wanted, cursor, limit)
        return Page(tuple(map(self._as_it_is_now, found.items)), found.next_cursor)

    def _as_it_is_now(self, case: Case) -> Case:
        """Return a case with what it allows as its subject is now, and not as it was when the case was opened."""
        if case.state != "open":
            return case
        return msgspec.structs.replace(case, actions=self._owners[case.kind].allowed(case))

    def _somebody_else(self, case: Case, asked_by: str, principal: Principal) -> bool:
        """Return whether it is certain that an approval is not by who asked for it. Raises `ProblemError` (403) when it
        is.

        Who was erased meanwhile is known by the placeholder. The CRM names people by addresses. An issuer may name them
        by ids of its own, which can be others for each client (OpenID Connect Core, section 8.1: pairwise), so that one
        person has several; and a client's own token names no person. These are compared for being the same, and say
        nothing when they are not, unless a client of the catalogue has placed the order itself.
        """
        approves, asked = subject_name(principal.subject), subject_name(asked_by)
        was_erased = is_placeholder(asked)
        same = self._stands_for(asked, principal) if was_erased else approves == asked
        if same:
            raise ProblemError(FORBIDDEN, "Who asked for it cannot approve it; ask somebody else.")
        by_a_client = asked_by in self._context.live_catalogue.current.clients
        comparable = by_a_client or (same is not None and "@" in approves and "@" in asked)
        if not comparable:
            log.warning("an approval cannot be compared with who placed the order", case=case.id)
        return comparable

    def _stands_for(self, placeholder: str, principal: Principal) -> bool | None:
        """Return whether who placed an order, and was erased since, is the caller; None when that cannot be known any
        more. Raises `ProblemError` (503) when it cannot be looked up now."""
        erased = self._context.erased
        try:
            return erased.stands_for(placeholder, principal.subject) if erased else None
        except StoreAway as error:
            detail = "Nothing was done: it cannot be looked up now who placed the order."
            raise ProblemError(OVERLOADED, detail, headers={"Retry-After": "1"}) from error

    def _same_trouble(self, case: Case, action: Action, owner: CaseOwner) -> Collection[CaseKind]:
        """Return the kinds of which all open cases of the subject are resolved together with this one."""
        if action in ENDING:
            return owner.kinds - owner.outlive
        return CASE_ROUTING.of(self._context.live_catalogue.current)[case.kind].resolves
