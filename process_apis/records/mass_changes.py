"""Mass changes and their items: one for each contract, which is asked for once.

An item says that its change was asked for, and the amendment says how far that is: it is not stored a second time.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, cast

import msgspec
import sqlalchemy as sa

from canonical.amendments import AmendmentPreview
from canonical.ids import Clock, derived
from canonical.mass_changes import (
    LeftOut,
    MassChange,
    MassChangeItem,
    MassChangeSummary,
    MassItemState,
    NewMassChange,
    RevenueChange,
    StateCount,
)
from canonical.money import Money
from canonical.orders import Page
from canonical.process_events import MASS_CHANGE_EVENTS
from canonical.states import MassChangeState, check_mass_change
from policies.identity.authentication import Principal
from process_apis.records import paging, visibility
from process_apis.records.database import amendments, insert_once, mass_changes, writing
from process_apis.records.database import mass_change_items as items
from process_apis.records.one_row import OneRow

OF: sa.BindParameter[str] = sa.bindparam("of")
ROW = sa.select(mass_changes).where(mass_changes.c.id == OF)
IS_RUNNING = sa.exists().where(mass_changes.c.id == items.c.mass_change_id, mass_changes.c.state == "running")
change, reversal = amendments.alias("change"), amendments.alias("reversal")
IS_HELD = sa.and_(amendments.c.state == "on_hold", amendments.c.held_in == "checking")
"""An amendment that no platform has anything of: another can take its place."""
HELD = sa.select(amendments.c.id).where(IS_HELD)
IN_PLACE = sa.select(amendments.c.id).where(amendments.c.state.in_(("applied", "scheduled")))
STATE = sa.case(
    (items.c.state == "selected", "to_do"),
    (items.c.state == "asked", "on_its_way"),
    (items.c.state == "to_reverse", "to_undo"),
    (items.c.state == "reversing", "undo_on_its_way"),
    (items.c.state == "not_reversed", "not_undone"),
    else_=items.c.state,
)
OF_CHANGE = sa.case(
    (change.c.state == "applied", "changed"),
    (change.c.state == "on_hold", "held"),
    (change.c.state.in_(("awaiting_approval", "scheduled", "given_up")), change.c.state),
    else_="on_its_way",
)
OF_REVERSAL = sa.case(
    (sa.or_(items.c.reversal_id == "", reversal.c.state == "applied"), "undone"),
    (reversal.c.state == "given_up", "not_undone"),
    (reversal.c.state.in_(("on_hold", "awaiting_approval")), "undo_held"),
    else_="undo_on_its_way",
)
SHOWN = sa.case((items.c.state == "asked", OF_CHANGE), (items.c.state == "reversing", OF_REVERSAL), else_=STATE)
JOINED = items.outerjoin(change, change.c.id == items.c.amendment_id).outerjoin(
    reversal, reversal.c.id == items.c.reversal_id
)
ITEMS = sa.select(items, SHOWN.label("shown")).select_from(JOINED)
COUNTS = (
    sa.select(SHOWN.label("shown"), items.c.reason, sa.func.count().label("contracts"))
    .select_from(JOINED)
    .where(items.c.mass_change_id == OF)
    .group_by("shown", items.c.reason)
)
REVENUE = (
    sa.select(
        items.c.currency,
        sa.func.count().label("contracts"),
        sa.func.sum(items.c.mrr_before).label("before"),
        sa.func.sum(items.c.mrr_after).label("after"),
    )
    .where(items.c.mass_change_id == OF, items.c.state != "left_out")
    .group_by(items.c.currency)
    .order_by(items.c.currency)
)
UNSENT = ITEMS.where(
    items.c.mass_change_id == OF,
    sa.or_(
        sa.and_(items.c.state == "asked", change.c.id.is_(None)),
        sa.and_(items.c.state == "reversing", items.c.reversal_id != "", reversal.c.id.is_(None)),
    ),
)
BEGUN = sa.select(sa.func.count()).where(items.c.mass_change_id == OF, items.c.asked_at >= sa.bindparam("since"))
APPROVED = sa.select(items.c.mrr_before, items.c.mrr_after, items.c.reversal_id).where(
    sa.or_(items.c.amendment_id == OF, items.c.reversal_id == OF)
)
_REQUEST = msgspec.json.Decoder(NewMassChange)


def covers(engine: sa.Engine, amendment_id: str, said: AmendmentPreview) -> bool:
    """Return whether an amendment was approved with the mass change that it belongs to: it takes no more of the
    contract's monthly recurring revenue than was shown."""
    with engine.connect() as connection:
        row = connection.execute(APPROVED, {"of": amendment_id}).first()
    if row is None:
        return False
    shown = row.mrr_after - row.mrr_before
    least = min(0, -shown if row.reversal_id == amendment_id else shown)
    return sum(each.mrr.amount for each in said.deltas) >= least


