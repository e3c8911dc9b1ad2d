"""Fulfilment: which workflow takes an order on, from the closed deal until every line is delivered or the order has
ended.

Work on a contract that billing may have already is done one at a time, in the contract's partition. A new order has
none, and waits for nobody.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from canonical.cases import Finding
from canonical.events import CONTRACT, DEAL_CLOSED, DEAL_LOST, LINE_PROVISIONED, Event
from canonical.orders import LineState
from process_apis import cancellation, order_intake
from process_apis.activation import Activation
from process_apis.deal_changes import DealChanges, revision_of, state_of
from process_apis.order_cases import KINDS, OUTLIVE, OrderCases
from process_apis.quote_to_cash import QuoteToCash
from process_apis.records.amending_deals import AmendingDeals
from process_apis.records.database import orders
from process_apis.records.orders import BEING_DELIVERED, ENDED, contract_of
from process_apis.runtime.agenda import Agenda, Due
from process_apis.runtime.capability import Capability, CaseOwner, Signed
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.crm_status import write_status_to_crm
from process_apis.runtime.engine import Engine, Work
from process_apis.runtime.holds import line_field


class Fulfilment:
    """Starts what an order needs next."""

    def __init__(self, context: WorkflowContext, engine: Engine) -> None:
        self._context = context
        self._engine = engine
        self._quote_to_cash = QuoteToCash(context)
        self._activation = Activation(context)
        self._deal_changes = DealChanges(context, self.restart)
        self._amending_deals = AmendingDeals(context.database)
        self.agenda = Agenda(context, orders)

    # ---- events

    def deal_closed(self, event: Event, correlation_id: str) -> None:
        revision = self._deal_changes.closed(event, correlation_id)
        if revision is not None and not self._changes_contract(event):
            seen = {"deal_state": state_of(event), "deal_revision": revision_of(event)}
            self.open_order(event.instance, event.subject, revision, correlation_id, **seen)

    def _changes_contract(self, event: Event) -> bool:
        """Return whether a deal is a change of a contract, or was when it was last seen: then it is no sale."""
        known = self._amending_deals.of(event.instance, event.subject)
        return CONTRACT in event.data or (known is not None and known.amendment_id != "")

    def is_made(self, event: Event) -> bool:
        """Return whether a closed deal has its order, or gets none."""
        has_order = self._context.orders.newest_of(event.instance, event.subject) is not None
        return has_order or self._changes_contract(event)

    def deal_lost(self, event: Event, correlation_id: str) -> None:
        self._deal_changes.lost(event, correlation_id)

    def open_order(self, crm: str, deal_id: str, revision: int, correlation_id: str, **known: str | int) -> str:
        """Return the order of a deal, on its way; the same one however often it is asked for. `known` as for the
        record."""
        order_id, state = self._context.orders.receive(
            crm, deal_id, revision, correlation_id, self._context.stalled_at(), **known
        )
        if state == "received":
            self._engine.start(Work(order_run(order_id, 1), self._quote_to_cash.run, (order_id,)))
        return order_id

    def line_reported(self, event: Event, _: str) -> None:
        """Keep the report. The first to see that every line has a result starts the activation, whose identity
        makes it one."""
        state: LineState = "provisioned" if event.data.get("succeeded") == "true" else "failed"
        line, reason = event.data.get("line", ""), event.data.get("reason", "")
        attempt = int(event.data["attempt"]) if "attempt" in event.data else None
        if self._context.orders.report_line(event.subject, line, state, reason, attempt):
            row = self._context.orders.row(event.subject)
            if row.state in BEING_DELIVERED:
                self._engine.start(self._activate(row, row.run))

    # ---- orders whose time has come

    def restart(self, order_id: str) -> None:
        """Begin a new run, where the order stands."""
        row = self._context.orders.row(order_id)
        if (run := self.agenda.claim(row)) is not None:
            self._engine.start(self._work(row, run))

    def begin(self, row: sa.Row[Any], run: int) -> Work | None:
        """Return the next run of an order that nothing has moved for too long, None for one that has ended."""
        if row.state in ENDED:
            self._context.orders.change(row.id, next_attempt_at=None)
            return None
        if row.state in BEING_DELIVERED and not row.blocked_reason and self._undelivered(row.id):
            self._report_silence(row)
        return self._work(row, run)

    def in_hand(self, row: sa.Row[Any]) -> datetime | None:
        """Return when to look again at an order that is being worked on."""
        runs = (
            order_run(row.id, row.run),
            order_run_of_0_1(row),
            activation_run(row, row.run),
            compensation_run(row, row.run),
        )
        return self._context.stalled_at() if self._engine.is_running(*runs) else None

    def show_what_the_crm_lacks(self) -> None:
        """Write the states to the CRM that it could not get when they were reached."""
        for row in self._context.orders.status_not_in_crm():
            write_status_to_crm(self._context, row.id)

    def _work(self, row: sa.Row[Any], run: int) -> Work:
        if row.state == "compensating":
            workflow_id = compensation_run(row, run)
            return Work(workflow_id, self._quote_to_cash.compensate, (row.id,), contract_of(row))
        if row.state in BEING_DELIVERED and not self._undelivered(row.id):
            return self._activate(row, run)
        workflow_id = order_run(row.id, run)
        return Work(workflow_id, self._quote_to_cash.run, (row.id,), contract_of(row))

    def _activate(self, row: sa.Row[Any], run: int) -> Work:
        return Work(activation_run(row, run), self._activation.run, (row.id,), contract_of(row))

    def _undelivered(self, order_id: str) -> bool:
        return any(each.state in ("waiting", "requested") for each in self._context.orders.lines(order_id))

    def _report_silence(self, row: sa.Row[Any]) -> None:
        lines = self._context.orders.lines(row.id)
        for line in (each.line for each in lines if each.state == "requested"):
            reason = f"the target has not reported on {line.name}; it is asked again"
            self._context.cases.open(
                "not_delivered",
                row.id,
                Finding(line_field(lines, line.id), reason),
                ("retry", "compensate"),
                correlation_id=row.correlation_id,
                legal_entity=row.legal_entity,
                customer_id=row.customer_id,
                given={"line": line.id},
            )


def order_run(order_id: str, run: int) -> str:
    """Return the identity of an order's workflow. A revision of a deal has one order."""
    return f"order:{order_id}:{run}"


