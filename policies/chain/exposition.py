"""`GET /metrics`: what a layer measures of itself, to who has the token for it.

The route is there only where the settings name a token. It is a route as any other; it belongs to no API, and is never
turned away for want of room: metrics are wanted most of all when a layer is busy.
"""

from __future__ import annotations

import asyncio
import hmac
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from litestar import Request, Response, get
from litestar.handlers import HTTPRouteHandler
from prometheus_client.core import Metric

from policies.background import Course
from policies.chain.readiness import Latest
from policies.observe.metrics import Metrics, counter, gauge
from policies.problems import UNAUTHENTICATED, ProblemError
from policies.store.secret import Secret

if TYPE_CHECKING:
    from policies.chain.gate import Gate

Asked = Latest[Sequence[Metric]]
"""Measures that others have to be asked for."""
SCHEME = "Bearer "


def metrics_route(metrics: Metrics, token: Secret, asked: Sequence[Asked]) -> HTTPRouteHandler:
    """Return the route. What is `asked` for is left out when it takes too long."""

    @get("/metrics", operation_id="metrics", summary="What the layer measures of itself")
    async def show(request: Request[Any, Any, Any]) -> Response[bytes]:
        if not is_allowed(request.headers.get("authorization", ""), token):
            detail = "The metrics of a layer have a token of their own: server.metrics_token."
            raise ProblemError(UNAUTHENTICATED, detail, headers={"WWW-Authenticate": "Bearer"})
        found = [measure for each in asked for measure in await each.found()]
        body, media_type = await asyncio.to_thread(metrics.exposition, request.headers.get("accept", ""), found)
        return Response(body, media_type=media_type)

    return show


def is_allowed(authorization: str, token: Secret) -> bool:
    """Return whether a header carries the token. How long that takes says nothing about the token."""
    return hmac.compare_digest(authorization.encode(), (SCHEME + token.reveal()).encode())


def measured(gate: Gate, courses: Callable[[], Iterable[Course]]) -> Iterator[Metric]:
    """Yield what the policies of a layer know at this moment, and how the jobs beside its requests go on."""
    yield from _of_jobs(courses())
    calls = {("open" if is_open else "clients",): float(count) for is_open, count in gate.load.running.items()}
    yield gauge("requests_running", "Requests that run now, of clients and open to all.", ("of",), calls)
    tiers = gate.live_catalogue.current.service_tiers.items()
    promised = {(gate.layer, name): tier.promised_share for name, tier in tiers}
    says = "The share of requests that is promised to be answered in time."
    yield gauge("objective_promised_ratio", says, ("layer", "tier"), promised)
    refused = bool(gate.live_catalogue.refused)
    yield gauge("catalogue_refused", "Whether a changed catalogue was refused.", (), {(): refused})
    alone = bool(gate.throttle.away)
    yield gauge("limits_alone", "Whether this replica counts alone, since Redis is away.", (), {(): alone})
    replayed = gate.idempotency.replayed
    yield counter("kept_answers_used", "Writes that were answered with what was kept.", (), {(): replayed})

    audit, refusing = gate.trail.counts(), bool(gate.trail.trouble())
    yield counter("audit_records", "Audit records that were written.", (), {(): audit.written})
    yield counter("audit_records_failed", "Audit records that could not be.", (), {(): audit.failed})
    yield counter("audit_refusals_counted", "Refusals that were not recorded whole.", (), {(): audit.sampled})
    yield counter("audit_wait_seconds", "Seconds that records have waited.", (), {(): audit.waited})
    yield gauge("audit_refusing", "Whether writes are refused for want of a record.", (), {(): refusing})


def _of_jobs(courses: Iterable[Course]) -> Iterator[Metric]:
    """Yield how jobs go on. Several of one name are one: the worst of them counts."""
    named: defaultdict[tuple[str, ...], list[Course]] = defaultdict(list)
    for each in courses:
        named[each.name,].append(each)
    running = {name: min(each.runs for each in of) for name, of in named.items()}
    yield gauge("job_running", "Whether a job beside the requests runs now.", ("job",), running)
    ended = {name: sum(each.ended for each in of) for name, of in named.items()}
    yield counter("job_ended", "How often a job has ended: it is begun again.", ("job",), ended)
    ages = {name: max(each.age for each in of) for name, of in named.items()}
    yield gauge("job_round_age_seconds", "Since a job has begun, or done a round.", ("job",), ages)
    late = {name: max(each.late for each in of) for name, of in named.items()}
    yield gauge("job_late_seconds", "For how long its next round has been due.", ("job",), late)
