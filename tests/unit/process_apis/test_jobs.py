"""A job of a layer that stands still is one case of the platform team, which closes when the job runs again."""

from __future__ import annotations

import asyncio

import pytest

from canonical.cases import Case
from canonical.faults import Unavailable
from canonical.ids import identifiers
from canonical.jobs import JobsReport
from policies.background import LASTING, STEADY, Course
from policies.chain.job_reports import AGAIN, JobReports
from process_apis.jobs import take
from process_apis.records.cases import Wanted
from process_apis.runtime.context import WorkflowContext
from tests.support.process_context import SOMEBODY

WATCH = "LiveCatalogue watch"
WHY = "it ends again and again, by MemoryError"


class Replica:
    """A process of a layer with one job, whose reports the process layer takes unless it is away."""

    def __init__(self, context: WorkflowContext, host: str = "one") -> None:
        self.now = 0.0
        self.is_away = False
        self.taken: list[JobsReport] = []
        self.course = Course(WATCH, 1.0, lambda: self.now)
        self._context = context
        self._reports = JobReports(lambda: [self.course], self._take, identifiers(), host, lambda: self.now)
        self.course.begin()

    async def _take(self, report: JobsReport, correlation_id: str) -> None:
        if self.is_away:
            raise Unavailable("process", "no answer")
        self.taken.append(report)
        take(self._context, "system-layer", report, correlation_id)

    def look(self, seconds: float = 0.0) -> None:
        self.now += seconds
        asyncio.run(self._reports.look())

    def fail(self) -> None:
        """End the job as often as it takes until a person has to see to it."""
        for _ in range(LASTING):
            self.now += self.course.end(MemoryError())
            self.course.begin()

    def recover(self) -> None:
        self.look(STEADY)


def open_cases(context: WorkflowContext) -> list[Case]:
    return list(context.cases.page(SOMEBODY, Wanted("open"), None, 25).items)


def test_a_job_that_ends_again_and_again_is_a_case_until_it_runs_again(context: WorkflowContext) -> None:
    replica = Replica(context)
    replica.look()
    replica.fail()
    replica.look()
    replica.look()
    (case,) = open_cases(context)
    replica.recover()

    assert (case.kind, case.team, case.subject) == ("feed_stopped", "platform", f"system-layer/{WATCH}")
    assert (case.field, case.reason, case.actions) == ("job", f"{WHY}, on one", ("skip",))
    assert case.input == {"layer": "system-layer", "host": "one"}
    assert open_cases(context) == []
    assert [each.jobs for each in replica.taken] == [{WATCH: WHY}, {WATCH: ""}]


def test_a_replica_that_is_started_again_closes_what_the_one_before_has_reported(context: WorkflowContext) -> None:
    before = Replica(context)
    before.fail()
    before.look()
    opened = len(open_cases(context))
    Replica(context).look(STEADY)

    assert (opened, open_cases(context)) == (1, [])


def test_two_replicas_have_one_case_and_it_is_open_again_soon_when_one_of_them_still_has_the_trouble(
    context: WorkflowContext,
) -> None:
    one, other = Replica(context, "one"), Replica(context, "other")
    for each in (one, other):
        each.fail()
        each.look()
    together = len(open_cases(context))
    one.recover()
    closed = open_cases(context)
    other.now += AGAIN
    other.fail()
    other.look()
    (again,) = open_cases(context)

    assert (together, closed) == (1, [])
    assert again.input["host"] == "other"


def test_what_cannot_be_reported_is_reported_later(context: WorkflowContext) -> None:
    replica = Replica(context)
    replica.fail()
    replica.is_away = True
    replica.look()
    replica.is_away = False
    replica.look()

    assert len(open_cases(context)) == 1


@pytest.mark.parametrize("seconds", [0.0, STEADY - 1])
def test_nothing_is_reported_of_a_job_before_it_is_known_how_it_goes_on(
    context: WorkflowContext, seconds: float
) -> None:
    replica = Replica(context)
    replica.look(seconds)

    assert replica.taken == []
