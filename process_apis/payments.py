"""Payments: every payment that billing receives is booked in the ERP exactly once, after its invoice."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from dbos import DBOS, DBOSConfiguredInstance

from canonical.billing import Invoice
from canonical.faults import Conflict, NotFound
from canonical.money import total
from process_apis.posting import attempt, open_window, show_balance
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.interruptions import resumable
from process_apis.runtime.steps import Outcome


@DBOS.dbos_class("Collections")
class Payments(DBOSConfiguredInstance):
    """Books the payments of one invoice: all of them once it is paid, and before that each part when it arrives. A
    payment that comes before its invoice is posted waits for it."""

    def __init__(self, context: WorkflowContext) -> None:
        super().__init__("collections")
        self._context = context

    @DBOS.workflow(name="Collections.run")
    def run(self, key: str) -> Outcome:
        row = self._context.postings.find("payment", key)
        if row is None or row.state != "waiting":
            return "stopped"  # the run that posted the invoice has booked it in this moment
        return self.post_payments(key)

    @DBOS.step(name="Collections.post_payments")
    @resumable
    def post_payments(self, key: str, paid: Invoice | None = None) -> Outcome:
        """Book what was paid: the part of this id, or all for the invoice of this id. `paid` is the invoice if the
        caller has just read it, with all its payments."""
        return attempt(self._context, "payment", key, lambda row: self._post(row, paid))

    def _post(self, row: sa.Row[Any], paid: Invoice | None) -> None:
        context = self._context
        invoice = paid or context.platforms.invoice(row.billing, row.invoice_id)
        is_part = row.id != row.invoice_id
        wanted = [each for each in invoice.payments if not is_part or each.id == row.id]
        if not wanted and is_part:
            raise NotFound("billing", f"the invoice {invoice.id} has no payment {row.id}", field="payments")
        if not wanted:
            self._settle(row, invoice)
            return
        parts = () if is_part else context.postings.parts(invoice.id)
        received = total((each.amount for each in wanted if each.id not in parts), invoice.total.currency)
        context.postings.worth(row, received)
        closed = open_window(context, invoice.legal_entity)
        booked = [context.platforms.put_erp_payment(each, invoice.legal_entity, closed) for each in wanted]
        if invoice.state == "uncollectible":  # it was owed again for the payment: what is left of it is written off
            context.postings.cancel("invoice", invoice.id, invoice.state)
        context.postings.posted(row, booked[-1], received)
        context.postings.change("invoice", invoice.id, balance=booked[-1].balance.amount)
        for settled in (earlier for each in wanted for earlier in each.settles):
            show_balance(context, settled, invoice.legal_entity)

    def _settle(self, row: sa.Row[Any], invoice: Invoice) -> None:
        """Take an invoice that was paid without money: of nothing, from the customer's balance, or carried over to it.
        What is left of it is on the customer's account in the ERP: the balance of its posting."""
        if invoice.state != "paid":
            raise NotFound("billing", f"the invoice {row.id} has no payment", field="payments")
        posted = self._context.postings.find("invoice", row.id)
        if posted is None or posted.state != "posted":
            raise Conflict("erp", f"the invoice {row.id} is not posted yet", field="invoice_id")
        self._context.postings.settled(posted)
