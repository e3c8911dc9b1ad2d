"""Corrections in Stripe: credit notes, refunds, and invoices that are void or written off.

What has our id in its metadata was made already. An idempotency key covers the moment in which it is not seen yet; a
refusal is kept under it, too, so that what people have tried again has a key of its own (API reference: Idempotent
requests).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Literal

import msgspec

from canonical.billing import Invoice, InvoiceLine
from canonical.corrections import (
    Correctable,
    CreditedLine,
    CreditOrder,
    InvoiceEnd,
    LineLeft,
    PaidPart,
    Refund,
    RefundOrder,
)
from canonical.credits import CreditNote, RefundPart
from canonical.faults import Rejected
from canonical.money import total
from system_apis.billing.stripe import invoices
from system_apis.billing.stripe.amounts import from_stripe, to_stripe
from system_apis.billing.stripe.client import Row, StripeClient, at

ORDER = "tiergate_correction"
"""The metadata that holds our id of what was asked for."""
REASON = "tiergate_reason"
STATES: dict[str, Literal["pending", "succeeded", "failed"]] = {
    "pending": "pending",
    "requires_action": "pending",
    "succeeded": "succeeded",
    "failed": "failed",
    "canceled": "failed",
}
"""What the states of a refund mean (API reference: The Refund object, `status`)."""
NOT_WITHDRAWN = ("won", "warning_needs_response", "warning_under_review", "warning_closed")
"""The states of a dispute in which Stripe has not withdrawn its amount, so that the charge can be refunded (API
reference: The Dispute object, `status`)."""
ReadInvoice = Callable[[str], Awaitable[Invoice]]
ReadNote = Callable[[Row, list[Row]], Awaitable[CreditNote]]


class Corrections:
    """Read what can be corrected of an invoice, and correct it. Its methods raise leaves of `PlatformFault`."""

    def __init__(self, client: StripeClient, read_invoice: ReadInvoice, read_note: ReadNote) -> None:
        """Read invoices, and credit notes with their lines, as the connector does."""
        self._client = client
        self._read_invoice = read_invoice
        self._read_note = read_note

    # ---- what there is

    async def correctable(self, invoice_id: str) -> Correctable:
        """Do as `Billing.correctable` says."""
        invoice = await self._read_invoice(invoice_id)
        row = await self._client.get(at("invoices", invoice_id), expand=["payments"])
        every_note = await self._client.listed(at("credit_notes"), invoice=invoice_id)
        notes = [each for each in every_note if each["status"] != "void"]
        credited = [line for each in notes for line in await self._lines_of(each)]
        raw = await self._client.whole(row["lines"], at("invoices", invoice_id, "lines"))
        rows = await self._client.whole(row["payments"], at("invoice_payments"), invoice=invoice_id)
        paid, intents = [each for each in rows if each["status"] == "paid"], await self._intents(rows)
        processing = any(each["status"] == "processing" for each in intents.values())
        refunds = [each for key in intents for each in await self._client.listed(at("refunds"), payment_intent=key)]
        currency = invoice.total.currency
        return Correctable(
            invoice,
            tuple(_left(line, source, credited) for line, source in zip(invoice.lines, raw, strict=True)),
            from_stripe(sum(each["total"] for each in notes), currency),
            tuple([await self._part(each, intents, currency) for each in paid]),
            invoice.total - invoice.balance - from_stripe(_gone_back(notes, refunds), currency),
            _unexplained(refunds, notes, currency),
            processing,
            tuple(each["metadata"][ORDER] for each in (*every_note, *refunds) if ORDER in each["metadata"]),
        )

    async def _lines_of(self, note: Row) -> list[Row]:
        return await self._client.whole(note["lines"], at("credit_notes", note["id"], "lines"))

    async def _intents(self, payments: list[Row]) -> dict[str, Row]:
        """Return the payment intents by which an invoice was paid, or is being paid."""
        keys = [each["payment"].get("payment_intent") for each in payments if each["status"] != "canceled"]
        return {key: await self._client.get(at("payment_intents", key)) for key in keys if key}

    async def _part(self, payment: Row, intents: dict[str, Row], currency: str) -> PaidPart:
        """Return a payment, and what of it can go back. A payment that was reported to Stripe went past it."""
        amount = from_stripe(payment["amount_paid"], currency)
        part = PaidPart(invoices.payment_id(payment), amount, from_stripe(0, currency))
        intent = intents.get(payment["payment"].get("payment_intent") or "")
        if intent is None or not intent["latest_charge"]:
            return part
        charge = await self._client.get(at("charges", intent["latest_charge"]))
        left = from_stripe(charge["amount"] - charge["amount_refunded"], currency)
        disputed = charge["disputed"] and any(
            each["status"] not in NOT_WITHDRAWN
            for each in await self._client.listed(at("disputes"), payment_intent=intent["id"])
        )
        return PaidPart(part.payment_id, amount, part.refundable if disputed else left, disputed)

    # ---- credit notes

    async def preview(self, order: CreditOrder) -> CreditNote:
        """Do as `Billing.preview_credit_note` says (API reference: Preview a credit note)."""
        asked = _credit_note(order)
        row = await self._client.get(at("credit_notes", "preview"), **asked)
        rows = await self._client.whole(row["lines"], at("credit_notes", "preview", "lines"), **asked)
        said = await self._read_note(row, rows)
        back = order.refund + total((each.amount for each in order.refunds), said.total.currency)  # it adds up
        where = {"refunded": back, "to_balance": order.to_balance, "outside": order.outside}
        return msgspec.structs.replace(said, id=order.id, refunds=order.refunds, **where)

    async def issue(self, order: CreditOrder) -> CreditNote:
        """Do as `Billing.issue_credit_note` says."""
        found = await self._client.listed(at("credit_notes"), invoice=order.invoice_id)
        row = _with_id(found, order.id)
        if row is None:
            asked = _credit_note(order) | {"metadata": {ORDER: order.id, REASON: order.text}}
            row = await self._client.post(at("credit_notes"), f"credit_note:{order.id}:{order.attempt}", **asked)
        return await self._read_note(row, await self._lines_of(row))

    # ---- refunds

    async def refund(self, order: RefundOrder) -> Refund:
        """Do as `Billing.refund_payment` says."""
        rows = await self._client.listed(at("invoice_payments"), invoice=order.invoice_id)
        intent = next((each["payment"].get("payment_intent") for each in rows if _is(each, order.payment_id)), None)
        if not intent:
            reason = f"{order.payment_id} is no payment of {order.invoice_id} that Stripe can refund"
            raise Rejected("billing", reason, field="payment_id")
        row = _with_id(await self._client.listed(at("refunds"), payment_intent=intent), order.id)
        if row is None:
            row = await self._client.post(
                at("refunds"),
                f"refund:{order.id}:{order.attempt}",
                payment_intent=intent,
                amount=to_stripe(order.amount, "amount"),
                metadata={ORDER: order.id},
            )
        amount = from_stripe(row["amount"], order.amount.currency)
        return Refund(row["id"], order.id, order.invoice_id, order.payment_id, amount, STATES[row["status"]])

    # ---- invoices that end

    async def end(self, end: InvoiceEnd, action: Literal["void", "mark_uncollectible"]) -> Invoice:
        """Void an invoice or write it off, unless it is that already (API reference: Void an invoice, Mark an invoice
        as uncollectible)."""
        state = "void" if action == "void" else "uncollectible"
        if (invoice := await self._read_invoice(end.invoice_id)).state == state:
            return invoice
        key = f"{action}:{end.invoice_id}:{invoice.state}:{end.id}:{end.attempt}"
        await self._client.post(at("invoices", end.invoice_id, action), key)
        return await self._read_invoice(end.invoice_id)


def _unexplained(refunds: list[Row], notes: list[Row], currency: str) -> tuple[RefundPart, ...]:
    """Return what of the refunds no credit note names."""
    named: dict[str, int] = {}
    for each in (part for note in notes for part in note["refunds"] or ()):
        named[each["refund"]] = named.get(each["refund"], 0) + each["amount_refunded"]
    left = [(each["id"], each["amount"] - named.get(each["id"], 0)) for each in refunds if _is_paid_out(each)]
    return tuple(RefundPart(key, from_stripe(amount, currency)) for key, amount in left if amount > 0)


def _gone_back(notes: list[Row], refunds: list[Row]) -> int:
    """Return what need not be paid any more, or was paid and has gone back: off what was due, in the balance, outside,
    or refunded. A refund that has failed is still to be paid out."""
    named = sum(part["amount_refunded"] for each in notes for part in each["refunds"] or ())
    return sum(each["total"] for each in notes) - named + sum(each["amount"] for each in refunds if _is_paid_out(each))


def _is_paid_out(refund: Row) -> bool:
    return STATES[refund["status"]] != "failed"


def _credit_note(order: CreditOrder) -> dict[str, Any]:
    """Return what is asked of Stripe for a credit note (API reference: Create a credit note). An amount of 0 is left
    out."""
    amounts = {
        "refund_amount": to_stripe(order.refund, "refund"),
        "credit_amount": to_stripe(order.to_balance, "to_balance"),
        "out_of_band_amount": to_stripe(order.outside, "outside"),
    }
    refunds = [
        {"refund": each.id, "amount_refunded": to_stripe(each.amount, "refunds"), "type": "refund"}
        for each in order.refunds
    ]
    return {
        "invoice": order.invoice_id,
        "lines": list(map(_line, order.lines)),
        "reason": order.reason,
        "email_type": "none",
        "refunds": refunds or None,
        **{name: amount or None for name, amount in amounts.items()},
    }


def _line(line: CreditedLine) -> dict[str, Any]:
    amount = None if line.amount is None else to_stripe(line.amount, "lines")
    return {
        "type": "invoice_line_item",
        "invoice_line_item": line.line,
        "quantity": line.quantity,
        "amount": amount,
    }


def _with_id(rows: list[Row], order_id: str) -> Row | None:
    """Return what was made for an order of ours."""
    return next((each for each in rows if each["metadata"].get(ORDER) == order_id), None)


def _is(payment: Row, payment_id: str) -> bool:
    return payment["status"] == "paid" and invoices.payment_id(payment) == payment_id


def _left(line: InvoiceLine, source: Row, credited: list[Row]) -> LineLeft:
    """Return what of a line no credit note has. What was credited by amounts is credited by amounts only (Generate
    credit notes programmatically)."""
    own = [each for each in credited if each["invoice_line_item"] == source["id"]]
    currency = line.net.currency
    net = sum(each["amount"] - sum(part["amount"] for part in each["discount_amounts"] or ()) for each in own)
    tax = sum(part["amount"] for each in own for part in each["taxes"] or ())
    by_amount = any(each["quantity"] is None for each in own)
    quantity = (
        None if by_amount or not source["quantity"] else source["quantity"] - sum(each["quantity"] for each in own)
    )
    return LineLeft(line, quantity, line.net - from_stripe(net, currency), line.tax - from_stripe(tax, currency))
