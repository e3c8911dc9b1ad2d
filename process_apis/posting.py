"""What every posting has in common: the identity of its runs, and what happens when it cannot be done."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from canonical.cases import CaseKind, Finding
from canonical.faults import PlatformFault
from canonical.orders import PostingKind
from process_apis.desk import Desk

NOT_POSTED: dict[PostingKind, CaseKind] = {"invoice": "invoice_not_posted", "payment": "payment_not_posted"}


def posting_run(kind: PostingKind, key: str, run: int) -> str:
    """The identity of a posting's workflow. A new `run` is a new try after a pause."""
    return f"{kind}:{key}:{run}"


def not_now(desk: Desk, row: sa.Row[Any], fault: PlatformFault) -> None:
    """The posting waits, and is looked at again later, ever more seldom."""
    attempts = row.attempts + 1
    waits_for = f"{fault.platform}: {fault.reason}"
    desk.postings.change(
        row.kind, row.id, attempts=attempts, waits_for=waits_for, look_at=desk.pause(attempts).isoformat()
    )


def not_ever(desk: Desk, row: sa.Row[Any], fault: PlatformFault) -> None:
    """The posting has failed: finance gets a case."""
    desk.postings.change(
        row.kind, row.id, state="failed", waits_for=fault.reason, attempts=row.attempts + 1, look_at=None
    )
    finding = Finding(fault.field or fault.platform, fault.reason, fault.platform)
    desk.cases.open(
        NOT_POSTED[row.kind], f"{row.kind}:{row.id}", finding, ("retry", "skip"), correlation_id=row.correlation_id,
        legal_entity=row.legal_entity, customer_id=row.customer_id, given={"invoice": row.invoice_id},
    )  # fmt: skip
