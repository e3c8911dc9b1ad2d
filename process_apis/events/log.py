"""The append-only event log. A source's own event id tells a repeat from a new event."""

from __future__ import annotations

from datetime import datetime

import msgspec
import sqlalchemy as sa

from canonical.events import Event
from process_apis.records.database import events, insert_once, writing


def append(engine: sa.Engine, event: Event, correlation_id: str, now: datetime) -> tuple[bool, str]:
    """Append an event at `now`. Return (whether it is new, the correlation id that it was first taken with)."""
    values = {
        "source": event.source,
        "id": event.id,
        "type": event.type,
        "subject": event.subject,
        "correlation_id": correlation_id,
        "document": msgspec.json.encode(event),
        "taken_at": now.isoformat(),
    }
    with writing(engine) as connection:
        if insert_once(connection, events, values):
            return True, correlation_id
        first = sa.select(events.c.correlation_id).where(events.c.source == event.source, events.c.id == event.id)
        return False, str(connection.execute(first).scalar_one())
