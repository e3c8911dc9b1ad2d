"""Jobs of the layers: one that stands still, or ends again and again, is a case for the platform team.

There is one case for a job of a layer, however many replicas have the same trouble: mostly it is one fault of ours, or
one record, in all of them. It closes when a replica says that the job runs, and another one where it still does not
opens it again.
"""

from __future__ import annotations

from litestar.di import NamedDependency
from litestar.params import JSONBody

from canonical.cases import Finding
from canonical.jobs import JobsReceipt, JobsReport
from policies.context import correlation
from policies.contract.operation import operation
from policies.identity.authentication import Principal
from process_apis.runtime.capability import Capability
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.engine import Engine

OWN_NAME = "process-layer"
"""Whose jobs are those of this layer: its client, as those of the others report by theirs."""


def take(context: WorkflowContext, layer: str, report: JobsReport, correlation_id: str) -> int:
    """Open a case for each job of a layer that stands still, and close those of jobs that run. Return how many of the
    report's are open."""
    for job, reason in report.jobs.items():
        subject = f"{layer}/{job}"
        if not reason:
            context.cases.resolve(subject, f"it runs on {report.host}", kind="feed_stopped")
            continue
        context.cases.open(
            "feed_stopped",
            subject,
            Finding("job", f"{reason}, on {report.host}"),
            ("skip",),
            correlation_id=correlation_id,
            given={"layer": layer, "host": report.host},
        )
    return sum(map(bool, report.jobs.values()))


@operation(
    "report_jobs",
    "POST",
    "/jobs",
    summary="Report how the jobs of a layer go on",
    status=200,
    sync_to_thread=True,
)
def report_jobs(
    context: NamedDependency[WorkflowContext], principal: NamedDependency[Principal], data: JSONBody[JobsReport]
) -> JobsReceipt:
    """Take how the jobs go on that a layer does beside its requests. One that stands still is a case for the platform
    team, which closes when it runs."""
    return JobsReceipt(take(context, principal.client, data, correlation.current()))


def capability(context: WorkflowContext, engine: Engine) -> Capability:
    """Return what seeing to the jobs of the layers brings. Its cases are those of change feeds."""
    del context, engine  # its route is given the former, and starts nothing
    return Capability("jobs", routes=[report_jobs])
