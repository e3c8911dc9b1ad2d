"""The order of the policies: the one place in which it stands.

The middleware, the pass-through and `explain` all go over `PIPELINE`. At its end is the handler: the route, the route
that runs once for each idempotency key, or the fetch from the next layer. In the handler a route still refuses bodies
that are too large and fields that it does not know; the answer gets its problem details there.

To add a policy is to write its file and to put it into the order here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import date
from typing import Any

import msgspec

from canonical.ids import Clock
from policies.audit.trail import AuditTrail
from policies.audit.writes import AuditedWrites, RecordableWrites
from policies.business.amendments import AMENDMENT_APPROVALS
from policies.business.case_routing import CASE_ROUTING
from policies.business.corrections import CORRECTION_APPROVALS
from policies.business.dunning import DUNNING
from policies.business.events import EVENTS
from policies.business.mass_changes import MASS_CHANGE_PACE
from policies.business.posting_windows import POSTING_WINDOWS
from policies.business.renewals import RENEWALS
from policies.business.start_window import START_WINDOW
from policies.business.usage import METERS
from policies.catalogue.explain import Explanation, asked, explained
from policies.catalogue.model import Catalogue
from policies.catalogue.sections import Section
from policies.context.correlation import Correlation
from policies.context.deadline import TimeLimit
from policies.contract.bodies import WholeRequest
from policies.contract.deprecation_usage import DeprecationUsage
from policies.contract.versions import CountedDeprecations, Versions
from policies.identity.authentication import Authentication, Verifier
from policies.identity.authorization import Authorization
from policies.identity.roles import ROLES
from policies.identity.segregation import SEGREGATION
from policies.identity.trusted_issuers import ISSUERS
from policies.observe.metrics import Measured, Metrics
from policies.observe.tracing import Traced
from policies.outbound.ownership import OWNERSHIP
from policies.policy import Call, Policy, Rules
from policies.traffic.idempotency import IdempotencyKeys
from policies.traffic.load_shedding import CallsAtOnce, Load, LoadShedding
from policies.traffic.rate_limit import RateLimiter, RateLimits


class Services(msgspec.Struct, frozen=True):
    """What the policies of one layer work with."""

    verifier: Verifier
    limiter: RateLimiter
    load: Load
    usage: DeprecationUsage
    trail: AuditTrail
    clock: Clock
    metrics: Metrics


Make = Callable[[Rules, Services], Policy]
"""Makes a policy for one operation."""
PIPELINE: tuple[tuple[type[Policy], Make], ...] = (
    (Measured, lambda rules, services: Measured(rules, services.metrics)),
    (Correlation, lambda _rules, _services: Correlation()),
    (Traced, lambda rules, _services: Traced(rules)),
    (AuditedWrites, lambda rules, services: AuditedWrites(rules, services.trail, services.clock)),
    (TimeLimit, lambda rules, _services: TimeLimit(rules)),
    (Versions, lambda rules, _services: Versions(rules)),
    (Authentication, lambda rules, services: Authentication(rules, services.verifier)),
    (WholeRequest, lambda _rules, _services: WholeRequest()),
    (LoadShedding, lambda rules, services: LoadShedding(rules, services.load)),
    (CallsAtOnce, lambda rules, services: CallsAtOnce(rules, services.load)),
    (RateLimits, lambda rules, services: RateLimits(rules, services.limiter)),
    (Authorization, lambda rules, _services: Authorization(rules)),
    (RecordableWrites, lambda _rules, services: RecordableWrites(services.trail)),
    (CountedDeprecations, lambda rules, services: CountedDeprecations(rules, services.usage)),
    (IdempotencyKeys, lambda rules, _services: IdempotencyKeys(rules)),
)
"""What each call passes, first to last; what was taken is given back last to first."""
FACTS: tuple[Section[Any], ...] = (
    SEGREGATION,
    ROLES,
    OWNERSHIP,
    POSTING_WINDOWS,
    START_WINDOW,
    AMENDMENT_APPROVALS,
    CORRECTION_APPROVALS,
    MASS_CHANGE_PACE,
    RENEWALS,
    DUNNING,
    METERS,
    CASE_ROUTING,
    EVENTS,
    ISSUERS,
)
"""Sections of the catalogue that govern the work itself, and not how a call passes."""


class Pipeline:
    """The policies of one operation, under one catalogue. Those that do not apply to it cost nothing."""

    def __init__(self, rules: Rules, services: Services) -> None:
        self.rules = rules
        made = [make(rules, services) for policy, make in PIPELINE if policy.applies(rules)]
        passed = [each for each in made if _overrides(each, "enter") or _overrides(each, "leave")]
        self._enter = tuple(each.enter for each in passed)
        self._leave = tuple(
            tuple(each.leave for each in reversed(passed[:entered]) if _overrides(each, "leave"))
            for entered in range(len(passed) + 1)
        )
        """What is given back when so many policies were entered."""
        self._answered = tuple(each.answered for each in made if _overrides(each, "answered"))

    def enter(self, call: Call) -> Awaitable[None] | None:
        """Let a call in, past all policies. Return an awaitable when one of them must wait: it goes on from there.

        Raises the `ProblemError` of the one that refuses. `leave` follows in any case.
        """
        entered = 0
        try:
            for enter in self._enter:
                waiting = enter(call)
                if waiting is not None:
                    return self._wait(call, waiting, entered)
                entered += 1
        finally:
            call.entered = entered
        return None

    async def _wait(self, call: Call, waiting: Awaitable[None], entered: int) -> None:
        await waiting
        call.entered = entered + 1
        for enter in self._enter[call.entered :]:
            following = enter(call)
            if following is not None:
                await following
            call.entered += 1

    def leave(self, call: Call) -> None:
        """Give back what the policies that were entered have taken, last to first."""
        for leave in self._leave[call.entered]:
            leave(call)

    def answered(self, call: Call, status: int) -> Awaitable[Any] | None:
        """Let the policies know how a call is answered. It is answered once: what comes after is not heard.

        Return an awaitable when the answer must wait.
        """
        if call.status:
            return None
        call.status = status
        waiting = [each for answered in self._answered if (each := answered(call)) is not None]
        if len(waiting) > 1:
            return asyncio.gather(*waiting)
        return waiting[0] if waiting else None


def _overrides(policy: Policy, name: str) -> bool:
    return getattr(type(policy), name) is not getattr(Policy, name)


def explain(catalogue: Catalogue, text: str, client: str, operation_id: str, today: date) -> Explanation:
    """Return what would happen if a client called an operation, policy by policy. `text` is the catalogue as it is
    written, for the lines. Raises `Unknown` for a client or an operation that the catalogue does not have."""
    question = asked(catalogue, client, operation_id, today)
    return explained(question, text, (policy.explain for policy, _ in PIPELINE))
