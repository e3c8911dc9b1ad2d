"""Drift: a field is changed in a system that does not own it. It is found, shown with the owner's value, and repaired
when somebody asks for that.

`comparison` says what is the same, `customers` and `contracts` ask everybody, `looks` and `sweep` do so by themselves,
`records` keeps what was seen, `repair` does what people ask for, and `routes` are what others call.
"""

from __future__ import annotations

from canonical.events import BILLED_CUSTOMER_CHANGED, Event
from process_apis.drift.looks import DriftLooks, LooksInHand
from process_apis.drift.records import Drifts
from process_apis.drift.repair import Repairs
from process_apis.drift.routes import routes
from process_apis.drift.sweep import Sweep
from process_apis.records.database import drift_looks
from process_apis.runtime.agenda import Agenda, Due
from process_apis.runtime.capability import Capability
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.engine import Engine


def capability(context: WorkflowContext, engine: Engine) -> Capability:
    """Return what finding and repairing drift brings."""
    records = Drifts(context.database, context.clock)
    looks = DriftLooks(context, records)

    def customer_changed(event: Event, correlation_id: str) -> None:
        records.expect_looks([event.subject], correlation_id)

    return Capability(
        "drift",
        reactions={BILLED_CUSTOMER_CHANGED: customer_changed},
        due=[Due(Agenda(context, drift_looks), looks.begin, LooksInHand(context, engine), can_wait=True)],
        periodic_jobs=[Sweep(context, records).go_on],
        routes=routes(records, Repairs(context, records)),
    )
