"""Mass changes: a new price of a product, for many contracts at once.

`plan` says what it means for one contract, `workflow` selects the contracts and changes them at a pace, `runs` starts
what is due and does what people decide, `routes` are what others call. Each contract is changed by an amendment.
"""

from __future__ import annotations

from process_apis.mass_change.routes import routes
from process_apis.mass_change.runs import MassChangeRuns
from process_apis.mass_change.workflow import KINDS
from process_apis.runtime.agenda import Due
from process_apis.runtime.capability import Capability, CaseOwner
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.engine import Engine


def capability(context: WorkflowContext, engine: Engine) -> Capability:
    """Return what mass changes bring."""
    runs = MassChangeRuns(context, engine)
    return Capability(
        "mass_change",
        due=[Due(runs.agenda, runs.begin, runs.in_hand)],
        cases=CaseOwner(KINDS, runs.act, runs.asked_by, allowed=runs.allowed),
        routes=routes(runs),
    )
