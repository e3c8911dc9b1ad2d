"""Usage corrections: of each period one after the other, each with what was charged before it and what is by now.

Two numbers of a period go on from one to the next: what is charged, and what is settled, which differs by what people
have rejected. Between the two nothing is proposed again.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

import sqlalchemy as sa

from canonical.deals import plain
from canonical.ids import Clock, derived
from canonical.money import Money
from canonical.orders import Page
from canonical.process_events import USAGE_CORRECTION_EVENTS
from canonical.states import UsageCorrectionState, check_usage_correction
from canonical.usage_corrections import UsageCorrection
from policies.identity.authentication import Principal
from process_apis.records import paging, visibility
from process_apis.records.database import insert_once, usage_corrections, writing
from process_apis.records.one_row import OneRow

OF: sa.BindParameter[str] = sa.bindparam("of")
ROW = sa.select(usage_corrections).where(usage_corrections.c.id == OF)
LAST = (
    sa.select(usage_corrections)
    .where(usage_corrections.c.period_id == OF)
    .order_by(usage_corrections.c.number.desc())
    .limit(1)
)
SETTLED: tuple[UsageCorrectionState, ...] = ("carried_out", "by_hand")
"""The states of one whose difference is charged or credited."""
ENDED: tuple[UsageCorrectionState, ...] = (*SETTLED, "rejected", "gone")
"""The states of one that nothing becomes of any more."""
UNPRICED: dict[str, Any] = {"currency": None, "amount": None, "invoice_id": "", "line": ""}
"""What the columns hold that billing is to say."""


class SettledUsage(NamedTuple):
    """What of a period is charged, and what is settled with what was rejected."""

    charged: Decimal
    settled: Decimal

    def difference(self, quantity: Decimal) -> Decimal:
        """Return how much more is to be charged of a period that comes to `quantity`; below nothing, how much less.
        What is between what is charged and what is settled stays as it is."""
        low, high = sorted(self)
        return quantity - min(max(quantity, low), high)


class OneUsageCorrection(
    OneRow[UsageCorrectionState],
    table=usage_corrections,
    check=check_usage_correction,
    events=USAGE_CORRECTION_EVENTS,
):
    """A usage correction in one transaction."""


class UsageCorrections:
    """The table of usage corrections."""

    def __init__(self, database: sa.Engine, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    @contextmanager
    def at(self, correction_id: str) -> Generator[OneUsageCorrection]:
        """Lock one for one transaction."""
        with writing(self._database) as connection:
            yield self.one(connection, correction_id)

    def one(self, connection: sa.Connection, correction_id: str) -> OneUsageCorrection:
        """Lock one in the caller's transaction."""
        return OneUsageCorrection(connection, correction_id, self._clock().isoformat())

    def begin(
        self, connection: sa.Connection, period: sa.Row[Any], last: sa.Row[Any] | None, quantity: Decimal, sent_by: str
    ) -> None:
        """Make the next correction of a period, after the `last` one, in the caller's transaction."""
        now, number = self._clock().isoformat(), (last.number if last else 0) + 1
        settled = settled_after(period, last)
        correction_id = derived("ucr", period.id, str(number))
        of = ("contract_id", "order_id", "customer_id", "legal_entity", "meter", "sku", "starts_at", "ends_at")
        row = {name: getattr(period, name) for name in of} | {
            "id": correction_id,
            "period_id": period.id,
            "number": number,
            "state": "found",
            "charged": plain(settled.charged),
            "settled": plain(settled.settled),
            "quantity": plain(quantity),
            "difference": plain(settled.difference(quantity)),
            "sent_by": with_sender(last.sent_by if last else "", sent_by),
            "correlation_id": derived("cor", "usage", correction_id),
            "next_attempt_at": now,
            "found_at": now,
            "updated_at": now,
        }
        insert_once(connection, usage_corrections, row)

    def row(self, correction_id: str) -> sa.Row[Any]:
        """Return one as it is now. Raises `sqlalchemy.exc.NoResultFound`."""
        with self._database.connect() as connection:
            return connection.execute(ROW, {"of": correction_id}).one()

    def last_of(self, period_id: str) -> sa.Row[Any] | None:
        """Return the newest of a period."""
        with self._database.connect() as connection:
            return self.last_in(connection, period_id)

    def last_in(self, connection: sa.Connection, period_id: str) -> sa.Row[Any] | None:
        """Return the newest of a period, in the caller's transaction."""
        return connection.execute(LAST, {"of": period_id}).one_or_none()

    def visible(self, correction_id: str, principal: Principal) -> UsageCorrection | None:
        """Return None when there is none, or none that the caller may see."""
        query = ROW.where(visibility.visible(usage_corrections, principal))
        with self._database.connect() as connection:
            row = connection.execute(query, {"of": correction_id}).one_or_none()
        return shown(row) if row else None

    def page(
        self,
        principal: Principal,
        state: UsageCorrectionState | None,
        contract_id: str | None,
        customer_id: str | None,
        cursor: str | None,
        limit: int,
    ) -> Page[UsageCorrection]:
        """Return a page of those that the caller may see, newest first."""
        wanted = {"state": state, "contract_id": contract_id, "customer_id": customer_id}
        where = [visibility.visible(usage_corrections, principal)]
        where += [usage_corrections.c[name] == value for name, value in wanted.items() if value]
        with self._database.connect() as connection:
            rows, next_cursor = paging.page_of(connection, usage_corrections, where, cursor, limit)
        return paging.page([shown(row) for row in rows], next_cursor)


def settled_after(period: sa.Row[Any], last: sa.Row[Any] | None) -> SettledUsage:
    """Return what of a period is charged and settled once its newest correction has ended; while that is open, what was
    before it."""
    if last is None:
        handed_over = Decimal(period.quantity)
        return SettledUsage(handed_over, handed_over)
    charged, quantity = Decimal(last.charged), Decimal(last.quantity)
    if last.state in SETTLED:
        return SettledUsage(charged + Decimal(last.difference), quantity)
    return SettledUsage(charged, quantity if last.state == "rejected" else Decimal(last.settled))


def senders(row: sa.Row[Any]) -> list[str]:
    """Return who has sent the records that a correction follows from, or those before it."""
    return str(row.sent_by).split("\n")


def with_sender(known: str, sent_by: str) -> str:
    """Return senders, one a line, with one more."""
    return "\n".join(dict.fromkeys(each for each in (*known.split("\n"), sent_by) if each))


def shown(row: sa.Row[Any]) -> UsageCorrection:
    """Return a correction as people see it."""
    return UsageCorrection(
        id=row.id,
        state=row.state,
        contract_id=row.contract_id,
        customer_id=row.customer_id,
        legal_entity=row.legal_entity,
        meter=row.meter,
        sku=row.sku,
        starts_at=datetime.fromtimestamp(row.starts_at, UTC),
        ends_at=datetime.fromtimestamp(row.ends_at, UTC),
        charged=Decimal(row.charged),
        quantity=Decimal(row.quantity),
        difference=Decimal(row.difference),
        amount=None if row.amount is None else Money(row.amount, row.currency),
        invoice_id=row.invoice_id,
        revision=row.revision,
        reference=row.reference,
        decided_by=row.decided_by,
        reason=row.reason,
        blocked_reason=row.blocked_reason,
        found_at=datetime.fromisoformat(row.found_at),
        updated_at=datetime.fromisoformat(row.updated_at),
        correlation_id=row.correlation_id,
    )
