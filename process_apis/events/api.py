"""The governed routes of the event log."""

from __future__ import annotations

from litestar.di import NamedDependency
from litestar.params import JSONBody

from canonical.event_log import EventDetail, LoggedEvent, ReplayPlan, ReplayRequest, SubscriberStatus
from canonical.orders import Page
from policies.contract.operation import operation
from policies.contract.parameters import Cursor, EventNumber, EventSubject, EventType, Limit, Moment, moment
from policies.identity.authentication import Principal
from policies.problems import MISSING, NOT_ALLOWED_NOW, ProblemError
from process_apis.events.event_log import EventLog


@operation(
    "list_events",
    "GET",
    "/events",
    summary="List the events of the log, newest first",
    links={"get_event": ("number", "/items/0/number")},
    sync_to_thread=True,
)
def list_events(
    event_log: NamedDependency[EventLog],
    principal: NamedDependency[Principal],
    event_type: EventType = None,
    subject: EventSubject = None,
    since: Moment = None,
    until: Moment = None,
    cursor: Cursor = None,
    limit: Limit = 25,
) -> Page[LoggedEvent]:
    """Return the events about records that the caller may see, with who has not taken each."""
    wanted = ReplayRequest(type=event_type, subject=subject, since=moment("since", since), until=moment("until", until))
    return event_log.page(principal, wanted, cursor, limit)


@operation("get_event", "GET", "/events/{number:str}", summary="Read an event", sync_to_thread=True)
def get_event(
    event_log: NamedDependency[EventLog], principal: NamedDependency[Principal], number: EventNumber
) -> EventDetail:
    """Return an event with who has taken it, and the records and workflows that it set in motion."""
    found = event_log.find(principal, int(number))
    if found is None:
        raise ProblemError(MISSING, f"There is no event {number}: it was never there, or was kept long enough.")
    return found


@operation(
    "list_subscribers", "GET", "/subscribers", summary="List who reacts to events, and how far", sync_to_thread=True
)
def list_subscribers(event_log: NamedDependency[EventLog]) -> Page[SubscriberStatus]:
    """Return each capability with the types of events that it reacts to, and how many it has not taken."""
    return Page(event_log.subscribers())


@operation(
    "replay_events",
    "POST",
    "/replays",
    summary="Say what a replay of events would do, and begin it",
    status=200,
    problems=(NOT_ALLOWED_NOW,),
    sync_to_thread=True,
)
def replay_events(
    event_log: NamedDependency[EventLog], principal: NamedDependency[Principal], data: JSONBody[ReplayRequest]
) -> ReplayPlan:
    """Return what a replay would do: without `go` nothing is changed. With it, the events whose work is missing are
    reacted to again, at the pace that is asked for; to begin the same again changes nothing."""
    return event_log.replay(principal, data)


OWN = (list_events, get_event, list_subscribers, replay_events)
