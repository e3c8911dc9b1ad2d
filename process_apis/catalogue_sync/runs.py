"""Runs of catalogue syncs: previewed, started, taken up when their time has come, and what people do about cases."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Any

import sqlalchemy as sa

from canonical.cases import Action, Case
from canonical.catalogue_sync import CatalogueItem, CatalogueSync, NewCatalogueSync
from canonical.orders import Page
from canonical.states import CatalogueSyncState, IllegalTransition
from policies.business.catalogue_sync import OWNED_ELSEWHERE, PREVIEW_OUTDATED
from policies.identity.authentication import Principal
from policies.problems import INVALID, MISSING, FieldError, ProblemError
from process_apis.catalogue_sync.owners import owned_elsewhere
from process_apis.catalogue_sync.workflow import STOPPED, CatalogueSyncing
from process_apis.records.catalogue_syncs import STARTED, CatalogueSyncs
from process_apis.records.database import catalogue_syncs
from process_apis.runtime.agenda import Agenda
from process_apis.runtime.capability import Next, nothing
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.engine import Engine, Work


class CatalogueSyncRuns:
    """Takes syncs, starts what they need next, and acts on their cases."""

    def __init__(self, context: WorkflowContext, engine: Engine) -> None:
        self._context = context
        self._engine = engine
        self.records = CatalogueSyncs(context.database, context.clock)
        self.agenda = Agenda(context, catalogue_syncs)
        self.syncing = CatalogueSyncing(context, self.records)

    # ---- asked for

    def preview(self, wanted: NewCatalogueSync, principal: Principal, correlation_id: str) -> CatalogueSync:
        """Return the sync with a key, which works out what is to be done and writes nothing. Raises `ProblemError`: 409
        where the CRM does not own what is sold, 422 for a CRM that there is not."""
        crm = self._crm(wanted.crm)
        row, is_new = self.records.receive(
            crm, wanted.key, principal.subject, correlation_id, self._context.stalled_at()
        )
        if is_new:
            self._engine.start(self.begin(row, 1))
        return self._read(row.id)

    def _crm(self, named: str | None) -> str:
        catalogue = self._context.live_catalogue.current
        if elsewhere := owned_elsewhere(catalogue):
            raise ProblemError(OWNED_ELSEWHERE, f"Nothing was done: {elsewhere}.")
        known = catalogue.instances("crm")
        crm = named or (known[0] if len(known) == 1 else "")
        if crm not in known:
            errors = (FieldError("$.crm", f"use one of {', '.join(known)}"),)
            raise ProblemError(INVALID, "It is not said whose catalogue is meant.", errors)
        return crm

    def start(self, sync_id: str) -> CatalogueSync:
        """Carry out what was previewed. One that was started is left alone. Raises `ProblemError`: 404 when there is
        none, 409 for one that is not whole, or is older than another that was started."""
        found = self._read(sync_id)
        with self.records.at(sync_id) as one:
            state: CatalogueSyncState = one.row.state
            if state not in STARTED and one.row.held_in != "applying":
                if state != "planned" or one.is_outdated():
                    detail = f"The preview is {state}" if state != "planned" else "A later preview was started"
                    raise ProblemError(PREVIEW_OUTDATED, f"{detail}. Nothing was done.")
                one.advance("applying", next_attempt_at=self._context.stalled_at())
        if found.state == "planned":
            self.restart(sync_id)
        return self._read(sync_id)

    def read(self, sync_id: str, principal: Principal) -> CatalogueSync:
        """Return a sync. A partner sees none. Raises `ProblemError` (404)."""
        if principal.partner:
            raise ProblemError(MISSING, f"There is no catalogue sync {sync_id}.")
        return self._read(sync_id)

    def _read(self, sync_id: str) -> CatalogueSync:
        found = self.records.get(sync_id)
        if found is None:
            raise ProblemError(MISSING, f"There is no catalogue sync {sync_id}.")
        return found

    def page(self, principal: Principal, state: str | None, cursor: str | None, limit: int) -> Page[CatalogueSync]:
        return Page(()) if principal.partner else self.records.page(state, cursor, limit)

    def items(
        self,
        sync_id: str,
        principal: Principal,
        state: str | None,
        action: str | None,
        cursor: str | None,
        limit: int,
    ) -> Page[CatalogueItem]:
        self.read(sync_id, principal)
        return self.records.items(sync_id, state, action, cursor, limit)

    # ---- those whose time has come

    def restart(self, sync_id: str) -> None:
        """Begin a new run, where the sync stands."""
        row = self.records.row(sync_id)
        if (run := self.agenda.claim(row)) is not None:
            self._engine.start(self.begin(row, run))

    def begin(self, row: sa.Row[Any], run: int) -> Work:
        """Return the work, in the partition of the CRM's catalogue: one sync of it is at work at a time."""
        return Work(sync_run(row.id, run), self.syncing.run, (row.id,), partition=f"catalogue:{row.crm}")

    def in_hand(self, row: sa.Row[Any]) -> datetime | None:
        """Return when to look again at a sync that a run is at."""
        return self._context.stalled_at() if self._engine.is_running(sync_run(row.id, row.run)) else None

    # ---- cases

    def allowed(self, case: Case) -> tuple[Action, ...]:
        """Return what a case allows now: an item is tried again in the sync that was started last."""
        if case.kind == STOPPED:
            return case.actions if self.records.row(case.subject).state == "on_hold" else ()
        row = self.records.row(case.input["sync"])
        is_last = row.state in STARTED and not self.records.is_outdated(row)
        item = self.records.item(case.input["sync"], int(case.input["place"]))
        if is_last and item is not None and item.state == "refused":
            return case.actions
        return tuple(each for each in case.actions if each == "skip")

    def act(self, case: Case, action: Action) -> Next:
        """Do what `action` means for a sync, or for one of its items. Raises `IllegalTransition` when it does not allow
        it any more."""
        if action not in self.allowed(case):
            raise IllegalTransition(f"what the case is about allows no {action} any more")
        if case.kind == STOPPED:
            return self._act_on_sync(case.subject, action)
        if action != "retry":
            return nothing
        with self.records.at(case.input["sync"]) as one:
            self.records.again(one, int(case.input["place"]))
            one.advance("applying", next_attempt_at=self._context.stalled_at())
        return partial(self.restart, case.input["sync"])

    def _act_on_sync(self, sync_id: str, action: Action) -> Next:
        with self.records.at(sync_id) as one:
            if action != "retry":
                one.advance("given_up", next_attempt_at=None, held_in="")
                return nothing
            one.advance(one.row.held_in, next_attempt_at=self._context.stalled_at(), held_in="")
        return partial(self.restart, sync_id)


def sync_run(sync_id: str, run: int) -> str:
    """Return the identity of a run of a sync."""
    return f"catalogue:{sync_id}:{run}"
