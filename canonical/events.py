"""Events as CloudEvents 1.0 (JSON format, structured mode).

They are notifications: they say that something changed, not what it is now.
"""

from __future__ import annotations

import re

import msgspec

from canonical.ids import Instant

TYPE = re.compile(r"com\.tiergate\.(crm|erp|billing|provisioning|process)\.[a-z_]+\.[a-z_]+\.v[1-9][0-9]*")

DEAL_CLOSED = "com.tiergate.crm.deal.closed.v1"
CONTRACT = "contract"
"""What the data of a closed or lost deal calls the contract that it changes."""
DEAL_LOST = "com.tiergate.crm.deal.lost.v1"
CUSTOMER_CHANGED = "com.tiergate.crm.customer.changed.v1"
RECORD_REFUSED = "com.tiergate.crm.record.refused.v1"
FEED_STOPPED = "com.tiergate.crm.feed.stopped.v1"
FEED_RESUMED = "com.tiergate.crm.feed.resumed.v1"
LINE_PROVISIONED = "com.tiergate.provisioning.line.reported.v1"
INVOICE_FINALIZED = "com.tiergate.billing.invoice.finalized.v1"
INVOICE_PAID = "com.tiergate.billing.invoice.paid.v1"
PAYMENT_RECEIVED = "com.tiergate.billing.payment.received.v1"
PAYMENT_FAILED = "com.tiergate.billing.payment.failed.v1"
COLLECTION_CHANGED = "com.tiergate.billing.collection.changed.v1"
MEANS_ATTACHED = "com.tiergate.billing.payment_method.attached.v1"
BILLED_CUSTOMER_CHANGED = "com.tiergate.billing.customer.changed.v1"
CONTRACT_ENDED = "com.tiergate.billing.contract.ended.v1"
CREDIT_NOTE_ISSUED = "com.tiergate.billing.credit_note.issued.v1"
CREDIT_NOTE_VOIDED = "com.tiergate.billing.credit_note.voided.v1"
PAYMENT_REVERSED = "com.tiergate.billing.payment.reversed.v1"
DISPUTE_OPENED = "com.tiergate.billing.dispute.opened.v1"
DISPUTE_CHANGED = "com.tiergate.billing.dispute.changed.v1"
DISPUTE_CLOSED = "com.tiergate.billing.dispute.closed.v1"
DISPUTE = "dispute"
"""What the data of an event about a dispute, or its money, calls it."""
PAYMENT_REINSTATED = "com.tiergate.billing.payment.reinstated.v1"
INVOICE_CANCELLED = "com.tiergate.billing.invoice.cancelled.v1"


class WebhookReceipt(msgspec.Struct, frozen=True):
    """The answer to a webhook: whether it was `taken`, or ignored because no event of ours follows from it."""

    taken: bool


class EventReceipt(msgspec.Struct, frozen=True):
    """The answer to an event: whether it was `new`, or had been taken before."""

    new: bool


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A CloudEvent (CloudEvents 1.0.2, sections 3.1 and 4).

    `id` is the source's own event id: with `source` it tells a repeat from a new event. `source` is the domain and the
    instance of the platform ("crm/salesforce"). `data` holds strings only.
    """

    id: str
    source: str
    type: str
    subject: str
    time: Instant
    specversion: str = "1.0"
    data: dict[str, str] = {}

    @property
    def instance(self) -> str:
        """Return the name, in the catalogue, of the platform that the event came from."""
        return self.source.partition("/")[2]

    def __post_init__(self) -> None:
        if not TYPE.fullmatch(self.type):
            raise ValueError(
                f"event type {self.type!r} breaks com.tiergate.<domain>.<entity>.<past participle>.v<major>"
            )
