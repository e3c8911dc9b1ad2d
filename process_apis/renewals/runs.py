"""Runs of renewals: taken up when they are due or their deal was closed, and what people do about their cases."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from canonical.cases import Action, Case
from canonical.events import Event
from canonical.renewals import Renewal
from canonical.states import IllegalTransition
from policies.identity.authentication import Principal
from policies.problems import MISSING, ProblemError
from process_apis.records.amendments import Amendments
from process_apis.records.database import renewals as renewals_table
from process_apis.records.renewals import Renewals
from process_apis.renewals.workflow import Renewing
from process_apis.runtime.agenda import Agenda
from process_apis.runtime.capability import Next, nothing
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.engine import Engine, Work


class RenewalRuns:
    """Starts what a renewal needs next, and acts on its cases."""

    def __init__(self, context: WorkflowContext, engine: Engine) -> None:
        self._context = context
        self._engine = engine
        self.records = Renewals(context.database, context.clock)
        self.renewing = Renewing(context, self.records, Amendments(context.database, context.clock))
        self.agenda = Agenda(context, renewals_table)

    def find(self, renewal_id: str, principal: Principal) -> Renewal:
        """Return a renewal that the caller may see. Raises `ProblemError` (404) when there is none."""
        found = self.records.visible(renewal_id, principal)
        if found is None:
            raise ProblemError(MISSING, f"There is no renewal {renewal_id}.")
        return found

    # ---- events

    def deal_closed(self, event: Event, correlation_id: str) -> None:
        """Look at the renewal that was offered with a deal which is won."""
        del correlation_id  # a renewal has its own, from the day on which it was found
        self.records.wake(event.instance, event.subject, deal_lost=False)

    def deal_lost(self, event: Event, correlation_id: str) -> None:
        """Look at the renewal that was offered with a deal which is lost."""
        del correlation_id
        self.records.wake(event.instance, event.subject, deal_lost=True)

    # ---- those whose time has come

    def begin(self, row: sa.Row[Any], run: int) -> Work:
        return Work(_run(row.id, run), self.renewing.run, (row.id,), row.contract_id)

    def in_hand(self, row: sa.Row[Any]) -> datetime | None:
        """Return when to look again at a renewal that a run is at."""
        return self._context.stalled_at() if self._engine.is_running(_run(row.id, row.run)) else None

    # ---- cases

    def allowed(self, case: Case) -> tuple[Action, ...]:
        """Return what a case allows in the state that its renewal has come to."""
        return case.actions if self.records.row(case.subject).state == "blocked" else ()

    def act(self, case: Case, action: Action) -> Next:
        """Look at a renewal again, or leave it to people. Raises `IllegalTransition` for one that is blocked no
        longer."""
        with self.records.at(case.subject) as one:
            if one.row.state != "blocked":
                raise IllegalTransition(f"a renewal that is {one.row.state} allows no {action}")
            if action == "retry":
                now = self._context.clock()
                one.advance("blocked", next_attempt_at=now, blocked_reason=one.row.blocked_reason, asked_again=True)
            else:
                one.advance("by_hand", next_attempt_at=None, blocked_reason=f"{action}: {case.reason}")
        return nothing


def _run(renewal_id: str, run: int) -> str:
    """Return the identity of a look at a renewal."""
    return f"renewal:{renewal_id}:{run}"
