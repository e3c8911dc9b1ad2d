"""The append-only event log. A source's own event id tells a repeat from a new event.

An event names the subscribers that have not taken it: all of them when it comes in, none once each has reacted. So a
process that dies in between leaves an event that is found by its time, and one whose reaction fails is no lost one.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from canonical.events import Event
from process_apis.records.database import events, insert_once, writing
from process_apis.records.published import row_of

ONE = sa.and_(events.c.source == sa.bindparam("of_source"), events.c.id == sa.bindparam("of_id"))
FIRST = sa.select(events).where(ONE)
TAKEN = events.update().where(ONE).values(untaken="", attempts=0, next_attempt_at=None)
EVENT = msgspec.json.Decoder(Event)


class Appended(NamedTuple):
    """What the log has of an event: whether it is new, the correlation id that it was first taken with, how often its
    reactions have failed, and whether what is left of them is for people."""

    is_new: bool
    correlation_id: str
    attempts: int = 0
    is_untaken: bool = False
    is_left_to_people: bool = False


def append(
    engine: sa.Engine,
    event: Event,
    correlation_id: str,
    now: datetime,
    subscribers: Iterable[str] = (),
    look_again: datetime | None = None,
) -> Appended:
    """Append an event at `now`, which the `subscribers` have not taken yet. If they have not by the time of
    `look_again`, it is attempted again."""
    untaken = names_of(subscribers)
    values = row_of(event, correlation_id, now.isoformat()) | {
        "untaken": untaken,
        "next_attempt_at": look_again.isoformat() if untaken and look_again else None,
    }
    with writing(engine) as connection:
        if insert_once(connection, events, values):
            return Appended(True, correlation_id, is_untaken=bool(untaken))
        first = connection.execute(FIRST, _key(event)).one()
    is_left = bool(first.untaken) and first.next_attempt_at is None
    return Appended(False, str(first.correlation_id), first.attempts, bool(first.untaken), is_left)


def set_taken(engine: sa.Engine, event: Event) -> None:
    """Note down that all who subscribed have taken an event."""
    with writing(engine) as connection:
        connection.execute(TAKEN, _key(event))


def set_untaken(
    connection: sa.Connection, event: Event, subscribers: Iterable[str], attempts: int, next_attempt_at: datetime | None
) -> int:
    """Note down who has not taken an event, in the caller's transaction. Return its number in the log."""
    number = int(connection.execute(FIRST.with_for_update(), _key(event)).one().seq)
    values: dict[str, Any] = {
        "untaken": names_of(subscribers),
        "attempts": attempts,
        "next_attempt_at": next_attempt_at.isoformat() if next_attempt_at else None,
    }
    connection.execute(events.update().where(events.c.seq == number).values(**values))
    return number


def look_again(engine: sa.Engine, number: int, at: datetime, attempts: int) -> bool:
    """Let an event that is not taken be attempted at `at`, as one that has failed so often before. Return False when
    there is none any more."""
    untaken = events.update().where(events.c.seq == number, events.c.untaken != "")
    with writing(engine) as connection:
        found = connection.execute(untaken.values(next_attempt_at=at.isoformat(), attempts=attempts))
        return found.rowcount == 1


def names_of(subscribers: Iterable[str]) -> str:
    """Return subscribers as a row names them."""
    return " ".join(sorted(subscribers))


def _key(event: Event) -> dict[str, str]:
    return {"of_source": event.source, "of_id": event.id}
