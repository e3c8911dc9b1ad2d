"""Incidents: an outage of a platform is one case for the platform team, whatever number of orders, postings and
customers waits for it.

The rows that wait are what counts, and each poll holds the cases against them: so a process that dies opens no case
twice and leaves none open. An incident ends when nothing waits for the platform any more, and not with the first that
goes on: a platform that comes back answers some calls while it refuses others, and would be a new case each time.
"""

from __future__ import annotations

from canonical.cases import Action, Case, CaseKind, Finding
from policies.catalogue.model import Catalogue
from process_apis.records import waiting
from process_apis.records.cases import OUTAGE, SINCE
from process_apis.runtime import outages
from process_apis.runtime.agenda import CASE_AFTER
from process_apis.runtime.capability import Capability, CaseOwner, Next
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.engine import Engine

KINDS: frozenset[CaseKind] = frozenset({"waiting_for_platform"})


class Incidents:
    """Opens and closes the cases of outages."""

    def __init__(self, context: WorkflowContext, engine: Engine) -> None:
        self._context = context
        self._engine = engine

    def check(self) -> None:
        """Open a case for each platform that something has tried in vain for too long, and close those of platforms
        that nothing waits for."""
        context = self._context
        with context.database.connect() as connection:
            blocked = waiting.blocked(connection)
        known = {each.subject: each for each in context.cases.open_of_kind(OUTAGE)}
        for platform, each in blocked.items():
            if each.attempts >= CASE_AFTER and platform not in known:
                self._open(each)
        for platform, case in known.items():
            if platform not in blocked:
                context.cases.close(case, f"nothing waits for {platform} any more")

    def _open(self, blocked: waiting.Blocked) -> None:
        context, platform = self._context, blocked.platform
        catalogue = context.live_catalogue.current
        with context.database.connect() as connection:
            correlation_id = waiting.correlation_of_first(connection, platform)
        served = catalogue.platforms.get(platform)
        domain = served.domain if served else platform
        context.cases.open(
            OUTAGE,
            platform,
            Finding(domain, f"{platform} is away, too slow, or takes no more requests", domain),
            ("retry",),
            correlation_id=correlation_id,
            legal_entity=_only_entity(catalogue, platform),
            given={"platform": platform, SINCE: blocked.since},
        )

    def act(self, case: Case, action: Action) -> Next:
        """Try at once all that waits. The case stays: it closes itself when nothing waits any more."""
        del action  # there is one
        outages.is_over(self._context, case.subject)
        return self._engine.wake


def _only_entity(catalogue: Catalogue, platform: str) -> str:
    """Return the legal entity that a platform serves, empty where it is not one alone: then the case is for those who
    may see all of them."""
    served = catalogue.platforms[platform].legal_entities if platform in catalogue.platforms else frozenset[str]()
    return next(iter(served)) if len(served) == 1 and "*" not in served else ""


def capability(context: WorkflowContext, engine: Engine) -> Capability:
    """Return what seeing to outages brings."""
    incidents = Incidents(context, engine)
    return Capability(
        "incidents",
        periodic_jobs=[incidents.check],
        cases=CaseOwner(KINDS, incidents.act, closed_by_action=False),
    )
