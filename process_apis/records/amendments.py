"""Amendments: changes of contracts that run, each with its state, checked at every change, and what was said before."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from canonical.amendments import Action, Amendment, AmendmentPreview, NewAmendment, Reverse, touched_lines
from canonical.billing import Contract
from canonical.deals import PricedLine
from canonical.ids import Clock, derived
from canonical.orders import Page
from canonical.process_events import AMENDMENT_EVENTS
from canonical.states import AmendmentState, check_amendment
from policies.identity.authentication import Principal
from process_apis.records import contract_products, paging, visibility
from process_apis.records.database import (
    amending_deals,
    amendments,
    dunnings,
    insert_once,
    renewals,
    usage_periods,
    writing,
)
from process_apis.records.one_row import OneRow
from process_apis.records.published import publish

OF: sa.BindParameter[str] = sa.bindparam("of")
ROW = sa.select(amendments).where(amendments.c.id == OF)
LOCKED = ROW.with_for_update()
CHANGE = amendments.update().where(amendments.c.id == OF)
OF_CONTRACT = sa.select(amendments).where(amendments.c.contract_id == OF).order_by(amendments.c.seq)
UNDECIDED: tuple[AmendmentState, ...] = (
    "requested",
    "checking",
    "awaiting_approval",
    "provisioning",
    "applying",
    "on_hold",
)
"""Where an amendment is that those after it wait for."""
CARRIED_OUT_IN: tuple[AmendmentState, ...] = ("provisioning", "applying")
ON_ITS_WAY = sa.select(amendments.c.seq).where(amendments.c.contract_id == OF, amendments.c.state.in_(CARRIED_OUT_IN))
HALF_DONE = (
    sa.select(amendments.c.id)
    .where(
        amendments.c.contract_id == OF,
        amendments.c.id != sa.bindparam("besides"),
        sa.or_(
            amendments.c.state.in_(CARRIED_OUT_IN),
            sa.and_(amendments.c.state == "on_hold", amendments.c.held_in.in_(CARRIED_OUT_IN)),
        ),
    )
    .order_by(amendments.c.seq)
    .limit(1)
)
WENT_WITH_THE_END = "the contract ends on"
"""How the reason begins for which a change is given up that was to count once the contract is over."""
FUTURE: tuple[AmendmentState, ...] = ("scheduled",)
ENDED: tuple[AmendmentState, ...] = ("applied", "given_up")
IS_UNDECIDED = sa.and_(amendments.c.seq < sa.bindparam("seq"), amendments.c.state.in_(UNDECIDED))
TAKES_BACK = sa.and_(
    amendments.c.next_attempt_at.is_not(None),
    sa.or_(
        amendments.c.state == "given_up",
        sa.and_(
            amendments.c.state == "applied",
            sa.func.coalesce(amendments.c.ends_at, amendments.c.effective_at) <= sa.bindparam("now"),
        ),
    ),
)
"""Of which the target has to take something back still: what it is asked for later would be undone by that."""
BEFORE = (
    sa.select(amendments.c.id)
    .where(amendments.c.contract_id == OF, amendments.c.seq != sa.bindparam("seq"), sa.or_(IS_UNDECIDED, TAKES_BACK))
    .order_by(amendments.c.seq)
    .limit(1)
)
MOST = 2**31 - 1
"""A number that no row has."""
WAKE = amendments.update().where(amendments.c.contract_id == OF, amendments.c.state == "checking")
WAKE_RENEWALS = renewals.update().where(renewals.c.contract_id == OF, renewals.c.next_attempt_at.is_not(None))
WAKE_DUNNINGS = dunnings.update().where(
    dunnings.c.contract_id == OF, sa.or_(dunnings.c.next_attempt_at.is_not(None), dunnings.c.suspended)
)
WAKE_DEALS = amending_deals.update().where(
    amending_deals.c.contract_id == OF, amending_deals.c.next_attempt_at.is_not(None)
)
WAKE_USAGE = usage_periods.update().where(usage_periods.c.contract_id == OF, usage_periods.c.state == "open")
LAST_VERSION = sa.select(sa.func.max(amendments.c.version)).where(amendments.c.contract_id == OF)
OURS = "process-layer"
"""Who has asked for a change that nobody asked for: our own name in the catalogue, under which no channel can ask."""
_REQUEST = msgspec.json.Decoder(NewAmendment)
_PREVIEW = msgspec.json.Decoder(AmendmentPreview)


class Applied(NamedTuple):
    """A version of a contract that an amendment has made, or will make when its day comes."""

    id: str
    since: datetime
    preview: AmendmentPreview
    is_future: bool
    actions: tuple[Action, ...] = ()
    is_lapse: bool = False
    """Whether it is an end that was agreed because nobody has renewed the contract."""

    def touched(self) -> dict[str, PricedLine]:
        """Return the lines that it touches, by their ids. Of a renewal to come they are those that it names: its uplift
        is of whatever the contract has on its day."""
        changed = touched_lines(self.preview.before, self.preview.after)
        if not (self.is_future and self.preview.is_renewal):
            return changed
        return {key: changed[key] for delta in self.preview.deltas if (key := delta.line) in changed}


def handovers(versions: Iterable[Applied]) -> tuple[Applied, ...]:
    """Return the transfers of a contract that are carried out, the earliest first, without those that were taken back
    before they counted. The last one may be still to come."""
    made = [each for each in versions if not each.is_future]
    undone = {action.amendment for each in made for action in each.actions[:1] if isinstance(action, Reverse)}
    return tuple(each for each in made if each.preview.transfer and each.id not in undone)


def wake(engine: sa.Engine, contract_id: str, now: datetime) -> None:
    """Let the amendments of a contract that wait for others, or for its activation, be taken up at `now`, deals that
    are to become some, its renewal, what it owes, and periods of usage, which may end with it."""
    with writing(engine) as connection:
        for each in (WAKE, WAKE_DEALS, WAKE_RENEWALS, WAKE_DUNNINGS, WAKE_USAGE):
            connection.execute(each, {"of": contract_id, "next_attempt_at": now.isoformat()})


def invoices_of(row: sa.Row[Any]) -> tuple[str, ...]:
    """Return the ids of the invoices that billing has issued for an amendment."""
    return tuple(row.invoices.split())


class OneAmendment(OneRow[AmendmentState], table=amendments, check=check_amendment, events=AMENDMENT_EVENTS):
    """An amendment in one transaction."""

    def take_nothing_back(self, amendment_id: str) -> None:
        """Let what another amendment was to take back stay: it is taken back itself before it counts."""
        self.connection.execute(CHANGE, {"of": amendment_id, "next_attempt_at": None})

    def note_products(self, lines: Iterable[PricedLine]) -> None:
        """Note the products that the contract gets, so that it is found by them."""
        contract_products.note(self.connection, self.row.order_id, lines)

    def next_version(self) -> int:
        """Return the number of the contract's version that this amendment makes, which stays once it was given."""
        return self.row.version or 1 + (self.connection.scalar(LAST_VERSION, {"of": self.row.contract_id}) or 0)


