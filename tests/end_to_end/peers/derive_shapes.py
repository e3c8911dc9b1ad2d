"""Derives the table of object shapes from Stripe's published fixtures (github.com/stripe/openapi, fixtures3.json).

python -m tests.end_to_end.peers.derive_shapes fixtures3.json > tests/end_to_end/peers/stripe_shapes.json

A row is [object, key, types, nullable]. A value that is null in the fixtures tells no type; whether a key may be null
is what the types of Stripe's own Python library say, since one sample cannot.
"""

from __future__ import annotations

import json
import sys
import typing
from operator import attrgetter
from pathlib import Path
from typing import Any

import stripe

OBJECTS = {
    "customer": "Customer",
    "tax_id": "TaxId",
    "tax_rate": "TaxRate",
    "product": "Product",
    "price": "Price",
    "payment_method": "PaymentMethod",
    "subscription": "Subscription",
    "subscription_item": "SubscriptionItem",
    "subscription_schedule": "SubscriptionSchedule",
    "invoice": "Invoice",
    "line_item": "InvoiceLineItem",
    "invoice_payment": "InvoicePayment",
    "payment_intent": "PaymentIntent",
    "charge": "Charge",
    "credit_note": "CreditNote",
    "credit_note_line_item": "CreditNoteLineItem",
    "dispute": "Dispute",
    "refund": "Refund",
    "balance_transaction": "BalanceTransaction",
    "event": "Event",
    "webhook_endpoint": "WebhookEndpoint",
    "billing.meter": "billing.Meter",
    "billing.meter_event": "billing.MeterEvent",
    "billing.meter_event_adjustment": "billing.MeterEventAdjustment",
    "billing.meter_event_summary": "billing.MeterEventSummary",
}
NAMES = {str: "string", bool: "boolean", int: "integer", float: "number", dict: "object", list: "array"}
EXPANDED = "string"


def rows(fixtures: dict[str, Any]) -> list[list[Any]]:
    """Return one row for each key of each object."""
    found: list[list[Any]] = []
    for name, class_name in OBJECTS.items():
        annotations = typing.cast("dict[str, Any]", attrgetter(class_name)(stripe).__annotations__)
        for key, value in sorted(fixtures[name].items()):
            alternatives = typing.get_args(annotations.get(key, typing.Any | None))
            nullable = value is None or type(None) in alternatives
            types = [] if value is None else [NAMES[type(value)]]
            if str in alternatives and EXPANDED not in types:
                types.append("string")  # an id that can be expanded, or the object in its place
            found.append([name, key, types, nullable])
    return found


def main() -> None:
    """Print the table, a row a line."""
    fixtures = json.loads(Path(sys.argv[1]).read_bytes())["resources"]
    sys.stdout.write("[\n" + ",\n".join(json.dumps(row) for row in rows(fixtures)) + "\n]\n")


if __name__ == "__main__":
    main()
