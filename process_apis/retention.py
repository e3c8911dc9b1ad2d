"""Retention: what nobody needs any more is removed, a little at a time, while all else goes on.

What stops a second run of anything is never removed: the rows of orders, customers, postings and cross references, by
whose state and number of the newest run it is known what may still be started. The workflows, events and closed cases
behind them are there for people, and for what is sent again soon (docs/decisions/0032-retention.md).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import msgspec
import sqlalchemy as sa
import structlog
from dbos import DBOS
from sqlalchemy.exc import SQLAlchemyError

from canonical.cases import Case
from canonical.ids import Clock
from canonical.usage import microseconds
from policies.background import rest
from process_apis.records import job_leases, usage
from process_apis.records.amendments import ENDED as DECIDED
from process_apis.records.cases import OF_EVENT
from process_apis.records.database import (
    OPEN,
    amendments,
    case_notes,
    cases,
    events,
    orders,
    postings,
    webhook_attempts,
    webhook_deliveries,
    writing,
)
from process_apis.records.orders import ENDED
from process_apis.runtime.queues import workflows

JOB = "retention"
BATCH = 200
"""Rows of a kind that are removed at a time: some milliseconds, in which SQLite lets nobody else write."""
FIRST = 60.0
"""Seconds from the start until the first look: what waits for the start goes first."""
PAUSE = 0.5
"""Seconds between two batches."""
PACE = 600.0
"""Seconds until the next look when nothing more is due."""
LEASE = 120.0
"""Seconds after which another process goes on, when the one that did this has ended."""
COMPLETED = ("SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED")
"""States of the engine's workflows from which none is resumed."""
log = structlog.get_logger("tiergate.retention")


class RetentionDays(msgspec.Struct, frozen=True):
    """For how many days things are kept that have ended."""

    workflows: int = 30
    events: int = 90
    cases: int = 730
    deliveries: int = 30
    usage: int = 730


