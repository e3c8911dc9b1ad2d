"""Runs of dunnings: taken up when they are due or billing reports something, and what people decide about them."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from canonical.cases import Action, Case
from canonical.dunning import Dunning, DunningAction
from canonical.events import Event
from canonical.ids import derived
from canonical.states import OWING
from policies.business.posting_windows import window_of
from policies.identity.authentication import Principal
from policies.problems import INVALID, MISSING, NOT_ALLOWED_NOW, FieldError, ProblemError
from process_apis.amendments.contract import order_of
from process_apis.dunning.workflow import DunningLooks
from process_apis.records.amendments import Amendments
from process_apis.records.database import dunnings as dunnings_table
from process_apis.records.dunnings import Dunnings, OneDunning, dunning_id
from process_apis.runtime.agenda import Agenda
from process_apis.runtime.capability import Next
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.engine import Engine, Work

LATE = ("past_due", "unpaid")
"""What billing says of a contract whose invoices are not paid in time."""


class DunningRuns:
    """Starts what a dunning needs next, and takes what people decide about it."""

    def __init__(self, context: WorkflowContext, engine: Engine) -> None:
        self._context = context
        self._engine = engine
        self.records = Dunnings(context.database, context.clock)
        self.looks = DunningLooks(context, self.records, Amendments(context.database, context.clock))
        self.agenda = Agenda(context, dunnings_table)

    def find(self, dunning_id: str, principal: Principal) -> Dunning:
        """Return a dunning that the caller may see. Raises `ProblemError` (404) when there is none."""
        found = self.records.visible(dunning_id, principal)
        if found is None:
            raise ProblemError(MISSING, f"There is no dunning {dunning_id}.")
        return found

    # ---- events

    def failed(self, event: Event, correlation_id: str) -> None:
        """Look at a contract of which a payment has failed, or whose invoices are paid in time no more, or again."""
        if event.data.get("state", "past_due") in LATE:
            self._notice(event)
        else:
            self.may_be_settled(event, correlation_id)

    def is_noticed(self, event: Event) -> bool:
        """Return whether the dunning is there that a failure of a payment makes, or none is to be."""
        contract, customer = event.data.get("contract", ""), event.data.get("customer", "")
        is_ours = bool(customer and order_of(self._context, contract))
        return not is_ours or self.records.is_known(dunning_id(contract, customer))

    def went_back(self, event: Event, correlation_id: str) -> None:
        """Look at a contract of which a payment came back. A refund is no debt: it may settle one."""
        if "reason" in event.data:
            self._notice(event)
        else:
            self.may_be_settled(event, correlation_id)

    def may_be_settled(self, event: Event, correlation_id: str) -> None:
        """Look at what is known of a contract's debts."""
        del correlation_id  # a dunning has its own
        contract = event.data.get("contract", "")
        if contract:
            self.records.wake(dunnings_table.c.contract_id == contract)
            self._engine.wake()

    def customer_changed(self, event: Event, correlation_id: str) -> None:
        """Look at what a customer owes that may have another means of payment."""
        del correlation_id
        open_ = dunnings_table.c.next_attempt_at.is_not(None)
        self.records.wake(dunnings_table.c.customer_id == event.subject, open_)
        self._engine.wake()

    def _notice(self, event: Event) -> None:
        contract, customer = event.data.get("contract", ""), event.data.get("customer", "")
        order_id = order_of(self._context, contract)
        plan = self._context.orders.get(order_id).plan if order_id else None
        if plan is None or not customer:
            return  # it is none of ours, or was taken back
        self.records.notice(
            contract,
            customer,
            order_id,
            plan.contract.legal_entity,
            plan.contract.currency,
            derived("cor", "dunning", contract, customer),
        )
        self._engine.wake()

    # ---- those whose time has come

    def begin(self, row: sa.Row[Any], run: int) -> Work:
        return Work(_run(row.id, run), self.looks.run, (row.id,), row.contract_id)

    def in_hand(self, row: sa.Row[Any]) -> datetime | None:
        """Return when to look again at a dunning that a run is at."""
        return self._context.stalled_at() if self._engine.is_running(_run(row.id, row.run)) else None

    # ---- what people decide

    def act(self, case: Case, action: Action) -> Next:
        """Look at a dunning now. Its cases close by themselves."""
        del action
        self.records.wake(dunnings_table.c.id == case.subject)
        return self._engine.wake

    def decide(self, dunning_id: str, wanted: DunningAction, principal: Principal) -> Dunning:
        """Postpone what follows from a debt, let the service go on, or let nothing follow any more. The same again
        changes nothing.

        Raises `ProblemError`: 404 for a dunning that is not there for this caller, 422 for a day that is missing, is
        over or is not wanted, 409 where nothing is owed, or the contract is over.
        """
        found = self.find(dunning_id, principal)
        self._check_day(found, wanted)
        with self.records.at(dunning_id) as one:
            may_go_on = one.row.suspended and wanted.action != "postpone"
            if one.row.state not in OWING and not may_go_on:
                raise ProblemError(NOT_ALLOWED_NOW, f"The dunning is {one.row.state}: there is nothing to decide.")
            if not self._is_done(one, wanted, principal.subject):
                self._decide(one, wanted, principal.subject)
        self._engine.wake()
        return self.find(dunning_id, principal)

    def _check_day(self, found: Dunning, wanted: DunningAction) -> None:
        zone = ZoneInfo(window_of(self._context.live_catalogue.current, found.legal_entity).timezone)
        today = self._context.clock().astimezone(zone).date()
        if wanted.action == "end" and wanted.until is not None:
            raise _refused("$.until", "what is ended has no day: leave it out")
        if wanted.action != "end" and (wanted.until is None or wanted.until <= today):
            raise _refused("$.until", f"say until which day; today is {today}")
        if not wanted.reason.strip():
            raise _refused("$.reason", "say why")

    def _is_done(self, one: OneDunning, wanted: DunningAction, by: str) -> bool:
        """Return whether the last decision was the same one, of the same person."""
        last = one.last_decision()
        day = wanted.until.isoformat() if wanted.until else None
        is_same = last is not None and (last.decided_by, last.reason) == (by, wanted.reason)
        is_left = wanted.action != "end" or one.row.state == "kept"  # a debt that came later was not ended with it
        goes_on = wanted.action == "postpone" or not one.row.suspended
        return is_same and one.row.postponed_until == day and is_left and goes_on

    def _decide(self, one: OneDunning, wanted: DunningAction, by: str) -> None:
        day: date | None = wanted.until
        state = one.row.state
        if wanted.action == "end" and state in OWING:
            state = "kept"
        if wanted.action != "postpone":
            one.turn(suspended=False)
            state = "past_due" if state == "suspended" else state
        one.enter(
            state,
            next_attempt_at=self._context.clock(),
            by=by,
            reason=wanted.reason,
            blocked_reason=one.row.blocked_reason,
            postponed_until=day and day.isoformat(),
            amendment_id="",
        )


def _refused(path: str, reason: str) -> ProblemError:
    return ProblemError(INVALID, "The decision cannot be taken as it is.", (FieldError(path, reason),))


def _run(dunning_id: str, run: int) -> str:
    """Return the identity of a look at a dunning."""
    return f"dunning:{dunning_id}:{run}"
