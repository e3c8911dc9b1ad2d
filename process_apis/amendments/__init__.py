"""Amendments: a contract that runs is changed when every system agrees to what that costs.

`contract` says what a contract is now, `request` what may be asked of it, `reversal` what of it may be taken back,
`preview` what every platform would make of it, `workflow` carries it out, `withdrawal` gives up what no platform has,
`runs` starts what is due and acts on cases, `routes` are what others call.
`deals` takes what was sold in the CRM as a change of a contract, and `sold` says which actions that is.
"""

from __future__ import annotations

from canonical.cases import Action, Case
from canonical.events import DEAL_CLOSED, DEAL_LOST, LINE_PROVISIONED
from process_apis.amendments.deals import DealAmendments
from process_apis.amendments.routes import routes
from process_apis.amendments.runs import AmendmentRuns
from process_apis.amendments.withdrawal import KINDS
from process_apis.runtime.agenda import Due
from process_apis.runtime.capability import Capability, CaseOwner, Next
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.engine import Engine


def capability(context: WorkflowContext, engine: Engine) -> Capability:
    """Return what amendments bring."""
    runs = AmendmentRuns(context, engine)
    deals = DealAmendments(context, runs.records, engine.start, engine.is_running)

    def is_of_deal(case: Case) -> bool:
        return deals.records.row(case.subject) is not None

    def act(case: Case, action: Action) -> Next:
        return deals.act(case, action) if is_of_deal(case) else runs.act(case, action)

    def asked_by(case: Case) -> str:
        return "" if is_of_deal(case) else runs.asked_by(case)

    def allowed(case: Case) -> tuple[Action, ...]:
        return case.actions if is_of_deal(case) else runs.allowed(case)

    return Capability(
        "amendments",
        reactions={
            DEAL_CLOSED: deals.deal_closed,
            DEAL_LOST: deals.deal_lost,
            LINE_PROVISIONED: runs.line_reported,
        },
        due=[Due(runs.agenda, runs.begin, runs.in_hand), Due(deals.agenda, deals.begin, deals.in_hand)],
        periodic_jobs=[deals.show],
        cases=CaseOwner(KINDS, act, asked_by, allowed=allowed),
        routes=routes(context, runs),
        is_made={DEAL_CLOSED: deals.is_made},
    )
