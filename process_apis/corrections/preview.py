"""What billing and the ERP would make of a correction: it is carried out only when they agree.

Billing says what a credit note comes to and what tax that is, the ERP what it would book. Each amount is held against
the rule of shares, which says why it is what it is, and never what is credited.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from canonical.billing import Invoice, Posting
from canonical.cases import Finding
from canonical.corrections import (
    Correctable,
    CorrectionKind,
    CorrectionPreview,
    CorrectionReason,
    CreditOrder,
    RefundOrder,
)
from canonical.credits import CreditNote, below_nothing
from canonical.money import Money, smallest_charge
from policies.business.corrections import approvals_for
from policies.business.posting_windows import window_of
from process_apis.corrections.request import expected
from process_apis.records.corrections import Wanted
from process_apis.runtime.context import WorkflowContext

SHARE = "the share of the invoice's line that is credited, rounded once; the last part of a line takes what is left"


def preview(
    context: WorkflowContext, billing: str, wanted: Wanted, kind: CorrectionKind, found: Correctable, *, proposed: bool
) -> CorrectionPreview:
    """Return what every platform would make of a correction. Raises the faults of the platforms. Nothing is written,
    but for a draft in the ERP that is deleted at once."""
    match wanted:
        case CreditOrder():
            said = _credit_note(context, billing, wanted, found)
        case RefundOrder():
            said = _refund(wanted, found)
        case _:
            said = _end(context, kind, found)
    catalogue = context.live_catalogue.current
    return msgspec.structs.replace(said, approvals=approvals_for(catalogue, kind, worth(said), proposed=proposed))


def worth(said: CorrectionPreview) -> Money:
    """Return what a correction takes off, pays back or gives up."""
    if said.credit_note is not None:
        return said.credit_note.total
    if said.kind == "refund":
        return said.paid_back
    return said.written_off if said.kind == "write_off" else said.open_before


def _credit_note(context: WorkflowContext, billing: str, order: CreditOrder, found: Correctable) -> CorrectionPreview:
    note, invoice = context.platforms.preview_credit_note(billing, order), found.invoice
    posting = _booked(context, note.as_invoice())
    reasons = (*_of_lines(order, note, found), *_of_money(order, note))
    unexplained = (_unexplained(each) for each in reasons if not each.explained)
    return CorrectionPreview(
        "credit_note",
        invoice,
        open_before=invoice.balance,
        open_after=invoice.balance - note.off_due,
        paid_back=order.refund,
        written_off=Money.zero(note.total.currency),
        credit_note=note,
        posting=posting,
        explanations=reasons,
        differences=(*_differences(note.as_invoice(), posting), *unexplained),
    )


def _refund(order: RefundOrder, found: Correctable) -> CorrectionPreview:
    invoice, zero = found.invoice, Money.zero(order.amount.currency)
    rule = (
        "a refund says nothing of what was sold: so much of the invoice is due again in the ERP, while billing shows it"
        " as paid, until a credit note names the refund"
    )
    return CorrectionPreview(
        "refund",
        invoice,
        open_before=invoice.balance,
        open_after=invoice.balance + order.amount,
        paid_back=order.amount,
        written_off=zero,
        explanations=(
            CorrectionReason("refund", order.amount, "as it was asked for, of one payment", "finance"),
            CorrectionReason("due again", order.amount, rule, "erp"),
        ),
    )


def _end(context: WorkflowContext, kind: CorrectionKind, found: Correctable) -> CorrectionPreview:
    invoice, zero = found.invoice, Money.zero(found.invoice.total.currency)
    open_now = invoice.balance
    if kind == "write_off":
        rule = "what is still to be paid is given up; tax and revenue stay as they were posted"
        return CorrectionPreview(
            kind,
            invoice,
            open_before=open_now,
            open_after=zero,
            paid_back=zero,
            written_off=open_now,
            explanations=(CorrectionReason("written off", open_now, rule, "erp"),),
        )
    counterpart = _counterpart(context, invoice)
    posting = _booked(context, counterpart)
    rule = "all of the invoice is taken back, with its tax, as if it had never been issued"
    return CorrectionPreview(
        kind,
        invoice,
        open_before=invoice.total,
        open_after=zero,
        paid_back=zero,
        written_off=zero,
        posting=posting,
        explanations=(CorrectionReason("void", invoice.total, rule, "billing"),),
        differences=tuple(_differences(counterpart, posting)),
    )


def _counterpart(context: WorkflowContext, invoice: Invoice) -> Invoice:
    """Return what would be booked for an invoice that is void: itself below nothing, today."""
    return msgspec.structs.replace(
        invoice,
        id=f"{invoice.id}:void",
        total=-invoice.total,
        tax=-invoice.tax,
        balance=-invoice.total,
        lines=tuple(map(below_nothing, invoice.lines)),
        issued_on=max(invoice.issued_on, context.clock().date()),
        payments=(),
    )


def _booked(context: WorkflowContext, invoice: Invoice) -> Posting:
    closed = window_of(context.live_catalogue.current, invoice.legal_entity).closed_period
    return context.platforms.preview_erp_invoice(invoice, closed)


def _of_lines(order: CreditOrder, note: CreditNote, found: Correctable) -> Iterator[CorrectionReason]:
    """Yield why each line and its tax are what billing says."""
    by_id = {each.line.id: each for each in found.lines}
    for line, made in zip(order.lines, note.lines, strict=True):
        name = made.description or made.sku
        net, tax = expected(line, by_id[line.line])
        step = smallest_charge(net.currency).amount
        for of, amount, by_rule in ((name, made.net, net), (f"tax of {name}", made.tax, tax)):
            explained = abs(amount.amount - by_rule.amount) <= step  # billing rounds where it does
            yield CorrectionReason(of, amount, SHARE, "billing", by_rule, explained)


def _of_money(order: CreditOrder, note: CreditNote) -> Iterator[CorrectionReason]:
    """Yield why the credit note goes where it does."""
    first = "a credit note takes off first what is still to be paid of its invoice"
    asked = "what of it was paid goes back as it was asked for"
    named = "it was refunded before, and this says why"
    money = (
        ("off what is due", note.off_due, first, "billing"),
        ("refund", order.refund, asked, "finance"),
        ("balance", order.to_balance, asked, "finance"),
        ("outside", order.outside, asked, "finance"),
        *((f"refund {each.id}", each.amount, named, "finance") for each in order.refunds),
    )
    yield from (CorrectionReason(*each) for each in money if each[1].amount)


def _unexplained(one: CorrectionReason) -> Finding:
    reason = f"{one.of}: billing would credit {one.amount}, and by the rule it would be {one.expected}"
    return Finding("billing.amount", reason, "billing")


def _differences(invoice: Invoice, posting: Posting) -> Iterator[Finding]:
    """Yield a finding for each amount that the ERP would book otherwise."""
    amounts = (("total", invoice.total, posting.total), ("tax", invoice.tax, posting.tax))
    for what, credited, booked in amounts:
        if credited != booked:
            reason = f"billing would credit a {what} of {-credited}, and the ERP would book {booked}"
            yield Finding(f"erp.{what}", reason, "erp")
