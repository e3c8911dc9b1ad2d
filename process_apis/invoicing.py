"""Invoicing: every invoice that billing issues is posted in the ERP exactly once."""

from __future__ import annotations

from dbos import DBOS, DBOSConfiguredInstance

from canonical.billing import Invoice
from process_apis.payments import Collections
from process_apis.posting import attempt, open_window
from process_apis.runtime.context import Desk
from process_apis.runtime.steps import Outcome, patiently


@DBOS.dbos_class("Invoicing")
class Invoicing(DBOSConfiguredInstance):
    """Posts one invoice, and books what was paid for it meanwhile."""

    def __init__(self, desk: Desk, collections: Collections) -> None:
        super().__init__("invoicing")
        self._desk = desk
        self._collections = collections

    @DBOS.workflow(name="Invoicing.run")
    def run(self, invoice_id: str) -> Outcome:
        read: list[Invoice] = []
        if self.post_invoice(invoice_id, read) == "stopped":
            return "stopped"
        if self._desk.postings.find("payment", invoice_id) is None:
            return "done"  # what is paid later is booked by a run of its own
        paid = next((each for each in reversed(read) if each.state == "paid"), None)
        return self._collections.post_payments(invoice_id, paid)

    @DBOS.step(name="Invoicing.post_invoice")
    def post_invoice(self, invoice_id: str, read: list[Invoice]) -> Outcome:
        """Adds the invoice as it was posted to `read`; a run that is taken over finds nothing there."""
        patience = self._desk.patience
        return attempt(
            self._desk, "invoice", invoice_id, lambda: patiently(patience, lambda: self._post(invoice_id, read))
        )

    def _post(self, invoice_id: str, read: list[Invoice]) -> None:
        desk = self._desk
        invoice = desk.platforms.invoice(invoice_id)
        read.append(invoice)
        closed = open_window(desk, invoice.legal_entity)
        posting = desk.platforms.put_erp_invoice(invoice, closed)
        desk.postings.posted("invoice", invoice_id, posting, invoice.total)
