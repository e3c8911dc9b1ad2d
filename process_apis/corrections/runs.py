"""Runs of corrections: asked for, taken up when they are due, and what people decide about them."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Any

import sqlalchemy as sa

from canonical.cases import Action, Case
from canonical.corrections import (
    Correction,
    CorrectionPreview,
    CorrectionRequest,
    NewCorrection,
)
from canonical.faults import Rejected
from canonical.states import CorrectionState, IllegalTransition
from policies.business.amendments import KEY_TAKEN
from policies.business.corrections import CORRECTION_REFUSED
from policies.identity.authentication import Principal
from policies.problems import FORBIDDEN, MISSING, NOT_ALLOWED_NOW, FieldError, ProblemError
from process_apis.corrections.asking import ask, worth_of
from process_apis.corrections.preview import preview
from process_apis.corrections.request import fits_with, worked_out
from process_apis.corrections.workflow import KINDS, Correcting, digest
from process_apis.records.corrections import Corrections, correction_id, preview_of, request_of
from process_apis.records.database import corrections as corrections_table
from process_apis.records.erased import subject_name
from process_apis.runtime.agenda import Agenda
from process_apis.runtime.capability import Next, nothing
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.engine import Engine, Work

PREVIEW = "preview"
"""The key in the place of that of a correction which is not asked for yet."""
DECIDES = "approvals:grant"
"""The scope of who decides on what others have asked for."""
WITHDRAWN: tuple[CorrectionState, ...] = ("requested", "checking", "awaiting_approval", "on_hold")
"""Where a correction can be given up: billing has nothing of it."""


WAITING: tuple[CorrectionState, ...] = ("checking", "carrying_out", "carried_out")
"""Where a correction goes on by itself."""


class CorrectionRuns:
    """Takes corrections, starts what they need next, and acts on their cases."""

    def __init__(self, context: WorkflowContext, engine: Engine) -> None:
        self._context = context
        self._engine = engine
        self.records = Corrections(context.database, context.clock)
        self.correcting = Correcting(context, self.records)
        self.agenda = Agenda(context, corrections_table)

    # ---- asked for

    def request(
        self, invoice_id: str, wanted: NewCorrection, principal: Principal, correlation_id: str, *, proposed: bool
    ) -> Correction:
        """Return the correction, whose key makes it one; of what is `proposed` finance decides. Raises `ProblemError`:
        404 for an invoice that is not there for this caller, 409 and 422 for what it does not allow, and for a key that
        is another correction's."""
        invoice = self._invoice(invoice_id, principal)
        row, is_new = ask(
            self._context,
            self.records,
            invoice,
            wanted,
            proposed=proposed,
            requested_by=principal.subject,
            correlation_id=correlation_id,
            next_attempt_at=self._context.stalled_at(),
        )
        if is_new:
            self._engine.start(self.begin(row, 1))
        return self._same(row, wanted)

    def _same(self, row: sa.Row[Any], wanted: NewCorrection) -> Correction:
        if request_of(row) != wanted:
            raise ProblemError(KEY_TAKEN, f"{row.id} has this key, and is another correction.")
        return self.records.shown(row)

    def _invoice(self, invoice_id: str, principal: Principal) -> sa.Row[Any]:
        """Return the posting of an invoice. Raises `ProblemError` (404) for one that is not there for this caller."""
        found = None if principal.partner else self.records.invoice(invoice_id, principal)
        if found is None:
            raise ProblemError(MISSING, f"There is no invoice {invoice_id}.")
        return found

    def preview(self, invoice_id: str, wanted: CorrectionRequest, principal: Principal) -> CorrectionPreview:
        """Return what every platform would make of a correction, and write nothing. Raises `ProblemError` as `request`
        does, and for what a platform refuses."""
        context, invoice = self._context, self._invoice(invoice_id, principal)
        found = context.platforms.correctable(invoice.billing, invoice_id)
        order, amount = worked_out(correction_id(invoice_id, PREVIEW), wanted, found)
        worth_of(context, invoice.billing, order, amount, found)
        fits_with(order, wanted.kind, amount, found)(self.records.reserved(invoice_id))
        try:
            proposed = "corrections:request" not in principal.scopes
            return preview(context, invoice.billing, order, wanted.kind, found, proposed=proposed)
        except Rejected as refused:
            errors = (FieldError(f"$.{refused.field or 'kind'}", refused.reason),)
            raise ProblemError(CORRECTION_REFUSED, f"{refused.platform} refuses it.", errors) from refused

    def find(self, key: str, principal: Principal) -> Correction:
        """Return a correction that the caller may see. Raises `ProblemError` (404) when there is none."""
        found = None if principal.partner else self.records.visible(key, principal)
        if found is None:
            raise ProblemError(MISSING, f"There is no correction {key}.")
        return found

    def withdraw(self, key: str, principal: Principal) -> Correction:
        """Give up a correction of which billing has nothing yet. The same again changes nothing. Raises `ProblemError`:
        404 when there is none for this caller, 403 for one of somebody else, unless the caller may decide on it, 409
        for one that is carried out."""
        self.find(key, principal)
        asked_by = subject_name(self.records.row(key).requested_by)
        if subject_name(principal.subject) != asked_by and DECIDES not in principal.scopes:
            raise ProblemError(FORBIDDEN, "Somebody else has asked for it: they withdraw it, or finance decides on it.")
        why = f"withdrawn by {principal.subject}"
        with self.records.at(key) as one:
            state = one.row.state
            if state != "given_up":
                if state not in WITHDRAWN or one.row.held_in in ("carrying_out", "carried_out"):
                    raise ProblemError(NOT_ALLOWED_NOW, f"The correction is {state}: it cannot be withdrawn.")
                one.enter("given_up", next_attempt_at=None, by=principal.subject, why="withdrawn", blocked_reason=why)
        self._context.cases.end(key, why, KINDS)
        return self.records.shown(self.records.row(key))

    # ---- those whose time has come

    def restart(self, key: str) -> None:
        """Begin a new run, where the correction stands."""
        row = self.records.row(key)
        if (run := self.agenda.claim(row)) is not None:
            self._engine.start(self.begin(row, run))

    def begin(self, row: sa.Row[Any], run: int) -> Work:
        return Work(_run(row.id, run), self.correcting.run, (row.id,), row.invoice_id)

    def in_hand(self, row: sa.Row[Any]) -> datetime | None:
        """Return when to look again at a correction that a run is at."""
        return self._context.stalled_at() if self._engine.is_running(_run(row.id, row.run)) else None

    # ---- cases

    def asked_by(self, case: Case) -> str:
        """Return who asked for the correction."""
        return str(self.records.row(case.subject).requested_by)

    def allowed(self, case: Case) -> tuple[Action, ...]:
        """Return what a case allows in the state that its correction has come to."""
        return _allowed_in(self.records.row(case.subject).state, case)

    def act(self, case: Case, action: Action, by: str, why: str) -> Next:
        """Do what `action` means for the correction, and keep who decided it. Raises `IllegalTransition` when it does
        not allow it any more."""
        soon = self._context.stalled_at()
        with self.records.at(case.subject) as one:
            row = one.row
            if action not in _allowed_in(row.state, case):
                raise IllegalTransition(f"a correction that is {row.state} allows no {action}")
            said = preview_of(row)
            match action:
                case "approve":
                    approved = digest(said) if said else ""
                    one.enter("checking", next_attempt_at=soon, by=by, why=why or "approved", approved=approved)
                case "retry":
                    back: CorrectionState = row.state if row.state in WAITING else row.held_in or "checking"
                    again = {"tries": row.tries, "attempts": 1}
                    if (row.state, back) == ("on_hold", "carrying_out"):  # much may be otherwise by now
                        back, again = "checking", again | {"tries": row.tries + 1}
                    one.enter(back, next_attempt_at=soon, by=by, why=why or "tried again", held_in="", **again)
                case "reject" | "compensate":
                    said_why = why or ("rejected" if action == "reject" else "given up")
                    reason = f"{action}: {case.reason}"
                    one.enter("given_up", next_attempt_at=None, by=by, why=said_why, blocked_reason=reason)
                    return nothing
                case _:
                    return nothing
        return partial(self.restart, row.id)


def _allowed_in(state: CorrectionState, case: Case) -> tuple[Action, ...]:
    """Return what a case allows of a correction in a state."""
    if case.kind == "correction_refused" and state in WAITING:
        return tuple(each for each in case.actions if each == "retry")
    return case.actions if state == ("awaiting_approval" if case.kind == "correction_approval" else "on_hold") else ()


def _run(key: str, run: int) -> str:
    """Return the identity of a run of a correction."""
    return f"correction:{key}:{run}"
