"""The records of drifts: one for one difference, and when each customer and contract is checked for them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, cast

import sqlalchemy as sa

from canonical.drift import Drift
from canonical.ids import Clock, derived
from canonical.orders import Page
from canonical.process_events import DRIFT_EVENTS
from canonical.states import DriftState, check_drift
from policies.identity.authentication import Principal
from process_apis.drift.comparison import Compared
from process_apis.records import paging, visibility
from process_apis.records.database import drift_looks, drifts, insert_once, writing
from process_apis.records.published import publish

OF: sa.BindParameter[str] = sa.bindparam("of")
ROW = sa.select(drifts).where(drifts.c.id == OF)
OF_SUBJECT = sa.select(drifts).where(drifts.c.subject == OF).order_by(drifts.c.seq)
CHANGE = drifts.update().where(drifts.c.id == OF).returning(drifts)
STANDING: tuple[DriftState, ...] = ("open", "accepted")
"""The states of a difference that is still there."""
LOOK = sa.select(drift_looks).where(drift_looks.c.id == OF)
CHANGE_LOOK = drift_looks.update().where(drift_looks.c.id == OF)


class Drifts:
    """The tables of drifts and of looks for them."""

    def __init__(self, engine: sa.Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    # ---- what was seen

    def see(self, subject: str, customer_id: str, compared: Sequence[Compared], correlation_id: str) -> list[Drift]:
        """Keep what a look at a record of ours has seen. Return the differences that are there now.

        One that is new, or has come back, is open. One that was accepted stays so while both values are those that were
        accepted. What was there and differs no longer is gone.
        """
        now = self._clock().isoformat()
        differing = {_id(subject, each): each for each in compared if each.differs}
        with writing(self._engine) as connection:
            known = {row.id: row for row in connection.execute(OF_SUBJECT.with_for_update(), {"of": subject})}
            for key, each in differing.items():
                found = _values(each) | {"seen_at": now}
                if key not in known:
                    about = {"id": key, "subject": subject, "customer_id": customer_id, "state": "open", "since": now}
                    fresh = found | about | {"correlation_id": correlation_id, "settled_by": "", "reason": ""}
                    if insert_once(connection, drifts, fresh):
                        publish(connection, DRIFT_EVENTS["open"], fresh, now)
                elif known[key].state == "open" or (known[key].state == "accepted" and _is_same(known[key], each)):
                    connection.execute(CHANGE, {"of": key} | found)
                else:
                    again = {"since": now, "correlation_id": correlation_id, "settled_by": "", "reason": ""}
                    _enter(connection, known[key], "open", now, **found, **again, settled_at=None)
            for key, row in known.items():
                if key not in differing and row.state in STANDING:
                    _enter(connection, row, "gone", now, settled_at=now)
            rows = connection.execute(OF_SUBJECT, {"of": subject}).all()
        return [drift(row) for row in rows if row.state in STANDING]

    def settle(self, drift_id: str, state: DriftState, principal: Principal, reason: str = "") -> Drift:
        """Keep that somebody repaired or accepted a difference. Raises `IllegalTransition` for one that is over: what
        is gone may have gone with the repair."""
        now = self._clock().isoformat()
        by = {"settled_by": principal.subject, "reason": reason, "settled_at": now}
        with writing(self._engine) as connection:
            _enter(connection, connection.execute(ROW.with_for_update(), {"of": drift_id}).one(), state, now, **by)
            return drift(connection.execute(ROW, {"of": drift_id}).one())

    # ---- reading

    def visible(self, drift_id: str, principal: Principal) -> Drift | None:
        """Return None when there is no such drift, or none that the caller may see."""
        with self._engine.connect() as connection:
            query = ROW.where(visibility.visible(drifts, principal))
            row = connection.execute(query, {"of": drift_id}).one_or_none()
        return drift(row) if row else None

    def page(
        self,
        principal: Principal,
        filters: dict[str, str | None],
        cursor: str | None,
        limit: int,
    ) -> Page[Drift]:
        """Return a page of drifts, newest first. `filters` are values of columns; None is any."""
        where = [visibility.visible(drifts, principal)]
        where += [drifts.c[name] == value for name, value in filters.items() if value is not None]
        with self._engine.connect() as connection:
            rows, next_cursor = paging.page_of(connection, drifts, where, cursor, limit)
        return paging.page([drift(row) for row in rows], next_cursor)

    # ---- looks

    def expect_looks(self, subjects: Sequence[str], correlation_id: str) -> None:
        """Have records of ours checked now: after a look that runs already, which may have seen what was before."""
        found = {"correlation_id": correlation_id, "next_attempt_at": self._clock().isoformat()}
        with writing(self._engine) as connection:
            for each in sorted(subjects):
                if not insert_once(connection, drift_looks, found | {"id": each}):
                    connection.execute(CHANGE_LOOK.values(run=drift_looks.c.run + 1, **found), {"of": each})

    def expected_look(self, subject: str) -> sa.Row[Any] | None:
        """Return the look at a record that is to be done, if there is one."""
        with self._engine.connect() as connection:
            row = connection.execute(LOOK, {"of": subject}).one_or_none()
        return row if row is not None and row.next_attempt_at else None

    def settle_look(self, expected: sa.Row[Any], next_attempt_at: datetime | None, attempts: int) -> None:
        """Plan no further look, or one at `next_attempt_at`; unless another run has begun meanwhile."""
        at = next_attempt_at.isoformat() if next_attempt_at else None
        with writing(self._engine) as connection:
            same = CHANGE_LOOK.where(drift_looks.c.run == expected.run)
            connection.execute(same, {"of": expected.id, "next_attempt_at": at, "attempts": attempts})


def _enter(connection: sa.Connection, row: sa.Row[Any], state: DriftState, now: str, **values: Any) -> None:
    """Change the state of a drift at `now`. Raises `IllegalTransition` when the table of states has no such change."""
    check_drift(cast("DriftState", row.state), state)
    changed = connection.execute(CHANGE, {"of": row.id, "state": state} | values).one()
    if state != row.state:
        publish(connection, DRIFT_EVENTS[state], changed, now)


def _id(subject: str, compared: Compared) -> str:
    return derived("drf", subject, *compared.key)


def _values(compared: Compared) -> dict[str, str]:
    return {
        "field": compared.field,
        "system": compared.system,
        "owner": compared.owner,
        "owner_value": compared.owner_value,
        "value": compared.value,
        "legal_entity": compared.legal_entity,
    }


def _is_same(row: sa.Row[Any], compared: Compared) -> bool:
    return (row.owner_value, row.value) == (compared.owner_value, compared.value)


def drift(row: sa.Row[Any]) -> Drift:
    """Return a drift as channels see it."""
    return Drift(
        id=row.id,
        state=row.state,
        subject=row.subject,
        field=row.field,
        owner=row.owner,
        owner_value=row.owner_value,
        system=row.system,
        value=row.value,
        customer_id=row.customer_id,
        legal_entity=row.legal_entity,
        since=datetime.fromisoformat(row.since),
        seen_at=datetime.fromisoformat(row.seen_at),
        correlation_id=row.correlation_id,
        settled_at=datetime.fromisoformat(row.settled_at) if row.settled_at else None,
        settled_by=row.settled_by,
        reason=row.reason,
    )
