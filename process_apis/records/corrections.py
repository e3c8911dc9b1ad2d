"""Corrections of invoices: each with its state, checked at every change, and with who has decided what of it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from canonical.corrections import (
    Correction,
    CorrectionKind,
    CorrectionPreview,
    CorrectionStep,
    CorrectionSummary,
    CreditOrder,
    InvoiceEnd,
    NewCorrection,
    RefundOrder,
)
from canonical.ids import Clock, derived
from canonical.money import Money
from canonical.orders import Page
from canonical.process_events import CORRECTION_EVENTS
from canonical.states import CorrectionState, check_correction
from policies.identity.authentication import Principal
from process_apis.records import paging, visibility
from process_apis.records.database import correction_states, corrections, insert_once, postings, writing
from process_apis.records.one_row import OneRow
from process_apis.records.published import publish

OF: sa.BindParameter[str] = sa.bindparam("of")
ROW = sa.select(corrections).where(corrections.c.id == OF)
INVOICE = sa.select(postings).where(postings.c.kind == "invoice", postings.c.id == OF)
LOCKED_INVOICE = INVOICE.with_for_update()
"""Of two corrections that are asked for at once, the second is taken when the first is seen."""
UNDONE: tuple[CorrectionState, ...] = ("requested", "checking", "awaiting_approval", "carrying_out", "on_hold")
"""Where a correction is of which billing may have nothing yet: what it asks for is not there for others."""
RESERVED = sa.select(corrections).where(corrections.c.invoice_id == OF, corrections.c.state.in_(UNDONE)).order_by("seq")
HISTORY = sa.select(correction_states).where(correction_states.c.correction_id == OF).order_by(correction_states.c.seq)
REACHED = correction_states.insert()
Wanted = CreditOrder | RefundOrder | InvoiceEnd
_REQUEST = msgspec.json.Decoder(NewCorrection)
_PREVIEW = msgspec.json.Decoder(CorrectionPreview)
WANTED: dict[CorrectionKind, type[Wanted]] = {
    "credit_note": CreditOrder,
    "refund": RefundOrder,
    "void": InvoiceEnd,
    "write_off": InvoiceEnd,
}
"""What billing is asked for with each kind."""


class OneCorrection(OneRow[CorrectionState], table=corrections, check=check_correction, events=CORRECTION_EVENTS):
    """A correction in one transaction."""

    def enter(
        self, state: CorrectionState, *, next_attempt_at: datetime | None, by: str = "", why: str = "", **changes: Any
    ) -> None:
        """Go to `state`, and note when and why, and `by` whom where people have decided it. Raises
        `IllegalTransition`."""
        former = self.row.state
        self.advance(state, next_attempt_at=next_attempt_at, **changes)
        if state != former:
            _note(self.connection, self.row.id, state, self._now, by, why)


class Corrections:
    """The table of corrections."""

    def __init__(self, engine: sa.Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    @contextmanager
    def at(self, correction_id: str) -> Generator[OneCorrection]:
        """Return one correction to change, in a transaction that ends with the block."""
        with writing(self._engine) as connection:
            yield OneCorrection(connection, correction_id, self._clock().isoformat())

    def receive(
        self,
        invoice: sa.Row[Any],
        request: NewCorrection,
        wanted: Wanted,
        amount: Money,
        fits: Callable[[Sequence[sa.Row[Any]]], None],
        *,
        proposed: bool,
        requested_by: str,
        correlation_id: str,
        next_attempt_at: datetime,
    ) -> tuple[sa.Row[Any], bool]:
        """Return the correction with a key, and whether it is new. `fits` raises what it has to for a new one that does
        not go together with those that are not carried out yet."""
        now = self._clock().isoformat()
        row = {
            "id": correction_id(invoice.id, request.key),
            "kind": request.kind,
            "invoice_id": invoice.id,
            "billing": invoice.billing,
            "contract_id": invoice.contract_id,
            "customer_id": invoice.customer_id,
            "legal_entity": invoice.legal_entity,
            "currency": amount.currency,
            "amount": amount.amount,
            "state": "requested",
            "requested_by": requested_by,
            "proposed": proposed,
            "request": msgspec.json.encode(request),
            "wanted": msgspec.json.encode(wanted),
            "run": 1,
            "correlation_id": correlation_id,
            "next_attempt_at": next_attempt_at.isoformat(),
            "requested_at": now,
            "updated_at": now,
        }
        with writing(self._engine) as connection:
            connection.execute(LOCKED_INVOICE, {"of": invoice.id}).one()
            known = connection.execute(ROW, {"of": row["id"]}).one_or_none()
            if known is not None:
                return known, False
            fits(connection.execute(RESERVED, {"of": invoice.id}).all())
            insert_once(connection, corrections, row)
            made = connection.execute(ROW, {"of": row["id"]}).one()
            publish(connection, CORRECTION_EVENTS["requested"], made, now)
            _note(connection, made.id, "requested", now, requested_by, request.text)
            return made, True

    def change(self, correction_id: str, **changes: Any) -> None:
        with writing(self._engine) as connection:
            connection.execute(corrections.update().where(corrections.c.id == correction_id).values(**changes))

    # ---- reading

    def row(self, correction_id: str) -> sa.Row[Any]:
        with self._engine.connect() as connection:
            return connection.execute(ROW, {"of": correction_id}).one()

    def known(self, correction_id: str) -> sa.Row[Any] | None:
        with self._engine.connect() as connection:
            return connection.execute(ROW, {"of": correction_id}).one_or_none()

    def came_to(self, correction_id: str, state: CorrectionState) -> datetime | None:
        """Return when a correction has come to a state last (UTC)."""
        with self._engine.connect() as connection:
            steps = connection.execute(HISTORY, {"of": correction_id}).all()
        moments = [datetime.fromisoformat(each.at) for each in steps if each.state == state]
        return moments[-1] if moments else None

    def reserved(self, invoice_id: str) -> Sequence[sa.Row[Any]]:
        """Return the corrections of an invoice that are not carried out yet, the oldest first."""
        with self._engine.connect() as connection:
            return connection.execute(RESERVED, {"of": invoice_id}).all()

    def invoice(self, invoice_id: str, principal: Principal) -> sa.Row[Any] | None:
        """Return the posting of an invoice; None for one that is not there for the caller."""
        query = INVOICE.where(visibility.visible(postings, principal))
        with self._engine.connect() as connection:
            return connection.execute(query, {"of": invoice_id}).one_or_none()

    def posted(self, invoice_id: str) -> sa.Row[Any] | None:
        """Return the posting of an invoice; None for one that accounting has not heard of."""
        with self._engine.connect() as connection:
            return connection.execute(INVOICE, {"of": invoice_id}).one_or_none()

    def visible(self, correction_id: str, principal: Principal) -> Correction | None:
        """Return None when there is no such correction, or none that the caller may see."""
        query = ROW.where(visibility.visible(corrections, principal))
        with self._engine.connect() as connection:
            row = connection.execute(query, {"of": correction_id}).one_or_none()
        return self.shown(row) if row else None

    def shown(self, row: sa.Row[Any]) -> Correction:
        """Return a correction as channels see it."""
        with self._engine.connect() as connection:
            steps = connection.execute(HISTORY, {"of": row.id}).all()
        history = tuple(
            CorrectionStep(each.state, datetime.fromisoformat(each.at), each.decided_by, each.reason) for each in steps
        )
        more: dict[str, Any] = {
            "request": request_of(row),
            "proposed": row.proposed,
            "correlation_id": row.correlation_id,
            "preview": preview_of(row),
            "history": history,
        }
        return Correction(**msgspec.structs.asdict(_summary(row)), **more)

    def page(
        self,
        principal: Principal,
        state: CorrectionState | None,
        kind: CorrectionKind | None,
        invoice_id: str | None,
        customer_id: str | None,
        cursor: str | None,
        limit: int,
    ) -> Page[CorrectionSummary]:
        """Return a page of corrections, newest first."""
        wanted = {"state": state, "kind": kind, "invoice_id": invoice_id, "customer_id": customer_id}
        where = [visibility.visible(corrections, principal)]
        where += [corrections.c[name] == value for name, value in wanted.items() if value]
        with self._engine.connect() as connection:
            rows, next_cursor = paging.page_of(connection, corrections, where, cursor, limit)
        return paging.page([_summary(row) for row in rows], next_cursor)


def correction_id(invoice_id: str, key: str) -> str:
    """Return the id of the correction of an invoice with a key of the caller's."""
    return derived("crc", invoice_id, key)


