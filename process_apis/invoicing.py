"""Invoicing: every invoice that billing issues is posted in the ERP exactly once."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from dbos import DBOS, DBOSConfiguredInstance

from canonical.billing import ClosedPeriod, Invoice, Posting
from canonical.faults import NotFound, Rejected, Unavailable
from process_apis.payments import Payments
from process_apis.posting import CANCELLED, NOT_POSTED, attempt, fail_posting, open_window
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.interruptions import resumable
from process_apis.runtime.steps import Outcome, with_retries


@DBOS.dbos_class("Invoicing")
class Invoicing(DBOSConfiguredInstance):
    """Posts one invoice, and books what was paid for it meanwhile."""

    def __init__(self, context: WorkflowContext, payments: Payments) -> None:
        super().__init__("invoicing")
        self._context = context
        self._payments = payments

    @DBOS.workflow(name="Invoicing.run")
    def run(self, invoice_id: str) -> Outcome:
        read: list[Invoice] = []
        if self.post_invoice(invoice_id, read) == "stopped":
            return "stopped"
        if self._context.postings.find("payment", invoice_id) is None:
            return "done"  # what is paid later is booked by a run of its own
        paid = next((each for each in reversed(read) if each.state == "paid"), None)
        return self._payments.post_payments(invoice_id, paid)

    @DBOS.step(name="Invoicing.post_invoice")
    @resumable
    def post_invoice(self, invoice_id: str, read: list[Invoice]) -> Outcome:
        """Add the invoice as it was posted to `read`; a run that is taken over finds nothing there."""
        retry_policy = self._context.retry_policy
        return attempt(
            self._context,
            "invoice",
            invoice_id,
            lambda row: with_retries(retry_policy, lambda: self._post(row, read)),
        )

    def _post(self, row: sa.Row[Any], read: list[Invoice]) -> None:
        context = self._context
        invoice = context.platforms.invoice(row.billing, row.id)
        read.append(invoice)
        context.postings.worth(row, invoice.total)
        if row.cancelled and invoice.state == "open":  # nothing that is cancelled is opened again: it shows soon
            shown = f"it reported the invoice as {row.cancelled}, and shows it as open"
            raise Unavailable("billing", shown, field="state")
        closed = open_window(context, invoice.legal_entity)
        posting = None if invoice.state == "void" else context.platforms.put_erp_invoice(invoice, closed)
        if posting and invoice.state != "uncollectible":
            context.postings.posted(row, posting, invoice.total, invoice.state)
        else:
            self._take_back(row, invoice, posting, closed)

    def _take_back(self, row: sa.Row[Any], invoice: Invoice, posting: Posting | None, closed: ClosedPeriod) -> None:
        """Credit or write off what is posted for an invoice that billing has cancelled. Where people have to decide, it
        is a case."""
        context = self._context
        try:
            taken_back = context.platforms.cancel_erp_invoice(invoice, closed)
        except NotFound:
            self._resolve(row.id, "it was never posted")
            context.postings.drop(row, "billing voided it before it was posted", invoice.state)
        except Rejected as refused:
            booked = (posting, invoice.total) if posting else None
            fail_posting(context, row, refused, CANCELLED, invoice.state, booked)
        else:
            self._resolve(row.id, "it was taken back in the ERP")
            context.postings.posted(row, taken_back, invoice.total, invoice.state)

    def _resolve(self, invoice_id: str, resolution: str) -> None:
        for kind in (CANCELLED, NOT_POSTED["invoice"]):
            self._context.cases.resolve(f"invoice:{invoice_id}", resolution, kind)
