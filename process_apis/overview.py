"""The overview: how far everything has come, and where something is found, for each caller what it may see."""

from __future__ import annotations

import re
from datetime import datetime
from functools import partial

import sqlalchemy as sa
from litestar.di import NamedDependency

from canonical.cases import Incident
from canonical.ids import KEY
from canonical.overview import Flow, Found, Hit
from canonical.states import DUNNING_TRANSITIONS, OWING, AmendmentState, DisputeState, OrderState
from policies.contract.operation import operation
from policies.contract.parameters import SearchedFor
from policies.identity.authentication import Principal
from process_apis.lineage import LineageReader
from process_apis.records import overview, waiting
from process_apis.records.database import amendments, disputes, dunnings, orders, postings
from process_apis.runtime.capability import Capability
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.engine import Engine

MOST = 10
"""Hits of one kind that are shown."""
ORDERS_END: tuple[OrderState, ...] = ("active", "cancelled", "failed")
AMENDMENTS_END: tuple[AmendmentState, ...] = ("applied", "given_up")
DUNNINGS_END = tuple(each for each in DUNNING_TRANSITIONS if each not in OWING)
DISPUTES_END: tuple[DisputeState, ...] = ("won", "lost", "closed")
"""The states in which nothing waits any more."""
LIKE_AN_ID = re.compile(KEY)


@operation("get_flow", "GET", "/flow", summary="Read how far everything has come", sync_to_thread=True)
def get_flow(context: NamedDependency[WorkflowContext], principal: NamedDependency[Principal]) -> Flow:
    """Return how many orders, changes, postings, debts and disputes are in each state, the oldest of each and what they
    are worth, the open cases of each team, and the platforms that something waits for."""
    return flow_of(context.database, context.clock(), principal)


def flow_of(database: sa.Engine, now: datetime, principal: Principal) -> Flow:
    """Return what `get_flow` answers a caller at `now` (UTC)."""
    may = principal.scopes
    left_out = tuple(scope for scope in ("postings:read", "cases:read", "disputes:read") if scope not in may)
    with database.connect() as connection:
        read = partial(overview.counted, connection, principal)
        return Flow(
            as_of=now,
            orders=read(orders, ORDERS_END, orders.c.amount),
            amendments=read(amendments, AMENDMENTS_END),
            postings=() if "postings:read" in left_out else read(postings, ("posted",), postings.c.amount),
            dunnings=() if "cases:read" in left_out else read(dunnings, DUNNINGS_END, dunnings.c.owed),
            disputes=() if "disputes:read" in left_out else read(disputes, DISPUTES_END, disputes.c.amount),
            cases=() if "cases:read" in left_out else overview.cases_by_team(connection, principal),
            incidents=_incidents(connection, principal),
            left_out=left_out,
        )


@operation("search", "GET", "/search", summary="Find a record", sync_to_thread=True)
def search(
    context: NamedDependency[WorkflowContext], principal: NamedDependency[Principal], wanted: SearchedFor
) -> Found:
    """Return customers and orders by their names, and any record by its number or its id, ours or a platform's."""
    words = wanted.strip()
    with context.database.connect() as connection:
        found = dict[tuple[str, str], Hit]()
        if words:
            hits = overview.found_by_words(connection, principal, words, MOST + 1)
            found = {(each.kind, each.id): each for each in hits}
        if LIKE_AN_ID.match(words) and not found:
            reader = LineageReader(connection, context.live_catalogue.current, principal)
            if lineage := reader.read(words):
                ids = [each.id for each in lineage.records]
                found = {(each.kind, each.id): each for each in overview.found_by_ids(connection, principal, ids)}
    return _shown(words, list(found.values()))


def _shown(query: str, hits: list[Hit]) -> Found:
    """Return the first hits of each kind."""
    shown = [each for place, each in enumerate(hits) if sum(other.kind == each.kind for other in hits[:place]) < MOST]
    return Found(query, tuple(shown), more=len(shown) < len(hits))


def _incidents(connection: sa.Connection, principal: Principal) -> tuple[Incident, ...]:
    """Return the platforms that something waits for, to those who may see all that does."""
    if principal.partner or "*" not in principal.entities or "cases:read" not in principal.scopes:
        return ()
    blocked = waiting.blocked(connection)
    return tuple(
        waiting.incident(connection, platform, datetime.fromisoformat(blocked[platform].since))
        for platform in sorted(blocked)
    )


def capability(context: WorkflowContext, engine: Engine) -> Capability:
    """Return what the overview brings: its routes."""
    del context, engine  # the routes are given the former, and start nothing
    return Capability("overview", routes=[get_flow, search])
