"""Disputes: the bank of a customer takes a payment back, or asks about it, and somebody has to answer in time.

Every event about one means that it is to be read in billing: `workflow` does so, asks support with a case, carries out
what `decisions` has taken from people, and lets accounting book what it has cost. The money that is withdrawn and comes
in again is accounting's. A contract is not renewed meanwhile.
"""

from __future__ import annotations

import sqlalchemy as sa

from canonical.cases import Action, Case
from canonical.events import (
    DISPUTE,
    DISPUTE_CHANGED,
    DISPUTE_CLOSED,
    DISPUTE_OPENED,
    PAYMENT_REINSTATED,
    PAYMENT_REVERSED,
    Event,
)
from process_apis.disputes.decisions import DisputeDecisions
from process_apis.disputes.routes import routes
from process_apis.disputes.workflow import KIND, Disputing
from process_apis.records.database import disputes
from process_apis.records.disputes import Disputes
from process_apis.runtime.agenda import Agenda, Due
from process_apis.runtime.capability import Capability, CaseOwner, Next, nothing
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.engine import Engine, Work

REPORTED_BY = (DISPUTE_OPENED, DISPUTE_CHANGED, DISPUTE_CLOSED, PAYMENT_REVERSED, PAYMENT_REINSTATED)
"""The events that may be about a dispute."""


def capability(context: WorkflowContext, engine: Engine) -> Capability:
    """Return what disputes bring."""
    records = Disputes(context.database, context.clock)
    disputing = Disputing(context, records, engine.wake)

    def reported(event: Event, correlation_id: str) -> None:
        if about := subject_of(event):
            records.expect(about, event, correlation_id)
            engine.look_at(disputes.name)

    def is_made(event: Event) -> bool:
        about = subject_of(event)
        return not about or records.find(about) is not None

    def begin(row: sa.Row[object], run: int) -> Work:
        return Work(f"dispute:{row.id}:{run}", disputing.run, (row.id,), partition=row.id)

    def act(case: Case, action: Action) -> Next:
        if action != "retry":
            return nothing
        records.look_again(case.field)
        return lambda: engine.look_at(disputes.name)

    decisions = DisputeDecisions(context, records, lambda: engine.look_at(disputes.name))
    return Capability(
        "disputes",
        reactions=dict.fromkeys(REPORTED_BY, reported),
        is_made=dict.fromkeys((DISPUTE_OPENED, DISPUTE_CHANGED, DISPUTE_CLOSED), is_made),
        due=[Due(Agenda(context, disputes), begin)],
        cases=CaseOwner(frozenset({KIND}), act),
        routes=routes(records, decisions),
    )


def subject_of(event: Event) -> str:
    """Return the dispute that an event is about; empty for one about a refund. Those of before there were records name
    it as their subject alone."""
    own = event.subject if event.type in (DISPUTE_OPENED, DISPUTE_CLOSED) else ""
    return event.data.get(DISPUTE, own)
