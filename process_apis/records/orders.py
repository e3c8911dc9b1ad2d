"""Orders: their state, checked at every change, their history, and their lines."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from canonical.amendments import ContractFilter
from canonical.billing import Contract
from canonical.deals import PricedLine
from canonical.events import DEAL_CLOSED
from canonical.ids import Clock, derived
from canonical.money import Money
from canonical.orders import LineState, Order, OrderLine, OrderSummary, Page, Plan, StateChange
from canonical.parties import Customer
from canonical.process_events import ORDER_EVENTS
from canonical.states import BEFORE_CREATION, OrderState, check_order
from canonical.tax import TaxTreatment
from policies.identity.authentication import Principal
from process_apis.records import contract_products, paging, visibility, waiting
from process_apis.records.database import (
    NOT_BLOCKED,
    amendments,
    customers,
    insert_once,
    order_lines,
    order_states,
    orders,
    postings,
    renewals,
    writing,
)
from process_apis.records.database import contract_products as has_had
from process_apis.records.flow_times import flow_times, seconds_since
from process_apis.records.one_row import NOT_FAILED, OneRow
from process_apis.records.published import publish

# Statements that every order needs are made once: making them costs more than the database takes to do them.
OF: sa.BindParameter[str] = sa.bindparam("of")
ROW = sa.select(orders).where(orders.c.id == OF)
LOCKED = ROW.with_for_update()
NEWEST_OF = (
    sa.select(orders)
    .where(orders.c.crm == sa.bindparam("crm"), orders.c.deal_id == sa.bindparam("deal"))
    .order_by(orders.c.seq.desc())
    .limit(1)
)
CHANGE = orders.update().where(orders.c.id == OF)
GOES_ON = CHANGE.where(orders.c.blocked_by.is_not(None)).values(blocked_reason="", attempts=0, **NOT_BLOCKED)
NEXT_ATTEMPT = CHANGE.values(provisioning_attempt=orders.c.provisioning_attempt + 1)
REACHED = order_states.insert()
HISTORY = sa.select(order_states).where(order_states.c.order_id == OF).order_by(order_states.c.seq)
LINES = sa.select(order_lines).where(order_lines.c.order_id == OF).order_by(order_lines.c.position)
UNBILLED = LINES.where(order_lines.c.billed.is_(False))
NEW_LINE = order_lines.insert()
DROP_LINES = order_lines.delete().where(order_lines.c.order_id == OF)
CHANGE_LINE = order_lines.update().where(order_lines.c.order_id == OF, order_lines.c.line_id == sa.bindparam("of_line"))
REPORT_LINE = CHANGE_LINE.where(order_lines.c.state == "requested")
REPORT_ATTEMPT = REPORT_LINE.where(order_lines.c.attempt == sa.bindparam("of_attempt"))
SKIP_LINE = CHANGE_LINE.where(order_lines.c.state == "failed")
CHANGE_LINES = order_lines.update().where(order_lines.c.order_id == OF)
REQUEST_LINES = CHANGE_LINES.where(order_lines.c.state == "waiting").values(state="requested", reason="")
RETRY_LINES = CHANGE_LINES.where(order_lines.c.state.in_(("failed", "requested")))
REQUESTED = LINES.where(order_lines.c.state == "requested")
OF_CUSTOMER = sa.select(orders.c.id).where(orders.c.customer_id == OF).order_by(orders.c.seq).with_for_update()
"""Orders of a customer, locked in an order that is the same for all."""
LINE_STATES = sa.select(order_lines.c.state).where(order_lines.c.order_id == OF)
BEING_DELIVERED: tuple[OrderState, ...] = ("provisioning", "partially_active")
ENDED: tuple[OrderState, ...] = ("active", "cancelled", "failed")
CHANGE_BEING_DELIVERED = CHANGE.where(orders.c.state.in_(BEING_DELIVERED))
SETTLED: tuple[OrderState, ...] = ("on_hold", "awaiting_approval", "cancelled", "failed", "active", "partially_active")
STATUS_NOT_IN_CRM = (
    sa.select(orders)
    .where(orders.c.state.in_(SETTLED), orders.c.crm_status != orders.c.state)
    .order_by(sa.func.random())  # those of a CRM that is away do not keep others from being shown
    .limit(20)
)
HAD = sa.select(amendments.c.order_id).where(amendments.c.customer_id == OF, amendments.c.state == "applied")
PLANS_HANDED_OVER = (
    sa.select(orders.c.plan).where(orders.c.customer_id != OF, orders.c.id.in_(HAD)).order_by(orders.c.seq)
)
"""What a customer had before it transferred it to another, by its changes then: the transfer is one."""
DOCUMENT = sa.select(customers.c.document).where(customers.c.id == OF)
PLANS = sa.select(orders.c.plan).where(orders.c.customer_id == OF, orders.c.plan.is_not(None)).order_by(orders.c.seq)
UNPOSTED: tuple[OrderState, ...] = (
    "onboarding",
    "subscribing",
    "provisioning",
    "partially_active",
    "active",
    "on_hold",
)
"""Where an order is that was accepted, and may not be in the books yet."""
_OWN = orders.alias()
SEQ = sa.select(_OWN.c.seq).where(_OWN.c.id == sa.bindparam("order")).scalar_subquery()
CUSTOMERS: sa.BindParameter[list[str]] = sa.bindparam("customers", expanding=True)
OWED_SOON = sa.select(orders.c.plan).where(
    orders.c.customer_id.in_(CUSTOMERS),
    orders.c.id != sa.bindparam("order"),
    orders.c.plan.is_not(None),
    sa.or_(
        orders.c.state.in_(UNPOSTED),
        sa.and_(orders.c.state == "credit_review", orders.c.seq < SEQ),
    ),
    orders.c.held_in.not_in(BEFORE_CREATION),
)
POSTED_CONTRACTS = sa.select(postings.c.contract_id).where(
    postings.c.customer_id.in_(CUSTOMERS), postings.c.kind == "invoice", postings.c.state == "posted"
)
_PLAN = msgspec.json.Decoder(Plan)
_LINE = msgspec.json.Decoder(PricedLine)
_CUSTOMER = msgspec.json.Decoder(Customer)


def contract_of(row: sa.Row[Any]) -> str:
    """Return the id of an order's contract. It is empty before the order was accepted: there is no contract yet."""
    return _PLAN.decode(row.plan).contract.id if row.plan else ""


