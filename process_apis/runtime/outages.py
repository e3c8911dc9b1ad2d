"""Outages of platforms: what waits for which one, and the end of it. When something that waited goes on, all that waits
for the same platform does, the oldest first. Each would wait out its own pause otherwise, which has grown to minutes by
then."""

from __future__ import annotations

from typing import Any, cast, get_args

import sqlalchemy as sa

from policies.catalogue.model import Domain
from process_apis.records.database import writing
from process_apis.records.waiting import TABLES
from process_apis.runtime.context import WorkflowContext

Blocked = dict[str, str | None]
"""What the columns hold of a row that waits for a platform, or for none (`NOT_BLOCKED`)."""
AT_ONCE = 1000
"""Rows of a table that are woken together: the next one that goes on wakes others."""


def platform_of(context: WorkflowContext, domain: str, legal_entity: str, **known: str) -> str:
    """Return the platform that a fault of a `domain` is about, by its name in the catalogue. `known` names those that
    the record came from, by their domain. A layer that cannot be reached has its own name."""
    if domain not in get_args(Domain):
        return domain
    named = known.get(domain) or context.live_catalogue.current.instance_for(cast("Domain", domain), legal_entity)
    return named or domain


def blocked(context: WorkflowContext, row: sa.Row[Any], domain: str, legal_entity: str, **known: str) -> Blocked:
    """Return the columns of a row that says for which platform it waits, and since when. `known` as for
    `platform_of`."""
    return {
        "blocked_by": platform_of(context, domain, legal_entity, **known),
        "blocked_since": row.blocked_since or context.clock().isoformat(),
    }


def is_over(context: WorkflowContext, platform: str) -> int:
    """Let go on what waits for a platform. Return how many records were woken."""
    now = context.clock().isoformat()
    woken = 0
    for table in TABLES:
        waits = sa.and_(table.c.blocked_by == platform, table.c.next_attempt_at > now)
        oldest = sa.select(table.c.seq).where(waits).order_by(table.c.seq).limit(AT_ONCE).with_for_update()
        with writing(context.database) as connection:
            found = connection.scalars(oldest).all()
            if found:
                connection.execute(table.update().where(table.c.seq.in_(found)).values(next_attempt_at=now))
        woken += len(found)
    return woken
