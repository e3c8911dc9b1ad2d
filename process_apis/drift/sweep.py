"""The sweep: every customer and every contract is checked now and then, a few at a time.

Nobody tells of a change in the ERP, nor of one to a contract in the CRM. Of several processes that take the same page,
each has the same checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from canonical.ids import derived
from process_apis.drift.records import Drifts
from process_apis.records.database import customers, orders, references
from process_apis.records.sweeps import SweepPlace
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.crm_status import IN_FORCE

PAGE = 20
"""Records that a page has."""
PACE = timedelta(minutes=1)
"""From one page to the next: nearly 30,000 records of each sort a day, and never more than a page at once."""
PASS = timedelta(days=1)
"""From the end of a pass to the next one, and from the first start to the first."""
AFTER: sa.BindParameter[int] = sa.bindparam("after")
OF_ORDER = sa.and_(references.c.kind == "con", references.c.platform == "order", references.c.foreign_id == orders.c.id)
PAGES: Mapping[str, sa.Select[Any, Any]] = {
    "customers": sa.select(customers.c.seq, customers.c.id)
    .where(customers.c.seq > AFTER)
    .order_by(customers.c.seq)
    .limit(PAGE),
    "contracts": sa.select(orders.c.seq, references.c.canonical_id.label("id"))
    .join(references, OF_ORDER)
    .where(orders.c.seq > AFTER, orders.c.state.in_(IN_FORCE))
    .order_by(orders.c.seq)
    .limit(PAGE),
}
"""The query for a page of each sort of records, after a position."""


class Sweep:
    """Has a page of records checked when its time has come."""

    def __init__(self, context: WorkflowContext, records: Drifts) -> None:
        self._context = context
        self._records = records
        self._not_before: dict[str, datetime] = {}

    def go_on(self) -> None:
        """Have the next page of each sort checked, if it is time."""
        now = self._context.clock()
        for name in PAGES:
            if name not in self._not_before or now >= self._not_before[name]:
                self._not_before[name] = self._go_on(name, now)

    def _go_on(self, name: str, now: datetime) -> datetime:
        """Return when to come by again."""
        place = SweepPlace(self._context.database, name)
        position, due = place.read(first_at=now + PASS)
        if due > now:
            return due
        with self._context.database.connect() as connection:
            rows = connection.execute(PAGES[name], {"after": position}).all()
        self._records.expect_looks([row.id for row in rows], derived("cor", "drift", name, now.isoformat()))
        is_last = len(rows) < PAGE
        due = now + (PASS if is_last else PACE)
        place.move(position, 0 if is_last else rows[-1].seq, due)
        return due
