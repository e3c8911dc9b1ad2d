"""One row of a table that has a state: locked, and changed as its table of states allows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, ClassVar, Generic, TypeVar, cast

import sqlalchemy as sa

from process_apis.records.database import NOT_BLOCKED
from process_apis.records.published import publish

StateT = TypeVar("StateT", bound=str)
OF: sa.BindParameter[str] = sa.bindparam("of")
NOT_FAILED: dict[str, Any] = {"attempts": 0, "blocked_reason": ""} | NOT_BLOCKED
"""What the columns of a row hold that has not failed since it came into its state."""


class OneRow(Generic[StateT]):
    """A row in one transaction: read, changed and read again over one connection, while nobody else changes it."""

    _locked: ClassVar[sa.Select[Any]]
    _changed: ClassVar[sa.Executable]
    _not_failed: ClassVar[dict[str, Any]]
    check: ClassVar[Callable[[Any, Any], None]]
    _events: ClassVar[Mapping[str, str]]

    def __init_subclass__(
        cls, *, table: sa.Table, check: Callable[[StateT, StateT], None], events: Mapping[str, str]
    ) -> None:
        """Make the statements once: making them costs more than the database takes to do them. `events` are the types
        of the events that follow when the row comes into a state."""
        cls._locked = sa.select(table).where(table.c.id == OF).with_for_update()
        cls._changed = table.update().where(table.c.id == OF).returning(table)
        cls._not_failed = {name: value for name, value in NOT_FAILED.items() if name in table.c}
        cls.check = staticmethod(check)
        cls._events = events

    def __init__(self, connection: sa.Connection, row_id: str, now: str) -> None:
        """Raise `sqlalchemy.exc.NoResultFound` for an id that is none of ours."""
        self.connection = connection
        self._now = now
        self.row: sa.Row[Any] = connection.execute(self._locked, {"of": row_id}).one()

    def advance(self, state: StateT, *, next_attempt_at: datetime | None, **changes: Any) -> None:
        """Go to `state`. Raises `IllegalTransition` when the table of states has no such change.

        `next_attempt_at` is when somebody has to look at the row again if nothing happens until then.
        """
        former = self.row.state
        type(self).check(cast("StateT", former), state)
        values = {
            "of": self.row.id,
            "state": state,
            "updated_at": self._now,
            "next_attempt_at": next_attempt_at and next_attempt_at.isoformat(),
        }
        self.row = self.connection.execute(self._changed, self._not_failed | changes | values).one()
        if state != former and state in self._events:
            publish(self.connection, self._events[state], self.row, self._now)
