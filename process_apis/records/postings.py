"""Postings: what has to be booked in the ERP for each invoice and payment, and how far it is."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from canonical.billing import Posting
from canonical.ids import Clock
from canonical.money import Money
from canonical.orders import Page, PostingKind, PostingStatus
from policies.identity.authentication import Principal
from process_apis.records import paging, visibility
from process_apis.records.database import insert_once, postings

KIND: sa.BindParameter[str] = sa.bindparam("of_kind")
KEY: sa.BindParameter[str] = sa.bindparam("of")
FIND = sa.select(postings).where(postings.c.kind == KIND, postings.c.id == KEY)
PARTS = sa.select(postings.c.id).where(
    postings.c.kind == "payment", postings.c.invoice_id == KEY, postings.c.id != postings.c.invoice_id
)
STATE = sa.select(postings.c.state).where(postings.c.kind == KIND, postings.c.id == KEY).with_for_update()
"""A process that posts the invoice meanwhile waits, and then sees the payment that is remembered."""
CHANGE = postings.update().where(postings.c.kind == KIND, postings.c.id == KEY)


class Postings:
    """The table of postings."""

    def __init__(self, engine: sa.Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    def expect(
        self,
        kind: PostingKind,
        billing: str,
        key: str,
        correlation_id: str,
        stalled_at: datetime,
        *,
        invoice_id: str = "",
        contract_id: str,
        customer_id: str,
        legal_entity: str,
    ) -> bool:
        """Remember that an invoice, or what is paid for it, has to be posted. What is known already stays as it is.

        `key` is the invoice's id. Of a part that is paid before the rest it is the payment's, of the invoice
        `invoice_id`.

        Returns whether somebody has to look at it now. A payment whose invoice waits to be posted is booked together
        with it, and attempted only when that was `stalled_at`.
        """
        now = self._clock().isoformat()
        values = {
            "kind": kind,
            "billing": billing,
            "id": key,
            "invoice_id": invoice_id or key,
            "contract_id": contract_id,
            "customer_id": customer_id,
            "legal_entity": legal_entity,
            "state": "waiting",
            "correlation_id": correlation_id,
            "updated_at": now,
            "next_attempt_at": now,
            "blocked_reason": "" if kind == "invoice" else "its invoice is not posted yet",
        }
        with self._engine.begin() as connection:
            all_that_is_paid = kind == "payment" and key == values["invoice_id"]
            together = all_that_is_paid and connection.scalar(STATE, {"of_kind": "invoice", "of": key}) == "waiting"
            insert_once(
                connection, postings, values | {"next_attempt_at": stalled_at.isoformat()} if together else values
            )
        return not together

    def find(self, kind: PostingKind, key: str) -> sa.Row[Any] | None:
        with self._engine.connect() as connection:
            return connection.execute(FIND, {"of_kind": kind, "of": key}).one_or_none()

    def parts(self, invoice_id: str) -> tuple[str, ...]:
        """Return the ids of the payments of an invoice that have postings of their own."""
        of_parts = PARTS.params({"of": invoice_id})
        with self._engine.connect() as connection:
            return tuple(connection.scalars(of_parts))

    def change(self, kind: PostingKind, key: str, **changes: Any) -> None:
        values = changes | {"updated_at": self._clock().isoformat(), "of_kind": kind, "of": key}
        with self._engine.begin() as connection:
            connection.execute(CHANGE, values)

    def posted(self, kind: PostingKind, key: str, posting: Posting, amount: Money) -> None:
        self.change(
            kind,
            key,
            state="posted",
            blocked_reason="",
            next_attempt_at=None,
            number=posting.number,
            currency=amount.currency,
            amount=amount.amount,
            tax=posting.tax.amount,
            balance=posting.balance.amount,
        )

    def cancelled(self, invoice_id: str) -> str:
        """Return the state to which billing has cancelled an invoice, as far as it was reported; empty for none."""
        row = self.find("invoice", invoice_id)
        return row.cancelled if row else ""

    def cancel(self, invoice_id: str, state: str) -> None:
        """Remember that billing has cancelled an invoice, and let its posting wait again: what is booked is taken back.
        One that waits already is attempted once more when it is posted."""
        changes = {"cancelled": state, "of_kind": "invoice", "of": invoice_id}
        now = self._clock().isoformat()
        again = {"state": "waiting", "attempts": 0, "blocked_reason": "", "next_attempt_at": now, "updated_at": now}
        with self._engine.begin() as connection:
            waits = connection.scalar(STATE, {"of_kind": "invoice", "of": invoice_id}) == "waiting"
            connection.execute(CHANGE, changes if waits else changes | again)

    def dropped(self, kind: PostingKind, key: str, why: str) -> None:
        """Close a posting of which nothing is booked."""
        self.change(kind, key, state="failed", blocked_reason=why, next_attempt_at=None)

    def settled(self, invoice: sa.Row[Any]) -> None:
        """Close the payment of a posted invoice that was paid without money."""
        self.change(
            "payment",
            invoice.id,
            state="posted",
            blocked_reason="",
            next_attempt_at=None,
            number=invoice.number,
            currency=invoice.currency,
            amount=0,
            tax=0,
            balance=invoice.balance,
        )

    def page(
        self,
        principal: Principal,
        state: str | None,
        kind: PostingKind | None,
        customer_id: str | None,
        cursor: str | None,
        limit: int,
    ) -> Page[PostingStatus]:
        where = [visibility.visible(postings, principal)]
        if kind:
            where.append(postings.c.kind == kind)
        if state:
            where.append(postings.c.state == state)
        if customer_id:
            where.append(postings.c.customer_id == customer_id)
        with self._engine.connect() as connection:
            rows, next_cursor = paging.page_of(connection, postings, where, cursor, limit)
        return paging.page([_status(row) for row in rows], next_cursor)


def _status(row: sa.Row[Any]) -> PostingStatus:
    def money(amount: int | None) -> Money | None:
        return None if amount is None or row.currency is None else Money(amount, row.currency)

    return PostingStatus(
        kind=row.kind,
        id=row.id,
        invoice_id=row.invoice_id,
        customer_id=row.customer_id,
        contract_id=row.contract_id,
        legal_entity=row.legal_entity,
        state=row.state,
        blocked_reason=row.blocked_reason,
        attempts=row.attempts,
        updated_at=datetime.fromisoformat(row.updated_at),
        amount=money(row.amount),
        tax=money(row.tax),
        number=row.number,
        balance=money(row.balance),
        billing=row.billing,
    )
