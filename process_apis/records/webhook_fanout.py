"""Which webhooks get an event: one delivery for each, in the transaction in which the event comes into the log.

So a delivery is there when the event is, whatever dies in between, and a webhook gets what happens after it was made.
"""

from __future__ import annotations

import sqlalchemy as sa

from canonical.events import Event
from canonical.ids import derived
from canonical.partner_events import body, partner_event
from canonical.process_events import ORDER_EVENTS
from canonical.states import DeliveryState
from process_apis.records.database import customers, insert_once, orders, webhook_deliveries, webhooks

ORDERS = frozenset(ORDER_EVENTS.values())
OF_CLIENT = sa.select(webhooks).where(webhooks.c.client == sa.bindparam("client")).order_by(webhooks.c.seq)
PARTNER = sa.select(customers.c.partner).where(customers.c.id == sa.bindparam("of"))
PARTNER_OF_ORDER = sa.select(orders.c.partner).where(orders.c.id == sa.bindparam("of"))
EVERY = "*"


def partner_of(connection: sa.Connection, event_type: str, subject: str, customer_id: str) -> str:
    """Return the partner that may read the record which an event is about, as it is now; empty when none may. It is the
    rule of `visibility.visible`: an order names its partner, and all else is its customer's."""
    if event_type in ORDERS:
        return str(connection.scalar(PARTNER_OF_ORDER, {"of": subject}) or "")
    return str(connection.scalar(PARTNER, {"of": customer_id}) or "") if customer_id else ""


def expect_deliveries(connection: sa.Connection, event: Event, correlation_id: str, now: str) -> None:
    """Have an event delivered to each webhook that wants it, in the caller's transaction. Those that are switched off
    miss it, and can be sent it later."""
    shown = partner_event(event)
    if shown is None:
        return
    customer_id, legal_entity = event.data.get("customer", ""), event.data.get("legal_entity", "")
    partner = partner_of(connection, event.type, event.subject, customer_id)
    if not partner:
        return
    for row in connection.execute(OF_CLIENT, {"client": partner}).all():
        if shown.type not in row.event_types.split() or not covers(row.legal_entities, legal_entity):
            continue
        if row.customer_ids and customer_id not in row.customer_ids.split():
            continue
        state: DeliveryState = "pending" if row.state == "active" else "missed"
        values = {
            "id": derived("dlv", row.id, event.id),
            "webhook_id": row.id,
            "event_id": event.id,
            "type": shown.type,
            "subject": event.subject,
            "customer_id": customer_id,
            "legal_entity": legal_entity,
            "body": body(shown),
            "state": state,
            "reason": "" if state == "pending" else "the webhook was switched off",
            "correlation_id": correlation_id,
            "next_attempt_at": now if state == "pending" else None,
            "created_at": now,
        }
        insert_once(connection, webhook_deliveries, values)


def covers(legal_entities: str, legal_entity: str) -> bool:
    """Return whether a legal entity is among those that a webhook's maker may see, as its row has them."""
    allowed = legal_entities.split()
    return EVERY in allowed or legal_entity in allowed
