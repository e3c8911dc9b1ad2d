"""Invoicing: every invoice that billing issues is posted in the ERP exactly once."""

from __future__ import annotations

from dbos import DBOS, DBOSConfiguredInstance

from canonical.faults import TRANSIENT, NotFound, Rejected
from policies.correlation import correlated
from process_apis.collections import Collections
from process_apis.desk import Desk
from process_apis.posting import WindowShut, not_ever, not_now, not_yet, open_window
from process_apis.steps import Outcome, patiently


@DBOS.dbos_class()
class Invoicing(DBOSConfiguredInstance):
    """Posts one invoice, and books what was paid for it meanwhile."""

    def __init__(self, desk: Desk, collections: Collections) -> None:
        super().__init__("invoicing")
        self._desk = desk
        self._collections = collections

    @DBOS.workflow()
    def run(self, invoice_id: str) -> Outcome:
        if self.post_invoice(invoice_id) == "stopped":
            return "stopped"
        if self._desk.postings.find("payment", invoice_id) is None:
            return "done"  # what is paid later is booked by a run of its own
        return self._collections.post_payments(invoice_id)

    @DBOS.step()
    def post_invoice(self, invoice_id: str) -> Outcome:
        desk = self._desk
        row = desk.postings.find("invoice", invoice_id)
        if row is None or row.state != "waiting":
            return "stopped"
        with correlated(row.correlation_id):
            try:
                patiently(desk.patience, lambda: self._post(invoice_id))
            except WindowShut as shut:
                not_yet(desk, row, shut)
                return "stopped"
            except TRANSIENT as fault:
                not_now(desk, row, fault)
                return "stopped"
            except (Rejected, NotFound) as fault:
                not_ever(desk, desk.postings.find("invoice", invoice_id) or row, fault)
                return "stopped"
        return "done"

    def _post(self, invoice_id: str) -> None:
        desk = self._desk
        invoice = desk.platforms.invoice(invoice_id)
        desk.postings.change("invoice", invoice_id, customer_id=invoice.customer_id, legal_entity=invoice.legal_entity)
        closed = open_window(desk, invoice.legal_entity)
        posting = desk.platforms.put_erp_invoice(invoice, closed)
        desk.postings.posted("invoice", invoice_id, posting, invoice.total)
