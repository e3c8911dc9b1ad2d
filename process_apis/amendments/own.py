"""Changes of contracts that nobody has asked for but the policies of the catalogue: asked for under our own name."""

from __future__ import annotations

from canonical.amendments import NewAmendment
from canonical.cases import Finding
from policies.problems import ProblemError
from process_apis.amendments.contract import RunningContract
from process_apis.amendments.request import check
from process_apis.records.amendments import OURS, Amendments
from process_apis.runtime.context import WorkflowContext


class NotAllowed(Exception):
    """The contract does not allow the change, or its key is that of another one."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding)
        self.finding = finding


def ask(context: WorkflowContext, amendments: Amendments, found: RunningContract, wanted: NewAmendment) -> str:
    """Ask for an amendment of a contract, once, and return its id. Raises `NotAllowed`."""
    try:
        check(found, wanted)
    except ProblemError as refused:
        said = "; ".join(f"{each.path.removeprefix('$.')}: {each.reason}" for each in refused.errors)
        raise NotAllowed(Finding("contract", said or refused.detail)) from refused
    row, _ = amendments.receive(found.contract, wanted, OURS, found.order.correlation_id, context.clock())
    if row.requested_by != OURS:
        raise NotAllowed(Finding("contract", f"{row.id} has the key of ours, and is another change"))
    return str(row.id)
