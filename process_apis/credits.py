"""Credit notes and money that went back: both are booked in the ERP exactly once, as billing shows them."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from dbos import DBOS, DBOSConfiguredInstance

from canonical.billing import ClosedPeriod, Payment
from canonical.cases import CaseKind, Finding
from canonical.credits import CreditNote, PaymentReversal
from canonical.faults import NotFound, Rejected
from process_apis.posting import attempt, open_window, show_balance
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.interruptions import resumable
from process_apis.runtime.steps import Outcome

DUE_AGAIN: CaseKind = "refunded_without_credit_note"


@DBOS.dbos_class("Credits")
class Credits(DBOSConfiguredInstance):
    """Books one credit note, or one payment that went back."""

    def __init__(self, context: WorkflowContext) -> None:
        super().__init__("credits")
        self._context = context

    @DBOS.workflow(name="Credits.credit")
    def credit(self, key: str) -> Outcome:
        return self.post_credit_note(key)

    @DBOS.workflow(name="Credits.reverse")
    def reverse(self, key: str) -> Outcome:
        return self.post_reversal(key)

    @DBOS.step(name="Credits.post_credit_note")
    @resumable
    def post_credit_note(self, key: str) -> Outcome:
        """Post a credit note, or take it back once it is void."""
        return attempt(self._context, "credit", key, self._post_credit_note)

    @DBOS.step(name="Credits.post_reversal")
    @resumable
    def post_reversal(self, key: str) -> Outcome:
        """Book money that went back."""
        return attempt(self._context, "reversal", key, self._post_reversal)

    def _post_credit_note(self, row: sa.Row[Any]) -> None:
        context = self._context
        note: CreditNote = context.platforms.credit_note(row.billing, row.id)
        context.postings.worth(row, note.total)
        closed = open_window(context, note.legal_entity)
        shown = "void" if note.state == "void" else row.cancelled
        try:
            booked = context.platforms.put_erp_credit_note(note, closed)
        except NotFound:
            if note.state != "void":
                raise
            context.postings.drop(row, "billing voided it before it was posted", shown)
            return
        context.postings.posted(row, booked, -note.total, shown)
        show_balance(context, note.invoice_id, note.legal_entity)
        for each in note.refunds:
            context.cases.resolve(f"reversal:{each.id}", f"the credit note {note.number} is for it", DUE_AGAIN)

    def _post_reversal(self, row: sa.Row[Any]) -> None:
        context = self._context
        reversal: PaymentReversal = context.platforms.reversal(row.billing, row.id)
        context.postings.worth(row, reversal.amount)
        closed = open_window(context, reversal.legal_entity)
        if reversal.kind == "reinstatement":
            self._reinstate(row, reversal, closed)
            return
        booked = context.platforms.put_erp_reversal(reversal, closed)
        if reversal.kind == "refund" and not reversal.credit_note_id:
            self._report(row, reversal)
        context.postings.posted(row, booked, -reversal.amount)
        if reversal.credit_note_id:
            context.postings.change("credit", reversal.credit_note_id, balance=booked.balance.amount)
        else:
            show_balance(context, reversal.invoice_id, reversal.legal_entity)

    def _reinstate(self, row: sa.Row[Any], reversal: PaymentReversal, closed: ClosedPeriod) -> None:
        """Book money that is ours again as a payment of what it had left due. Raises `Rejected` for what was refunded
        for a credit note: whether that stands is for people to decide."""
        if reversal.credit_note_id:
            reason = (
                f"the refund of {reversal.amount} for the credit note {reversal.credit_note_id} has failed: pay it out"
                " in another way, and book that"
            )
            raise Rejected("billing", reason, field="credit_note_id")
        again = Payment(reversal.id, reversal.invoice_id, reversal.amount, reversal.reversed_on)
        booked = self._context.platforms.put_erp_payment(again, reversal.legal_entity, closed)
        self._context.postings.posted(row, booked, reversal.amount)
        show_balance(self._context, reversal.invoice_id, reversal.legal_entity)
        of = row.id.partition(":")[0]
        self._context.cases.resolve(f"reversal:{of}", "the refund has failed, and the money is ours again", DUE_AGAIN)

    def _report(self, row: sa.Row[Any], reversal: PaymentReversal) -> None:
        """Let finance know that an invoice is due again which billing shows as paid."""
        reason = (
            f"{reversal.amount} of the invoice {reversal.invoice_id} were refunded, and no credit note says why: so"
            " much of it is due again in the ERP, while billing shows it as paid. Issue a credit note in billing that"
            " names the refund, or collect it again. Skip: it is known."
        )
        self._context.cases.open(
            DUE_AGAIN,
            f"reversal:{row.id}",
            Finding("payment", reason, "billing"),
            ("skip",),
            correlation_id=row.correlation_id,
            legal_entity=row.legal_entity,
            customer_id=row.customer_id,
            given={"invoice": reversal.invoice_id},
        )
