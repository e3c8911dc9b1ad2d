"""Stripe's webhooks: verified on raw bytes with Stripe's own package, then made canonical."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from stripe import SignatureVerificationError, WebhookSignature

from canonical.events import INVOICE_CANCELLED, INVOICE_FINALIZED, INVOICE_PAID, PAYMENT_RECEIVED, Event
from canonical.ids import Clock
from policies.http import client
from policies.problems import INVALID, UNAUTHENTICATED, ProblemError
from system_apis.billing.port import Reported
from system_apis.billing.stripe.invoices import payment_id

TOLERANCE = 300
LAST_SECOND = 253_402_300_799
"""The last that a date can have: the end of the year 9999 UTC, in seconds since 1970."""
TYPES = {
    "invoice.finalized": INVOICE_FINALIZED,
    "invoice.paid": INVOICE_PAID,
    "invoice_payment.paid": PAYMENT_RECEIVED,
    "invoice.voided": INVOICE_CANCELLED,
    "invoice.marked_uncollectible": INVOICE_CANCELLED,
}
Row = dict[str, Any]


class _Data(msgspec.Struct, frozen=True):
    object: Row


class StripeEvent(msgspec.Struct, frozen=True):
    """An event, with its object as the version of the endpoint shows it."""

    id: str
    type: str
    created: Annotated[int, msgspec.Meta(ge=0, le=LAST_SECOND)]
    data: _Data
    api_version: str | None = None


def verify(secret: str, header: str, body: bytes, clock: Clock) -> None:
    """Raise `ProblemError` (401) unless `body` was signed with `secret` within five minutes of now."""
    refused = ProblemError(UNAUTHENTICATED, "The webhook's signature is not valid.")
    if not header.isascii():
        raise refused  # signatures are compared as text, which must be ASCII
    try:
        WebhookSignature.verify_header(body, header, secret)  # pyright: ignore[reportUnknownMemberType] - `tolerance` has no type there
    except (SignatureVerificationError, UnicodeDecodeError) as error:
        raise refused from error
    # The package would take a time in the future, and reads the machine's clock.
    stamp = next(part.split("=")[1] for part in header.split(",") if part.startswith("t="))
    if abs(clock().timestamp() - int(stamp)) > TOLERANCE:
        raise refused


def decoded(body: bytes) -> StripeEvent | None:
    """Return the event of a webhook's body; None for a type that is of no interest.

    Raises `ProblemError` (422) for a body that is no Stripe event.
    """
    try:
        source = msgspec.convert(client.decoded(body), StripeEvent)
    except (ValueError, RecursionError) as error:
        raise ProblemError(INVALID, f"The webhook is not a Stripe event: {error}.") from error
    return source if source.type in TYPES else None


def is_part(source: StripeEvent) -> bool:
    """Return whether an event is about a payment that can be a part of an invoice.

    The default payment of an invoice asks for all that remains (The Invoice Payment object, `is_default`): when it is
    paid the invoice is, and its own event says so.
    """
    return TYPES[source.type] == PAYMENT_RECEIVED and not source.data.object.get("is_default")


def canonical_event(source: StripeEvent, thing: Row, event_source: str) -> Reported | None:
    """Return the canonical event about an invoice, as our version of Stripe's API shows it.

    Return None for an invoice that belongs to no contract of ours, and for a payment of one that is paid: its own event
    says so.
    """
    type_ = TYPES[source.type]
    if type_ == PAYMENT_RECEIVED and thing["status"] == "paid":
        return None
    parent: Row = thing.get("parent") or {}
    details: Row = parent.get("subscription_details") or {}
    metadata: Row = details.get("metadata") or {}
    if "tiergate_contract" not in metadata:
        return None
    event = Event(
        id=source.id,
        source=event_source,
        type=type_,
        subject=thing["id"],
        time=datetime.fromtimestamp(source.created, UTC),
        data={
            "contract": metadata["tiergate_contract"],
            "customer": metadata.get("tiergate_customer", ""),
            "legal_entity": metadata.get("tiergate_legal_entity", ""),
        }
        | ({"state": thing["status"]} if type_ == INVOICE_CANCELLED else {})
        | ({"payment": payment_id(source.data.object)} if type_ == PAYMENT_RECEIVED else {}),
    )
    return Reported(event, metadata.get("tiergate_correlation", ""))