def order_run_of_0_1(row: sa.Row[Any]) -> str:
    """Return the identity that version 0.1 gave to an order's workflow, which may have been running at the upgrade."""
    named = f"order:{row.deal_id}:{row.revision}"
    return named if row.run == 1 else f"{named}:{row.run}"


def activation_run(row: sa.Row[Any], run: int) -> str:
    return f"activation:{row.id}:{run}:{row.provisioning_attempt}"


def compensation_run(row: sa.Row[Any], run: int) -> str:
    return f"compensation:{row.id}:{run}"


def capability(context: WorkflowContext, engine: Engine) -> Capability:
    """Return what fulfilment brings."""
    fulfilment = Fulfilment(context, engine)
    cases = OrderCases(context, fulfilment.restart)
    return Capability(
        "fulfilment",
        reactions={
            DEAL_CLOSED: fulfilment.deal_closed,
            DEAL_LOST: fulfilment.deal_lost,
            LINE_PROVISIONED: fulfilment.line_reported,
        },
        is_made={DEAL_CLOSED: fulfilment.is_made},
        measures=[context.orders.close_to_active.collect],
        due=[Due(fulfilment.agenda, fulfilment.begin, fulfilment.in_hand)],
        periodic_jobs=[fulfilment.show_what_the_crm_lacks],
        cases=CaseOwner(KINDS, Signed(cases.decide), cases.asked_by, OUTLIVE, allowed=cases.allowed),
        routes=(
            *order_intake.routes(order_intake.OrderIntake(context, fulfilment.open_order)),
            *cancellation.routes(cancellation.Cancellations(context, cases)),
        ),
    )