class Retention:
    """Remove from the process layer's tables what was kept long enough."""

    def __init__(self, database: sa.Engine, days: RetentionDays, clock: Clock, holder: str) -> None:
        """`holder` names this process among those that share the database."""
        self._database = database
        self._days = days
        self._clock = clock
        self._holder = holder
        jobs = workflows(database).c
        due = sa.and_(jobs.status.in_(COMPLETED), jobs.completed_at < sa.bindparam("before"))
        after = sa.tuple_(jobs.completed_at, jobs.workflow_uuid) > sa.tuple_(sa.bindparam("at"), sa.bindparam("id"))
        columns = sa.select(jobs.completed_at, jobs.workflow_uuid).where(due, after)
        self._due = columns.order_by(jobs.completed_at, jobs.workflow_uuid).limit(BATCH)
        self._reached = (0, "")
        """The workflow up to which this pass has seen all: those of open orders stay, and are seen once."""
        self._source = 0
        """The contract and meter of whose records this pass has seen all."""
        self._dated: int | None = 0
        """The event up to which all say when they were taken; None when all do."""

    async def watch(self) -> None:
        """Remove what is due, again and again for as long as the layer runs."""
        pause = FIRST
        while True:
            await rest(pause)
            pause = PAUSE if await asyncio.to_thread(self._remove) else PACE

    def _remove(self) -> bool:
        try:
            return self.remove_batch()
        except SQLAlchemyError as error:
            log.warning("what was kept long enough could not be removed", reason=type(error).__name__)
            return False

    def remove_batch(self) -> bool:
        """Remove a batch of each kind. Return whether there may be more of it now; False when another process does
        this."""
        now = self._clock()
        if not job_leases.hold(self._database, JOB, self._holder, now.timestamp(), LEASE):
            return False
        more = [
            self._remove_workflows(now - timedelta(days=self._days.workflows)),
            self._date_events(now),
            self._remove_events(now - timedelta(days=self._days.events)),
            self._remove_cases(now - timedelta(days=self._days.cases)),
            self._remove_deliveries(now - timedelta(days=self._days.deliveries)),
            self._remove_usage(now - timedelta(days=self._days.usage)),
        ]
        return any(more)

    def _remove_workflows(self, before: datetime) -> bool:
        """Remove workflows of the engine, with their steps, by the engine's own call."""
        at, last = self._reached
        with self._database.connect() as connection:
            limits = {"before": int(before.timestamp() * 1000), "at": at, "id": last}
            found = [tuple(row) for row in connection.execute(self._due, limits)]
            open_ones = _open_among(connection, (subject for _, each in found for subject in subjects_of(each)))
        removed = [each for _, each in found if open_ones.isdisjoint(subjects_of(each))]
        if removed:
            DBOS.delete_workflows(removed)
            log.info("workflows were kept long enough", removed=len(removed))
        is_full = len(found) == BATCH
        self._reached = found[-1] if is_full else (0, "")
        return is_full

    def _date_events(self, now: datetime) -> bool:
        """Let a batch of events of an earlier version, which do not say when they were taken, count as taken now. Once
        there are none left, none comes any more."""
        if self._dated is None:
            return False
        undated = sa.select(events.c.seq).where(events.c.taken_at.is_(None), events.c.seq > self._dated)
        with self._database.connect() as connection:
            found = list(connection.scalars(undated.order_by(events.c.seq).limit(BATCH)))
        if found:
            with writing(self._database) as connection:
                these = events.update().where(events.c.seq.in_(found))
                connection.execute(these.values(taken_at=now.isoformat()))
        self._dated = found[-1] if found else None
        return bool(found)

    def _remove_events(self, before: datetime) -> bool:
        """Remove events: they are numbered in the order in which they were taken. One that a subscriber has not taken
        stays, until it has or somebody has decided about its case."""
        subject = sa.literal(OF_EVENT) + sa.cast(events.c.seq, sa.String)
        is_asked = sa.exists().where(cases.c.subject == subject, OPEN)
        ended = sa.or_(events.c.untaken == "", sa.and_(events.c.next_attempt_at.is_(None), ~is_asked))
        oldest = sa.select(events.c.seq, events.c.taken_at).where(ended).order_by(events.c.seq).limit(BATCH)
        with writing(self._database) as connection:
            found = connection.execute(oldest).all()
            due = [row.seq for row in found if row.taken_at and row.taken_at < before.isoformat()]
            if due:
                connection.execute(events.delete().where(events.c.seq.in_(due)))
        return len(due) == BATCH

    def _remove_cases(self, before: datetime) -> bool:
        """Remove closed cases with their notes, but those of orders, postings and amendments that are open."""
        closed = sa.select(cases.c.seq, cases.c.id, cases.c.subject, cases.c.document).where(
            cases.c.state == "resolved"
        )
        undated = closed.where(cases.c.resolved_at.is_(None)).limit(BATCH)
        due = closed.where(cases.c.resolved_at < before.isoformat()).order_by(cases.c.resolved_at).limit(BATCH)
        with writing(self._database) as connection:
            dated = _date(connection, connection.execute(undated).all())
            found = connection.execute(due).all()
            open_ones = _open_among(connection, (row.subject.rpartition(":")[2] for row in found))
            gone = [row.id for row in found if row.subject.rpartition(":")[2] not in open_ones]
            if gone:
                connection.execute(case_notes.delete().where(case_notes.c.case_id.in_(gone)))
                connection.execute(cases.delete().where(cases.c.id.in_(gone)))
        return len(gone) == BATCH or dated == BATCH

    def _remove_deliveries(self, before: datetime) -> bool:
        """Remove deliveries to webhooks with their attempts, but those that are still to be sent."""
        ended = webhook_deliveries.c.state != "pending"
        due = sa.select(webhook_deliveries.c.id).where(webhook_deliveries.c.created_at < before.isoformat(), ended)
        with writing(self._database) as connection:
            gone = connection.scalars(due.order_by(webhook_deliveries.c.created_at).limit(BATCH)).all()
            if gone:  # one that is sent again in this moment stays, with its attempts
                of = webhook_deliveries.c.id
                deleted = webhook_deliveries.delete().where(of.in_(gone), ended).returning(of)
                removed = connection.scalars(deleted).all()
                connection.execute(webhook_attempts.delete().where(webhook_attempts.c.delivery_id.in_(removed)))
        return len(gone) == BATCH

    def _remove_usage(self, before: datetime) -> bool:
        """Remove records of usage of periods that billing has, or that people have charged."""
        with writing(self._database) as connection:
            source = usage.next_source(connection, self._source)
            removed = 0 if source is None else usage.remove(connection, source, microseconds(before), BATCH)
        if removed < BATCH:
            self._source = source or 0
        return source is not None


def _date(connection: sa.Connection, rows: Iterable[Any]) -> int:
    """Let closed cases of an earlier version know when they were closed, as their documents say."""
    dates: list[dict[str, Any]] = []
    for row in rows:
        closed = msgspec.json.decode(row.document, type=Case)
        dates.append({"of": row.seq, "at": (closed.resolved_at or closed.opened_at).isoformat()})
    if dates:
        stamp = cases.update().where(cases.c.seq == sa.bindparam("of")).values(resolved_at=sa.bindparam("at"))
        connection.execute(stamp, dates)
    return len(dates)


def subjects_of(workflow_id: str) -> set[str]:
    """Return what a workflow may be about: `order:<id>:<run>`, `activation:<id>:<run>:<attempt>`, and a posting whose
    key has colons."""
    parts = workflow_id.split(":")
    return {":".join(parts[1:end]) for end in range(2, len(parts))}


def _open_among(connection: sa.Connection, subjects: Iterable[str]) -> set[str]:
    """Return those of the ids that are of an order, a posting or an amendment which has not ended. One that is to be
    taken back from the target has not."""
    ids = sorted(set(subjects))
    if not ids:
        return set()
    is_due = sa.or_(amendments.c.state.not_in(DECIDED), amendments.c.next_attempt_at.is_not(None))
    open_ones = (
        sa.select(orders.c.id).where(orders.c.id.in_(ids), orders.c.state.not_in(ENDED)),
        sa.select(postings.c.id).where(postings.c.id.in_(ids), postings.c.state != "posted"),
        sa.select(amendments.c.id).where(amendments.c.id.in_(ids), is_due),
    )
    return {each for query in open_ones for each in connection.scalars(query)}
