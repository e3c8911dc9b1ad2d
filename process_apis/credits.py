"""Credit notes and money that went back: both are booked in the ERP exactly once, as billing shows them."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from dbos import DBOS, DBOSConfiguredInstance

from canonical.billing import ClosedPeriod, Payment, Posting
from canonical.cases import CaseKind, Finding
from canonical.credits import CreditNote, PaymentReversal
from canonical.faults import Conflict, NotFound, Rejected
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
        """Post it, show what follows from it, and close the row last: what is cut short is done again."""
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
        show_balance(context, note.invoice_id, note.legal_entity)
        self._explained(row, note)
        if note.given_up and context.platforms.invoice(row.billing, note.invoice_id).state == "uncollectible":
            context.postings.cancel("invoice", note.invoice_id, "uncollectible")  # what is left of it is written off
        context.postings.posted(row, booked, -note.total, shown)

    def _explained(self, row: sa.Row[Any], note: CreditNote) -> None:
        """Close the cases of refunds that are whole for credit notes, now that this one is there."""
        subjects = {case.subject for case in self._context.cases.open_of(row.customer_id, DUE_AGAIN)}
        for each in note.refunds:
            if f"reversal:{each.id}" not in subjects:
                continue
            if not self._context.platforms.reversal(row.billing, each.id).unexplained.amount:
                resolution = f"the credit note {note.number} is for it"
                self._context.cases.resolve(f"reversal:{each.id}", resolution, DUE_AGAIN)

    def _post_reversal(self, row: sa.Row[Any]) -> None:
        """Book it, show what follows from it, and close the row last."""
        context = self._context
        reversal = self._read(row, row.id)
        if reversal is None:
            return
        context.postings.worth(row, reversal.amount)
        closed = open_window(context, reversal.legal_entity)
        if reversal.kind == "reinstatement":
            self._reinstate(row, reversal, closed)
            return
        booked = context.platforms.put_erp_reversal(reversal, closed)
        show_balance(context, reversal.invoice_id, reversal.legal_entity)
        for part in reversal.credited:
            show_balance(context, part.credit_note_id, reversal.legal_entity, "credit")
        if reversal.kind == "refund":
            self._explain(row, booked)
        context.postings.posted(row, booked, -reversal.amount)

    def _read(self, row: sa.Row[Any], key: str) -> PaymentReversal | None:
        """Return what went back, or is ours again, as billing shows it. Return None for a refund of which no money went
        back, after the row was dropped: nothing follows from it."""
        try:
            return self._context.platforms.reversal(row.billing, key)
        except NotFound as gone:
            if gone.field != "status":
                raise
            self._context.postings.drop(row, gone.reason, "")
            return None

    def _explain(self, row: sa.Row[Any], booked: Posting) -> None:
        """Ask finance about a refund that no credit note names. Of one that is named by now and has left something due,
        the credit notes are counted once more: it may have been booked before they were there, or meanwhile.

        Raises `Conflict` while one of them is being posted.
        """
        context = self._context
        now = context.platforms.reversal(row.billing, row.id)
        for part in now.credited if booked.balance.amount > 0 else ():
            note = context.postings.find("credit", part.credit_note_id)
            if note is not None and note.state == "waiting":
                raise Conflict("erp", f"the credit note {part.credit_note_id} is being posted", field="credit_note_id")
            context.postings.count_again(part.credit_note_id)
        if now.unexplained.amount:
            self._report(row, now)
            if not context.platforms.reversal(row.billing, row.id).unexplained.amount:  # its credit note came meanwhile
                context.cases.resolve(f"reversal:{row.id}", "credit notes name all of it", DUE_AGAIN)

    def _reinstate(self, row: sa.Row[Any], reversal: PaymentReversal, closed: ClosedPeriod) -> None:
        """Book money that is ours again as a payment of what it had left due.

        Where nothing of what went back is booked, nothing of this is. Raises `Conflict` while that is to be seen, and
        `Rejected` where people have to decide: they have seen to it, or it was for a credit note.
        """
        context, of = self._context, row.id.rpartition(":")[0]
        before = context.postings.find("reversal", of)
        if before is not None and before.state == "waiting":
            raise Conflict("billing", f"{of} is not booked yet", field="payment_id")
        if before is not None and before.skipped:
            raise Rejected("billing", f"{of} was seen to by hand, and is ours again: book that", field="payment_id")
        if before is None or before.state != "posted":
            if self._read(row, of) is not None:
                raise Conflict("erp", f"{of} is not booked yet", field="payment_id")
            return
        if reversal.credited:
            notes = ", ".join(each.credit_note_id for each in reversal.credited)
            reason = f"the refund of {reversal.amount} for {notes} has failed: pay it out in another way, and book that"
            raise Rejected("billing", reason, field="credit_note_id")
        again = Payment(reversal.id, reversal.invoice_id, reversal.amount, reversal.reversed_on)
        booked = context.platforms.put_erp_payment(again, reversal.legal_entity, closed)
        show_balance(context, reversal.invoice_id, reversal.legal_entity)
        context.cases.resolve(f"reversal:{of}", "the refund has failed, and the money is ours again", DUE_AGAIN)
        context.postings.posted(row, booked, reversal.amount)

    def _report(self, row: sa.Row[Any], reversal: PaymentReversal) -> None:
        """Let finance know that an invoice is due again which billing shows as paid."""
        reason = (
            f"{reversal.unexplained} of the invoice {reversal.invoice_id} were refunded, and no credit note says why:"
            " so much of it is due again in the ERP, while billing shows it as paid. Issue a credit note in billing"
            " that names the refund, or collect it again. Skip: it is known."
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
