"""Amendments: a contract that runs is changed when every system agrees to what that costs.

`contract` says what a contract is now, `request` what may be asked of it, `preview` what every platform would make of
it, `workflow` carries it out, `runs` starts what is due and acts on cases, `routes` are what others call.
"""

from __future__ import annotations

from canonical.events import LINE_PROVISIONED
from process_apis.amendments.routes import routes
from process_apis.amendments.runs import AmendmentRuns
from process_apis.amendments.workflow import KINDS
from process_apis.runtime.agenda import Due
from process_apis.runtime.capability import Capability, CaseOwner
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.engine import Engine


def capability(context: WorkflowContext, engine: Engine) -> Capability:
    """Return what amendments bring."""
    runs = AmendmentRuns(context, engine)
    return Capability(
        "amendments",
        reactions={LINE_PROVISIONED: runs.line_reported},
        due=[Due(runs.agenda, runs.begin, runs.in_hand)],
        cases=CaseOwner(KINDS, runs.act, runs.asked_by, allowed=runs.allowed),
        routes=routes(context, runs),
    )
