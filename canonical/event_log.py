"""The event log as people see it: what was taken and by whom, what it set in motion, and what a replay would do."""

from __future__ import annotations

from typing import Annotated

import msgspec

from canonical.events import TYPE, Event
from canonical.ids import Instant, Key

Number = Annotated[int, msgspec.Meta(ge=1, lt=10**18)]
"""The number of an event in the log."""
EventType = Annotated[str, msgspec.Meta(pattern=rf"^{TYPE.pattern}\Z")]


class LoggedEvent(msgspec.Struct, frozen=True):
    """An event of the log."""

    number: int
    """Its place in the log: a later event has a higher one."""
    event: Event
    correlation_id: str
    logged_at: Instant | None
    """When it came in; None for one from before that was noted."""
    not_taken_by: tuple[str, ...] = ()
    """The subscribers whose reaction has failed, or is still to come."""
    next_attempt_at: Instant | None = None
    """When they are tried again; None when all have taken it, or where it is left to people."""


class SetInMotion(msgspec.Struct, frozen=True):
    """A record that an event is about, or has led to, as it is now."""

    kind: str
    """What it is: `order`, `amendment`, `posting`, `customer`, `case` or `workflow`."""
    id: str
    state: str


class EventDetail(msgspec.Struct, frozen=True):
    """An event with those who have taken it, and what it set in motion."""

    logged: LoggedEvent
    taken_by: tuple[str, ...]
    set_in_motion: tuple[SetInMotion, ...]


class SubscriberStatus(msgspec.Struct, frozen=True):
    """A capability that reacts to events, and how far it is."""

    name: str
    types: tuple[str, ...]
    """The types of events that it reacts to."""
    waiting: int
    """Events that it has not taken yet, and that are tried again by themselves."""
    left_to_people: int
    """Events that it could not take: each is, or was, a case."""
    oldest: int | None = None
    """The number of the oldest event that it has not taken."""
    oldest_at: Instant | None = None
    """When that one came in."""


class ReplayRequest(msgspec.Struct, frozen=True):
    """Which events are to be replayed: those that all of the members allow that are there, one at the least.

    Without `go` nothing is changed. Numbers and moments are inclusive.
    """

    from_number: Number | None = None
    to_number: Number | None = None
    since: Instant | None = None
    until: Instant | None = None
    type: EventType | None = None
    subject: Key | None = None
    """The record that an event is about, by its id on its platform or ours."""
    subscriber: str | None = None
    """Only the reactions of this one."""
    per_second: int = 20
    """How many events are replayed in a second, 1 to 50."""
    go: bool = False


class ReplayShare(msgspec.Struct, frozen=True):
    """What a replay means for one subscriber and one type of event."""

    subscriber: str
    type: str
    events: int
    missing: int
    """Events whose work is not there: these alone are reacted to. All others are done."""


class ReplayPlan(msgspec.Struct, frozen=True):
    """What a replay would do, or has begun to do. It changes nothing where nothing is missing."""

    events: int
    shares: tuple[ReplayShare, ...]
    missing: int
    """Events of which something is missing."""
    erased: int
    """Events that name somebody who was erased since: they are left out."""
    begun: bool
    first: int | None = None
    """The number of the first event."""
    last: int | None = None
    """The number of the last event."""
