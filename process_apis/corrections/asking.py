"""Takes a correction of an invoice: it is worked out, held against others, and kept once for its key."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from canonical.corrections import Correctable, CreditOrder, NewCorrection
from canonical.faults import Rejected
from canonical.money import Money
from process_apis.corrections.request import does_not_add_up, fits_with, worked_out
from process_apis.records.corrections import Corrections, Wanted, correction_id
from process_apis.runtime.context import WorkflowContext


def ask(
    context: WorkflowContext,
    records: Corrections,
    invoice: sa.Row[Any],
    wanted: NewCorrection,
    *,
    proposed: bool,
    requested_by: str,
    correlation_id: str,
    next_attempt_at: datetime,
) -> tuple[sa.Row[Any], bool]:
    """Return the correction of an invoice, whose key makes it one, and whether it is new. `invoice` is its posting; of
    what is `proposed` finance decides. Raises `ProblemError` (409, 422) for what the invoice does not allow."""
    key = correction_id(invoice.id, wanted.key)
    known = records.known(key)
    if known is not None:
        return known, False
    context.residency.check(invoice.legal_entity)
    found = context.platforms.correctable(invoice.billing, invoice.id)
    order, amount = worked_out(key, wanted, found)
    amount = worth_of(context, invoice.billing, order, amount, found)
    return records.receive(
        invoice,
        wanted,
        order,
        amount,
        fits_with(order, wanted.kind, amount, found),
        proposed=proposed,
        requested_by=requested_by,
        correlation_id=correlation_id,
        next_attempt_at=next_attempt_at,
    )


def worth_of(context: WorkflowContext, billing: str, order: Wanted, amount: Money, found: Correctable) -> Money:
    """Return what a correction is worth by billing itself. Raises `ProblemError` (422) for what it refuses."""
    if not isinstance(order, CreditOrder):
        return amount
    try:
        return context.platforms.preview_credit_note(billing, order).total
    except Rejected as refused:
        raise does_not_add_up(order, found, refused.reason) from refused
