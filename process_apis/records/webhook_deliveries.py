"""What has become of each event on its way to a webhook, and every attempt: the delivery log."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any, cast

import sqlalchemy as sa

from canonical.ids import Clock
from canonical.orders import Page
from canonical.states import DeliveryState, check_delivery
from canonical.webhooks import ResendRequest, ResendResult, WebhookAttempt, WebhookDelivery
from policies.outbound.webhook_sender import WebhookResult
from policies.problems import INVALID, MISSING, NOT_ALLOWED_NOW, FieldError, ProblemError
from process_apis.records import paging
from process_apis.records.database import webhook_attempts, webhook_deliveries, webhooks, writing

MOST_AT_ONCE = 1000
"""Deliveries that one request sends again."""
MOST_ATTEMPTS = 20
"""Attempts of a delivery that are shown."""
OF: sa.BindParameter[str] = sa.bindparam("of")
ONE = sa.select(webhook_deliveries).where(
    webhook_deliveries.c.id == OF, webhook_deliveries.c.webhook_id == sa.bindparam("webhook")
)
LOCKED = sa.select(webhook_deliveries).where(webhook_deliveries.c.id == OF).with_for_update()
CHANGE = webhook_deliveries.update().where(webhook_deliveries.c.id == OF).returning(webhook_deliveries)
STATE = sa.select(webhooks.c.state).where(webhooks.c.id == OF).with_for_update()
ATTEMPTS = (
    sa.select(webhook_attempts)
    .where(webhook_attempts.c.delivery_id.in_(sa.bindparam("ids", expanding=True)))
    .order_by(webhook_attempts.c.seq.desc())
)


class WebhookDeliveries:
    """The tables of deliveries and of attempts."""

    def __init__(self, engine: sa.Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    # ---- sending again

    def resend(self, webhook_id: str, delivery_id: str) -> WebhookDelivery:
        """Have one event sent again now, under its own `webhook-id`. Raises `ProblemError`: 404 when there is no such
        delivery, 409 when the webhook is switched off."""
        of = {"of": delivery_id, "webhook": webhook_id}
        with writing(self._engine) as connection:
            _require_active(connection, webhook_id)
            row = connection.execute(ONE.with_for_update(), of).one_or_none()
            if row is None:
                raise ProblemError(MISSING, f"The webhook has no delivery {delivery_id}: it was not made, or is over.")
            self._send_again(connection, row)
        with self._engine.connect() as connection:
            return _shown(connection, [connection.execute(ONE, of).one()])[0]

    def resend_since(self, webhook_id: str, wanted: ResendRequest) -> ResendResult:
        """Have all events sent again that came at a moment or later, the oldest first, `MOST_AT_ONCE` at the most.
        Raises `ProblemError`: 409 when the webhook is switched off, 422 for a moment that is none in UTC."""
        c = webhook_deliveries.c
        query = sa.select(webhook_deliveries).where(c.webhook_id == webhook_id, c.state.in_(wanted.states))
        query = query.where(c.created_at >= self._text_of(wanted.since), c.seq > paging.place_of(wanted.cursor or "0"))
        query = query.order_by(c.seq).limit(MOST_AT_ONCE + 1).with_for_update()
        with writing(self._engine) as connection:
            _require_active(connection, webhook_id)
            rows = connection.execute(query).all()
            for row in rows[:MOST_AT_ONCE]:
                self._send_again(connection, row)
        is_all = len(rows) <= MOST_AT_ONCE
        return ResendResult(min(len(rows), MOST_AT_ONCE), None if is_all else str(rows[MOST_AT_ONCE - 1].seq))

    def _text_of(self, since: datetime) -> str:
        try:
            return since.astimezone(self._clock().tzinfo).isoformat()
        except OverflowError as error:  # in the first or the last hours of the calendar
            wrong = FieldError("$.since", "there is no such moment in UTC")
            raise ProblemError(INVALID, "Nothing was sent again.", (wrong,)) from error

    def _send_again(self, connection: sa.Connection, row: sa.Row[Any]) -> None:
        if row.state == "pending" and not row.attempts:
            return  # it is about to be sent: to ask twice is to ask once
        # the next run: what an attempt that is under way says is noted, and decides nothing any more
        enter(connection, row, "pending", self._clock().isoformat(), attempts=0, run=row.run + 1)

    # ---- what became of an attempt

    def note(self, connection: sa.Connection, row: sa.Row[Any], run: int, result: WebhookResult) -> sa.Row[Any] | None:
        """Keep an attempt, in the caller's transaction. Return the delivery, locked, if what becomes of it is this
        run's to say: None when it was removed, sent again or missed meanwhile."""
        found = connection.execute(LOCKED, {"of": row.id}).one_or_none()
        if found is None:
            return None
        attempt = {
            "delivery_id": row.id,
            "at": self._clock().isoformat(),
            "status": result.status,
            "milliseconds": result.milliseconds,
            "reason": result.reason,
            "excerpt": result.excerpt,
        }
        connection.execute(webhook_attempts.insert(), attempt)
        return found if found.run == run and found.state == "pending" else None

    def settle(self, row: sa.Row[Any], run: int, state: DeliveryState, reason: str) -> None:
        """Bring a delivery that is not sent into a state, unless it was sent again or missed meanwhile."""
        with writing(self._engine) as connection:
            found = connection.execute(LOCKED, {"of": row.id}).one_or_none()
            if found is not None and found.run == run and found.state == "pending":
                enter(connection, found, state, None, reason=reason)

    # ---- reading

    def page(
        self, webhook_id: str, state: str | None, event_type: str | None, cursor: str | None, limit: int
    ) -> Page[WebhookDelivery]:
        """Return a page of the deliveries of one webhook, newest first. Raises as `paging.page_of` does."""
        where = [webhook_deliveries.c.webhook_id == webhook_id]
        where += [webhook_deliveries.c.state == state] if state else []
        where += [webhook_deliveries.c.type == event_type] if event_type else []
        with self._engine.connect() as connection:
            rows, next_cursor = paging.page_of(connection, webhook_deliveries, where, cursor, limit)
            return paging.page(_shown(connection, rows), next_cursor)


