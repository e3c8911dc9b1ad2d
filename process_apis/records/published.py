"""The events of our own records. Each comes into the log with its change: both are there, or neither."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from canonical.events import Event
from canonical.ids import derived
from canonical.process_events import SOURCE
from process_apis.records.database import events, insert_once
from process_apis.records.webhook_fanout import expect_deliveries

NAMED = {
    "contract_id": "contract",
    "order_id": "order",
    "customer_id": "customer",
    "deal_id": "deal",
    "invoice_id": "invoice",
    "kind": "kind",
    "team": "team",
    "undoing": "undoing",
    "legal_entity": "legal_entity",
    "state": "state",
}
"""What an event takes from the row that was changed, and what its data call it. Never what a person has written."""


def publish(
    connection: sa.Connection,
    event_type: str,
    row: sa.Row[Any] | Mapping[str, Any],
    now: str,
    correlation_id: str | None = None,
) -> None:
    """Append the event of a row as it is since `now`, in the transaction that changes it, and have it delivered to the
    webhooks that want it.

    `row` has the columns that its table has: the `id`, those of `NAMED`, and the correlation id where none is given.
    The same change given twice is one event.
    """

    def of(column: str) -> str:
        return str((row.get(column) if isinstance(row, Mapping) else getattr(row, column, None)) or "")

    data = {name: value for column, name in NAMED.items() if (value := of(column))}
    event = Event(
        id=derived("evt", of("id"), event_type, now),
        source=SOURCE,
        type=event_type,
        subject=of("id"),
        time=datetime.fromisoformat(now),
        data=data,
    )
    followed = of("correlation_id") if correlation_id is None else correlation_id
    if insert_once(connection, events, row_of(event, followed, now)):
        expect_deliveries(connection, event, followed, now)


def row_of(event: Event, correlation_id: str, now: str) -> dict[str, Any]:
    """Return the row of an event in the log that comes in at `now`, and that nobody has still to take."""
    return {
        "source": event.source,
        "id": event.id,
        "type": event.type,
        "subject": event.subject,
        "correlation_id": correlation_id,
        "legal_entity": event.data.get("legal_entity", ""),
        "customer_id": event.data.get("customer", ""),
        "document": msgspec.json.encode(event),
        "taken_at": now,
        "untaken": "",
    }
