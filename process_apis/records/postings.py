"""Postings: what has to be booked in the ERP for each invoice and payment, and how far it is.

How a run ends and what billing reports meanwhile meet in one statement each: two transactions would leave a gap in
which a process can die.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from canonical.billing import Posting
from canonical.events import INVOICE_FINALIZED
from canonical.ids import Clock
from canonical.money import Money
from canonical.orders import Page, PostingEntry, PostingKind, PostingStatus, QueuePlace
from canonical.process_events import (
    CREDIT_NOTE_POSTED,
    CREDIT_NOTE_VOIDED,
    FEE_BOOKED,
    INVOICE_CREDITED,
    INVOICE_POSTED,
    PAYMENT_BOOKED,
    PAYMENT_REVERSED,
    POSTING_FAILED,
)
from policies.business.exports import EXPORT_TOO_LARGE
from policies.identity.authentication import Principal
from policies.problems import ProblemError
from process_apis.records import paging, visibility, waiting
from process_apis.records.database import NOT_BLOCKED, corrections, insert_once, postings, writing
from process_apis.records.flow_times import flow_times, seconds_since
from process_apis.records.published import publish

KIND: sa.BindParameter[str] = sa.bindparam("of_kind")
KEY: sa.BindParameter[str] = sa.bindparam("of")
FIND = sa.select(postings).where(postings.c.kind == KIND, postings.c.id == KEY)
PARTS = sa.select(postings.c.id).where(
    postings.c.kind == "payment", postings.c.invoice_id == KEY, postings.c.id != postings.c.invoice_id
)
STATE = sa.select(postings.c.state).where(postings.c.kind == KIND, postings.c.id == KEY).with_for_update()
"""A process that posts the invoice meanwhile waits, and then sees the payment that is remembered."""
CHANGE = postings.update().where(postings.c.kind == KIND, postings.c.id == KEY)
WAITS = postings.c.state == "waiting"
CHANGE_WAITING = CHANGE.where(WAITS)
_LATER = sa.and_(WAITS, postings.c.blocked_by.is_(None), postings.c.next_attempt_at > sa.bindparam("soon"))
FOLLOWING = (
    sa.select(postings.c.seq)
    .where(postings.c.invoice_id == sa.bindparam("of_invoice"), _LATER)
    .order_by(postings.c.seq)
)
"""What else waits to be booked of an invoice, and for no platform."""
LET_FOLLOW = (
    postings.update()
    .where(postings.c.seq == sa.bindparam("of_seq"), _LATER)
    .values(next_attempt_at=sa.bindparam("soon"))
)
SKIP = CHANGE.where(postings.c.state != "posted").values(
    skipped=True, state="failed", next_attempt_at=None, **NOT_BLOCKED
)
CANCEL = CHANGE.values(
    state="waiting",
    attempts=sa.case((WAITS, postings.c.attempts), else_=0),
    blocked_reason=sa.case((WAITS, postings.c.blocked_reason), else_=""),
    next_attempt_at=sa.case((WAITS, postings.c.next_attempt_at), else_=sa.bindparam("now", type_=sa.String)),
    **{name: sa.case((WAITS, postings.c[name]), else_=sa.null()) for name in NOT_BLOCKED},
)
_SEEN = sa.or_(postings.c.cancelled == sa.bindparam("as_read"), postings.c.cancelled == sa.bindparam("shown"))
ENDING_WITH = CHANGE.values(
    state=sa.case((_SEEN, sa.bindparam("ended", type_=sa.String)), else_="waiting"),
    attempts=sa.case((_SEEN, sa.bindparam("tried", type_=sa.Integer)), else_=0),
    blocked_reason=sa.case((_SEEN, sa.bindparam("why", type_=sa.Text)), else_=""),
    next_attempt_at=sa.case((_SEEN, sa.null()), else_=sa.bindparam("again", type_=sa.String)),
    skipped=False,
    **NOT_BLOCKED,
)
END = ENDING_WITH.returning(postings)
FAIL = END.where(WAITS)
"""What somebody else has ended meanwhile does not fail."""
DROP = ENDING_WITH.where(postings.c.number == sa.bindparam("number_read"))
"""What somebody else has posted meanwhile is not dropped."""
ENTRIES: dict[PostingKind, tuple[PostingEntry, ...]] = {
    "invoice": ("invoice", "credit"),
    "payment": ("payment", "reversal", "fee"),
}
"""What is booked, by what it is to those who know invoices and payments alone."""
WAKE_CORRECTION = (
    corrections.update()
    .where(corrections.c.reference == KEY, corrections.c.state == "carried_out")
    .values(next_attempt_at=sa.bindparam("now"))
)
"""A correction is over when what billing has done for it is booked."""
CANCELLED = ("void", "uncollectible")
"""In which states billing shows an invoice that it has cancelled."""
BATCH = 1000
"""How many postings are read at once for an export."""
MAX_EXPORT = 50_000
"""How many postings an export has at the most."""
ENDING = timedelta(seconds=1)
"""How long a run may take to end that leaves its posting to the next one."""


class Postings:
    """The table of postings."""

    def __init__(self, engine: sa.Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        self.finalized_to_posted = flow_times(
            "invoice_finalized_to_posted_seconds", "From an invoice that billing finalizes to its posting in the ERP."
        )

    def expect(
        self,
        kind: PostingEntry,
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
            "blocked_reason": "" if kind in ("invoice", "fee") else "its invoice is not posted yet",
        }
        with writing(self._engine) as connection:
            is_new = insert_once(connection, postings, values)  # others write before it, or after all of this
            all_that_is_paid = is_new and kind == "payment" and key == values["invoice_id"]
            together = all_that_is_paid and connection.scalar(STATE, {"of_kind": "invoice", "of": key}) == "waiting"
            if together:
                later = {"of_kind": kind, "of": key, "next_attempt_at": stalled_at.isoformat()}
                connection.execute(CHANGE, later)
        return not together

    def find(self, kind: PostingEntry, key: str) -> sa.Row[Any] | None:
        with self._engine.connect() as connection:
            return connection.execute(FIND, {"of_kind": kind, "of": key}).one_or_none()

    def parts(self, invoice_id: str) -> tuple[str, ...]:
        """Return the ids of the payments of an invoice that have postings of their own."""
        of_parts = PARTS.params({"of": invoice_id})
        with self._engine.connect() as connection:
            return tuple(connection.scalars(of_parts))

    def skip(self, kind: PostingEntry, key: str) -> None:
        """Remember that people have seen to a posting in another way: it is tried no more. One that is posted stays
        so."""
        with writing(self._engine) as connection:
            connection.execute(SKIP, {"of_kind": kind, "of": key, "updated_at": self._clock().isoformat()})

    def worth(self, row: sa.Row[Any], amount: Money) -> None:
        """Remember what a posting is to book that has failed before, so that it is known how much money waits."""
        if row.attempts and row.amount is None:
            self.change(row.kind, row.id, currency=amount.currency, amount=amount.amount)

    def change(self, kind: PostingEntry, key: str, **changes: Any) -> None:
        values = changes | {"updated_at": self._clock().isoformat(), "of_kind": kind, "of": key}
        with writing(self._engine) as connection:
            connection.execute(CHANGE, values)

    def postpone(self, row: sa.Row[Any], until: datetime, **changes: Any) -> bool:
        """Let a posting wait until `until` (UTC). Return False for one that somebody else has ended meanwhile."""
        values = changes | {"next_attempt_at": until.isoformat(), "updated_at": self._clock().isoformat()}
        with writing(self._engine) as connection:
            changed = connection.execute(CHANGE_WAITING, values | {"of_kind": row.kind, "of": row.id})
            return changed.rowcount == 1

    def posted(self, row: sa.Row[Any], posting: Posting, amount: Money, shown: str = "") -> None:
        """Close a posting that is booked.

        An invoice that billing has cancelled after it was read waits again, so that it is taken back: `row` is the
        posting as it was read, `shown` the state in which billing showed the invoice.
        """
        took = None
        with writing(self._engine) as connection:
            ended = connection.execute(END, self._end(row, shown, "posted") | _booked(posting, amount)).one()
            if ended.state == "posted":
                event_type = _event_of(ended, shown)
                publish(connection, event_type, ended, ended.updated_at)
                connection.execute(WAKE_CORRECTION, {"of": ended.id, "now": ended.updated_at})
                if event_type == INVOICE_POSTED:
                    source = f"billing/{ended.billing}"
                    took = seconds_since(connection, INVOICE_FINALIZED, source, ended.id, ended.updated_at)
        if took is not None:
            self.finalized_to_posted.observe(took)
        self._let_follow(ended.invoice_id)

    def _let_follow(self, invoice_id: str) -> None:
        """Let be attempted soon what else waits to be booked of an invoice: it may have waited for this, or for the end
        of its run. One after the other, so that two who do it at once never wait for each other."""
        soon = (self._clock() + ENDING).isoformat()
        with self._engine.connect() as connection:
            others = connection.scalars(FOLLOWING, {"of_invoice": invoice_id, "soon": soon}).all()
        for seq in others:
            with writing(self._engine) as connection:
                connection.execute(LET_FOLLOW, {"of_seq": seq, "soon": soon})

    def fail(
        self,
        connection: sa.Connection,
        row: sa.Row[Any],
        why: str,
        shown: str = "",
        booked: tuple[Posting, Money] | None = None,
    ) -> bool:
        """Close a posting that people have to see to, in a transaction of the caller's. `booked` is what is booked of
        it and its amount, the rest is as for one that is posted.

        Return False when there is nothing for people to do: it waits again, or somebody else has ended it.
        """
        values = self._end(row, shown, "failed", why, row.attempts + 1) | (_booked(*booked) if booked else {})
        ended = connection.execute(FAIL, values).one_or_none()
        if ended is None or ended.state != "failed":
            return False
        publish(connection, POSTING_FAILED, ended, ended.updated_at)
        return True

    def drop(self, row: sa.Row[Any], why: str, shown: str) -> None:
        """Close a posting of which nothing is booked; it waits again as one that is posted does."""
        with writing(self._engine) as connection:
            connection.execute(DROP, self._end(row, shown, "failed", why) | {"number_read": row.number})

    def _end(
        self, row: sa.Row[Any], shown: str, state: str, why: str = "", attempts: int | None = None
    ) -> dict[str, Any]:
        now = self._clock()
        return {
            "of_kind": row.kind,
            "of": row.id,
            "as_read": row.cancelled,
            "shown": shown or row.cancelled,
            "ended": state,
            "why": why,
            "tried": row.attempts if attempts is None else attempts,
            "again": (now + ENDING).isoformat(),
            "updated_at": now.isoformat(),
        }

    def cancel(self, kind: PostingEntry, key: str, state: str) -> None:
        """Remember that billing has cancelled an invoice or a credit note, and let its posting wait again: what is
        booked is taken back. One that waits already is attempted once more when it is posted."""
        now = self._clock().isoformat()
        values = {"of_kind": kind, "of": key, "cancelled": state, "now": now, "updated_at": now}
        with writing(self._engine) as connection:
            connection.execute(CANCEL, values)

    def count_again(self, credit_note_id: str) -> None:
        """Let a credit note that is posted be put once more: what it is for has changed since."""
        with writing(self._engine) as connection:
            now = self._clock().isoformat()
            again = CHANGE.where(postings.c.state == "posted").values(state="waiting", next_attempt_at=now)
            connection.execute(again, {"of_kind": "credit", "of": credit_note_id})

    def settled(self, invoice: sa.Row[Any]) -> None:
        """Close the payment of a posted invoice that was paid without money."""
        self.change(
            "payment",
            invoice.id,
            state="posted",
            blocked_reason="",
            next_attempt_at=None,
            **NOT_BLOCKED,
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
        entry: PostingEntry | None,
        customer_id: str | None,
        cursor: str | None,
        limit: int,
    ) -> Page[PostingStatus]:
        where = _wanted(principal, state, kind, entry)
        if customer_id:
            where.append(postings.c.customer_id == customer_id)
        with self._engine.connect() as connection:
            rows, next_cursor = paging.page_of(connection, postings, where, cursor, limit)
            places = waiting.places(connection, postings, rows)
        return paging.page([_status(row, places.get(row.seq)) for row in rows], next_cursor)

    def batch(
        self,
        principal: Principal,
        state: str | None,
        kind: PostingKind | None,
        entry: PostingEntry | None,
        legal_entity: str | None,
        days: tuple[date | None, date | None],
        cursor: str | None,
    ) -> Page[PostingStatus]:
        """Return the next postings of an export, newest first, without their places among what waits for a platform.

        `days` are the first and the last day (UTC) on which a posting was changed last. Raises `ProblemError` (422)
        with the first ones when there are more than an export has.
        """
        where = _wanted(principal, state, kind, entry)
        first, last = days
        changed_on = sa.func.substr(postings.c.updated_at, 1, len("2026-01-01"))
        if legal_entity:
            where.append(postings.c.legal_entity == legal_entity)
        if first:
            where.append(changed_on >= first.isoformat())
        if last:
            where.append(changed_on <= last.isoformat())
        with self._engine.connect() as connection:
            if cursor is None:
                found = sa.select(postings.c.seq).where(*where).limit(MAX_EXPORT + 1).subquery()
                if (connection.scalar(sa.select(sa.func.count()).select_from(found)) or 0) > MAX_EXPORT:
                    raise ProblemError(EXPORT_TOO_LARGE, f"There are more than {MAX_EXPORT:,} postings of these.")
            rows, next_cursor = paging.page_of(connection, postings, where, cursor, BATCH, most=BATCH)
        return paging.page([_status(row, None) for row in rows], next_cursor)


def _wanted(
    principal: Principal, state: str | None, kind: PostingKind | None, entry: PostingEntry | None
) -> list[sa.ColumnElement[bool]]:
    where = [visibility.visible(postings, principal)]
    if kind:
        where.append(postings.c.kind.in_(ENTRIES[kind]))
    if entry:
        where.append(postings.c.kind == entry)
    if state:
        where.append(postings.c.state == state)
    return where


def _event_of(row: sa.Row[Any], shown: str) -> str:
    """Return the type of the event of a posting that is booked, for what billing `shown` the invoice as."""
    if row.kind == "invoice":
        return INVOICE_CREDITED if shown in CANCELLED else INVOICE_POSTED
    if row.kind == "fee":
        return FEE_BOOKED
    if row.kind == "credit":
        return CREDIT_NOTE_VOIDED if shown in CANCELLED else CREDIT_NOTE_POSTED
    return PAYMENT_BOOKED if row.kind == "payment" else PAYMENT_REVERSED


def _booked(posting: Posting, amount: Money) -> dict[str, Any]:
    return {
        "number": posting.number,
        "currency": amount.currency,
        "amount": amount.amount,
        "tax": posting.tax.amount,
        "balance": posting.balance.amount,
    }


def _status(row: sa.Row[Any], queue: QueuePlace | None) -> PostingStatus:
    def money(amount: int | None) -> Money | None:
        return None if amount is None or row.currency is None else Money(amount, row.currency)

    return PostingStatus(
        kind=next(kind for kind, entries in ENTRIES.items() if row.kind in entries),
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
        queue=queue,
        skipped=row.skipped,
        entry=row.kind,
        cancelled=row.cancelled,
    )
