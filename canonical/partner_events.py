"""What a partner is sent of an event of our own records: the ids and states that it reads by its own API, and no more.

Which types go to partners at all is the catalogue's decision. What is not named here can go to none.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from canonical.events import Event
from canonical.ids import Instant
from canonical.process_events import PREFIX, PROCESS_EVENTS

SHOWN: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "order": ("order_id", ("customer", "state")),
    "amendment": ("amendment_id", ("contract", "order", "customer", "state")),
    "renewal": ("", ("contract", "order", "customer")),
    "invoice": ("", ("invoice", "contract", "customer")),
    "payment": ("", ("invoice", "contract", "customer")),
    "credit_note": ("", ("invoice", "contract", "customer")),
}
"""By record: what its id is called, where partners know it, and what is shown of the event's data."""
CONTENT = msgspec.json.Encoder(order="deterministic")


class PartnerEvent(msgspec.Struct, frozen=True):
    """The body of a webhook (Standard Webhooks specification, "Payload structure")."""

    type: str
    """What happened, such as `order.activated.v1`."""
    timestamp: Instant
    """When it happened (ISO 8601, UTC): the same at each attempt."""
    data: dict[str, str]
    """The ids of what it happened to, and the state in which that was then."""


def partner_type(event_type: str) -> str:
    """Return what partners call a type of events of our own records."""
    return event_type.removeprefix(PREFIX)


def event_type(partner_type: str) -> str:
    """Return the type of events that partners call `partner_type`."""
    return PREFIX + partner_type


def can_be_shown(event_type: str) -> bool:
    """Return whether there is anything in a type of events that a partner knows."""
    return event_type in PROCESS_EVENTS and partner_type(event_type).partition(".")[0] in SHOWN


def partner_event(event: Event) -> PartnerEvent | None:
    """Return what a partner is sent of an event, None where there is nothing that partners know."""
    if not can_be_shown(event.type):
        return None
    name = partner_type(event.type)
    own, shown = SHOWN[name.partition(".")[0]]
    data = {own: event.subject} if own else {}
    data |= {each if each == "state" else f"{each}_id": event.data[each] for each in shown if each in event.data}
    return PartnerEvent(name, event.time, data)


def body(event: PartnerEvent) -> bytes:
    """Return the bytes that are sent, and signed."""
    return CONTENT.encode(event)
