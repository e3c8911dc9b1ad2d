"""Periods of meters: each is open for records until it is over, and then handed over to billing as one quantity.

Who keeps records locks their periods first, and so does what closes one: a record is either in the quantity of its
period, or known to have come after it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import sqlalchemy as sa

from canonical.ids import Clock, derived
from canonical.process_events import USAGE_EVENTS
from canonical.states import UsagePeriodState, check_usage_period
from process_apis.records.database import insert_once, usage_periods, writing
from process_apis.records.one_row import OneRow

SETTLES = timedelta(minutes=15)
"""How long after the end of a period its last records may come: billing issues the invoice an hour after the end."""


class OneUsagePeriod(OneRow[UsagePeriodState], table=usage_periods, check=check_usage_period, events=USAGE_EVENTS):
    """A period of a meter in one transaction."""


class UsagePeriod(NamedTuple):
    """A period of the records of one source, with whose it is. Moments are in seconds since 1970 (UTC)."""

    source: int
    starts_at: int
    ends_at: int
    contract_id: str
    order_id: str
    customer_id: str
    legal_entity: str
    meter: str
    sku: str

    @property
    def id(self) -> str:
        """Return the id of its row, which is its natural key in billing, too."""
        return derived("usg", self.contract_id, self.meter, str(self.starts_at))


class UsagePeriods:
    """The table of periods."""

    def __init__(self, database: sa.Engine, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def locked(self, connection: sa.Connection, periods: Iterable[UsagePeriod]) -> list[sa.Row[Any]]:
        """Return the rows of some periods, as they are until the transaction ends. One that is not there is open from
        now on."""
        by_id = {each.id: each for each in periods}
        there = sa.select(usage_periods).where(usage_periods.c.id.in_(by_id)).order_by(usage_periods.c.id)
        known = {row.id for row in connection.execute(there)}
        for key in sorted(by_id.keys() - known):
            insert_once(connection, usage_periods, self._new(by_id[key]))
        return list(connection.execute(there.with_for_update(read=True)))

    def open(self, period: UsagePeriod) -> None:
        """Let a period be handed over when it is over, also where no record comes in it."""
        with writing(self._database) as connection:
            insert_once(connection, usage_periods, self._new(period))

    def _new(self, period: UsagePeriod) -> dict[str, Any]:
        due = datetime.fromtimestamp(period.ends_at, UTC) + SETTLES
        return period._asdict() | {
            "id": period.id,
            "state": "open",
            "correlation_id": derived("cor", "usage", period.id),
            "next_attempt_at": due.isoformat(),
            "updated_at": self._clock().isoformat(),
        }

    def billed(self, source: int, starts_at: int) -> Decimal | None:
        """Return what billing has of the period of a source that begins at a moment (seconds since 1970, UTC); None
        while it has nothing."""
        query = sa.select(usage_periods.c.quantity).where(
            usage_periods.c.source == source,
            usage_periods.c.starts_at == starts_at,
            usage_periods.c.state == "handed_over",
        )
        with self._database.connect() as connection:
            found = connection.scalar(query)
        return None if found is None else Decimal(found)

    def row(self, period_id: str) -> sa.Row[Any]:
        """Return a period as it is now. Raises `sqlalchemy.exc.NoResultFound`."""
        with self._database.connect() as connection:
            return connection.execute(sa.select(usage_periods).where(usage_periods.c.id == period_id)).one()

    @contextmanager
    def at(self, period_id: str) -> Generator[OneUsagePeriod]:
        """Lock a period for one transaction."""
        with writing(self._database) as connection:
            yield OneUsagePeriod(connection, period_id, self._clock().isoformat())
