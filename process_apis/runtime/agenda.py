"""What is due: rows of any table whose time has come are claimed, started under an identity, and tried again ever more
seldom.

A table takes part with two columns: `next_attempt_at`, when somebody has to look at a row again (empty: nobody has to),
and `run`, the number of its newest run. Raising the number is the claim: of two processes that want to, one can.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from process_apis.records.database import writing
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.engine import Engine, Work

CASE_AFTER = 5
"""Failures after which people hear of it."""
AT_ONCE = 100
"""Rows that a poll starts of each agenda."""
CANDIDATES = 8
"""Rows among which work for a worker slot is looked for: others may claim, or have in hand, those that come first."""


class Retry(NamedTuple):
    """When to try again (UTC), and whether it has failed so often that people have to hear of it."""

    at: datetime
    needs_case: bool


def retry(context: WorkflowContext, failures: int, asked: float | None = None) -> Retry:
    """Return what follows the `failures`th failure in a row. `asked` is for how many seconds the platform wants to be
    left alone: a call that asks sooner is in vain, and may make it longer."""
    return Retry(max(context.pause(failures), context.later(asked or 0.0)), failures >= CASE_AFTER)


class Agenda:
    """The rows of one table that wait for their time."""

    def __init__(self, context: WorkflowContext, table: sa.Table, only: sa.ColumnElement[bool] | None = None) -> None:
        """`only` says which rows can be worked on at all. A row is known by its `seq`."""
        self._context = context
        self.name = table.name
        at, workable = table.c.next_attempt_at, sa.true() if only is None else only
        self._due = sa.select(table).where(at <= sa.bindparam("now"), workable)
        self._due = self._due.order_by(at, table.c.seq).limit(sa.bindparam("most"))
        self._count = sa.select(sa.func.count(), sa.func.min(at)).where(at <= sa.bindparam("now"), workable)
        unchanged = sa.and_(
            table.c.seq == sa.bindparam("of"),
            table.c.run == sa.bindparam("seen"),
            at.is_not_distinct_from(sa.bindparam("at")),
        )
        self._change = table.update().where(unchanged, workable)

    def due(self, limit: int, *also: sa.ColumnElement[bool]) -> list[sa.Row[Any]]:
        """Return the rows whose time has come, and for which `also` holds, those that wait longest first."""
        with self._context.database.connect() as connection:
            due = self._due.where(*also)
            return list(connection.execute(due, {"now": self._context.clock().isoformat(), "most": limit}))

    def count_due(self, connection: sa.Connection, now: datetime) -> tuple[int, str | None]:
        """Return how many rows there are whose time has come by `now` (UTC), and when that of the oldest did."""
        count, oldest = connection.execute(self._count, {"now": now.isoformat()}).one()
        return count, oldest

    def claim(self, row: sa.Row[Any], **also: Any) -> int | None:
        """Begin the next run of a row, which is attempted again when it may have been lost. `also` is noted in it.
        Return the run's number, None when the row has changed since it was read."""
        run = row.run + 1
        at = self._context.stalled_at().isoformat()
        return run if self._set(row, run=run, next_attempt_at=at, **also) else None

    def postpone(self, row: sa.Row[Any], until: datetime) -> None:
        """Look at a row again at `until`, unless it has changed since it was read."""
        self._set(row, next_attempt_at=until.isoformat())

    def _set(self, row: sa.Row[Any], **values: Any) -> bool:
        seen = {"of": row.seq, "seen": row.run, "at": row.next_attempt_at}
        with writing(self._context.database) as connection:
            return connection.execute(self._change, values | seen).rowcount == 1


def is_free(_: sa.Row[Any]) -> None:
    """Return None: nothing is at work on a row whose time has come."""


def alone(work: Work, _: sa.Row[Any]) -> Work:
    """Return the work of a row as it is: nothing is done together with it."""
    return work


class Due(msgspec.Struct, frozen=True):
    """A capability's work that waits for its time.

    `begin` returns the work of a row that was claimed, by the row as it was and the number of the new run; None when
    there is nothing to do. `in_hand` returns when to look again at a row that a run is at already. What `can_wait` is
    run in worker slots, apart from what customers wait for. `gather` returns the work of a row with all that is claimed
    to be done together with it.
    """

    agenda: Agenda
    begin: Callable[[sa.Row[Any], int], Work | None]
    in_hand: Callable[[sa.Row[Any]], datetime | None] = is_free
    can_wait: bool = False
    gather: Callable[[Work, sa.Row[Any]], Work] = alone

    def claimed(self, row: sa.Row[Any]) -> Work | None:
        """Return the work of a row that is due, claimed; None when another has it or there is nothing to do."""
        if (until := self.in_hand(row)) is not None:
            self.agenda.postpone(row, until)
        elif (run := self.agenda.claim(row)) is not None and (work := self.begin(row, run)) is not None:
            return self.gather(work, row)
        return None


class Poll:
    """Starts what is due, of all capabilities."""

    def __init__(self, engine: Engine, due: Sequence[Due]) -> None:
        self._engine = engine
        self._at_once = [each for each in due if not each.can_wait]
        self._waiting = deque(each for each in due if each.can_wait)

    def start_due(self) -> None:
        """Start the work of each row whose time has come."""
        for due in self._at_once:
            self._start(due)

    def start_due_of(self, agenda: str) -> None:
        """Start the work of each row of one agenda whose time has come."""
        for due in self._at_once:
            if due.agenda.name == agenda:
                self._start(due)

    def _start(self, due: Due) -> None:
        for row in due.agenda.due(AT_ONCE):
            if (work := due.claimed(row)) is not None:
                self._engine.start(work)

    def next_waiting(self) -> Work | None:
        """Return work for a worker slot, claimed: of each agenda what waits longest, the agendas in turn."""
        self._waiting.rotate()
        for due in tuple(self._waiting):
            for row in due.agenda.due(CANDIDATES):
                if (work := due.claimed(row)) is not None:
                    return work
        return None
