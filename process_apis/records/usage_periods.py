"""Periods of meters: each is open for records until it is over, and then handed over to billing as one quantity.

Who keeps records locks their periods first, and so does what closes one: a record is either in the quantity of its
period, or known to have come after it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa

from canonical.ids import Clock, derived
from canonical.process_events import USAGE_EVENTS
from canonical.states import UsagePeriodState, check_usage_period
from canonical.usage import MICROSECONDS
from process_apis.records.database import insert_once, usage_periods, writing
from process_apis.records.one_row import OneRow

SETTLES = timedelta(minutes=15)
"""How long after the end of a period its last records may come: billing issues the invoice an hour after the end."""

BEFORE_THE_LAST = timedelta(minutes=10)
"""How long before its end a period is handed over whose end is that of all billing: there is no hour then in which the
invoice is a draft. Each is checked by then, for an end may have been agreed."""


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


PeriodOf = Callable[[int, int], UsagePeriod]
"""Says which period of a source a moment is in (seconds since 1970, UTC)."""


class _Known(NamedTuple):
    id: str
    starts_at: int
    ends_at: int
    state: str


class UsagePeriods:
    """The table of periods."""

    def __init__(self, database: sa.Engine, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def locked(
        self, connection: sa.Connection, moments: Iterable[tuple[int, int]], meant: PeriodOf
    ) -> list[sa.Row[Any]]:
        """Return the rows of the periods that some sources and moments (microseconds since 1970, UTC) are in, as they
        are until the transaction ends. `meant` says where a period is that is not there: it is open from now on, and
        ends where another one begins."""
        by_source: dict[int, set[int]] = {}
        for source, at in moments:
            by_source.setdefault(source, set()).add(at // MICROSECONDS)
        ids = {key for source in sorted(by_source) for key in self._ids(connection, source, by_source[source], meant)}
        there = sa.select(usage_periods).where(usage_periods.c.id.in_(ids)).order_by(usage_periods.c.id)
        return list(connection.execute(there.with_for_update(read=True)))

    def _ids(self, connection: sa.Connection, source: int, seconds: Iterable[int], meant: PeriodOf) -> set[str]:
        of = usage_periods.c
        query = sa.select(of.id, of.starts_at, of.ends_at, of.state).where(of.source == source)
        known = [_Known(*row) for row in connection.execute(query)]
        ids: set[str] = set()
        done: list[_Known] = []
        for second in sorted(seconds):
            if any(each.starts_at <= second < each.ends_at for each in done):
                continue
            found = next((each for each in known if each.starts_at <= second < each.ends_at), None)
            if found and found.state == "open" and (until := meant(source, found.starts_at).ends_at) < found.ends_at:
                shorter = found._replace(ends_at=until)  # it is invoiced at other intervals from then on
                known[known.index(found)] = shorter
                if until <= second:
                    self._end(connection, found.id, until)
                found = shorter if second < until else None
            if found is None:
                wanted = meant(source, second)
                start = max([wanted.starts_at, *(each.ends_at for each in known if each.ends_at <= second)])
                end = min([wanted.ends_at, *(each.starts_at for each in known if each.starts_at > second)])
                wanted = wanted._replace(starts_at=start, ends_at=end)
                insert_once(connection, usage_periods, self._new(wanted))
                found = _Known(wanted.id, start, end, "open")
                known.append(found)
            done.append(found)
            ids.add(found.id)
        return ids

    def _end(self, connection: sa.Connection, period_id: str, until: int) -> None:
        """Let a period that is open end earlier."""
        due = datetime.fromtimestamp(until, UTC) + SETTLES
        this = usage_periods.update().where(usage_periods.c.id == period_id, usage_periods.c.state == "open")
        connection.execute(this.values(ends_at=until, next_attempt_at=due.isoformat()))

    def _new(self, period: UsagePeriod) -> dict[str, Any]:
        due = datetime.fromtimestamp(period.ends_at, UTC) - BEFORE_THE_LAST
        return period._asdict() | {
            "id": period.id,
            "state": "open",
            "correlation_id": derived("cor", "usage", period.id),
            "next_attempt_at": due.isoformat(),
            "updated_at": self._clock().isoformat(),
        }

    def holding(self, source: int, second: int) -> sa.Row[Any] | None:
        """Return the period of a source that a moment (seconds since 1970, UTC) is in, if there is a row of it."""
        of = usage_periods.c
        query = sa.select(usage_periods).where(of.source == source, of.starts_at <= second, of.ends_at > second)
        with self._database.connect() as connection:
            return connection.execute(query).one_or_none()

    def since(self, row: sa.Row[Any]) -> list[sa.Row[Any]]:
        """Return a period and all after it of its source, the earliest first."""
        of = usage_periods.c
        query = sa.select(usage_periods).where(of.source == row.source, of.starts_at >= row.starts_at)
        with self._database.connect() as connection:
            return list(connection.execute(query.order_by(of.starts_at)))

    def row(self, period_id: str) -> sa.Row[Any]:
        """Return a period as it is now. Raises `sqlalchemy.exc.NoResultFound`."""
        with self._database.connect() as connection:
            return connection.execute(sa.select(usage_periods).where(usage_periods.c.id == period_id)).one()

    @contextmanager
    def at(self, period_id: str) -> Generator[OneUsagePeriod]:
        """Lock a period for one transaction."""
        with writing(self._database) as connection:
            yield OneUsagePeriod(connection, period_id, self._clock().isoformat())
