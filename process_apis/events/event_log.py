"""The event log for people: what is in it, who has taken what, and its replay.

A replay reacts to events again whose work is missing: an event that a subscriber has not taken, or whose record is not
there. All else is done, and is left alone: a notification that is old says nothing about what is now. What is to be
replayed is marked in the log, so that it goes on after a crash, at its own pace, and is never begun twice.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import sqlalchemy as sa

from canonical.event_log import (
    EventDetail,
    LoggedEvent,
    ReplayPlan,
    ReplayRequest,
    ReplayShare,
    SetInMotion,
    SubscriberStatus,
)
from canonical.ids import Clock
from canonical.orders import Page
from canonical.process_events import SOURCE
from policies.identity.authentication import Principal
from policies.problems import INVALID, NOT_ALLOWED_NOW, FieldError, ProblemError
from process_apis.events import log
from process_apis.records import erased, paging, visibility
from process_apis.records.cases import OF_EVENT
from process_apis.records.database import UNTAKEN, amendments, cases, customers, events, orders, postings, writing
from process_apis.runtime.capability import Capability
from process_apis.runtime.queues import workflows

LARGEST = 10_000
"""Events of one replay."""
FASTEST = 50
"""Events that a poll of one process can react to in a second."""
BATCH = 200
"""Events that are marked in one transaction."""
RUNS = 20
"""How many of the newest runs of a record are shown."""
ERASED = re.compile(rb"%b[0-9a-f]{%d}" % (erased.PREFIX.encode(), erased.DIGITS))
"""What stands in an event in the place of somebody who was erased."""
CRITERIA = ("from_number", "to_number", "since", "until", "type", "subject", "subscriber")


class EventLog:
    """Reads the log of events, and replays parts of it."""

    def __init__(self, database: sa.Engine, clock: Clock, capabilities: Sequence[Capability], days: int) -> None:
        """`capabilities` are all that may react to events. Events are kept for `days`."""
        self._database = database
        self._clock = clock
        self._days = days
        self._subscribers = {each.name: each for each in capabilities if each.reactions}

    # ---- reading

    def page(
        self, principal: Principal, wanted: ReplayRequest, cursor: str | None = None, limit: int = 25
    ) -> Page[LoggedEvent]:
        """Return a page of events, newest first. Raises `ProblemError` as `paging.page_of` does."""
        with self._database.connect() as connection:
            where = [visibility.visible_events(principal), *_conditions(wanted)]
            rows, next_cursor = paging.page_of(connection, events, where, cursor, limit)
        return paging.page([_logged(row) for row in rows], next_cursor)

    def find(self, principal: Principal, number: int) -> EventDetail | None:
        """Return one event, None when there is none for this caller."""
        query = sa.select(events).where(events.c.seq == number, visibility.visible_events(principal))
        with self._database.connect() as connection:
            row = connection.execute(query).one_or_none()
            if row is None:
                return None
            logged = _logged(row)
            names = sorted(name for name, each in self._subscribers.items() if row.type in each.reactions)
            taken_by = tuple(name for name in names if name not in logged.not_taken_by)
            return EventDetail(logged, taken_by, tuple(_set_in_motion(connection, self._database, logged, principal)))

    def subscribers(self) -> tuple[SubscriberStatus, ...]:
        """Return who reacts to events, and how far each is."""
        is_left = events.c.next_attempt_at.is_(None)
        query = sa.select(
            events.c.untaken, is_left.label("is_left"), sa.func.count().label("count"), sa.func.min(events.c.seq)
        )
        waiting, left = Counter[str](), Counter[str]()
        oldest: dict[str, int] = {}
        with self._database.connect() as connection:
            for names, is_for_people, count, first in connection.execute(
                query.where(UNTAKEN).group_by(events.c.untaken, is_left)
            ):
                for name in names.split():
                    (left if is_for_people else waiting)[name] += count
                    oldest[name] = min(first, oldest.get(name, first))
            dates = sa.select(events.c.seq, events.c.taken_at).where(events.c.seq.in_(set(oldest.values())))
            came = {row.seq: row.taken_at for row in connection.execute(dates)} if oldest else {}
        return tuple(
            SubscriberStatus(
                name,
                tuple(sorted(each.reactions)),
                waiting[name],
                left[name],
                oldest.get(name),
                _moment(came.get(oldest.get(name))),
            )
            for name, each in sorted(self._subscribers.items())
        )

    # ---- replaying

    def replay(self, principal: Principal, wanted: ReplayRequest) -> ReplayPlan:
        """Return what a replay would do, and begin it if it is wanted (`go`): a process layer goes on with it. To begin
        it again changes nothing.

        Raises `ProblemError`: 422 for a selection that is none or too large, 409 for events that are not kept any more.
        """
        self._check(wanted)
        rows = self._selected(principal, wanted)
        counts, missing_of = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
        to_do: list[tuple[int, list[str]]] = []
        erased_ones = 0
        for row in rows:
            if ERASED.search(row.document):
                erased_ones += 1
                continue
            missing: list[str] = []
            for each in self._asked(wanted, row.type):
                counts[each.name, row.type] += 1
                if self._is_missing(each, row):
                    missing_of[each.name, row.type] += 1
                    missing.append(each.name)
            if missing:
                to_do.append((row.seq, missing))
        if rows and erased_ones == len(rows):
            raise ProblemError(NOT_ALLOWED_NOW, "The events name people who were erased since: they stay as they are.")
        if wanted.go:
            self._begin(to_do, wanted.per_second)
        shares = tuple(ReplayShare(*key, count, missing_of[key]) for key, count in sorted(counts.items()))
        first, last = (rows[0].seq, rows[-1].seq) if rows else (None, None)
        return ReplayPlan(len(rows), shares, len(to_do), erased_ones, wanted.go and bool(to_do), first, last)

    def waiting(self, first: int, last: int) -> int:
        """Return how many events between two numbers are still to be reacted to."""
        due = sa.select(sa.func.count()).where(
            UNTAKEN, events.c.next_attempt_at.is_not(None), events.c.seq.between(first, last)
        )
        with self._database.connect() as connection:
            return int(connection.scalar(due) or 0)

    def _check(self, wanted: ReplayRequest) -> None:
        wrong: list[FieldError] = []
        if all(getattr(wanted, each) is None for each in CRITERIA):
            wrong.append(FieldError("$", f"say which events: by {', '.join(CRITERIA)}"))
        if not 1 <= wanted.per_second <= FASTEST:
            wrong.append(FieldError("$.per_second", f"1 to {FASTEST}"))
        if wanted.subscriber is not None and wanted.subscriber not in self._subscribers:
            wrong.append(FieldError("$.subscriber", f"there are {', '.join(sorted(self._subscribers))}"))
        if wrong:
            raise ProblemError(INVALID, "The replay cannot be planned.", tuple(wrong))

    def _selected(self, principal: Principal, wanted: ReplayRequest) -> Sequence[sa.Row[Any]]:
        """Return the events that are to be replayed, the oldest first. Nobody reacts to those of our own records."""
        conditions = [events.c.source != SOURCE, *_conditions(wanted)]
        if wanted.subscriber is not None:
            conditions.append(events.c.type.in_(sorted(self._subscribers[wanted.subscriber].reactions)))
        query = sa.select(events).where(visibility.visible_events(principal), *conditions).order_by(events.c.seq)
        with self._database.connect() as connection:
            oldest = connection.execute(
                sa.select(events.c.seq, events.c.taken_at).order_by(events.c.seq).limit(1)
            ).one_or_none()
            self._refuse_removed(oldest, wanted)
            rows = connection.execute(query.limit(LARGEST + 1)).all()
        if len(rows) > LARGEST:
            reason = f"at most {LARGEST:,} events at a time: end at {rows[LARGEST - 1].seq}, and go on from there"
            raise ProblemError(INVALID, "The replay is too large.", (FieldError("$.to_number", reason),))
        return rows

    def _refuse_removed(self, oldest: sa.Row[Any, Any] | None, wanted: ReplayRequest) -> None:
        """Refuse a selection that begins before what is kept: nobody would know that a part of it is missing."""
        number, since = wanted.from_number, wanted.since
        if oldest is None or oldest.seq == 1:
            return
        is_before = since is not None and oldest.taken_at is not None and _text("since", since) < oldest.taken_at
        if is_before or (number is not None and number < oldest.seq):
            raise ProblemError(
                NOT_ALLOWED_NOW,
                f"Events are kept for {self._days} days, and those before number {oldest.seq} (of "
                f"{oldest.taken_at or 'an unknown time'}) are not there any more: begin with that one.",
            )

    def _asked(self, wanted: ReplayRequest, event_type: str) -> Iterator[Capability]:
        for name, each in sorted(self._subscribers.items()):
            if event_type in each.reactions and wanted.subscriber in {None, name}:
                yield each

    def _is_missing(self, subscriber: Capability, row: sa.Row[Any]) -> bool:
        if subscriber.name in row.untaken.split():
            return True
        is_made = subscriber.is_made.get(row.type)
        return is_made is not None and not is_made(log.EVENT.decode(row.document))

    def _begin(self, to_do: Iterable[tuple[int, list[str]]], per_second: int) -> None:
        """Mark what is to be reacted to, each at its moment. What is due already keeps its own."""
        place, now, left = 0, self._clock(), iter(to_do)
        while wanted := dict(islice(left, BATCH)):
            these = sa.select(events.c.seq, events.c.untaken, events.c.next_attempt_at)
            with writing(self._database) as connection:
                found = connection.execute(
                    these.where(events.c.seq.in_(wanted)).order_by(events.c.seq).with_for_update()
                )
                for row in found.all():
                    at = row.next_attempt_at or (now + timedelta(seconds=place / per_second)).isoformat()
                    names = log.names_of({*row.untaken.split(), *wanted[row.seq]})
                    change = events.update().where(events.c.seq == row.seq)
                    connection.execute(change.values(untaken=names, next_attempt_at=at, attempts=0))
                    place += 1


def _conditions(wanted: ReplayRequest) -> list[sa.ColumnElement[bool]]:
    number, came = events.c.seq, events.c.taken_at
    found = [
        None if wanted.from_number is None else number >= wanted.from_number,
        None if wanted.to_number is None else number <= wanted.to_number,
        None if wanted.since is None else came >= _text("since", wanted.since),
        None if wanted.until is None else came <= _text("until", wanted.until),
        None if wanted.type is None else events.c.type == wanted.type,
        None if wanted.subject is None else events.c.subject == wanted.subject,
    ]
    return [each for each in found if each is not None]


def _text(name: str, at: datetime) -> str:
    """Return a moment as the log has it. Raises `ProblemError` (422) for one that is before all calendars in UTC."""
    try:
        return at.astimezone(UTC).isoformat()
    except OverflowError as error:
        raise ProblemError(INVALID, "There is no such moment.", (FieldError(f"$.{name}", str(error)),)) from error


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _logged(row: sa.Row[Any]) -> LoggedEvent:
    return LoggedEvent(
        row.seq,
        log.EVENT.decode(row.document),
        row.correlation_id,
        _moment(row.taken_at),
        tuple(row.untaken.split()),
        _moment(row.next_attempt_at),
    )


# ---- what an event set in motion


def _set_in_motion(
    connection: sa.Connection, database: sa.Engine, logged: LoggedEvent, principal: Principal
) -> Iterator[SetInMotion]:
    """Yield the records that an event is about or has led to, and the newest workflows that were at them."""
    event, runs = logged.event, set[str]()
    of_deal = sa.and_(orders.c.crm == event.instance, orders.c.deal_id == event.subject)
    about = sa.or_(orders.c.id == event.subject, of_deal)
    for row in connection.execute(sa.select(orders).where(about, visibility.visible(orders, principal))):
        yield SetInMotion("order", row.id, row.state)
        for run in _newest(row.run):
            runs |= {f"order:{row.id}:{run}", f"compensation:{row.id}:{run}"}
            runs |= {f"activation:{row.id}:{run}:{each}" for each in _newest(row.provisioning_attempt)}
    of_invoice = sa.select(postings).where(
        postings.c.invoice_id == event.subject, visibility.visible(postings, principal)
    )
    for row in connection.execute(of_invoice.order_by(postings.c.seq)):
        yield SetInMotion("posting", f"{row.kind}:{row.id}", row.state)
        runs |= {row.batch, *(f"{row.kind}:{row.id}:{run}" for run in _newest(row.run))}
    of_amendment = sa.select(amendments).where(
        amendments.c.id == event.subject, visibility.visible(amendments, principal)
    )
    for row in connection.execute(of_amendment):
        yield SetInMotion("amendment", row.id, row.state)
    for row in connection.execute(sa.select(customers).where(customers.c.id == event.subject)):
        yield SetInMotion("customer", row.id, "to be synced" if row.next_attempt_at else "synced")
        runs |= {f"customer:{row.id}:{run}" for run in _newest(row.run)}
    subjects = (f"{OF_EVENT}{logged.number}", event.subject)
    of_it = sa.or_(cases.c.subject.in_(subjects), cases.c.id == event.subject)
    of_subject = sa.select(cases).where(of_it, visibility.visible(cases, principal))
    for row in connection.execute(of_subject.order_by(cases.c.seq)):
        yield SetInMotion("case", row.id, row.state)
    yield from _workflows(connection, database, runs)


def _newest(run: int) -> range:
    return range(max(1, run - RUNS + 1), run + 1)


def _workflows(connection: sa.Connection, database: sa.Engine, runs: set[str]) -> Iterator[SetInMotion]:
    """Yield those of some workflows that there are. Before the first start of a process layer there is no table of
    them."""
    jobs = workflows(database)
    if not runs or not sa.inspect(connection).has_table(jobs.name, jobs.schema):
        return
    found = sa.select(jobs.c.workflow_uuid, jobs.c.status).where(jobs.c.workflow_uuid.in_(sorted(runs)))
    for workflow_id, status in connection.execute(found.order_by(jobs.c.created_at)):
        yield SetInMotion("workflow", workflow_id, status.lower())
