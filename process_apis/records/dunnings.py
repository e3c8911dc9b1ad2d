"""Dunnings: one for each contract and customer that has owed for it, each with its state and its history."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from canonical.dunning import Dunning, DunningEntry, OpenInvoice
from canonical.ids import Clock, derived
from canonical.money import Money
from canonical.orders import Page
from canonical.process_events import DUNNING_EVENTS
from canonical.states import OWING, DunningState, check_dunning
from policies.identity.authentication import Principal
from process_apis.records import paging, visibility
from process_apis.records.database import cases, dunning_states, dunnings, insert_once, postings, writing
from process_apis.records.disputes import HOLDING, HOLDS_UNREAD, UNREAD
from process_apis.records.one_row import OneRow

OF: sa.BindParameter[str] = sa.bindparam("of")
DECISION = (
    sa.select(sa.func.coalesce(sa.func.max(dunning_states.c.seq), 0))
    .where(dunning_states.c.dunning_id == dunnings.c.id, dunning_states.c.decided_by != "")
    .scalar_subquery()
)
"""The number of what somebody has decided last about a dunning, 0 where nobody has."""
ROW = sa.select(dunnings, DECISION.label("decision")).where(dunnings.c.id == OF)
HISTORY = sa.select(dunning_states).where(dunning_states.c.dunning_id == OF).order_by(dunning_states.c.seq)
DECIDED, SETTLED = dunning_states.alias(), dunning_states.alias()
LEFT = sa.select(DECIDED.c.seq).where(
    DECIDED.c.dunning_id == OF,
    DECIDED.c.decided_by != "",
    DECIDED.c.state == "kept",
    ~sa.exists().where(
        SETTLED.c.dunning_id == OF, SETTLED.c.seq > DECIDED.c.seq, SETTLED.c.state.in_(("recovered", "written_off"))
    ),
)
"""What somebody has decided of a debt that is to be followed by nothing, unless it was settled after that."""
OWED_FOR = sa.select(dunnings).where(
    dunnings.c.contract_id == OF, dunnings.c.customer_id == sa.bindparam("by"), dunnings.c.state.in_(OWING)
)
SUSPENDED = sa.select(dunnings.c.seq).where(
    dunnings.c.contract_id == OF, dunnings.c.customer_id == sa.bindparam("by"), dunnings.c.suspended
)
DISPUTED = sa.union_all(
    HOLDING,
    sa.select(cases.c.id).where(
        cases.c.state == "open",
        cases.c.kind == "payment_disputed",
        cases.c.field.not_in(UNREAD),
        cases.c.subject.in_(
            sa.select(sa.literal("invoice:") + postings.c.invoice_id).where(postings.c.contract_id == OF)
        ),
    ),
)
REVERSALS = (
    sa.select(postings)
    .where(postings.c.contract_id == OF, postings.c.customer_id == sa.bindparam("by"), postings.c.kind == "reversal")
    .order_by(postings.c.seq)
)
ASKED_BY = sa.select(dunnings).where(dunnings.c.amendment_id == OF)
NOT_ASKED_FOR = "what is owed does not ask for it any more"
"""How the reason begins for which an end is given up that a dunning has asked for: it may ask for another one."""
NO_INVOICES = msgspec.json.encode(())
_INVOICES = msgspec.json.Decoder(tuple[OpenInvoice, ...])


class Owing(NamedTuple):
    """What a contract that runs owes, as those see it who ask for the contract."""

    owed: Money
    since: datetime
    suspended: bool

    def in_words(self) -> str:
        """Return it in a sentence, with the service where that is suspended."""
        service = "; its service is suspended" if self.suspended else ""
        return f"{self.owed} past due since {self.since:%Y-%m-%d}{service}"


def owing(engine: sa.Engine, contract_id: str, customer_id: str) -> Owing | None:
    """Return what a customer owes for a contract that it has; None for one that is paid."""
    with engine.connect() as connection:
        row = connection.execute(OWED_FOR, {"of": contract_id, "by": customer_id}).one_or_none()
    if row is None or row.since is None:
        return None
    return Owing(Money(row.owed, row.currency), datetime.fromisoformat(row.since), row.suspended)


def is_suspended(engine: sa.Engine, contract_id: str, customer_id: str) -> bool:
    """Return whether the service of a contract is to be suspended for what the customer owes who has it."""
    with engine.connect() as connection:
        return connection.execute(SUSPENDED, {"of": contract_id, "by": customer_id}).first() is not None


class Asked(NamedTuple):
    """What a dunning says of the end of a contract that was asked for under our name: whether it asks for it still,
    whether what is owed is to be checked first (a look is due, or the last one has failed), and what was owed then."""

    still: bool
    look_is_due: bool
    invoices: tuple[OpenInvoice, ...] = ()


def asks_for(engine: sa.Engine, amendment_id: str, now: datetime) -> Asked:
    """Return what a dunning says of an amendment, at `now` (UTC)."""
    with engine.connect() as connection:
        row = connection.execute(ASKED_BY, {"of": amendment_id}).one_or_none()
    if row is None:
        return Asked(False, False)
    is_due = row.next_attempt_at is not None and row.next_attempt_at <= now.isoformat()
    return Asked(True, is_due or row.attempts > 0, invoices_of(row))


class OneDunning(OneRow[DunningState], table=dunnings, check=check_dunning, events=DUNNING_EVENTS):
    """A dunning in one transaction."""

    def enter(
        self, state: DunningState, *, next_attempt_at: datetime | None, by: str = "", reason: str = "", **changes: Any
    ) -> None:
        """Go to `state` as `advance` does, and keep in the history what is another one, or was decided by somebody."""
        former, was_suspended = self.row.state, self.row.suspended
        self.advance(state, next_attempt_at=next_attempt_at, **changes)
        if state == former and self.row.suspended == was_suspended and not by:
            return
        entry = {
            "dunning_id": self.row.id,
            "state": state,
            "at": self.row.updated_at,
            "owed": self.row.owed,
            "suspended": self.row.suspended,
            "decided_by": by,
            "reason": reason,
        }
        self.connection.execute(dunning_states.insert().values(**entry))

    def last_decision(self) -> sa.Row[Any] | None:
        """Return what somebody has decided last, None where nobody has."""
        decided = HISTORY.where(dunning_states.c.decided_by != "")
        return next(reversed(self.connection.execute(decided, {"of": self.row.id}).all()), None)

    def decision(self) -> int:
        """Return the number of what somebody has decided last, 0 where nobody has."""
        last = self.last_decision()
        return last.seq if last else 0

    def turn(self, *, suspended: bool) -> None:
        """Note whether the service is to be suspended from now on, before the target hears of it."""
        if self.row.suspended != suspended:
            self.note(suspended=suspended, turn=self.row.turn + 1)

    def note(self, **changes: Any) -> None:
        """Change what is not the state."""
        changed = dunnings.update().where(dunnings.c.id == self.row.id).values(**changes).returning(dunnings)
        self.row = self.connection.execute(changed).one()


class Dunnings:
    """The table of dunnings."""

    def __init__(self, engine: sa.Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    # ---- writing

    @contextmanager
    def at(self, dunning_id: str) -> Generator[OneDunning]:
        """Return one dunning to change, in a transaction that ends with the block."""
        with writing(self._engine) as connection:
            yield OneDunning(connection, dunning_id, self._clock().isoformat())

    def notice(
        self, contract_id: str, customer_id: str, order_id: str, legal_entity: str, currency: str, correlation_id: str
    ) -> None:
        """Look at what a customer owes for a contract: something was reported that may change it."""
        now = self._clock().isoformat()
        row = {
            "id": dunning_id(contract_id, customer_id),
            "contract_id": contract_id,
            "order_id": order_id,
            "customer_id": customer_id,
            "legal_entity": legal_entity,
            "state": "noticed",
            "currency": currency,
            "invoices": NO_INVOICES,
            "correlation_id": correlation_id,
            "next_attempt_at": now,
            "found_at": now,
            "updated_at": now,
        }
        with writing(self._engine) as connection:
            if not insert_once(connection, dunnings, row):
                known = dunnings.update().where(dunnings.c.id == row["id"])
                connection.execute(known.values(next_attempt_at=now))

    def wake(self, *which: sa.ColumnElement[bool]) -> None:
        """Look at dunnings now that are known: something was reported that may change what is owed."""
        with writing(self._engine) as connection:
            connection.execute(dunnings.update().where(*which).values(next_attempt_at=self._clock().isoformat()))

    # ---- reading

    def row(self, dunning_id: str) -> sa.Row[Any]:
        with self._engine.connect() as connection:
            return connection.execute(ROW, {"of": dunning_id}).one()

    def is_known(self, dunning_id: str) -> bool:
        with self._engine.connect() as connection:
            return connection.execute(ROW, {"of": dunning_id}).one_or_none() is not None

    def is_left(self, dunning_id: str) -> bool:
        """Return whether somebody has said that nothing follows from what is owed: not of a debt that came later."""
        with self._engine.connect() as connection:
            return connection.execute(LEFT, {"of": dunning_id}).first() is not None

    def is_disputed(self, contract_id: str) -> bool:
        """Return whether a payment of a contract is disputed: the bank has not decided, whatever support has done about
        its case, or that case is open still. One that could not be read for `HOLDS_UNREAD` holds nothing any more."""
        with self._engine.connect() as connection:
            of = {"of": contract_id, "unread": (self._clock() - HOLDS_UNREAD).isoformat()}
            return connection.execute(DISPUTED, of).first() is not None

    def reversals(self, contract_id: str, customer_id: str) -> Sequence[sa.Row[Any]]:
        """Return the postings of money that went back to a customer, of the invoices of a contract."""
        with self._engine.connect() as connection:
            return connection.execute(REVERSALS, {"of": contract_id, "by": customer_id}).all()

    def visible(self, dunning_id: str, principal: Principal) -> Dunning | None:
        """Return None when there is no such dunning, or none that the caller may see."""
        with self._engine.connect() as connection:
            row = connection.execute(ROW.where(_visible(principal)), {"of": dunning_id}).one_or_none()
            entries = connection.execute(HISTORY, {"of": dunning_id}).all() if row else ()
        return dunning(row, entries) if row else None

    def page(
        self, principal: Principal, filters: dict[str, str | None], cursor: str | None, limit: int
    ) -> Page[Dunning]:
        """Return a page of dunnings, newest first, without their history. `filters` are values of columns; None is
        any. What was noticed alone is left out: nothing was owed."""
        where = [_visible(principal), dunnings.c.times > 0]
        where += [dunnings.c[name] == value for name, value in filters.items() if value is not None]
        with self._engine.connect() as connection:
            rows, next_cursor = paging.page_of(connection, dunnings, where, cursor, limit)
        return paging.page([dunning(row) for row in rows], next_cursor)


def dunning_id(contract_id: str, customer_id: str) -> str:
    """Return the id of what a customer owes for a contract."""
    return derived("dun", contract_id, customer_id)


def invoices_of(row: sa.Row[Any]) -> tuple[OpenInvoice, ...]:
    """Return the invoices that were owed at the last look; of one that is over, before that. Of those that billing has
    given up nothing is due."""
    return _INVOICES.decode(row.invoices)


def _visible(principal: Principal) -> sa.ColumnElement[bool]:
    """Return the condition: of the selling companies that the caller may see, and none for a partner."""
    return sa.false() if principal.partner else visibility.visible(dunnings, principal)


def dunning(row: sa.Row[Any], entries: Sequence[sa.Row[Any]] = ()) -> Dunning:
    """Return a dunning as channels see it."""
    owes = row.owed > 0
    invoices = tuple(each for each in invoices_of(row) if each.due.amount > 0) if owes else ()
    tries = [each.next_attempt_at for each in invoices if each.next_attempt_at]
    return Dunning(
        id=row.id,
        state=row.state,
        contract_id=row.contract_id,
        order_id=row.order_id,
        customer_id=row.customer_id,
        legal_entity=row.legal_entity,
        owed=Money(row.owed, row.currency),
        suspended=row.suspended,
        found_at=datetime.fromisoformat(row.found_at),
        updated_at=datetime.fromisoformat(row.updated_at),
        correlation_id=row.correlation_id,
        since=datetime.fromisoformat(row.since) if owes and row.since else None,
        blocked_reason=row.blocked_reason,
        invoices=invoices,
        next_attempt_at=min(tries, default=None),
        postponed_until=date.fromisoformat(row.postponed_until) if row.postponed_until else None,
        amendment_id=row.amendment_id,
        history=tuple(
            DunningEntry(
                each.state,
                datetime.fromisoformat(each.at),
                Money(each.owed, row.currency),
                each.suspended,
                each.decided_by,
                each.reason,
            )
            for each in entries
        ),
    )
