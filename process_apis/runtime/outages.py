"""The end of an outage: when something that waited for a platform goes on, all that waits for it does, the oldest
first. Each would wait out its own pause otherwise, which has grown to minutes by then."""

from __future__ import annotations

from typing import cast, get_args

import sqlalchemy as sa

from policies.catalogue.model import Domain
from process_apis.records.database import orders, postings, writing
from process_apis.runtime.context import WorkflowContext

AT_ONCE = 1000
"""Rows of a table that are woken together: the next one that goes on wakes others."""


def is_over(context: WorkflowContext, blocked_reason: str, legal_entity: str) -> int:
    """Let go on what waits for the platform that something, which has just gone on, waited for: `blocked_reason` says
    so, and `legal_entity` which one of its domain it was. Return how many records were woken."""
    name = blocked_reason.partition(": ")[0]
    if name not in get_args(Domain):
        return 0
    domain, catalogue = cast("Domain", name), context.live_catalogue.current
    instance = catalogue.instance_for(domain, legal_entity)
    now = context.clock().isoformat()
    woken = 0
    for table in (orders, postings):
        waits = sa.and_(table.c.next_attempt_at > now, table.c.blocked_reason.startswith(f"{domain}: "))
        waiting = sa.select(table.c.seq, table.c.legal_entity).where(waits).order_by(table.c.seq).limit(AT_ONCE)
        with writing(context.database) as connection:
            found = connection.execute(waiting.with_for_update()).all()
            same = [each.seq for each in found if catalogue.instance_for(domain, each.legal_entity) == instance]
            if same:
                connection.execute(table.update().where(table.c.seq.in_(same)).values(next_attempt_at=now))
        woken += len(same)
    return woken