def ask_targets_again(engine: sa.Engine, now: datetime) -> None:
    """Let each order that is being delivered be taken up at `now`: its target may have reported after the moment to
    which the tables were restored, and reports again when it is asked again."""
    waiting = orders.update().where(orders.c.state.in_(BEING_DELIVERED), orders.c.next_attempt_at.is_not(None))
    with engine.begin() as connection:
        connection.execute(waiting.values(next_attempt_at=now.isoformat()))


class OneOrder(OneRow[OrderState], table=orders, check=check_order, events=ORDER_EVENTS):
    """An order in one transaction."""

    def advance(self, state: OrderState, *, next_attempt_at: datetime | None, **changes: Any) -> None:
        """Go to `state`, and note since when."""
        is_new = self.row.state != state
        if is_new:  # what is shown of an earlier stay is not of this one
            changes = {"crm_status": ""} | changes
        super().advance(state, next_attempt_at=next_attempt_at, **changes)
        if is_new:
            self.connection.execute(REACHED, {"order_id": self.row.id, "state": state, "at": self._now})

    def next_attempt_at(self) -> datetime | None:
        """Return when somebody has to look at the order again (UTC)."""
        return datetime.fromisoformat(self.row.next_attempt_at) if self.row.next_attempt_at else None

    def order(self, *, with_lines: bool = True) -> Order:
        """Return the order as it stands, with its lines unless they are not wanted, and without its history."""
        lines = _lines(self.connection, LINES, self.row.id) if with_lines else ()
        return _order(self.connection, self.row, lines)