def request_of(row: sa.Row[Any]) -> NewCorrection:
    return _REQUEST.decode(row.request)


def preview_of(row: sa.Row[Any]) -> CorrectionPreview | None:
    return _PREVIEW.decode(row.preview) if row.preview else None


def wanted_of(row: sa.Row[Any]) -> Wanted:
    """Return what billing is asked for, as it was worked out when the correction was asked for."""
    return msgspec.json.decode(row.wanted, type=WANTED[row.kind])


def _note(connection: sa.Connection, of: str, state: str, at: str, by: str, why: str) -> None:
    step = {"correction_id": of, "state": state, "at": at, "decided_by": by, "reason": why}
    connection.execute(REACHED, step)


def _summary(row: sa.Row[Any]) -> CorrectionSummary:
    return CorrectionSummary(
        id=row.id,
        kind=row.kind,
        state=row.state,
        invoice_id=row.invoice_id,
        customer_id=row.customer_id,
        contract_id=row.contract_id,
        legal_entity=row.legal_entity,
        amount=Money(row.amount, row.currency),
        requested_by=row.requested_by,
        requested_at=datetime.fromisoformat(row.requested_at),
        updated_at=datetime.fromisoformat(row.updated_at),
        reference=row.reference,
        blocked_reason=row.blocked_reason,
    )
