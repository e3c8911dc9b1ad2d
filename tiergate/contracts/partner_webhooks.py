"""Describes what partners are sent: a webhook of their API for each event that the catalogue gives to partners."""

from __future__ import annotations

from typing import Any

import msgspec

from canonical.events import Event
from canonical.partner_events import partner_event
from policies.business.events import EVENTS, EventType
from policies.catalogue.model import Catalogue
from tiergate.contracts.asyncapi import own_example
from tiergate.contracts.examples import EVT, NOON

Json = dict[str, Any]
API = "partners"
MADE_BY = "partners_create_webhook"
"""The operation without which a version of the API has none."""
HEADERS = {
    "webhook-id": ("The same each time that this event is sent", {"type": "string"}, EVT),
    "webhook-timestamp": ("The seconds since 1970 of this attempt", {"type": "string"}, str(int(NOON.timestamp()))),
    "webhook-signature": (
        "A signature by each secret that signs, with blanks between (Standard Webhooks)",
        {"type": "string"},
        "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=",
    ),
}


def webhooks(catalogue: Catalogue) -> Json:
    """Return each of them by the name that partners call its event (OpenAPI 3.1, section 4.8.1)."""
    found: Json = {}
    for name, each in sorted(EVENTS.of(catalogue).items()):
        if each.partners:
            described = _webhook(name, each)
            found[described["post"]["operationId"].replace("_", "-")] = described
    return found


def _webhook(name: str, of: EventType) -> Json:
    source, subject, data = own_example(name)
    shown = partner_event(Event(id=EVT, source=source, type=name, subject=subject, time=NOON, data=data))
    assert shown is not None, "the check of the catalogue lets no other go to partners"
    fields = {each: {"type": "string"} for each in sorted(shown.data)}
    schema: Json = {
        "type": "object",
        "description": f"{of.summary}. Needs the scope `{of.partners}`.",
        "properties": {
            "type": {"const": shown.type, "description": "What happened."},
            "timestamp": {"type": "string", "format": "date-time", "description": "When it happened (UTC)."},
            "data": {"type": "object", "properties": fields, "description": "The ids of what it happened to."},
        },
        "required": ["type", "timestamp", "data"],
    }
    example = msgspec.json.decode(msgspec.json.encode(shown))
    content = {"application/json": {"schema": schema, "examples": {"usual": {"value": example}}}}
    post: Json = {
        "tags": [API],
        "summary": of.summary,
        "description": f"{of.summary}. Verify the signature, answer 2xx at once, and do the work later.",
        "operationId": shown.type,
        "parameters": [
            {"name": header, "in": "header", "required": True, "description": text, "schema": kind, "example": example}
            for header, (text, kind, example) in HEADERS.items()
        ],
        "security": [],
        "x-service-tier": "near_real_time",
        "x-idempotency": "natural",  # who has the `webhook-id` has the event
        "requestBody": {"required": True, "content": content},
        "responses": {"2XX": {"description": "Taken"}},
    }
    return {"post": post}
