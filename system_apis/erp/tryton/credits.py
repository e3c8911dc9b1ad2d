"""Credit notes and payments that went back, in Tryton.

A credit note is an invoice below nothing; what it takes off its invoice is counted towards that one. Money that is
refunded for it pays it. Money that went back without one is booked against its payment: so much of the invoice is to be
paid again, as Tryton shows it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any
from weakref import WeakValueDictionary

import msgspec

from canonical.billing import ClosedPeriod, Payment, Posting
from canonical.credits import CreditedPart, CreditNote, PaymentReversal
from canonical.faults import Conflict, NotFound, Rejected
from canonical.money import Money, total
from system_apis.erp.tryton import mapping
from system_apis.erp.tryton.client import TrytonClient
from system_apis.erp.tryton.invoices import Invoices, posted_of
from system_apis.erp.tryton.ledger import SPLIT, Ledger, whole_amount
from system_apis.erp.tryton.mapping import PAYING, Row
from system_apis.erp.tryton.master_data import MasterData

SPLITS = 4
"""How often a line is looked for, and split, that others split at the same time."""
SETTLING = [*PAYING, "lines_to_pay", "payment_lines"]
"""What has to be known of a record to count lines towards it."""


class Credits:
    """Book credit notes and reversals. Its methods raise leaves of `PlatformFault`."""

    def __init__(self, client: TrytonClient, master_data: MasterData, invoices: Invoices, ledger: Ledger) -> None:
        self._client = client
        self._master_data = master_data
        self._invoices = invoices
        self._ledger = ledger
        self._locks = WeakValueDictionary[str, asyncio.Lock]()
        """Of each payment of which a reversal is being booked here."""

    # ---- credit notes

    async def put(self, note: CreditNote, closed: ClosedPeriod, company: Row) -> Posting:
        """Do as `Erp.put_credit_note` says."""
        invoice = await self._read(note.invoice_id, company, "invoice_id")
        if note.state == "void":
            await self._take_back(note, invoice, closed, company)
        else:
            own = posted_of(await self._invoices.of(note.id, company, SETTLING))
            off = note.off_due + await self._refunded_before(note, own, company)
            if own is None:  # what cannot be counted is not posted
                self._check_due(note, off, invoice)
                await self._invoices.put_one(note.as_invoice(), closed)
            if off.amount:
                await self._take_off(note, off, company)
        return mapping.posting(await self._read(note.id, company, "id"))

    async def _refunded_before(self, note: CreditNote, own: Row | None, company: Row) -> Money:
        """Return what of a credit note was refunded before it was there: so much of the invoice is due again. `own` is
        its record, if there is one."""
        for_it = [each["move."]["description"] for each in own["payment_lines."]] if own else []
        before = [
            each.amount
            for each in note.refunds
            if not {each.id, f"{each.id}:{note.id}"} & set(for_it) and await self._ledger.is_booked(each.id, company)
        ]
        return total(before, note.total.currency)

    async def _take_off(self, note: CreditNote, off: Money, company: Row) -> None:
        """Count so much of a credit note towards its invoice as it takes off, once."""
        own, invoice = (
            await self._read(note.id, company, "id"),
            await self._read(note.invoice_id, company, "invoice_id"),
        )
        counted = sorted(set(own["lines_to_pay"]) & set(invoice["payment_lines"]))
        lines = await self._ledger.lines([["id", "in", counted]], company) if counted else []
        missing = off - total((whole_amount(each, off.currency) for each in lines), off.currency)
        if missing.amount > 0:
            self._check_due(note, missing, invoice)
            line = await self._line_of(own["lines_to_pay"], missing, note.id, note.issued_on, company)
            await self._ledger.attach(invoice, [line["id"]], (), company)
        await self._close(note.invoice_id, company)

    async def _close(self, invoice_id: str, company: Row) -> None:
        """Reconcile an invoice with what is counted towards it, if nothing of it is due any more."""
        invoice = await self._read(invoice_id, company, "invoice_id")
        if not mapping.posting(invoice).balance.amount:
            together = [*invoice["lines_to_pay"], *invoice["payment_lines"]]
            await self._ledger.reconcile(["id", "in", together], {}, company)

    @staticmethod
    def _check_due(note: CreditNote, off: Money, invoice: Row) -> None:
        """Raise `Rejected` when less is due of an invoice than a credit note takes off."""
        balance = mapping.posting(invoice).balance
        if off.amount > max(balance.amount, 0):  # more than all of it may have come in
            reason = f"{note.number} takes {off} off {invoice['number']}, of which {balance} is due"
            raise Rejected("erp", reason, field="off_due")

    async def _take_back(self, note: CreditNote, invoice: Row, closed: ClosedPeriod, company: Row) -> None:
        """Post the counterpart of a credit note that is void, and let be due what it took off."""
        found = await self._invoices.of(note.id, company, SETTLING)
        own = posted_of(found)
        if own is None:
            await self._invoices.delete_drafts(found, company)
            raise NotFound("erp", f"the credit note {note.id} is not posted")
        back = mapping.credit_note(
            msgspec.structs.replace(note.as_invoice(), cancelled_on=note.cancelled_on or note.issued_on)
        )
        if own["payment_lines"] and not await self._invoices.of(back.id, company, ["id"]):
            raise Rejected("erp", f"{note.number} is void in billing, and was refunded here", field="refunded")
        if counted := set(own["lines_to_pay"]) & set(invoice["payment_lines"]):
            await self._ledger.part(sorted(counted), invoice["lines_to_pay"], company)
            await self._ledger.cancel_exchange(invoice["account"], invoice["party"], company)
            invoice = await self._read(note.invoice_id, company, "invoice_id")
            await self._ledger.attach(invoice, (), counted & set(invoice["payment_lines"]), company)
        await self._invoices.put_one(back, closed)
        against = await self._read(back.id, company, "id")
        await self._ledger.reconcile(["id", "in", [*own["lines_to_pay"], *against["lines_to_pay"]]], {}, company)

    # ---- what went back

    async def reverse(self, reversal: PaymentReversal, closed: ClosedPeriod, company: Row) -> Posting:
        """Do as `Erp.put_reversal` says. Of one payment one is done at a time: two at once may split its line twice."""
        on = await self._invoices.open_day(
            reversal.reversed_on, closed, company
        )  # nothing is parted for one that waits
        async with self._locks.setdefault(reversal.payment_id, asyncio.Lock()):
            for part in reversal.credited:
                await self._refund(reversal, part, on, company)
            if reversal.unexplained.amount:
                await self._reopen(reversal, on, company)
        return mapping.posting(await self._read(reversal.invoice_id, company, "invoice_id"))

    async def _refund(self, reversal: PaymentReversal, part: CreditedPart, on: date, company: Row) -> None:
        """Pay a credit note, in whole or in part."""
        note = await self._read(part.credit_note_id, company, "credit_note_id")
        key = reversal.key_for(part.credit_note_id)
        if key in [each["move."]["description"] for each in note["payment_lines."]]:
            return
        if await self._ledger.is_booked(reversal.id, company):
            await self._settle(reversal, on, company)
            return  # it was there before the credit note, which takes off what it has left due
        await self._join_again(reversal, company)
        left = -mapping.posting(note).balance
        if part.amount.amount > left.amount:
            reason = f"{part.amount} are refunded for {note['number']}, of which {left} are in credit"
            raise Rejected("erp", reason, field="amount")
        paid = Payment(key, part.credit_note_id, -part.amount, on)
        method = (await self._master_data.opened(company))["payment_method"]
        form = mapping.payment(paid, note, on, method)
        await self._ledger.pay(note, form, "" if part.amount == left else "partial", company)

    async def _join_again(self, reversal: PaymentReversal, company: Row) -> None:
        """Count a payment towards its invoice again that a run has parted from it which was cut short, before a credit
        note was there for the refund."""
        invoice = await self._read(reversal.invoice_id, company, "invoice_id")
        due = mapping.posting(invoice).balance
        paid = await self._paid(reversal, invoice, company)
        loose = [each for each in paid if each["reconciliation"] is None and each["id"] not in invoice["payment_lines"]]
        counted: list[int] = []
        for line in loose:
            amount = whole_amount(line, due.currency)
            if amount.amount <= due.amount:
                counted.append(line["id"])
                due -= amount
        await self._ledger.delete_drafts(reversal.id, company)
        await self._ledger.cancel_exchange(invoice["account"], invoice["party"], company)
        split = {each["id"] for each in paid if each["reconciliation"] is not None} & set(invoice["payment_lines"])
        await self._ledger.attach(invoice, counted, split, company)
        await self._close(reversal.invoice_id, company)

    async def _paid(self, reversal: PaymentReversal, invoice: Row, company: Row) -> list[Row]:
        """Return the lines by which a payment was counted towards its invoice, and what they were split into."""
        nothing = mapping.decimal(Decimal(0))
        at = [["account", "=", invoice["account"]], ["credit", ">", nothing]]
        return await self._ledger.lines([*self._of(reversal.payment_id, company), *at], company)

    async def _reopen(self, reversal: PaymentReversal, on: date, company: Row) -> None:
        """Book money that went back against its payment, so that so much of the invoice is due again.

        Each step finds what an earlier run has done. Raises `Conflict` when somebody else has booked another reversal
        of the same payment on the same line in this moment.
        """
        invoice = await self._read(reversal.invoice_id, company, "invoice_id")
        own = [["move.description", "=", reversal.id], ["move.company", "=", company["id"]]]
        own.append(["account", "=", invoice["account"]])
        if await self._ledger.lines([*own, ["reconciliation", "!=", None]], company):
            return
        lines = await self._paid(reversal, invoice, company)
        if not lines:
            raise Conflict("erp", f"the payment {reversal.payment_id} is not booked yet", field="payment_id")
        await self._ledger.part([each["id"] for each in lines], invoice["lines_to_pay"], company)
        await self._ledger.cancel_exchange(invoice["account"], invoice["party"], company)
        keys = [each["id"] for each in lines]
        line = await self._line_of(keys, reversal.unexplained, reversal.payment_id, on, company)
        invoice = await self._read(reversal.invoice_id, company, "invoice_id")
        of_payment = await self._paid(reversal, invoice, company)
        counts = {each["id"] for each in of_payment if each["reconciliation"] is None} - {line["id"]}
        counted = {each["id"] for each in of_payment} & set(invoice["payment_lines"])
        await self._ledger.attach(invoice, counts - counted, counted - counts, company)
        move = await self._ledger.move(
            reversal.id, await self._counterpart(reversal, line, invoice, on, company), company
        )
        booked = [["move", "=", move], ["account", "=", invoice["account"]]]
        together = [line["id"], *(each["id"] for each in await self._ledger.lines(booked, company))]
        await self._ledger.reconcile(["id", "in", together], {}, company)
        if any(each["reconciliation"] is None for each in await self._ledger.lines(booked, company)):
            raise Conflict("erp", f"another reversal of {reversal.payment_id} is being booked", field="payment_id")

    async def _settle(self, reversal: PaymentReversal, on: date, company: Row) -> None:
        """Reconcile a move of what went back with its payment, where a run was cut short before that."""
        invoice = await self._read(reversal.invoice_id, company, "invoice_id")
        own = [["move.description", "=", reversal.id], ["move.company", "=", company["id"]]]
        own += [["account", "=", invoice["account"]], ["reconciliation", "=", None]]
        for against in await self._ledger.lines(own, company):
            paid = [each["id"] for each in await self._paid(reversal, invoice, company)]
            amount = whole_amount(against, reversal.amount.currency)
            line = await self._line_of(paid, amount, reversal.payment_id, on, company)
            await self._ledger.reconcile(["id", "in", [line["id"], against["id"]]], {}, company)

    async def _counterpart(self, reversal: PaymentReversal, line: Row, invoice: Row, on: date, company: Row) -> Row:
        """Return the move that takes back a line of a payment, from the account on which the payment came in."""
        elsewhere = [*self._of(reversal.payment_id, company), ["account", "!=", invoice["account"]]]
        came_in = await self._ledger.lines(elsewhere, company)
        if not came_in:
            raise Rejected("erp", f"the payment {reversal.payment_id} was booked on no account", field="payment_id")
        nothing = mapping.decimal(Decimal(0))

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
        for _ in range(SPLITS):
            lines = await self._ledger.lines([["id", "in", list(keys)], ["reconciliation", "=", None]], company)
            amounts = [(whole_amount(each, amount.currency).amount, each) for each in lines]
            exact = [each for value, each in amounts if value == amount.amount]
            if exact:
                return exact[0]
            larger = [each for value, each in amounts if value > amount.amount]
            if not larger:
                raise Rejected("erp", f"less than {amount} is left of {about}", field="amount")
            currency = await self._master_data.currency(amount.currency)
            with contextlib.suppress(Rejected):  # somebody else has split it in this moment
                await self._ledger.split(larger[0], amount, about, on, currency, company)
            split = await self._ledger.lines(
                [*self._of(about, company), ["account", "=", larger[0]["account"]]], company
            )
            keys = [*keys, *(each["id"] for each in split)]
        raise Conflict("erp", f"{about} is being split by somebody else", field="amount")
