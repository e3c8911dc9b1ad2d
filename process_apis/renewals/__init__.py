"""Renewals: what happens when the term of a contract ends. The catalogue says it for each legal entity: the contract is
offered again in the CRM, renewed by itself, or ends.

`sweep` finds the terms that end, `plan` says what becomes of one as the contract stands, `workflow` does it, `runs`
starts what is due and acts on cases, and `routes` are what others call. Contracts are changed by amendments alone.
"""

from __future__ import annotations

from canonical.events import DEAL_CLOSED, DEAL_LOST
from process_apis.renewals.routes import routes
from process_apis.renewals.runs import RenewalRuns
from process_apis.renewals.sweep import RenewalSweep
from process_apis.renewals.workflow import KIND
from process_apis.runtime.agenda import Due
from process_apis.runtime.capability import Capability, CaseOwner
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.engine import Engine


def capability(context: WorkflowContext, engine: Engine) -> Capability:
    """Return what renewals bring."""
    runs = RenewalRuns(context, engine)
    return Capability(
        "renewals",
        reactions={DEAL_CLOSED: runs.deal_closed, DEAL_LOST: runs.deal_lost},
        due=[Due(runs.agenda, runs.begin, runs.in_hand)],
        periodic_jobs=[RenewalSweep(context, runs.records).go_on],
        cases=CaseOwner(frozenset({KIND}), runs.act, allowed=runs.allowed),
        routes=routes(runs),
    )
