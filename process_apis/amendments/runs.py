"""Runs of amendments: asked for, taken up when their time has come, and what people do about their cases."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Any

import sqlalchemy as sa

from canonical.amendments import Amendment, AmendmentPreview, AmendmentRequest, NewAmendment
from canonical.cases import Action, Case, Finding
from canonical.events import Event
from canonical.faults import NotFound, Rejected
from canonical.states import AmendmentState, IllegalTransition
from policies.business.amendments import CHANGE_REFUSED, KEY_TAKEN
from policies.context.correlation import correlated
from policies.identity.authentication import Principal
from policies.problems import MISSING, NOT_ALLOWED_NOW, FieldError, ProblemError
from process_apis.amendments import request
from process_apis.amendments.contract import NotPossible, find
from process_apis.amendments.preview import preview
from process_apis.amendments.request import rest_in
from process_apis.amendments.transfers import NOT_BY_PARTNERS, check_customer, transfer_in
from process_apis.amendments.withdrawal import give_up
from process_apis.amendments.workflow import Amending, digest, open_case
from process_apis.records.amendments import (
    Amendments,
    OneAmendment,
    amendment,
    amendment_id,
    preview_of,
    request_of,
    wake,
)
from process_apis.records.database import amendments as amendments_table
from process_apis.runtime.agenda import Agenda
from process_apis.runtime.capability import Next, nothing
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.engine import Engine, Work

PREVIEW = "preview"
"""The key in the place of that of a change which is not asked for yet."""


class AmendmentRuns:
    """Takes amendments, starts what they need next, and acts on their cases."""

    def __init__(self, context: WorkflowContext, engine: Engine) -> None:
        self._context = context
        self._engine = engine
        self.records = Amendments(context.database, context.clock)
        self.amending = Amending(context, self.records)
        self.agenda = Agenda(context, amendments_table)

    # ---- asked for

    def request(self, contract_id: str, wanted: NewAmendment, principal: Principal, correlation_id: str) -> Amendment:
        """Return the amendment, whose key makes it one. Raises `ProblemError`: 404 for a contract that is not there for
        this caller, 409 for one that does not run, and for a key that is another change's, 422 for what it does not
        allow."""
        found = find(self._context, self.records, contract_id, principal)
        known = self.records.visible(amendment_id(contract_id, wanted.key), principal)
        if known is None:
            request.check(found, wanted)
            check_customer(self._context, found, wanted, principal)
            self._context.residency.check(found.contract.legal_entity)
        row, is_new = self.records.receive(
            found.contract, wanted, principal.subject, correlation_id, self._context.stalled_at()
        )
        if request_of(row) != wanted:
            raise ProblemError(KEY_TAKEN, f"{row.id} has this key, and is another change.")
        if is_new:
            self._engine.start(self.begin(row, 1))
        return amendment(row)

    def preview(self, contract_id: str, wanted: AmendmentRequest, principal: Principal) -> AmendmentPreview:
        """Return what every platform would make of a change, and write nothing. Raises `ProblemError` as `request`
        does, and for what a platform refuses."""
        context = self._context
        found = find(context, self.records, contract_id, principal)
        request.check(found, wanted)
        check_customer(context, found, wanted, principal)
        try:
            made = request.planned(context, found, wanted, context.clock())
            return preview(context, amendment_id(contract_id, PREVIEW), found, wanted, made)
        except NotPossible as refused:
            errors = tuple(FieldError(f"$.{each.field}", each.reason) for each in refused.findings)
            raise ProblemError(CHANGE_REFUSED, "The change could never be carried out.", errors) from refused
        except (Rejected, NotFound) as fault:
            refused_by = FieldError(f"$.{fault.field or 'actions'}", fault.reason)
            raise ProblemError(CHANGE_REFUSED, f"{fault.platform} refuses the change.", (refused_by,)) from fault

    def withdraw(self, amendment_id: str, principal: Principal) -> Amendment:
        """Give up an amendment that is not on its way to the platforms yet. The same again changes nothing. Raises
        `ProblemError`: 404 when there is none for this caller, 409 for one that is carried out, and for a transfer
        where the caller is a partner."""
        found = self.records.visible(amendment_id, principal)
        if found is None:
            raise ProblemError(MISSING, f"There is no amendment {amendment_id}.")
        if principal.partner and transfer_in(found.request):
            raise ProblemError(NOT_ALLOWED_NOW, f"{amendment_id} is a transfer: {NOT_BY_PARTNERS}.")
        if not give_up(self._context, self.records, amendment_id, f"withdrawn by {principal.subject}"):
            row = self.records.row(amendment_id)
            is_to_come = row.state == "applied" and datetime.fromisoformat(row.effective_at) > self._context.clock()
            hint = " It does not count yet: reverse it." if is_to_come else ""
            raise ProblemError(NOT_ALLOWED_NOW, f"The amendment is {row.state}: it cannot be withdrawn.{hint}")
        return amendment(self.records.row(amendment_id))

    # ---- reports of the target

    def line_reported(self, event: Event, correlation_id: str) -> None:
        """Keep that a line was delivered, and go on when it was the last one. A delivery that failed is a case."""
        attempt = int(event.data["attempt"]) if "attempt" in event.data else None
        line = event.data.get("line", "")
        for row in self.records.delivering(event.subject, attempt):
            if event.data.get("succeeded") != "true":
                with correlated(correlation_id):
                    self._not_delivered(row, line, event.data.get("reason", ""))
            elif self.records.report_line(row.id, attempt, line):
                self.restart(row.id)

    def _not_delivered(self, row: sa.Row[Any], line: str, reason: str) -> None:
        finding = Finding(f"lines.{line}", reason or "the line could not be provisioned")
        is_held = row.state == "provisioning" or (row.state == "on_hold" and row.held_in == "provisioning")
        actions: tuple[Action, ...] = ("retry", "compensate") if is_held else ("retry", "skip")
        open_case(self._context, row, "amendment_not_delivered", finding, actions, line=line)
        with self.records.at(row.id) as one:
            if one.row.state == "provisioning":
                reasons = f"{finding.field}: {finding.reason}"
                one.advance("on_hold", next_attempt_at=None, blocked_reason=reasons, held_in="provisioning")

    # ---- those whose time has come

    def restart(self, amendment_id: str) -> None:
        """Begin a new run, where the amendment stands."""
        row = self.records.row(amendment_id)
        if (run := self.agenda.claim(row)) is not None:
            self._engine.start(self.begin(row, run))

    def begin(self, row: sa.Row[Any], run: int) -> Work:
        return Work(amendment_run(row.id, run), self.amending.run, (row.id,), row.contract_id)

    def in_hand(self, row: sa.Row[Any]) -> datetime | None:
        """Return when to look again at an amendment that a run is at."""
        return self._context.stalled_at() if self._engine.is_running(amendment_run(row.id, row.run)) else None

    # ---- cases

    def asked_by(self, case: Case) -> str:
        """Return who asked for the change."""
        return str(self.records.row(case.subject).requested_by)

    def allowed(self, case: Case) -> tuple[Action, ...]:
        """Return what a case allows in the state that its amendment has come to."""
        return _allowed_in(self.records.row(case.subject).state, case)

    def act(self, case: Case, action: Action) -> Next:
        """Do what `action` means for the amendment. Raises `IllegalTransition` when it does not allow it any more."""
        context = self._context
        with self.records.at(case.subject) as one:
            row = one.row
            if action not in _allowed_in(row.state, case):
                raise IllegalTransition(f"an amendment that is {row.state} allows no {action}")
            said = preview_of(row)
            match action:
                case "approve":
                    one.advance("checking", next_attempt_at=context.stalled_at(), approved=digest(said) if said else "")
                case "reject" | "compensate":
                    delivered = context.clock() if row.delivery_attempt else None
                    one.advance("given_up", next_attempt_at=delivered, blocked_reason=f"{action}: {case.reason}")
                case "retry":
                    self._try_again(one, row)
                case _:
                    return nothing
        wake(context.database, row.contract_id, context.clock())
        return partial(self.restart, row.id)

    def _try_again(self, one: OneAmendment, row: sa.Row[Any]) -> None:
        again = self._context.stalled_at()
        if row.state == "applied" and rest_in(request_of(row)):
            one.advance(row.state, next_attempt_at=again, ends_at=None)  # the target hears how it is now
        elif row.state in ("applied", "given_up"):
            one.advance(row.state, next_attempt_at=again)
        elif row.held_in == "provisioning":  # what was delivered stays; what was not is asked for in a new attempt
            one.advance("provisioning", next_attempt_at=again, delivery_attempt=0, undelivered="")
        else:
            one.advance(row.held_in or "checking", next_attempt_at=again)


def _allowed_in(state: AmendmentState, case: Case) -> tuple[Action, ...]:
    """Return what a case allows of an amendment in a state."""
    if case.kind == "amendment_approval":
        return case.actions if state == "awaiting_approval" else ()
    return case.actions if state in ("on_hold", "applied", "given_up") else ()


def amendment_run(amendment_id: str, run: int) -> str:
    """Return the identity of a run of an amendment."""
    return f"amendment:{amendment_id}:{run}"