class Orders:
    """The table of orders."""

    def __init__(self, engine: sa.Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        self.close_to_active = flow_times(
            "order_close_to_active_seconds", "From a deal that is closed to an order that is active as a whole."
        )

    # ---- writing

    @contextmanager
    def at(self, order_id: str) -> Generator[OneOrder]:
        """Return one order to change, in a transaction that ends with the block."""
        now, took = self._clock().isoformat(), None
        with writing(self._engine) as connection:
            one = OneOrder(connection, order_id, now)
            former = one.row.state
            yield one
            if one.row.state == "active" != former:
                source, closed = f"crm/{one.row.crm}", one.row.deal_id
                took = seconds_since(connection, DEAL_CLOSED, source, closed, now, one.row.received_at)
        if took is not None:
            self.close_to_active.observe(took)

    def hand_over(self, customer_id: str, partner: str) -> None:
        """Let the partner that looks after a customer now see its orders."""
        others = orders.update().where(orders.c.customer_id == customer_id, orders.c.partner != partner)
        with writing(self._engine) as connection:
            connection.execute(OF_CUSTOMER, {"of": customer_id}).all()
            connection.execute(others.values(partner=partner))

    def receive(
        self, crm: str, deal_id: str, revision: int, correlation_id: str, next_attempt_at: datetime, **known: str | int
    ) -> tuple[str, OrderState]:
        """Return the order of a deal's revision, with its state: a new one the first time, the same one ever after. Its
        id is derived from them, so that what was created for it is found when this record of it was lost.

        `known` are columns that the caller can fill in before it is read.
        """
        now = self._clock().isoformat()
        row: dict[str, Any] = {
            "id": derived("ord", crm, deal_id, str(revision)),
            "crm": crm,
            "deal_id": deal_id,
            "revision": revision,
            "state": "received",
            "correlation_id": correlation_id,
            "received_at": now,
            "updated_at": now,
            "next_attempt_at": next_attempt_at.isoformat(),
        } | known
        with writing(self._engine) as connection:
            if insert_once(connection, orders, row):
                connection.execute(REACHED, {"order_id": row["id"], "state": "received", "at": now})
                publish(connection, ORDER_EVENTS["received"], row, now)
                return row["id"], "received"
            same = sa.select(orders.c.id, orders.c.state).where(
                orders.c.crm == crm, orders.c.deal_id == deal_id, orders.c.revision == revision
            )
            found = connection.execute(same).one()
        return found.id, found.state

    def newest_of(self, crm: str, deal_id: str) -> sa.Row[Any] | None:
        """Return the latest order of a deal, None when it has none."""
        with self._engine.connect() as connection:
            return connection.execute(NEWEST_OF, {"crm": crm, "deal": deal_id}).one_or_none()

    def advance(
        self,
        order_id: str,
        state: OrderState,
        *,
        next_attempt_at: datetime | None,
        blocked_reason: str = "",
        **changes: Any,
    ) -> None:
        """Go to `state`, as `OneOrder` does."""
        with self.at(order_id) as one:
            one.advance(state, next_attempt_at=next_attempt_at, blocked_reason=blocked_reason, **changes)

    def release(self, order_id: str, next_attempt_at: datetime, into: OrderState | None = None) -> None:
        """Let an order that is on hold go on where it was held, or in the state `into`; any other is left as it is."""
        with self.at(order_id) as one:
            if one.row.state == "on_hold":
                one.advance(into or one.row.held_in, next_attempt_at=next_attempt_at)

    def change(self, order_id: str, **changes: Any) -> None:
        """Change what is not the state."""
        with writing(self._engine) as connection:
            connection.execute(CHANGE, changes | {"of": order_id})

    def went_on(self, order_id: str) -> None:
        """Remember that an order waits for no platform any more."""
        with writing(self._engine) as connection:
            connection.execute(GOES_ON, {"of": order_id})

    def accept(self, order_id: str, name: str, placed_by: str, plan: Plan) -> None:
        """Keep what was decided about the deal, and its lines."""
        accepted = {
            "of": order_id,
            "name": name,
            "plan": msgspec.json.encode(plan),
            "legal_entity": plan.contract.legal_entity,
            "customer_id": plan.customer.id,
            "partner": plan.customer.partner,
            "placed_by": placed_by,
            "currency": plan.contract.currency,
            "amount": plan.contract.net.amount,
        }
        rows = [
            {
                "order_id": order_id,
                "line_id": line.id,
                "position": place,
                "line": msgspec.json.encode(line),
                "state": "waiting",
            }
            for place, line in enumerate(plan.contract.lines)
        ]
        with writing(self._engine) as connection:
            connection.execute(CHANGE, accepted)
            connection.execute(DROP_LINES, {"of": order_id})
            connection.execute(NEW_LINE, rows)
            contract_products.note(connection, order_id, plan.contract.lines)

    def keep_plan(self, order_id: str, plan: Plan) -> None:
        """Keep the plan with what the platforms answered. An id that a platform gave meanwhile is not forgotten: an
        executor that was taken for dead may still be at the same order."""
        with writing(self._engine) as connection:
            present = _PLAN.decode(connection.execute(LOCKED, {"of": order_id}).one().plan)
            customer, contract = (
                msgspec.structs.replace(made, references=before.references | made.references)
                for before, made in ((present.customer, plan.customer), (present.contract, plan.contract))
            )
            kept = msgspec.structs.replace(plan, customer=customer, contract=contract)
            connection.execute(CHANGE, {"of": order_id, "plan": msgspec.json.encode(kept)})

    def hand_to(self, order_id: str, former_id: str, plan: Plan) -> None:
        """Let another customer have the contract of an order, which `former_id` has until now, and the partner of that
        customer see it, with the renewal that is to come. Nothing that was written to the plan for the former customer
        stays in it. One that is handed over already is left alone."""
        known = {
            "customer_id": plan.customer.id,
            "partner": plan.customer.partner,
            "plan": msgspec.json.encode(plan),
            "crm_status": "",
        }
        to_come = renewals.c.order_id == order_id, renewals.c.next_attempt_at.is_not(None)
        with writing(self._engine) as connection:
            connection.execute(LOCKED, {"of": order_id}).one()
            if connection.execute(CHANGE.where(orders.c.customer_id == former_id), known | {"of": order_id}).rowcount:
                connection.execute(renewals.update().where(*to_come).values(customer_id=plan.customer.id))

    def request_lines(self, order_id: str) -> dict[int, tuple[PricedLine, ...]]:
        """Mark the waiting lines as requested in the order's present attempt. Return all lines that are on their way to
        the target, by the attempt in which each was requested: to ask again under that number is to ask once."""
        found: dict[int, tuple[PricedLine, ...]] = {}
        with writing(self._engine) as connection:
            attempt = connection.execute(LOCKED, {"of": order_id}).one().provisioning_attempt
            connection.execute(REQUEST_LINES, {"of": order_id, "attempt": attempt})
            for row in connection.execute(REQUESTED, {"of": order_id}):
                found[row.attempt] = (*found.get(row.attempt, ()), _LINE.decode(row.line))
        return found

    def expect_reports(self, order_id: str, until: datetime) -> None:
        """Look at an order again at `until`, if its target has not reported by then; nothing else holds it up. An
        order that has its reports already is left as it is."""
        with writing(self._engine) as connection:
            connection.execute(
                CHANGE_BEING_DELIVERED,
                {"of": order_id, "next_attempt_at": until.isoformat()} | NOT_FAILED,
            )

    def retry_lines(self, order_id: str, line_id: str = "") -> None:
        """Begin a new attempt for the lines that failed or were not reported: for one of them if it is named, else for
        all."""
        again = RETRY_LINES.where(order_lines.c.line_id == line_id) if line_id else RETRY_LINES
        with writing(self._engine) as connection:
            connection.execute(again, {"of": order_id, "state": "waiting", "reason": ""})
            connection.execute(NEXT_ATTEMPT, {"of": order_id})

    def next_attempt(self, order_id: str) -> int:
        """Return the number of a new attempt of an order's delivery, which no other has."""
        with writing(self._engine) as connection:
            connection.execute(NEXT_ATTEMPT, {"of": order_id})
            return int(connection.execute(ROW, {"of": order_id}).one().provisioning_attempt)

    def skip_line(self, order_id: str, line_id: str) -> None:
        """Do without a line that failed. Its reason stays."""
        with writing(self._engine) as connection:
            connection.execute(SKIP_LINE, {"of": order_id, "of_line": line_id, "state": "skipped"})

    def report_line(
        self, order_id: str, line_id: str, state: LineState, reason: str, attempt: int | None = None
    ) -> bool:
        """Keep how a requested line ended; any other is left alone, and so is a report on another `attempt` than that
        in which it was requested last (None: the target does not say). Returns whether every line has a result now: of
        the last two that are reported at once, the second one sees the first."""
        report = {"of": order_id, "of_line": line_id, "state": state, "reason": reason}
        with writing(self._engine) as connection:
            connection.execute(LOCKED, {"of": order_id}).all()
            if attempt is None:
                connection.execute(REPORT_LINE, report)
            else:
                connection.execute(REPORT_ATTEMPT, report | {"of_attempt": attempt})
            found = list(connection.scalars(LINE_STATES, {"of": order_id}))
        return bool(found) and not {"waiting", "requested"} & set(found)

    def set_billed(self, order_id: str, line_ids: list[str]) -> None:
        with writing(self._engine) as connection:
            connection.execute(CHANGE_LINE, [{"of": order_id, "of_line": each, "billed": True} for each in line_ids])

    # ---- reading

    def row(self, order_id: str) -> sa.Row[Any]:
        with self._engine.connect() as connection:
            return connection.execute(ROW, {"of": order_id}).one()

    def visible(self, order_id: str, principal: Principal) -> Order | None:
        """Return None when there is no such order, or none that the caller may see."""
        query = sa.select(orders.c.seq).where(orders.c.id == order_id, visibility.visible(orders, principal))
        with self._engine.connect() as connection:
            found = connection.scalar(query)
        return self.get(order_id) if found is not None else None

    def get(self, order_id: str) -> Order:
        """Return an order with its history. Raises `sqlalchemy.exc.NoResultFound` for an id that is none of ours."""
        with self._engine.connect() as connection:
            return _whole(connection, connection.execute(ROW, {"of": order_id}).one())

    def as_it_stands(self, order_id: str, *, with_lines: bool = True) -> Order:
        """Return an order without its history, which no work of ours needs, and with its lines unless they are not
        wanted."""
        with self._engine.connect() as connection:
            row = connection.execute(ROW, {"of": order_id}).one()
            return _order(connection, row, _lines(connection, LINES, order_id) if with_lines else ())

    def lines(self, order_id: str, *, unbilled: bool = False) -> tuple[OrderLine, ...]:
        with self._engine.connect() as connection:
            return _lines(connection, UNBILLED if unbilled else LINES, order_id)

    def page(
        self,
        principal: Principal,
        states: Sequence[OrderState],
        customer_id: str | None,
        cursor: str | None,
        limit: int,
    ) -> Page[OrderSummary]:
        """Return a page of the orders in some states, any if none is named, that the caller may see, newest first."""
        where = _among(principal, states, customer_id)
        with self._engine.connect() as connection:
            rows, next_cursor = paging.page_of(connection, orders, where, cursor, limit)
        return paging.page([_summary(row) for row in rows], next_cursor)

    def page_with_lines(
        self,
        principal: Principal,
        states: Sequence[OrderState],
        wanted: ContractFilter,
        cursor: str | None,
        limit: int,
    ) -> Page[Order]:
        """Return a page of the orders in some states whose contracts may be such as are wanted, each with its lines and
        its history, newest first. Of its products and its state a contract has to be asked still."""
        where = [*_among(principal, states, wanted.customer_id), *_may_be(wanted)]
        place = has_had.c.order_seq if wanted.sku else orders.c.seq
        with self._engine.connect() as connection:
            rows, next_cursor = paging.page_of(connection, orders, where, cursor, limit, place)
            return paging.page([_whole(connection, row) for row in rows], next_cursor)

    def sold_by(self, customer_id: str) -> dict[str, TaxTreatment]:
        """Return the legal entities for which a customer was onboarded, the latest last, each with the tax of the
        newest of those orders. One that was rejected or still waits has sold nothing."""
        with self._engine.connect() as connection:
            plans = [_PLAN.decode(each) for each in connection.scalars(PLANS, {"of": customer_id})]
            document = connection.scalar(DOCUMENT, {"of": customer_id})
        newest: dict[str, TaxTreatment] = {}
        if document:  # what it has handed over says its seller; its tax is what was decided for it last
            tax = _CUSTOMER.decode(document).tax_treatment
            newest |= {each.legal_entity: tax for each in self.handed_over_by(customer_id)}
        for each in plans:
            if "customer" in each.contract.references:
                newest.pop(each.contract.legal_entity, None)  # so that it comes last
                newest[each.contract.legal_entity] = each.customer.tax_treatment
        return newest

    def accounts_of(self, customer_id: str) -> set[str]:
        """Return the accounts of the CRM by which a customer has ordered."""
        with self._engine.connect() as connection:
            return {_PLAN.decode(each).account_id for each in connection.scalars(PLANS, {"of": customer_id})}

    def contracts_of(self, customer_id: str, states: Sequence[OrderState]) -> list[Contract]:
        """Return the contracts of a customer's orders in some states, as they were sold, the first one first."""
        query = PLANS.where(orders.c.state.in_(states))
        with self._engine.connect() as connection:
            return [_PLAN.decode(each).contract for each in connection.scalars(query, {"of": customer_id})]

    def handed_over_by(self, customer_id: str) -> list[Contract]:
        """Return the contracts that a customer had before they went to others, as these have them now."""
        with self._engine.connect() as connection:
            plans = connection.scalars(PLANS_HANDED_OVER, {"of": customer_id})
            return [_PLAN.decode(each).contract for each in plans]

    def on_their_way(self, order_id: str, contract: Contract, customers: Sequence[str]) -> tuple[Money, ...]:
        """Return what each other order of some customers will bring into the same books, in its currency: accepted, and
        not posted yet. Of two that are reviewed at once, the later one counts the earlier one."""
        of = {"customers": list(customers)}
        with self._engine.connect() as connection:
            accepted = connection.scalars(OWED_SOON, of | {"order": order_id})
            others = [_PLAN.decode(each).contract for each in accepted]
            posted = set(connection.scalars(POSTED_CONTRACTS, of))
        same = [each for each in others if each.legal_entity == contract.legal_entity and each.id not in posted]
        return tuple(each.gross for each in same)

    def status_not_in_crm(self) -> list[sa.Row[Any]]:
        """Orders whose state the CRM does not show yet, though it should."""
        with self._engine.connect() as connection:
            return list(connection.execute(STATUS_NOT_IN_CRM))


def _among(principal: Principal, states: Sequence[OrderState], customer_id: str | None) -> list[sa.ColumnElement[bool]]:
    """Return the conditions of a list: of what the caller may see, those in some states, or all where none is named."""
    where = [visibility.visible(orders, principal)]
    if states:
        where.append(orders.c.state.in_(states))
    if customer_id:
        where.append(orders.c.customer_id == customer_id)
    return where


def _may_be(wanted: ContractFilter) -> Iterator[sa.ColumnElement[bool]]:
    """Yield what holds for each order whose contract is such as is wanted, and for some others."""
    for column in (orders.c.legal_entity, orders.c.currency):
        if value := getattr(wanted, column.name):
            yield column == value
    if wanted.sku:
        yield sa.and_(has_had.c.order_seq == orders.c.seq, has_had.c.sku == wanted.sku)
    if wanted.state in ("cancelled", "paused"):
        yield sa.exists().where(amendments.c.order_id == orders.c.id, amendments.c.state.in_(("applied", "scheduled")))


def _whole(connection: sa.Connection, row: sa.Row[Any]) -> Order:
    """Return an order with its lines and its history."""
    reached = connection.execute(HISTORY, {"of": row.id})
    history = tuple(StateChange(each.state, datetime.fromisoformat(each.at)) for each in reached)
    return _order(connection, row, _lines(connection, LINES, row.id), history)


def _order(
    connection: sa.Connection,
    row: sa.Row[Any],
    lines: tuple[OrderLine, ...],
    history: tuple[StateChange, ...] = (),
) -> Order:
    return Order(
        id=row.id,
        deal_id=row.deal_id,
        revision=row.revision,
        name=row.name,
        state=row.state,
        blocked_reason=row.blocked_reason,
        correlation_id=row.correlation_id,
        received_at=datetime.fromisoformat(row.received_at),
        updated_at=datetime.fromisoformat(row.updated_at),
        legal_entity=row.legal_entity,
        customer_id=row.customer_id,
        plan=_PLAN.decode(row.plan) if row.plan else None,
        lines=lines,
        history=history,
        placed_by=row.placed_by,
        crm=row.crm,
        queue=waiting.place(connection, orders, row),
    )


def _lines(connection: sa.Connection, query: sa.Select[Any], order_id: str) -> tuple[OrderLine, ...]:
    rows = connection.execute(query, {"of": order_id})
    return tuple(OrderLine(_LINE.decode(row.line), row.state, row.reason) for row in rows)


def _summary(row: sa.Row[Any]) -> OrderSummary:
    return OrderSummary(
        row.id, row.name, row.state, row.blocked_reason, row.customer_id, datetime.fromisoformat(row.received_at)
    )
