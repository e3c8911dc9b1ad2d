"""Corrections: what is taken off an invoice, paid back or given up, asked for here and done in billing once.

`request` says what may be asked of an invoice, `preview` what every platform would make of it, `workflow` carries it
out, `runs` starts what is due and does what people decide, `routes` are what others call. What billing has done is
booked by accounting, as if people had done it there.
"""

from __future__ import annotations

from process_apis.corrections.routes import routes
from process_apis.corrections.runs import CorrectionRuns
from process_apis.corrections.workflow import KINDS
from process_apis.runtime.agenda import Due
from process_apis.runtime.capability import Capability, CaseOwner, Signed
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.engine import Engine


def capability(context: WorkflowContext, engine: Engine) -> Capability:
    """Return what corrections bring."""
    runs = CorrectionRuns(context, engine)
    return Capability(
        "corrections",
        due=[Due(runs.agenda, runs.begin, runs.in_hand)],
        cases=CaseOwner(KINDS, Signed(runs.act), runs.asked_by, allowed=runs.allowed),
        routes=routes(runs),
    )