class Amendments:
    """The table of amendments."""

    def __init__(self, engine: sa.Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    # ---- writing

    @contextmanager
    def at(self, amendment_id: str) -> Generator[OneAmendment]:
        """Return one amendment to change, in a transaction that ends with the block."""
        with writing(self._engine) as connection:
            yield OneAmendment(connection, amendment_id, self._clock().isoformat())

    def receive(
        self,
        contract: Contract,
        wanted: NewAmendment,
        requested_by: str,
        correlation_id: str,
        next_attempt_at: datetime,
    ) -> tuple[sa.Row[Any], bool]:
        """Return the amendment of a contract with a key, and whether it is new. Its id is derived from both."""
        now = self._clock().isoformat()
        row = {
            "id": amendment_id(contract.id, wanted.key),
            "contract_id": contract.id,
            "order_id": contract.order_id,
            "customer_id": contract.customer_id,
            "legal_entity": contract.legal_entity,
            "state": "requested",
            "requested_by": requested_by,
            "request": msgspec.json.encode(wanted),
            "correlation_id": correlation_id,
            "requested_at": now,
            "updated_at": now,
            "next_attempt_at": next_attempt_at.isoformat(),
        }
        with writing(self._engine) as connection:
            is_new = insert_once(connection, amendments, row)
            if is_new:
                publish(connection, AMENDMENT_EVENTS["requested"], row, now)
            return connection.execute(ROW, {"of": row["id"]}).one(), is_new

    def change(self, amendment_id: str, **changes: Any) -> None:
        """Change what is not the state."""
        with writing(self._engine) as connection:
            connection.execute(CHANGE, changes | {"of": amendment_id})

    def wake_checked(self, contract_id: str) -> None:
        """Let the amendments of a contract be taken up now that wait to be checked."""
        with writing(self._engine) as connection:
            connection.execute(WAKE, {"of": contract_id, "next_attempt_at": self._clock().isoformat()})

    def report_line(self, amendment_id: str, attempt: int | None, line_id: str) -> bool:
        """Take a line off those that are to be delivered, and return whether that was the last one. A report on another
        attempt, or on a line that was reported before, changes nothing; `attempt` is None where the target does not say
        which it is about."""
        with writing(self._engine) as connection:
            row = connection.execute(LOCKED, {"of": amendment_id}).one()
            left = row.undelivered.split()
            is_meant = attempt in (None, row.delivery_attempt)
            if row.state != "provisioning" or not is_meant or line_id not in left:
                return False
            left.remove(line_id)
            connection.execute(CHANGE, {"of": amendment_id, "undelivered": " ".join(left)})
            return not left

    # ---- reading

    def row(self, amendment_id: str) -> sa.Row[Any]:
        with self._engine.connect() as connection:
            return connection.execute(ROW, {"of": amendment_id}).one()

    def delivering(self, order_id: str, attempt: int | None) -> list[sa.Row[Any]]:
        """Return the amendments of an order whose lines are delivered, or were, in an attempt; where that is not known,
        those whose lines are on their way."""
        on_the_way = amendments.c.state == "provisioning"
        of_attempt = on_the_way if attempt is None else amendments.c.delivery_attempt == attempt
        query = sa.select(amendments).where(amendments.c.order_id == order_id, of_attempt)
        with self._engine.connect() as connection:
            return list(connection.execute(query))

    def before(self, contract_id: str, seq: int = MOST) -> str:
        """Return the id of an amendment that comes first: one that is still to be decided, of those of the contract
        before the one numbered `seq`, or any other of which something is still to be taken back; empty for none."""
        of = {"of": contract_id, "seq": seq, "now": self._clock().isoformat()}
        with self._engine.connect() as connection:
            return connection.scalar(BEFORE, of) or ""

    def is_known(self, amendment_id: str) -> bool:
        with self._engine.connect() as connection:
            return connection.execute(ROW, {"of": amendment_id}).one_or_none() is not None

    def versions(self, contract_id: str) -> list[Applied]:
        """Return what a contract became and will become, in the order in which that counts."""
        with self._engine.connect() as connection:
            rows = connection.execute(OF_CONTRACT, {"of": contract_id}).all()
        made = sorted((row for row in rows if row.version is not None), key=lambda row: row.version)
        to_come = sorted(
            (row for row in rows if row.state in FUTURE and row.preview), key=lambda row: (row.effective_at, row.seq)
        )
        return [_applied(row) for row in (*made, *to_come)]

    def undecided(self, contract_id: str) -> tuple[str, ...]:
        """Return the ids of the amendments of a contract that are neither carried out nor given up."""
        with self._engine.connect() as connection:
            rows = connection.execute(OF_CONTRACT, {"of": contract_id}).all()
        return tuple(row.id for row in rows if row.state not in ENDED)

    def being_carried_out(self, contract_id: str) -> bool:
        """Return whether a change of a contract is on its way to the platforms."""
        with self._engine.connect() as connection:
            return connection.execute(ON_ITS_WAY, {"of": contract_id}).first() is not None

    def half_done(self, contract_id: str, besides: str) -> str:
        """Return the id of a change of a contract, other than `besides`, that the platforms may have a part of: it is
        carried out, or was held in that; empty for none."""
        with self._engine.connect() as connection:
            return connection.scalar(HALF_DONE, {"of": contract_id, "besides": besides}) or ""

    def visible(self, amendment_id: str, principal: Principal) -> Amendment | None:
        """Return None when there is no such amendment, or none that the caller may see."""
        query = ROW.where(visibility.visible(amendments, principal))
        with self._engine.connect() as connection:
            row = connection.execute(query, {"of": amendment_id}).one_or_none()
        return amendment(row) if row else None

    def page(
        self, principal: Principal, contract_id: str | None, state: str | None, cursor: str | None, limit: int
    ) -> Page[Amendment]:
        """Return a page of amendments, newest first."""
        where = [visibility.visible(amendments, principal)]
        if contract_id:
            where.append(amendments.c.contract_id == contract_id)
        if state:
            where.append(amendments.c.state == state)
        with self._engine.connect() as connection:
            rows, next_cursor = paging.page_of(connection, amendments, where, cursor, limit)
        return paging.page([amendment(row) for row in rows], next_cursor)


def amendment_id(contract_id: str, key: str) -> str:
    """Return the id of the amendment of a contract with a key of the caller's."""
    return derived("amd", contract_id, key)


def _applied(row: sa.Row[Any]) -> Applied:
    said = _PREVIEW.decode(row.preview)
    return Applied(
        row.id,
        datetime.fromisoformat(row.effective_at),
        said,
        is_future=row.version is None,
        actions=request_of(row).actions,
        is_lapse=said.is_term and row.requested_by == OURS,
    )


def request_of(row: sa.Row[Any]) -> NewAmendment:
    return _REQUEST.decode(row.request)


def preview_of(row: sa.Row[Any]) -> AmendmentPreview | None:
    return _PREVIEW.decode(row.preview) if row.preview else None


def amendment(row: sa.Row[Any]) -> Amendment:
    """Return an amendment as channels see it."""
    return Amendment(
        id=row.id,
        contract_id=row.contract_id,
        order_id=row.order_id,
        customer_id=row.customer_id,
        legal_entity=row.legal_entity,
        state=row.state,
        request=request_of(row),
        requested_by=row.requested_by,
        requested_at=datetime.fromisoformat(row.requested_at),
        updated_at=datetime.fromisoformat(row.updated_at),
        correlation_id=row.correlation_id,
        blocked_reason=row.blocked_reason,
        effective_at=datetime.fromisoformat(row.effective_at) if row.effective_at else None,
        preview=preview_of(row),
        invoices=invoices_of(row),
    )
