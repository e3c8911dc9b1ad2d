"""Canonical requests to the target's records, and its reports back."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from canonical.deals import Holder, PricedLine, ProvisioningRequest, Suspension
from canonical.events import LINE_PROVISIONED, Event
from policies.outbound.ownership import TECHNICAL, Fields

FIELDS: dict[str, Fields] = {
    "job": {
        "order": "order.id",
        "line": "line.id",
        "product": "line.sku",
        "quantity": "line.quantity",
        "attempt": TECHNICAL,
        "report_to": TECHNICAL,
        "correlation_id": "order.correlation_id",
    },
    "suspension": {"suspended": TECHNICAL, "correlation_id": "order.correlation_id"},
    "holder": {"customer": "customer.id", "correlation_id": "order.correlation_id"},
}
"""What is written to each kind of record, and which field of the canonical model it is. What is not here is not
sent."""


class Report(msgspec.Struct, frozen=True):
    """The body of the target's webhook."""

    order: str
    line: str
    attempt: int
    done: bool
    reason: str = ""


def job_key(request: ProvisioningRequest, line: PricedLine) -> str:
    """Return the natural key of a job: the same line at the same attempt is the same job."""
    return f"{line.id}:{request.attempt}"


def job(request: ProvisioningRequest, line: PricedLine, report_to: str, correlation_id: str) -> dict[str, Any]:
    return {
        "order": request.order_id,
        "line": line.id,
        "product": line.sku,
        "quantity": float(line.terms.quantity),
        "attempt": request.attempt,
        "report_to": report_to,
        "correlation_id": correlation_id,
    }


def suspension(wanted: Suspension, correlation_id: str) -> dict[str, Any]:
    return {"suspended": wanted.suspended, "correlation_id": correlation_id}


def holder(wanted: Holder, correlation_id: str) -> dict[str, Any]:
    return {"customer": wanted.customer_id, "correlation_id": correlation_id}


def event(report: Report, instance: str, at: datetime) -> Event:
    """Return the event of a report. Its id is that of the job: reported twice, it is one event."""
    return Event(
        id=f"{report.order}:{report.line}:{report.attempt}",
        source=f"provisioning/{instance}",
        type=LINE_PROVISIONED,
        subject=report.order,
        time=at,
        data={"line": report.line, "succeeded": str(report.done).lower(), "reason": report.reason},
    )
