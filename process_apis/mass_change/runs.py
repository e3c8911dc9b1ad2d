"""Runs of mass changes: asked for, taken up when they are due, and what people do with them and their cases."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from canonical.cases import Action, Case, Finding
from canonical.mass_changes import MassChange, MassChangeStep, NewMassChange, PricePercentage
from canonical.states import IllegalTransition
from policies.business.amendments import CHANGE_REFUSED, KEY_TAKEN
from policies.identity.authentication import Principal
from policies.problems import MISSING, NOT_ALLOWED_NOW, FieldError, ProblemError
from process_apis.mass_change.workflow import KINDS, ON_THE_WAY, MassChanging
from process_apis.records.amendments import Amendments
from process_apis.records.database import mass_change_items as items
from process_apis.records.database import mass_changes as mass_changes_table
from process_apis.records.mass_changes import HELD, IN_PLACE, MassChanges, OneMassChange, request_of
from process_apis.runtime.agenda import Agenda
from process_apis.runtime.capability import Next, nothing
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.engine import Engine, Work

LOOK_AGAIN = 5.0
"""Seconds until a mass change is looked for again that a run is at."""
STOPS = ("selecting", "previewed", "awaiting_approval", "running", "paused")
"""Where a mass change is that can be cancelled."""


class MassChangeRuns:
    """Takes mass changes, starts what they need next, and does what people decide about them."""

    def __init__(self, context: WorkflowContext, engine: Engine) -> None:
        self._context = context
        self._engine = engine
        self.records = MassChanges(context.database, context.clock)
        self.changing = MassChanging(context, self.records, Amendments(context.database, context.clock), engine)
        self.agenda = Agenda(context, mass_changes_table)

    # ---- asked for

    def plan(self, wanted: NewMassChange, principal: Principal, correlation_id: str) -> MassChange:
        """Return the mass change, whose key makes it one; its contracts are selected from now on. Raises
        `ProblemError`: 422 for what cannot be, 404 for a selling company that is not there for this caller, 409 for a
        key that is another mass change's."""
        if not principal.may_see(wanted.legal_entity) or principal.partner:
            raise ProblemError(MISSING, f"There is no selling company {wanted.legal_entity}.")
        if errors := _errors_of(wanted):
            raise ProblemError(CHANGE_REFUSED, "Such a change cannot be.", errors)
        self._context.residency.check(wanted.legal_entity)
        row = self.records.receive(wanted, principal.subject, correlation_id)
        if request_of(row) != wanted:
            raise ProblemError(KEY_TAKEN, f"{row.id} has this key, and is another mass change.")
        return self.records.shown(row)

    def find(self, mass_change_id: str, principal: Principal) -> MassChange:
        """Return a mass change that the caller may see. Raises `ProblemError` (404) when there is none."""
        found = self.records.visible(mass_change_id, principal)
        if found is None:
            raise ProblemError(MISSING, f"There is no mass change {mass_change_id}.")
        return found

    def do(self, mass_change_id: str, step: MassChangeStep, principal: Principal) -> MassChange:
        """Do a step, and return the mass change. Raises `ProblemError`: 404 when there is none for this caller, 409 for
        a step that it does not allow now."""
        self.find(mass_change_id, principal)
        try:
            with self.records.at(mass_change_id) as one:
                self._step(one, step)
                if one.row.state == "awaiting_approval":
                    self._ask_for_approval(one, principal.subject)
        except IllegalTransition as error:
            raise ProblemError(NOT_ALLOWED_NOW, f"{error}.".capitalize()) from error
        if step in ("cancel", "retry"):
            self._context.cases.end(mass_change_id, f"{step} by {principal.subject}", KINDS)
        return self.records.shown(self.records.row(mass_change_id))

    def _step(self, one: OneMassChange, step: MassChangeStep) -> None:
        now, state = self._context.clock(), one.row.state
        match step:
            case "submit":
                if state == "previewed" and not one.count(items.c.state == "selected"):
                    raise IllegalTransition("no contract would be changed: all are left out")
                _require(state, "previewed", "awaiting_approval")
                one.advance("awaiting_approval", next_attempt_at=None)
            case "pause":
                _require(state, "running", "paused")
                one.advance("paused", next_attempt_at=now)
            case "resume":
                _require(state, "paused", "running")
                one.advance("running", next_attempt_at=now)
            case "cancel":
                _require(state, *STOPS, "cancelled")
                if state == "awaiting_approval" and one.row.undoing:
                    one.advance("done", next_attempt_at=None, undoing=False)
                    return
                one.change_items(items.c.state == "selected", state="cancelled")
                one.change_items(items.c.state == "to_reverse", state="asked")
                one.advance("cancelled", next_attempt_at=now)
            case "retry":
                _require(state, "done")
                self._retry(one)
                one.advance("running", next_attempt_at=now)
            case "undo":
                self._undo(one)

    def _retry(self, one: OneMassChange) -> None:
        undoing = one.row.undoing
        failed, asked, column, again = (
            ("not_reversed", "reversing", items.c.reversal_id, "to_reverse")
            if undoing
            else ("failed", "asked", items.c.amendment_id, "selected")
        )
        which = sa.or_(items.c.state == failed, sa.and_(items.c.state == asked, column.in_(HELD)))
        if not one.change_items(which, state=again, attempt=items.c.attempt + 1, reason="", detail=""):
            raise IllegalTransition("nothing has failed that could be tried again")

    def _undo(self, one: OneMassChange) -> None:
        if one.row.state == "awaiting_approval" and one.row.undoing:
            return  # it was asked for already
        _require(one.row.state, "done", "cancelled")
        counts = self.records.counts(one.row.id)
        if any(counts.get(each) for each in ON_THE_WAY):
            raise IllegalTransition("contracts are on their way still: undo it when they are changed")
        if not one.count(items.c.state == "asked", items.c.amendment_id.in_(IN_PLACE)):
            raise IllegalTransition("no contract was changed")
        one.advance("awaiting_approval", next_attempt_at=None, undoing=True)

    def _ask_for_approval(self, one: OneMassChange, asked_by: str) -> None:
        """Open the case in the same transaction: what waits for an approval has one."""
        row = one.row
        if row.undoing:
            count = one.count(items.c.state == "asked", items.c.amendment_id.in_(IN_PLACE))
            finding = Finding("undo", f"the undoing of a price change of {row.sku} for {count} contracts")
        else:
            revenue = self.records.revenue(row.id)
            amounts = [f"{each.contracts} contracts, MRR {each.before} → {each.after}" for each in revenue]
            finding = Finding("approvals", f"a price change of {row.sku} for {'; '.join(amounts)}")
        self._context.cases.open(
            "mass_change_approval",
            row.id,
            finding,
            ("approve", "reject"),
            correlation_id=row.correlation_id,
            legal_entity=row.legal_entity,
            given={"sku": row.sku, "asked_by": asked_by},
            connection=one.connection,
        )

    # ---- those whose time has come

    def begin(self, row: sa.Row[Any], run: int) -> Work:
        return Work(_run(row.id, run), self.changing.run, (row.id,), row.id)

    def in_hand(self, row: sa.Row[Any]) -> datetime | None:
        """Return when to look again at a mass change that a run is at."""
        return self._context.later(LOOK_AGAIN) if self._engine.is_running(_run(row.id, row.run)) else None

    # ---- cases

    def asked_by(self, case: Case) -> str:
        """Return who has asked for what is to be approved: who submitted the mass change, or wants it undone."""
        return case.input.get("asked_by") or str(self.records.row(case.subject).requested_by)

    def allowed(self, case: Case) -> tuple[Action, ...]:
        """Return what a case allows in the state that its mass change has come to."""
        needed = "awaiting_approval" if case.kind == "mass_change_approval" else "done"
        return case.actions if self.records.row(case.subject).state == needed else ()

    def act(self, case: Case, action: Action) -> Next:
        """Do what `action` means for the mass change. Raises `IllegalTransition` when it does not allow it any more."""
        now = self._context.clock()
        with self.records.at(case.subject) as one:
            _require(one.row.state, "awaiting_approval" if case.kind == "mass_change_approval" else "done")
            match action:
                case "approve":
                    if one.row.undoing:
                        in_place = items.c.amendment_id.in_(IN_PLACE)
                        one.change_items(items.c.state == "asked", in_place, state="to_reverse")
                    one.advance("running", next_attempt_at=now)
                case "reject" if one.row.undoing:
                    one.advance("done", next_attempt_at=None, undoing=False)
                case "reject":
                    one.change_items(items.c.state == "selected", state="cancelled")
                    one.advance("cancelled", next_attempt_at=None)
                case "retry":
                    self._retry(one)
                    one.advance("running", next_attempt_at=now)
                case _:
                    pass
        return nothing


def _errors_of(wanted: NewMassChange) -> tuple[FieldError, ...]:
    """Return what is wrong with a mass change whatever its contracts are."""
    if (wanted.effective == "date") != (wanted.effective_on is not None):
        reason = "it is given for what is effective at a date, and for nothing else"
        return (FieldError("$.effective_on", reason),)
    if isinstance(wanted.price, PricePercentage):
        return () if wanted.price.basis_points else (FieldError("$.price.basis_points", "0 changes nothing"),)
    given = [(each.unit_price.currency, each.interval) for each in wanted.price.prices]
    twice = [place for place, each in enumerate(given) if each in given[:place]]
    return tuple(FieldError(f"$.price.prices[{each}]", "its currency and interval have a price") for each in twice)


def _require(state: str, *wanted: str) -> None:
    """Raise `IllegalTransition` for a mass change that is in none of the states which a step needs, or leads to."""
    if state not in wanted:
        raise IllegalTransition(f"a mass change that is {state} does not allow this")


def _run(mass_change_id: str, run: int) -> str:
    """Return the identity of a run of a mass change."""
    return f"mass_change:{mass_change_id}:{run}"
