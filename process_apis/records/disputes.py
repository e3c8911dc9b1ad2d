"""Disputes: a record of each that billing has reported, as it was read there last, with what was asked for and what it
has cost.

A record is written only by who has read it as it still is: of two that look at billing at once, the one that looked
earlier never takes back what the other has seen.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from typing import Any

import msgspec
import sqlalchemy as sa

from canonical.disputes import (
    Dispute,
    DisputeAct,
    DisputeFee,
    DisputeRecord,
    DisputeStep,
    DisputeSummary,
    Evidence,
)
from canonical.events import Event
from canonical.ids import Clock
from canonical.money import Money
from canonical.orders import Page
from canonical.process_events import DISPUTE_EVENTS
from canonical.states import DisputeState, check_dispute
from policies.identity.authentication import Principal
from process_apis.records import paging, visibility
from process_apis.records.database import dispute_fees, dispute_steps, disputes, insert_once, writing
from process_apis.records.one_row import OneRow

OF: sa.BindParameter[str] = sa.bindparam("of")
ROW = sa.select(disputes).where(disputes.c.id == OF)
FEE = sa.select(dispute_fees.c.dispute_id).where(dispute_fees.c.id == OF)
HISTORY = sa.select(dispute_steps).where(dispute_steps.c.dispute_id == OF).order_by(dispute_steps.c.seq)
REACHED = dispute_steps.insert()
UNCHANGED = disputes.update().where(disputes.c.id == OF, disputes.c.revision == sa.bindparam("seen"))
LOOK = disputes.update().where(disputes.c.id == OF)
NEEDS_RESPONSE: tuple[DisputeState, ...] = ("inquired", "open")
"""The states in which the bank waits for an answer."""
OVER: tuple[DisputeState, ...] = ("won", "lost", "closed")
HOLDS_UNREAD = timedelta(days=30)
"""For how long a dispute that cannot be read holds what follows from a debt, and a renewal."""
UNREAD = sa.select(disputes.c.id).where(
    disputes.c.blocked_reason != "", disputes.c.updated_at <= sa.bindparam("unread")
)
"""The disputes that could not be read since `unread`."""
HOLDING = sa.select(disputes.c.id).where(
    disputes.c.contract_id == OF, disputes.c.state.not_in(OVER), disputes.c.id.not_in(UNREAD)
)
"""The disputes of a contract about which the bank has not decided, as far as anybody knows."""


class OneDispute(OneRow[DisputeState], table=disputes, check=check_dispute, events=DISPUTE_EVENTS):
    """A dispute in one transaction."""

    def enter(self, state: DisputeState, again: datetime | None, note: str = "", **changes: Any) -> None:
        """Go to `state`, note when, and a `note` where there is one. Raises `IllegalTransition`."""
        former = self.row.state
        self.advance(state, next_attempt_at=again, revision=self.row.revision + 1, **changes)
        if state != former or note:
            self.note(note)

    def ask(self, action: DisputeAct, by: str, reason: str, evidence: Evidence | None, digest: str) -> None:
        """Keep what is asked for, to be done at once: who asks for it, and why."""
        content = msgspec.json.encode(evidence) if evidence else None
        asked = {"asked": action, "doing": action, "evidence": content, "digest": digest}
        self.advance(
            self.row.state,
            next_attempt_at=datetime.fromisoformat(self._now),
            revision=self.row.revision + 1,
            **asked,
        )
        self.note(reason, action, by)

    def note(self, reason: str, asked: str = "", by: str = "") -> None:
        """Add a line to the history."""
        step = {"dispute_id": self.row.id, "state": self.row.state, "at": self._now}
        self.connection.execute(REACHED, step | {"asked": asked, "asked_by": by, "reason": reason})


class Disputes:
    """The table of disputes."""

    def __init__(self, engine: sa.Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    # ---- what billing says

    def expect(self, dispute_id: str, event: Event, correlation_id: str) -> None:
        """Remember that billing has reported a dispute: it is to be read there at once, also when it was before."""
        now = self._clock().isoformat()
        values = {
            "id": dispute_id,
            "billing": event.instance,
            "invoice_id": event.data.get("invoice", ""),
            "contract_id": event.data.get("contract", ""),
            "customer_id": event.data.get("customer", ""),
            "legal_entity": event.data.get("legal_entity", ""),
            "state": "reported",
            "correlation_id": correlation_id,
            "reported_at": now,
            "updated_at": now,
        }
        with writing(self._engine) as connection:
            if insert_once(connection, disputes, values):
                first = {"dispute_id": dispute_id, "state": "reported", "at": now}
                connection.execute(REACHED, first | {"asked": "", "asked_by": "", "reason": ""})
            self._look(connection, dispute_id, now)

    def look_again(self, dispute_id: str) -> None:
        """Let a dispute be read again at once. Do nothing for one that is not known."""
        with writing(self._engine) as connection:
            self._look(connection, dispute_id, self._clock().isoformat())

    @staticmethod
    def _look(connection: sa.Connection, dispute_id: str, now: str) -> None:
        values = {"next_attempt_at": now, "attempts": 0, "revision": disputes.c.revision + 1}
        connection.execute(LOOK.values(**values), {"of": dispute_id})

    def seen(
        self, row: sa.Row[Any], found: Dispute, again: datetime | None, reported_until: str, refusal: str = ""
    ) -> sa.Row[Any] | None:
        """Keep a dispute as billing has it, to be read again at `again` (UTC). `row` is the record as it was before
        billing was asked, `reported_until` the moment that support knows of, and `refusal` why billing has not done
        what was asked for.

        Return the record; None for one that has changed since: it is read again. Raises `IllegalTransition`.
        """
        with self.at(row.id) as one:
            if one.row.revision != row.revision:
                return None
            facts = {
                "invoice_id": found.invoice_id,
                "payment_id": found.payment_id,
                "contract_id": found.contract_id,
                "customer_id": found.customer_id,
                "legal_entity": found.legal_entity,
                "currency": found.amount.currency,
                "amount": found.amount.amount,
                "reason": found.reason,
                "opened_at": found.opened_at.isoformat(),
                "respond_by": found.respond_by.isoformat() if found.respond_by else None,
                "answered": found.answered,
            }
            undone = {"asked": "", "digest": ""} if refusal else {}
            one.enter(
                found.state, again, refusal, **facts, **undone, reported_until=reported_until, doing="", evidence=None
            )
            return one.row

    def postpone(self, row: sa.Row[Any], again: datetime, attempts: int, why: str, **changes: Any) -> None:
        """Let a dispute that could not be read be read again at `again` (UTC), unless it has changed since it was read
        as `row`."""
        values = {"next_attempt_at": again.isoformat(), "attempts": attempts, "blocked_reason": why} | changes
        with writing(self._engine) as connection:
            connection.execute(UNCHANGED.values(**values), {"of": row.id, "seen": row.revision})

    def keep_fee(self, fee: DisputeFee) -> None:
        """Remember what billing took for a dispute, or gave back. What is known already stays as it is."""
        values = {
            "id": fee.id,
            "dispute_id": fee.dispute_id,
            "legal_entity": fee.legal_entity,
            "currency": fee.amount.currency,
            "amount": fee.amount.amount,
            "taken_on": fee.taken_on.isoformat(),
        }
        with writing(self._engine) as connection:
            insert_once(connection, dispute_fees, values)

    def dispute_of(self, fee_id: str) -> str | None:
        """Return for which dispute a fee was taken."""
        with self._engine.connect() as connection:
            return connection.scalar(FEE, {"of": fee_id})

    # ---- one record

    @contextmanager
    def at(self, dispute_id: str) -> Generator[OneDispute]:
        """Return one dispute to change, in a transaction that ends with the block."""
        with writing(self._engine) as connection:
            yield OneDispute(connection, dispute_id, self._clock().isoformat())

    def find(self, dispute_id: str) -> sa.Row[Any] | None:
        with self._engine.connect() as connection:
            return connection.execute(ROW, {"of": dispute_id}).one_or_none()

    def visible(self, dispute_id: str, principal: Principal) -> DisputeRecord | None:
        """Return a dispute with its history, if the caller may see it."""
        query = ROW.where(visibility.visible(disputes, principal))
        with self._engine.connect() as connection:
            row = connection.execute(query, {"of": dispute_id}).one_or_none()
            if row is None:
                return None
            summary = self._summaries(connection, [row])[0]
            history = tuple(map(_step, connection.execute(HISTORY, {"of": dispute_id})))
        return DisputeRecord(**{name: getattr(summary, name) for name in summary.__struct_fields__}, history=history)

    def page(
        self,
        principal: Principal,
        state: DisputeState | None,
        customer_id: str | None,
        contract_id: str | None,
        due_before: datetime | None,
        cursor: str | None,
        limit: int,
    ) -> Page[DisputeSummary]:
        """Return disputes that the caller may see, newest first: with `due_before` (UTC), those that wait for an answer
        which has to be there before that."""
        where = [visibility.visible(disputes, principal)]
        wanted = {"state": state, "customer_id": customer_id, "contract_id": contract_id}
        where += [disputes.c[name] == value for name, value in wanted.items() if value]
        if due_before:
            where += [disputes.c.state.in_(NEEDS_RESPONSE), disputes.c.respond_by < due_before.isoformat()]
        with self._engine.connect() as connection:
            rows, next_cursor = paging.page_of(connection, disputes, where, cursor, limit)
            return paging.page(self._summaries(connection, rows), next_cursor)

    def _summaries(self, connection: sa.Connection, rows: Sequence[sa.Row[Any]]) -> list[DisputeSummary]:
        fees: defaultdict[str, list[DisputeFee]] = defaultdict(list)
        query = sa.select(dispute_fees).where(dispute_fees.c.dispute_id.in_([row.id for row in rows]))
        for each in connection.execute(query.order_by(dispute_fees.c.seq)) if rows else ():
            taken = Money(each.amount, each.currency), date.fromisoformat(each.taken_on)
            fees[each.dispute_id].append(DisputeFee(each.id, each.dispute_id, each.legal_entity, *taken))
        return [_summary(row, tuple(fees[row.id]), self._clock()) for row in rows]


def possible(row: sa.Row[Any], now: datetime) -> tuple[DisputeAct, ...]:
    """Return what may be done about a dispute at a moment (UTC)."""
    if row.doing or row.state not in NEEDS_RESPONSE:
        return ()
    answer: tuple[DisputeAct, ...] = () if is_late(row, now) else ("answer",)
    return (*answer, "accept") if row.state == "open" else answer


def is_unread(row: sa.Row[Any], now: datetime) -> bool:
    """Return whether a dispute that cannot be read at a moment (UTC) holds nothing any more."""
    return bool(row.blocked_reason) and row.updated_at <= (now - HOLDS_UNREAD).isoformat()


def is_late(row: sa.Row[Any], now: datetime) -> bool:
    """Return whether no answer is taken any more, or never was."""
    return row.respond_by is None or now > datetime.fromisoformat(row.respond_by)


def _summary(row: sa.Row[Any], fees: tuple[DisputeFee, ...], now: datetime) -> DisputeSummary:
    def moment(text: str | None) -> datetime | None:
        return datetime.fromisoformat(text) if text else None

    return DisputeSummary(
        id=row.id,
        state=row.state,
        billing=row.billing,
        invoice_id=row.invoice_id,
        payment_id=row.payment_id,
        customer_id=row.customer_id,
        contract_id=row.contract_id,
        legal_entity=row.legal_entity,
        reason=row.reason,
        answered=row.answered,
        reported_at=datetime.fromisoformat(row.reported_at),
        updated_at=datetime.fromisoformat(row.updated_at),
        correlation_id=row.correlation_id,
        amount=Money(row.amount, row.currency) if row.currency else None,
        opened_at=moment(row.opened_at),
        respond_by=moment(row.respond_by),
        fees=fees,
        doing=row.doing or None,
        blocked_reason=row.blocked_reason,
        actions=possible(row, now),
    )


def _step(row: sa.Row[Any]) -> DisputeStep:
    return DisputeStep(row.state, datetime.fromisoformat(row.at), row.asked or None, row.asked_by, row.reason)