class OneMassChange(OneRow[MassChangeState], table=mass_changes, check=check_mass_change, events=MASS_CHANGE_EVENTS):
    """A mass change in one transaction."""

    def count(self, *where: sa.ColumnElement[bool]) -> int:
        """Return how many of its items there are of which something holds."""
        of_this = items.c.mass_change_id == self.row.id
        return self.connection.scalar(sa.select(sa.func.count()).select_from(items).where(of_this, *where)) or 0

    def change_items(self, *where: sa.ColumnElement[bool], **values: Any) -> int:
        """Change its items of which something holds. Return how many those are."""
        changed = items.update().where(items.c.mass_change_id == self.row.id, *where).values(**values)
        return self.connection.execute(changed).rowcount

    def add(self, rows: Iterable[dict[str, Any]]) -> None:
        """Add items, each once however often it is added."""
        for each in rows:
            insert_once(self.connection, items, each | {"mass_change_id": self.row.id})


class MassChanges:
    """The tables of mass changes and their items."""

    def __init__(self, engine: sa.Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    # ---- writing

    @contextmanager
    def at(self, mass_change_id: str) -> Generator[OneMassChange]:
        """Return one mass change to change, in a transaction that ends with the block."""
        with writing(self._engine) as connection:
            yield OneMassChange(connection, mass_change_id, self._clock().isoformat())

    def receive(self, wanted: NewMassChange, requested_by: str, correlation_id: str) -> sa.Row[Any]:
        """Return the mass change with a key, which is made unless it is there."""
        now = self._clock().isoformat()
        row = {
            "id": mass_change_id(wanted.key),
            "legal_entity": wanted.legal_entity,
            "state": "selecting",
            "sku": wanted.sku,
            "requested_by": requested_by,
            "request": msgspec.json.encode(wanted),
            "correlation_id": correlation_id,
            "next_attempt_at": now,
            "requested_at": now,
            "updated_at": now,
        }
        with writing(self._engine) as connection:
            insert_once(connection, mass_changes, row)
            return connection.execute(ROW, {"of": row["id"]}).one()

    def ask(self, item: sa.Row[Any], former: str, **values: Any) -> bool:
        """Note what is asked for with an item that is in the state `former`, before it is. Return whether it may be:
        nobody has paused the mass change meanwhile."""
        wanted = items.update().where(items.c.seq == item.seq, items.c.state == former, IS_RUNNING)
        with writing(self._engine) as connection:
            return connection.execute(wanted.values(asked_at=self._clock().isoformat(), **values)).rowcount == 1

    def settle(self, seq: int, former: str, state: str, **values: Any) -> None:
        """Bring an item from one state to another, unless it has left that meanwhile."""
        with writing(self._engine) as connection:
            same = items.update().where(items.c.seq == seq, items.c.state == former)
            connection.execute(same.values(state=state, **values))

    # ---- reading

    def row(self, mass_change_id: str) -> sa.Row[Any]:
        with self._engine.connect() as connection:
            return connection.execute(ROW, {"of": mass_change_id}).one()

    def next_items(self, mass_change_id: str, state: str, limit: int) -> list[sa.Row[Any]]:
        """Return the items in a state that come first."""
        with self._engine.connect() as connection:
            query = ITEMS.where(items.c.mass_change_id == mass_change_id, items.c.state == state)
            return list(connection.execute(query.order_by(items.c.seq).limit(limit)))

    def unsent(self, mass_change_id: str) -> list[sa.Row[Any]]:
        """Return the items of which the change was noted, and was not asked for: a process ended in between."""
        with self._engine.connect() as connection:
            return list(connection.execute(UNSENT, {"of": mass_change_id}))

    def begun(self, mass_change_id: str, seconds: float) -> int:
        """Return how many items were begun within the last seconds."""
        since = (self._clock() - timedelta(seconds=seconds)).isoformat()
        with self._engine.connect() as connection:
            return connection.scalar(BEGUN, {"of": mass_change_id, "since": since}) or 0

    def counts(self, mass_change_id: str) -> dict[MassItemState, int]:
        """Return how many items are in each state."""
        found: dict[MassItemState, int] = {}
        for each in self._counted(mass_change_id):
            found[each.state] = found.get(each.state, 0) + each.contracts
        return found

    def _counted(self, mass_change_id: str) -> list[StateCount]:
        with self._engine.connect() as connection:
            rows = connection.execute(COUNTS, {"of": mass_change_id}).all()
        return sorted(
            (StateCount(row.shown, row.contracts, cast("LeftOut | None", row.reason or None)) for row in rows),
            key=lambda each: (each.state, each.reason or ""),
        )

    def revenue(self, mass_change_id: str) -> tuple[RevenueChange, ...]:
        """Return what is to change of the monthly recurring revenue, by currency."""
        with self._engine.connect() as connection:
            rows = connection.execute(REVENUE, {"of": mass_change_id}).all()
        return tuple(
            RevenueChange(
                row.contracts,
                Money(int(row.before), row.currency),
                Money(int(row.after), row.currency),
                Money(int(row.after - row.before), row.currency),
            )
            for row in rows
        )

    def visible(self, mass_change_id: str, principal: Principal) -> MassChange | None:
        """Return None when there is no such mass change, or none that the caller may see."""
        with self._engine.connect() as connection:
            row = connection.execute(ROW.where(_visible(principal)), {"of": mass_change_id}).one_or_none()
        return self.shown(row) if row else None

    def shown(self, row: sa.Row[Any]) -> MassChange:
        """Return a mass change as channels see it."""
        return MassChange(
            id=row.id,
            state=row.state,
            undoing=row.undoing,
            legal_entity=row.legal_entity,
            request=request_of(row),
            requested_by=row.requested_by,
            requested_at=datetime.fromisoformat(row.requested_at),
            updated_at=datetime.fromisoformat(row.updated_at),
            correlation_id=row.correlation_id,
            revenue=self.revenue(row.id),
            counts=tuple(self._counted(row.id)),
        )

    def page(self, principal: Principal, state: str | None, cursor: str | None, limit: int) -> Page[MassChangeSummary]:
        """Return a page of mass changes, newest first."""
        where = [_visible(principal)]
        if state:
            where.append(mass_changes.c.state == state)
        with self._engine.connect() as connection:
            rows, next_cursor = paging.page_of(connection, mass_changes, where, cursor, limit)
        return paging.page([_summary(row) for row in rows], next_cursor)

    def page_of_items(
        self, mass_change_id: str, state: MassItemState | None, cursor: str | None, limit: int
    ) -> Page[MassChangeItem]:
        """Return a page of the items of a mass change, those that come last first."""
        found = ITEMS.where(items.c.mass_change_id == mass_change_id).subquery()
        where = [found.c.shown == state] if state else []
        with self._engine.connect() as connection:
            rows, next_cursor = paging.page_of(connection, found, where, cursor, limit)
        return paging.page([_item(row) for row in rows], next_cursor)


def mass_change_id(key: str) -> str:
    """Return the id of the mass change with a key of the caller's."""
    return derived("mas", key)


def request_of(row: sa.Row[Any]) -> NewMassChange:
    return _REQUEST.decode(row.request)


def _visible(principal: Principal) -> sa.ColumnElement[bool]:
    """Return the condition: of the selling companies that the caller may see, and none for a partner."""
    return sa.false() if principal.partner else visibility.visible(mass_changes, principal)


def _summary(row: sa.Row[Any]) -> MassChangeSummary:
    asked_at, changed_at = (datetime.fromisoformat(each) for each in (row.requested_at, row.updated_at))
    return MassChangeSummary(
        row.id, row.state, row.undoing, row.legal_entity, row.sku, row.requested_by, asked_at, changed_at
    )


def _item(row: sa.Row[Any]) -> MassChangeItem:
    return MassChangeItem(
        row.contract_id,
        row.customer_id,
        row.shown,
        Money(row.mrr_before, row.currency),
        Money(row.mrr_after, row.currency),
        row.reason or None,
        row.detail,
        row.amendment_id,
        row.reversal_id,
    )
