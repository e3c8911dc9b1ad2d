"""Stripe's webhooks: verified on raw bytes with Stripe's own package, then made canonical."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from stripe import SignatureVerificationError, WebhookSignature

from canonical.events import (
    BILLED_CUSTOMER_CHANGED,
    COLLECTION_CHANGED,
    CONTRACT_ENDED,
    CREDIT_NOTE_ISSUED,
    CREDIT_NOTE_VOIDED,
    DISPUTE_CHANGED,
    DISPUTE_CLOSED,
    DISPUTE_OPENED,
    INVOICE_CANCELLED,
    INVOICE_FINALIZED,
    INVOICE_PAID,
    MEANS_ATTACHED,
    PAYMENT_FAILED,
    PAYMENT_RECEIVED,
    PAYMENT_REINSTATED,
    PAYMENT_REVERSED,
    Event,
)
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
    "invoice.payment_failed": PAYMENT_FAILED,
    "customer.subscription.updated": COLLECTION_CHANGED,
    "customer.subscription.deleted": CONTRACT_ENDED,
    "payment_method.attached": MEANS_ATTACHED,
    "credit_note.created": CREDIT_NOTE_ISSUED,
    "credit_note.voided": CREDIT_NOTE_VOIDED,
    "refund.created": PAYMENT_REVERSED,
    "refund.updated": PAYMENT_REVERSED,
    "refund.failed": PAYMENT_REINSTATED,
    "charge.dispute.created": DISPUTE_OPENED,
    "charge.dispute.updated": DISPUTE_CHANGED,
    "charge.dispute.closed": DISPUTE_CLOSED,
    "charge.dispute.funds_withdrawn": PAYMENT_REVERSED,
    "charge.dispute.funds_reinstated": PAYMENT_REINSTATED,
    "customer.updated": BILLED_CUSTOMER_CHANGED,
    "customer.deleted": BILLED_CUSTOMER_CHANGED,
    "customer.tax_id.created": BILLED_CUSTOMER_CHANGED,
    "customer.tax_id.updated": BILLED_CUSTOMER_CHANGED,
    "customer.tax_id.deleted": BILLED_CUSTOMER_CHANGED,
}
OWN_KEY = re.compile(r"[0-9a-f]{64}")
"""The idempotency keys of our own requests (`StripeClient`): a change with one is no news to us."""
Row = dict[str, Any]


class _Data(msgspec.Struct, frozen=True):
    object: Row
    previous_attributes: Row = {}


class _Request(msgspec.Struct, frozen=True):
    idempotency_key: str | None = None


class StripeEvent(msgspec.Struct, frozen=True):
    """An event, with its object as the version of the endpoint shows it."""

    id: str
    type: str
    created: Annotated[int, msgspec.Meta(ge=0, le=LAST_SECOND)]
    data: _Data
    api_version: str | None = None
    request: _Request | None = None


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


def is_own(source: StripeEvent) -> bool:
    """Return whether a request of ours has made an event (The Event object, `request.idempotency_key`)."""
    key = source.request.idempotency_key if source.request else None
    return bool(key and OWN_KEY.fullmatch(key))


def changed_customer(source: StripeEvent, customer: Row, event_source: str) -> Reported | None:
    """Return the canonical event about a customer whom somebody else has changed, or given a means of payment; None for
    one that is none of ours."""
    metadata: Row = customer.get("metadata") or {}
    if not (owner := metadata.get("tiergate_id")):
        return None
    moment = datetime.fromtimestamp(source.created, UTC)
    event = Event(id=source.id, source=event_source, type=TYPES[source.type], subject=owner, time=moment)
    return Reported(event, "")


def of_subscription(source: StripeEvent, event_source: str) -> Reported | None:
    """Return the canonical event about a subscription that has ended, or whose invoices are paid in time no more, or
    again; None for any other change, and for one of no contract of ours."""
    if TYPES[source.type] == COLLECTION_CHANGED and "status" not in source.data.previous_attributes:
        return None
    metadata: Row = source.data.object.get("metadata") or {}
    more = {"state": str(source.data.object.get("status"))} if TYPES[source.type] == COLLECTION_CHANGED else {}
    return about_contract(source, metadata, event_source, metadata.get("tiergate_contract", ""), more)


def canonical_event(source: StripeEvent, thing: Row, event_source: str) -> Reported | None:
    """Return the canonical event about an invoice, as our version of Stripe's API shows it.

    Return None for an invoice that belongs to no contract of ours, and for a payment of one that is paid: its own event
    says so.
    """
    type_ = TYPES[source.type]
    if type_ == PAYMENT_RECEIVED and thing["status"] == "paid":
        return None
    more: dict[str, str] = {}
    if type_ == INVOICE_CANCELLED:
        more = {"state": thing["status"]}
    elif type_ == PAYMENT_RECEIVED:
        more = {"payment": payment_id(source.data.object)}
    return about_contract(source, sold_with(thing), event_source, thing["id"], more)


def sold_with(invoice: Row) -> Row:
    """Return what an invoice says of its contract; nothing for one of no subscription."""
    parent: Row = invoice.get("parent") or {}
    details: Row = parent.get("subscription_details") or {}
    return details.get("metadata") or {}


def about_contract(
    source: StripeEvent, metadata: Row, event_source: str, subject: str, more: Mapping[str, str] | None = None
) -> Reported | None:
    """Return the canonical event about what has the metadata of a contract, with `more` data; None for what is of no
    contract of ours."""
    if not (contract := metadata.get("tiergate_contract")):
        return None
    data = {
        "contract": contract,
        "customer": metadata.get("tiergate_customer", ""),
        "legal_entity": metadata.get("tiergate_legal_entity", ""),
    }
    event = Event(
        id=source.id,
        source=event_source,
        type=TYPES[source.type],
        subject=subject,
        time=datetime.fromtimestamp(source.created, UTC),
        data=data | dict(more or {}),
    )
    return Reported(event, metadata.get("tiergate_correlation", ""))
