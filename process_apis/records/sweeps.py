"""How far each sweep is: after which row its next page begins, and when. It is stored, so that a pass goes on where it
was after a restart."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from process_apis.records.database import drift_sweeps, insert_once, writing


class SweepPlace:
    """The place of one sweep."""

    def __init__(self, engine: sa.Engine, name: str) -> None:
        self._engine = engine
        self._name = name

    def read(self, first_at: datetime) -> tuple[int, datetime]:
        """Return after which row the next page begins, and when its time comes: `first_at` for a sweep that is new."""
        first = {"name": self._name, "position": 0, "next_at": first_at.isoformat()}
        with writing(self._engine) as connection:
            insert_once(connection, drift_sweeps, first)
            row = connection.execute(sa.select(drift_sweeps).where(drift_sweeps.c.name == self._name)).one()
        return row.position, datetime.fromisoformat(row.next_at)

    def move(self, position: int, to: int, next_at: datetime) -> None:
        """Go on after the row `to`, at `next_at`, unless another process has done so from `position`."""
        same = sa.and_(drift_sweeps.c.name == self._name, drift_sweeps.c.position == position)
        with writing(self._engine) as connection:
            later = {"position": to, "next_at": next_at.isoformat()}
            connection.execute(drift_sweeps.update().where(same).values(**later))
