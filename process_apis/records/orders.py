"""Orders: their state, checked at every change, their history, and their lines."""

from __future__ import annotations

from datetime import datetime
from typing import Any, cast

import msgspec
import sqlalchemy as sa

from canonical.deals import PricedLine
from canonical.ids import Clock, NewId
from canonical.orders import LineState, Order, OrderLine, OrderSummary, Page, Plan, StateChange
from canonical.states import OrderState, check_order
from policies.authentication import Principal
from process_apis.records import paging
from process_apis.records.database import insert_once, order_lines, order_states, orders


class Orders:
    """The table of orders."""

    def __init__(self, engine: sa.Engine, clock: Clock, new_id: NewId) -> None:
        self._engine = engine
        self._clock = clock
        self._new_id = new_id

    # ---- writing

    def receive(self, deal_id: str, revision: int, correlation_id: str, look_at: datetime) -> tuple[str, OrderState]:
        """The order of a deal's revision, with its state: a new one the first time, the same one ever after."""
        now = self._clock().isoformat()
        row: dict[str, Any] = {
            "id": self._new_id("ord"), "deal_id": deal_id, "revision": revision, "state": "received",
            "correlation_id": correlation_id, "received_at": now, "updated_at": now, "look_at": look_at.isoformat(),
        }  # fmt: skip
        with self._engine.begin() as connection:
            if insert_once(connection, orders, row):
                connection.execute(order_states.insert().values(order_id=row["id"], state="received", at=now))
                return row["id"], "received"
            known = sa.select(orders.c.id, orders.c.state).where(
                orders.c.deal_id == deal_id, orders.c.revision == revision
            )
            found = connection.execute(known).one()
        return found.id, found.state

    def advance(
        self, order_id: str, state: OrderState, *, look_at: datetime | None, waits_for: str = "", **changes: Any
    ) -> None:
        """Go to `state`. Raises `IllegalTransition` when the table of states has no such change.

        `look_at` is when somebody has to look at the order again if nothing happens until then.
        """
        now = self._clock().isoformat()
        with self._engine.begin() as connection:
            present = cast(
                "OrderState", connection.execute(sa.select(orders.c.state).where(orders.c.id == order_id)).scalar_one()
            )
            check_order(present, state)
            values = changes | {
                "state": state,
                "waits_for": waits_for,
                "updated_at": now,
                "look_at": look_at and look_at.isoformat(),
            }
            connection.execute(orders.update().where(orders.c.id == order_id).values(values))
            if present != state:
                connection.execute(order_states.insert().values(order_id=order_id, state=state, at=now))

    def change(self, order_id: str, **changes: Any) -> None:
        """Change what is not the state."""
        with self._engine.begin() as connection:
            connection.execute(orders.update().where(orders.c.id == order_id).values(changes))

    def accept(self, order_id: str, name: str, plan: Plan) -> None:
        """Keep what was decided about the deal, and its lines."""
        rows = [
            {
                "order_id": order_id,
                "line_id": line.id,
                "position": position,
                "line": msgspec.json.encode(line),
                "state": "waiting",
            }
            for position, line in enumerate(plan.contract.lines)
        ]
        with self._engine.begin() as connection:
            connection.execute(
                orders.update()
                .where(orders.c.id == order_id)
                .values(
                    name=name,
                    plan=msgspec.json.encode(plan),
                    legal_entity=plan.contract.legal_entity,
                    customer_id=plan.customer.id,
                )
            )
            connection.execute(order_lines.delete().where(order_lines.c.order_id == order_id))
            connection.execute(order_lines.insert(), rows)

    def keep_plan(self, order_id: str, plan: Plan) -> None:
        self.change(order_id, plan=msgspec.json.encode(plan))

    def set_line(self, order_id: str, line_id: str, state: LineState, reason: str = "") -> None:
        with self._engine.begin() as connection:
            connection.execute(_line(order_id, line_id).values(state=state, reason=reason))

    def report_line(self, order_id: str, line_id: str, state: LineState, reason: str) -> bool:
        """Keep how a requested line ended; any other is left alone. Gives whether every line has a result now."""
        with self._engine.begin() as connection:
            requested = _line(order_id, line_id).where(order_lines.c.state == "requested")
            connection.execute(requested.values(state=state, reason=reason))
            found = list(connection.scalars(sa.select(order_lines.c.state).where(order_lines.c.order_id == order_id)))
        return bool(found) and not {"waiting", "requested"} & set(found)

    def set_billed(self, order_id: str, line_ids: list[str]) -> None:
        with self._engine.begin() as connection:
            connection.execute(
                order_lines.update()
                .where(order_lines.c.order_id == order_id, order_lines.c.line_id.in_(line_ids))
                .values(billed=True)
            )

    # ---- reading

    def row(self, order_id: str) -> sa.Row[Any]:
        with self._engine.connect() as connection:
            return connection.execute(sa.select(orders).where(orders.c.id == order_id)).one()

    def exists(self, order_id: str) -> bool:
        with self._engine.connect() as connection:
            return connection.scalar(sa.select(orders.c.seq).where(orders.c.id == order_id)) is not None

    def get(self, order_id: str) -> Order:
        """Raises `sqlalchemy.exc.NoResultFound` for an id that is none of ours."""
        with self._engine.connect() as connection:
            row = connection.execute(sa.select(orders).where(orders.c.id == order_id)).one()
            history = connection.execute(
                sa.select(order_states).where(order_states.c.order_id == order_id).order_by(order_states.c.seq)
            )
            changes = tuple(StateChange(each.state, datetime.fromisoformat(each.at)) for each in history)
        return Order(
            id=row.id, deal_id=row.deal_id, revision=row.revision, name=row.name, state=row.state, waits_for=row.waits_for,
            correlation_id=row.correlation_id, received_at=datetime.fromisoformat(row.received_at),
            updated_at=datetime.fromisoformat(row.updated_at), legal_entity=row.legal_entity, customer_id=row.customer_id,
            plan=msgspec.json.decode(row.plan, type=Plan) if row.plan else None, lines=self.lines(order_id), history=changes,
        )  # fmt: skip

    def lines(self, order_id: str, *, unbilled: bool = False) -> tuple[OrderLine, ...]:
        query = sa.select(order_lines).where(order_lines.c.order_id == order_id).order_by(order_lines.c.position)
        if unbilled:
            query = query.where(order_lines.c.billed.is_(False))
        with self._engine.connect() as connection:
            rows = connection.execute(query).all()
        return tuple(OrderLine(msgspec.json.decode(row.line, type=PricedLine), row.state, row.reason) for row in rows)

    def page(
        self, principal: Principal, state: str | None, customer_id: str | None, cursor: str | None, limit: int
    ) -> Page[OrderSummary]:
        where = [paging.visible(orders, principal)]
        if state:
            where.append(orders.c.state == state)
        if customer_id:
            where.append(orders.c.customer_id == customer_id)
        with self._engine.connect() as connection:
            rows, next_cursor = paging.page_of(connection, orders, where, cursor, limit)
        return paging.page([_summary(row) for row in rows], next_cursor)

    def due(self) -> list[sa.Row[Any]]:
        """Orders at which somebody has to look now."""
        query = (
            sa.select(orders).where(orders.c.look_at <= self._clock().isoformat()).order_by(orders.c.look_at).limit(100)
        )
        with self._engine.connect() as connection:
            return list(connection.execute(query))

    def unshown(self) -> list[sa.Row[Any]]:
        """Orders whose state the CRM does not show yet, though it should."""
        settled = ("on_hold", "awaiting_approval", "cancelled", "failed", "active", "partially_active")
        query = sa.select(orders).where(orders.c.state.in_(settled), orders.c.shown != orders.c.state).limit(20)
        with self._engine.connect() as connection:
            return list(connection.execute(query))


def _line(order_id: str, line_id: str) -> sa.Update:
    return order_lines.update().where(order_lines.c.order_id == order_id, order_lines.c.line_id == line_id)


def _summary(row: sa.Row[Any]) -> OrderSummary:
    return OrderSummary(
        row.id, row.name, row.state, row.waits_for, row.customer_id, datetime.fromisoformat(row.received_at)
    )