def enter(
    connection: sa.Connection, row: sa.Row[Any], state: DeliveryState, next_attempt_at: str | None, **changes: Any
) -> None:
    """Bring a delivery, which the caller has locked, into a state. Raises `IllegalTransition` when the table of states
    has no such change."""
    check_delivery(cast("DeliveryState", row.state), state)
    values = {"of": row.id, "state": state, "next_attempt_at": next_attempt_at, "reason": ""} | changes
    connection.execute(CHANGE, values)


def _require_active(connection: sa.Connection, webhook_id: str) -> None:
    if connection.scalar(STATE, {"of": webhook_id}) != "active":
        raise ProblemError(NOT_ALLOWED_NOW, "The webhook is switched off: switch it on first.")


def _shown(connection: sa.Connection, rows: Sequence[sa.Row[Any]]) -> list[WebhookDelivery]:
    attempts: defaultdict[str, list[WebhookAttempt]] = defaultdict(list)
    for each in connection.execute(ATTEMPTS, {"ids": [row.id for row in rows]}).all() if rows else ():
        if len(attempts[each.delivery_id]) < MOST_ATTEMPTS:
            at = datetime.fromisoformat(each.at)
            made = WebhookAttempt(at, each.status, each.milliseconds, each.reason, each.excerpt)
            attempts[each.delivery_id].append(made)
    return [_delivery(row, tuple(attempts[row.id])) for row in rows]


def _delivery(row: sa.Row[Any], attempts: tuple[WebhookAttempt, ...]) -> WebhookDelivery:
    return WebhookDelivery(
        id=row.id,
        webhook_id=row.webhook_id,
        event_id=row.event_id,
        type=row.type,
        customer_id=row.customer_id,
        state=row.state,
        reason=row.reason,
        created_at=datetime.fromisoformat(row.created_at),
        next_attempt_at=datetime.fromisoformat(row.next_attempt_at) if row.next_attempt_at else None,
        attempts=attempts,
    )
