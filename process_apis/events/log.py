"""The append-only event log. A source's own event id tells a repeat from a new event."""

from __future__ import annotations

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from canonical.events import Event
from process_apis.records.database import events


def append(engine: sa.Engine, event: Event, correlation_id: str) -> tuple[bool, str]:
    """(whether it is new, the correlation id that the event was first taken with)."""
    known = sa.select(events.c.correlation_id).where(events.c.source == event.source, events.c.id == event.id)
    with engine.connect() as connection:
        first = connection.scalar(known)
    if first is not None:
        return False, str(first)
    values = {
        "source": event.source, "id": event.id, "type": event.type, "subject": event.subject,
        "correlation_id": correlation_id, "document": msgspec.json.encode(event),
    }  # fmt: skip
    try:
        with engine.begin() as connection:
            connection.execute(events.insert().values(values))
    except IntegrityError:
        return False, correlation_id
    return True, correlation_id
