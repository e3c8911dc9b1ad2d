"""Credit notes and payments that went back, in Tryton.

A credit note is an invoice below nothing; what it takes off its invoice is counted towards that one. Money that is
refunded for it pays it. Money that went back without one is booked against its payment: so much of the invoice is to be
paid again, as Tryton shows it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

import msgspec

from canonical.billing import ClosedPeriod, InvoiceToPost, Payment, Posting
from canonical.credits import CreditNote, PaymentReversal
from canonical.faults import Conflict, NotFound, PlatformFault, Rejected
from canonical.money import Money, total
from policies.context import correlation
from system_apis.erp.tryton import mapping
from system_apis.erp.tryton.client import TrytonClient
from system_apis.erp.tryton.invoices import Invoices, in_books_of, posted_of
from system_apis.erp.tryton.ledger import SPLIT, Ledger, open_amount
from system_apis.erp.tryton.mapping import PAYING, Row
from system_apis.erp.tryton.master_data import MasterData

SETTLING = [*PAYING, "lines_to_pay", "payment_lines"]
"""What has to be known of a record to count lines towards it."""


class Credits:
    """Book credit notes and reversals. Its methods raise leaves of `PlatformFault`."""

    def __init__(self, client: TrytonClient, master_data: MasterData, invoices: Invoices, ledger: Ledger) -> None:
        self._client = client
        self._master_data = master_data
        self._invoices = invoices
        self._ledger = ledger

    # ---- credit notes

    async def put(self, note: CreditNote, closed: ClosedPeriod, company: Row) -> Posting:
        """Do as `Erp.put_credit_note` says."""
        await self._read(note.invoice_id, company, "invoice_id")
        if note.state == "void":
            await self._take_back(note, closed, company)
        else:
            await self._post(InvoiceToPost(note.as_invoice(), correlation.current()), closed)
            off = note.off_due + await self._refunded_before(note, company)
            if off.amount:
                await self._take_off(note, off, company)
        return mapping.posting(await self._read(note.id, company, "id"))

    async def _post(self, note: InvoiceToPost, closed: ClosedPeriod) -> None:
        (result,) = await self._invoices.put([note], closed)
        if isinstance(result, PlatformFault):
            raise result

    async def _refunded_before(self, note: CreditNote, company: Row) -> Money:
        """Return what of a credit note was refunded before it was there: so much of the invoice is due again."""
        own = await self._read(note.id, company, "id")
        for_it = [each["move."]["description"] for each in own["payment_lines."]]
        before = [
            each.amount
            for each in note.refunds
            if each.id not in for_it and await self._ledger.is_booked(each.id, company)
        ]
        return total(before, note.total.currency)

    async def _take_off(self, note: CreditNote, off: Money, company: Row) -> None:
        """Count so much of a credit note towards its invoice as it takes off, once."""
        own, invoice = (
            await self._read(note.id, company, "id"),
            await self._read(note.invoice_id, company, "invoice_id"),
        )
        if not set(own["lines_to_pay"]) & set(invoice["payment_lines"]):
            balance = mapping.posting(invoice).balance
            if off.amount > balance.amount:
                reason = f"{note.number} takes {off} off {invoice['number']}, of which {balance} is due"
                raise Rejected("erp", reason, field="off_due")
            line = await self._line_of(own["lines_to_pay"], off, note.id, note.issued_on, company)
            await self._ledger.attach(invoice, [line["id"]], (), company)
            invoice = await self._read(note.invoice_id, company, "invoice_id")
        if not mapping.posting(invoice).balance.amount:
            together = [*invoice["lines_to_pay"], *invoice["payment_lines"]]
            await self._ledger.reconcile(["id", "in", together], {}, company)

    async def _take_back(self, note: CreditNote, closed: ClosedPeriod, company: Row) -> None:
        """Post the counterpart of a credit note that is void, and let be due what it took off."""
        found = await self._invoices.of(note.id, company, SETTLING)
        own = posted_of(found)
        if own is None:
            drafts = [each["id"] for each in found if each["state"] == "draft"]
            if drafts:
                await self._client.call("model.account.invoice.delete", drafts, context=in_books_of(company))
            raise NotFound("erp", f"the credit note {note.id} is not posted")
        back = mapping.credit_note(
            msgspec.structs.replace(note.as_invoice(), cancelled_on=note.cancelled_on or note.issued_on)
        )
        if own["payment_lines"] and not await self._invoices.of(back.id, company, ["id"]):
            raise Rejected("erp", f"{note.number} is void in billing, and was refunded here", field="refunded")
        invoice = await self._read(note.invoice_id, company, "invoice_id")
        if counted := set(own["lines_to_pay"]) & set(invoice["payment_lines"]):
            await self._ledger.part(sorted(counted), invoice["lines_to_pay"], company)
            invoice = await self._read(note.invoice_id, company, "invoice_id")
            await self._ledger.attach(invoice, (), counted & set(invoice["payment_lines"]), company)
        await self._post(InvoiceToPost(back, correlation.current()), closed)
        against = await self._read(back.id, company, "id")
        await self._ledger.reconcile(["id", "in", [*own["lines_to_pay"], *against["lines_to_pay"]]], {}, company)

    # ---- what went back

    async def reverse(self, reversal: PaymentReversal, closed: ClosedPeriod, company: Row) -> Posting:
        """Do as `Erp.put_reversal` says."""
        if reversal.credit_note_id:
            await self._refund(reversal, closed, company)
            return mapping.posting(await self._read(reversal.credit_note_id, company, "credit_note_id"))
        await self._reopen(reversal, closed, company)
        return mapping.posting(await self._read(reversal.invoice_id, company, "invoice_id"))

    async def _refund(self, reversal: PaymentReversal, closed: ClosedPeriod, company: Row) -> None:
        """Pay a credit note, in whole or in part."""
        note = await self._read(reversal.credit_note_id, company, "credit_note_id")
        if reversal.id in [each["move."]["description"] for each in note["payment_lines."]]:
            return
        left = -mapping.posting(note).balance
        if reversal.amount.amount > left.amount:
            reason = f"{reversal.amount} are refunded for {note['number']}, of which {left} are in credit"
            raise Rejected("erp", reason, field="amount")
        paid = Payment(reversal.id, reversal.credit_note_id, -reversal.amount, reversal.reversed_on)
        on = await self._invoices.open_day(reversal.reversed_on, closed, company)
        method = (await self._master_data.opened(company))["payment_method"]
        form = mapping.payment(paid, note, on, method)
        await self._ledger.pay(note, form, "" if reversal.amount == left else "partial", company)

    async def _reopen(self, reversal: PaymentReversal, closed: ClosedPeriod, company: Row) -> None:
        """Book money that went back against its payment, so that so much of the invoice is due again.

        Each step finds what an earlier run has done.
        """
        invoice = await self._read(reversal.invoice_id, company, "invoice_id")
        booked = [["move.description", "=", reversal.id], ["move.company", "=", company["id"]]]
        at = ["account", "=", invoice["account"]]
        done = await self._ledger.lines([*booked, at, ["reconciliation", "!=", None]], company)
        if done:
            return
        paid = [
            *self._of(reversal.payment_id, company),
            at,
            ["credit", ">", mapping.decimal(Money.zero("EUR").decimal)],
        ]
        lines = await self._ledger.lines(paid, company)
        if not lines:
            raise Conflict("erp", f"the payment {reversal.payment_id} is not booked yet", field="payment_id")
        await self._ledger.part([each["id"] for each in lines], invoice["lines_to_pay"], company)
        keys = [each["id"] for each in lines]
        line = await self._line_of(keys, reversal.amount, reversal.payment_id, reversal.reversed_on, company)
        invoice = await self._read(reversal.invoice_id, company, "invoice_id")
        of_payment = await self._ledger.lines(paid, company)
        counts = {each["id"] for each in of_payment if each["reconciliation"] is None} - {line["id"]}
        counted = {each["id"] for each in of_payment} & set(invoice["payment_lines"])
        await self._ledger.attach(invoice, counts - counted, counted - counts, company)
        back = await self._counterpart(reversal, line, invoice, closed, company)
        move = await self._ledger.move(reversal.id, back, company)
        against = await self._ledger.lines([["move", "=", move], at], company)
        together = [line["id"], *(each["id"] for each in against)]
        await self._ledger.reconcile(["id", "in", together], {}, company)

    async def _counterpart(
        self, reversal: PaymentReversal, line: Row, invoice: Row, closed: ClosedPeriod, company: Row
    ) -> Row:
        """Return the move that takes back a line of a payment, from the account on which the payment came in."""
        elsewhere = [*self._of(reversal.payment_id, company), ["account", "!=", invoice["account"]]]
        came_in = await self._ledger.lines(elsewhere, company)
        if not came_in:
            raise Rejected("erp", f"the payment {reversal.payment_id} was booked on no account", field="payment_id")
        on = await self._invoices.open_day(reversal.reversed_on, closed, company)
        nothing = mapping.decimal(Money.zero("EUR").decimal)

        def side(of: Row, **amounts: Any) -> Row:
            second = of["second_currency"]
            if second is not None:
                owed = amounts["debit"] != nothing
                amount = abs(mapping.from_decimal(line["amount_second_currency"]))
                amounts["amount_second_currency"] = mapping.decimal(amount if owed else -amount)
            return {"account": of["account"], "party": of["party"], "second_currency": second, **amounts}

        back = side(line, debit=line["credit"], credit=nothing) | {"maturity_date": mapping.day(on)}
        out = side(came_in[0], debit=nothing, credit=line["credit"])
        return {
            "journal": came_in[0]["move."]["journal"],
            "date": mapping.day(on),
            "period": await self._ledger.period(on, company),
            "origin": f"account.invoice,{invoice['id']}",
            "lines": [["create", [back, out]]],
        }

    # ---- both

    async def _read(self, reference: str, company: Row, field: str) -> Row:
        """Return the posted record of an invoice or a credit note. Raises `Conflict` while there is none."""
        row = posted_of(await self._invoices.of(reference, company, SETTLING))
        if row is None:
            raise Conflict("erp", f"{reference} is not posted yet", field=field)
        return row

    def _of(self, key: str, company: Row) -> list[Any]:
        """Return the domain of the lines of a move, and of what they were split into."""
        return [["move.description", "in", [key, f"{key}{SPLIT}"]], ["move.company", "=", company["id"]]]

    async def _line_of(self, keys: Sequence[int], amount: Money, about: str, on: date, company: Row) -> Row:
        """Return an open line of exactly this amount, split from a larger one if there is none."""
        refusal = Rejected("erp", f"less than {amount} is left of {about}", field="amount")
        for is_last in (False, True):
            lines = await self._ledger.lines([["id", "in", list(keys)], ["reconciliation", "=", None]], company)
            amounts = [(open_amount(each, amount.currency).amount, each) for each in lines]
            exact = [each for value, each in amounts if value == amount.amount]
            if exact:
                return exact[0]
            larger = [each for value, each in amounts if value > amount.amount]
            if is_last or not larger:
                break
            currency = await self._master_data.currency(amount.currency)
            try:
                await self._ledger.split(larger[0], amount, about, on, currency, company)
            except Rejected as refused:
                refusal = refused  # unless somebody else has split it in this moment
            split = await self._ledger.lines(
                [*self._of(about, company), ["account", "=", larger[0]["account"]]], company
            )
            keys = [*keys, *(each["id"] for each in split)]
        raise refusal
