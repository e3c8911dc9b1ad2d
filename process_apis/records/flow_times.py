"""How long the business has waited for what a process has just done: from what has happened on a platform until now.

Each process counts what it has done itself, so that replicas are added up.
"""

from __future__ import annotations

from datetime import datetime

import msgspec
import sqlalchemy as sa
from prometheus_client import Histogram

from canonical.ids import Instant
from process_apis.records.database import events

BUCKETS = (1, 5, 10, 30, 60, 120, 300, 900, 3600, 4 * 3600, 86400, 3 * 86400, 7 * 86400)
"""Bounds in seconds: from what is activated while somebody looks on to what has waited for a week."""
BEGAN = (
    sa.select(events.c.document)
    .where(
        events.c.subject == sa.bindparam("of"),
        events.c.type == sa.bindparam("of_type"),
        events.c.source == sa.bindparam("of_source"),
    )
    .order_by(events.c.seq.desc())
    .limit(1)
)


class _Happened(msgspec.Struct):
    """When an event has happened on its platform."""

    time: Instant


_HAPPENED = msgspec.json.Decoder(_Happened)


def flow_times(name: str, says: str) -> Histogram:
    """Return what takes durations in seconds, `tiergate_` before its name. What is asked for measures shows it."""
    return Histogram(f"tiergate_{name}", says, buckets=BUCKETS, registry=None)


def seconds_since(
    connection: sa.Connection, event_type: str, source: str, subject: str, now: str, otherwise: str = ""
) -> float | None:
    """Return the seconds up to `now` from the latest event of a type about a platform's record, or from the moment
    `otherwise` where there is no such event. None where neither is known."""
    found = connection.scalar(BEGAN, {"of": subject, "of_type": event_type, "of_source": source})
    if found is None and not otherwise:
        return None
    began = _HAPPENED.decode(found).time if found is not None else datetime.fromisoformat(otherwise)
    return max(0.0, (datetime.fromisoformat(now) - began).total_seconds())
