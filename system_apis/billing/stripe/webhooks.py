"""Stripe's webhooks: verified on raw bytes (Stripe: Verify webhook signatures manually), then made canonical."""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime
from typing import Any

import msgspec

from canonical.events import INVOICE_FINALIZED, INVOICE_PAID, Event
from canonical.ids import Clock
from policies.problems import INVALID, UNAUTHENTICATED, ProblemError
from system_apis.billing.port import Reported

TOLERANCE = 300
TYPES = {"invoice.finalized": INVOICE_FINALIZED, "invoice.paid": INVOICE_PAID}
Row = dict[str, Any]


class _Data(msgspec.Struct, frozen=True):
    object: Row


class _StripeEvent(msgspec.Struct, frozen=True):
    id: str
    type: str
    created: int
    data: _Data


def verify(secret: str, header: str, body: bytes, clock: Clock) -> None:
    """Raise `ProblemError` (401) unless `body` was signed with `secret` within five minutes of now."""
    stamp, signatures = "", list[str]()
    for part in header.split(","):
        key, _, value = part.strip().partition("=")
        if key == "t":
            stamp = value
        elif key == "v1":
            signatures.append(value)
    expected = hmac.new(secret.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest().encode()
    known = [hmac.compare_digest(expected, each.encode()) for each in signatures]
    recent = stamp.isascii() and stamp.isdigit() and abs(clock().timestamp() - int(stamp)) <= TOLERANCE
    if not secret or not any(known) or not recent:
        raise ProblemError(UNAUTHENTICATED, "The webhook's signature is not valid.")


def canonical_event(body: bytes) -> Reported | None:
    """None for what is of no interest, and for invoices that are of no contract of ours."""
    try:
        source = msgspec.json.decode(body, type=_StripeEvent)
    except msgspec.DecodeError as error:
        raise ProblemError(INVALID, f"The webhook is not a Stripe event: {error}.") from error
    if source.type not in TYPES:
        return None
    thing = source.data.object
    parent: Row = thing.get("parent") or {}
    details: Row = parent.get("subscription_details") or {}
    metadata: Row = details.get("metadata") or {}
    if "tiergate_contract" not in metadata:
        return None
    event = Event(
        id=source.id,
        source="billing/stripe",
        type=TYPES[source.type],
        subject=thing["id"],
        time=datetime.fromtimestamp(source.created, UTC),
        data={
            "contract": metadata["tiergate_contract"],
            "customer": metadata.get("tiergate_customer", ""),
            "legal_entity": metadata.get("tiergate_legal_entity", ""),
        },
    )
    return Reported(event, metadata.get("tiergate_correlation", ""))
