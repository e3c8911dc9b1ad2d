"""Invoicing: every invoice that billing issues is posted in the ERP exactly once."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from dbos import DBOS, DBOSConfiguredInstance

from canonical.cases import Finding
from canonical.faults import TRANSIENT, NotFound, PlatformFault, Rejected
from canonical.orders import PostingKind
from policies.correlation import correlated
from process_apis.desk import Desk
from process_apis.steps import Outcome, patiently


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
    finding = Finding(fault.field or fault.platform, fault.reason, "finance")
    desk.cases.open(
        f"{row.kind}_not_posted", f"{row.kind}:{row.id}", finding, ("retry", "skip"), correlation_id=row.correlation_id,
        legal_entity=row.legal_entity, customer_id=row.customer_id, given={"invoice": row.invoice_id},
    )  # fmt: skip


@DBOS.dbos_class()
class Invoicing(DBOSConfiguredInstance):
    """Posts one invoice."""

    def __init__(self, desk: Desk) -> None:
        super().__init__("invoicing")
        self._desk = desk

    @DBOS.workflow()
    def run(self, invoice_id: str) -> Outcome:
        return self.post_invoice(invoice_id)

    @DBOS.step()
    def post_invoice(self, invoice_id: str) -> Outcome:
        desk = self._desk
        row = desk.postings.find("invoice", invoice_id)
        if row is None or row.state != "waiting":
            return "stopped"
        with correlated(row.correlation_id):
            try:
                patiently(desk.patience, lambda: self._post(invoice_id))
            except TRANSIENT as fault:
                not_now(desk, row, fault)
                return "stopped"
            except (Rejected, NotFound) as fault:
                not_ever(desk, desk.postings.find("invoice", invoice_id) or row, fault)
                return "stopped"
        for payment in desk.postings.waiting_payments(invoice_id):
            desk.postings.change("payment", payment.id, look_at=desk.clock().isoformat())
        return "done"

    def _post(self, invoice_id: str) -> None:
        desk = self._desk
        invoice = desk.platforms.invoice(invoice_id)
        desk.postings.change("invoice", invoice_id, customer_id=invoice.customer_id, legal_entity=invoice.legal_entity)
        desk.postings.posted("invoice", invoice_id, desk.platforms.put_erp_invoice(invoice), invoice.total)
