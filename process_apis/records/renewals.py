"""Renewals: one for each contract and end of a term, each with its state, checked at every change."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa

from canonical.cases import CaseKind
from canonical.ids import Clock, derived
from canonical.money import Money
from canonical.orders import Page
from canonical.process_events import RENEWAL_EVENTS
from canonical.renewals import Renewal
from canonical.states import RenewalState, check_renewal
from policies.identity.authentication import Principal
from process_apis.records import paging, visibility
from process_apis.records.amendments import WENT_WITH_THE_END, amendment_id
from process_apis.records.database import (
    amending_deals,
    amendments,
    cases,
    dunnings,
    insert_once,
    postings,
    renewals,
    writing,
)
from process_apis.records.disputes import HOLDING, HOLDS_UNREAD
from process_apis.records.one_row import OneRow
from process_apis.records.published import publish

OF: sa.BindParameter[str] = sa.bindparam("of")
ROW = sa.select(renewals).where(renewals.c.id == OF)
OF_DEAL = sa.select(renewals.c.id).where(
    renewals.c.crm == sa.bindparam("crm"), renewals.c.deal_id == sa.bindparam("deal")
)
OPEN_DEAL = (
    sa.select(amending_deals.c.deal_id)
    .where(
        amending_deals.c.contract_id == OF,
        amending_deals.c.amendment_id == "",
        sa.or_(
            amending_deals.c.next_attempt_at.is_not(None),
            sa.exists().where(cases.c.subject == amending_deals.c.id, cases.c.state == "open"),
        ),
    )
    .limit(1)
)
WENT = sa.select(amendments.c.id).where(
    sa.or_(
        amendments.c.id == sa.bindparam("own"),
        amendments.c.id.in_(
            sa.select(amending_deals.c.amendment_id).where(
                amending_deals.c.crm == sa.bindparam("crm"), amending_deals.c.deal_id == sa.bindparam("deal")
            )
        ),
    ),
    amendments.c.state == "given_up",
    amendments.c.blocked_reason.startswith(WENT_WITH_THE_END, autoescape=True),
)
"""A renewal that was agreed, and given up with an end of the contract that was to come before it."""
CONCERN_A_CONTRACT: tuple[CaseKind, ...] = (
    "deal_changed",
    "platform_rejected",
    "not_delivered",
    "line_failed",
    "provisioning_failed",
    "charge_by_hand",
    "cannot_undo",
    "invoice_cancelled",
    "payment_disputed",
    "payment_overdue",
    "service_suspended",
    "duplicate_customer",
    "customer_not_followed",
    "customer_tax_changed",
    "amendment_invalid",
    "amendment_not_agreed",
    "amendment_approval",
    "amendment_not_delivered",
)
"""The kinds of cases that are to be settled before a contract is renewed. A posting that waits is not among them: what
was billed is owed either way."""
CONTRACT: sa.BindParameter[str] = sa.bindparam("contract")
OPEN_CASE = (
    sa.select(cases.c.id)
    .where(
        cases.c.state == "open",
        cases.c.kind.in_(CONCERN_A_CONTRACT),
        sa.or_(
            cases.c.subject == sa.bindparam("order"),
            cases.c.subject == sa.bindparam("customer"),
            cases.c.subject.in_(sa.select(amendments.c.id).where(amendments.c.contract_id == CONTRACT)),
            cases.c.subject.in_(
                sa.select(dunnings.c.id).where(
                    dunnings.c.contract_id == CONTRACT, dunnings.c.customer_id == sa.bindparam("customer")
                )
            ),
            cases.c.subject.in_(
                sa.select(sa.literal("invoice:") + postings.c.invoice_id).where(postings.c.contract_id == CONTRACT)
            ),
        ),
    )
    .order_by(cases.c.seq)
    .limit(1)
)


class OneRenewal(OneRow[RenewalState], table=renewals, check=check_renewal, events=RENEWAL_EVENTS):
    """A renewal in one transaction."""


class Renewals:
    """The table of renewals."""

    def __init__(self, engine: sa.Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    # ---- writing

    @contextmanager
    def at(self, renewal_id: str) -> Generator[OneRenewal]:
        """Return one renewal to change, in a transaction that ends with the block."""
        with writing(self._engine) as connection:
            yield OneRenewal(connection, renewal_id, self._clock().isoformat())

    def find(self, contract_id: str, ends_on: date, **values: Any) -> None:
        """Keep that a term ends, with `values` when that is new. One that was dropped is found again: the contract has
        this end again. What was agreed before and went with another end is asked for again, as is what was lost while
        that was to come; what people have withdrawn stays withdrawn."""
        now = self._clock()
        row = {
            "id": renewal_id(contract_id, ends_on),
            "contract_id": contract_id,
            "ends_on": ends_on.isoformat(),
            "state": "found",
            "next_attempt_at": now.isoformat(),
            "found_at": now.isoformat(),
            "updated_at": now.isoformat(),
        }
        with writing(self._engine) as connection:
            if insert_once(connection, renewals, row | values):
                publish(connection, RENEWAL_EVENTS["found"], row | values, now.isoformat())
                return
            one = OneRenewal(connection, row["id"], now.isoformat())
            if one.row.state == "dropped":
                own = amendment_id(contract_id, renewal_key(one.row))
                of = {"own": own, "crm": one.row.crm, "deal": one.row.deal_id}
                again: dict[str, Any] = {"asked_again": False}
                if one.row.deal_lost or connection.execute(WENT, of).first():
                    number = one.row.found_again + 1
                    again |= {"found_again": number, "deal_id": "", "crm": "", "deal_lost": False}
                one.advance("found", next_attempt_at=now, amendment_id="", **again, **values)

    def wake(self, crm: str, deal_id: str, **changes: Any) -> None:
        """Look at the renewal of an opportunity now, if there is one, and change what is not its state."""
        with writing(self._engine) as connection:
            for key in connection.scalars(OF_DEAL, {"crm": crm, "deal": deal_id}).all():
                one = OneRenewal(connection, key, self._clock().isoformat())
                is_open = one.row.next_attempt_at is not None
                if is_open or one.row.state == "dropped":  # which may be found again
                    at, reason = self._clock() if is_open else None, one.row.blocked_reason
                    one.advance(one.row.state, next_attempt_at=at, blocked_reason=reason, **changes)

    # ---- reading

    def row(self, renewal_id: str) -> sa.Row[Any]:
        with self._engine.connect() as connection:
            return connection.execute(ROW, {"of": renewal_id}).one()

    def open_case(self, row: sa.Row[Any]) -> str:
        """Return the id of an open case that concerns the contract of a renewal, empty for none."""
        of = {"order": row.order_id, "customer": row.customer_id, "contract": row.contract_id}
        with self._engine.connect() as connection:
            return connection.scalar(OPEN_CASE, of) or ""

    def open_dispute(self, contract_id: str) -> str:
        """Return the id of a dispute of a payment of a contract about which the bank has not decided, whatever support
        has done about its case; empty for none. One that could not be read for `HOLDS_UNREAD` counts no more."""
        of = {"of": contract_id, "unread": (self._clock() - HOLDS_UNREAD).isoformat()}
        with self._engine.connect() as connection:
            return connection.scalar(HOLDING.limit(1), of) or ""

    def open_deal(self, contract_id: str) -> str:
        """Return the CRM's id of a won deal that is to change a contract and has not become an amendment, empty for
        none."""
        with self._engine.connect() as connection:
            return connection.scalar(OPEN_DEAL, {"of": contract_id}) or ""

    def visible(self, renewal_id: str, principal: Principal) -> Renewal | None:
        """Return None when there is no such renewal, or none that the caller may see."""
        with self._engine.connect() as connection:
            row = connection.execute(ROW.where(_visible(principal)), {"of": renewal_id}).one_or_none()
        return renewal(row) if row else None

    def page(
        self,
        principal: Principal,
        filters: dict[str, str | None],
        before: date | None,
        cursor: str | None,
        limit: int,
    ) -> Page[Renewal]:
        """Return a page of renewals, newest first: those whose terms end before a day. `filters` are values of columns;
        None is any."""
        where = [_visible(principal)]
        where += [renewals.c[name] == value for name, value in filters.items() if value is not None]
        if before is not None:
            where.append(renewals.c.ends_on < before.isoformat())
        with self._engine.connect() as connection:
            rows, next_cursor = paging.page_of(connection, renewals, where, cursor, limit)
        return paging.page([renewal(row) for row in rows], next_cursor)


def renewal_key(row: sa.Row[Any]) -> str:
    """Return the key of what renews a contract at the end of a term: its amendment, or its deal."""
    return f"renewal:{_term_key(row)}"


def lapse_key(row: sa.Row[Any]) -> str:
    """Return the key of the amendment that ends a contract with a term that nobody has renewed."""
    return f"lapse:{_term_key(row)}"


def _term_key(row: sa.Row[Any]) -> str:
    """Return what tells a term from others, and from itself where the contract has had another end meanwhile."""
    key = f"{row.contract_id}:{row.ends_on}"
    return f"{key}:{row.found_again}" if row.found_again else key


def renewal_id(contract_id: str, ends_on: date) -> str:
    """Return the id of the renewal of a contract at the end of a term."""
    return derived("rnw", contract_id, ends_on.isoformat())


def _visible(principal: Principal) -> sa.ColumnElement[bool]:
    """Return the condition: of the selling companies that the caller may see, and none for a partner."""
    return sa.false() if principal.partner else visibility.visible(renewals, principal)


def renewal(row: sa.Row[Any]) -> Renewal:
    """Return a renewal as channels see it."""
    return Renewal(
        id=row.id,
        state=row.state,
        mode=row.mode,
        contract_id=row.contract_id,
        order_id=row.order_id,
        customer_id=row.customer_id,
        legal_entity=row.legal_entity,
        ends_on=date.fromisoformat(row.ends_on),
        mrr=Money(row.mrr_before, row.currency),
        mrr_after=Money(row.mrr_after, row.currency),
        found_at=datetime.fromisoformat(row.found_at),
        updated_at=datetime.fromisoformat(row.updated_at),
        correlation_id=row.correlation_id,
        renews_until=date.fromisoformat(row.renews_until) if row.renews_until else None,
        blocked_reason=row.blocked_reason,
        crm=row.crm,
        deal_id=row.deal_id,
        amendment_id=row.amendment_id,
        note=row.note,
    )
