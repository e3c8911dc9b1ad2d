"""What may be asked of an invoice: each thing that cannot be is a problem of its own, and nothing is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from canonical.billing import Invoice
from canonical.corrections import (
    Correctable,
    CorrectionRequest,
    CreditedLine,
    CreditOrder,
    InvoiceEnd,
    LineLeft,
    RefundOrder,
)
from canonical.credits import RefundPart
from canonical.money import Money, smallest_charge, total
from policies.business.corrections import (
    AMOUNT_NOT_POSSIBLE,
    AMOUNTS_DO_NOT_ADD_UP,
    CORRECTION_REFUSED,
    CREDIT_TOO_LARGE,
    INVOICE_CREDITED,
    INVOICE_PAID,
    INVOICE_RESERVED,
    INVOICE_VOID,
    INVOICE_WRITTEN_OFF,
    PAYMENT_DISPUTED,
    PAYMENT_PROCESSING,
    REFUND_TOO_LARGE,
    WRONG_CURRENCY,
)
from policies.problems import FieldError, ProblemError, ProblemType
from process_apis.records.corrections import Wanted, wanted_of

OF_CREDIT_NOTE = ("lines", "refund", "to_balance", "outside", "refunds", "reason")
OF_REFUND = ("payment_id", "amount")
EMPTY = (None, ())
BACK = ("refund", "to_balance", "outside")


def worked_out(correction_id: str, wanted: CorrectionRequest, found: Correctable) -> tuple[Wanted, Money]:
    """Return what billing is to be asked for, and what that is worth as far as it is known before billing says it.

    Raises `ProblemError` (409, 422) for what the invoice does not allow.
    """
    _check_members(wanted)
    _check_amounts(wanted, found.invoice.total.currency)
    match wanted.kind:
        case "credit_note":
            order = _credit_note(correction_id, wanted, found)
            return order, expected_total(order, found)
        case "refund":
            refund = _refund(correction_id, wanted, found)
            return refund, refund.amount
        case _:
            _check_end(wanted, found)
            return InvoiceEnd(found.invoice.id, found.invoice.legal_entity, correction_id), found.invoice.balance


def check_again(wanted: Wanted, kind: str, found: Correctable) -> None:
    """Raise `ProblemError` for what an invoice does not allow any more."""
    match wanted:
        case CreditOrder():
            _check_credit(wanted, found)
        case RefundOrder():
            _check_refund(wanted.payment_id, wanted.amount, found)
        case _:
            _check_state(kind, found)


# ---- what fits the kind


def _check_members(wanted: CorrectionRequest) -> None:
    others = {"credit_note": OF_REFUND, "refund": OF_CREDIT_NOTE}.get(wanted.kind, (*OF_CREDIT_NOTE, *OF_REFUND))
    errors = [
        FieldError(f"$.{name}", f"a {wanted.kind} has no {name}")
        for name in others
        if getattr(wanted, name) not in EMPTY
    ]
    if not wanted.text.strip():
        errors.append(FieldError("$.text", "say why"))
    for place, line in enumerate(wanted.lines):
        if (line.quantity is None) == (line.amount is None):
            errors.append(FieldError(f"$.lines[{place}]", "give one of quantity and amount"))
        if line.line in [each.line for each in wanted.lines[:place]]:
            errors.append(FieldError(f"$.lines[{place}].line", "the line is named twice"))
    if errors:
        raise ProblemError(CORRECTION_REFUSED, "This is no correction of its kind.", errors)


def _check_amounts(wanted: CorrectionRequest, currency: str) -> None:
    """Raise `ProblemError` for an amount that is in another currency, nothing, or no multiple of what is paid."""
    given = list(_amounts(wanted))
    if others := [(path, each) for path, each in given if each.currency != currency]:
        errors = [FieldError(path, f"{each} is not in {currency}") for path, each in others]
        raise ProblemError(WRONG_CURRENCY, f"The invoice is in {currency}.", errors)
    step = smallest_charge(currency)
    if errors := [
        FieldError(path, f"{each} is no amount above nothing that is paid in steps of {step}")
        for path, each in given
        if each.amount <= 0 or each.amount % step.amount
    ]:
        raise ProblemError(AMOUNT_NOT_POSSIBLE, f"Amounts in {currency} are paid in steps of {step}.", errors)


def _amounts(wanted: CorrectionRequest) -> Iterator[tuple[str, Money]]:
    """Yield the amounts that were given, each with its place."""
    for name in (*BACK, "amount"):
        if (amount := getattr(wanted, name)) is not None:
            yield f"$.{name}", amount
    for place, line in enumerate(wanted.lines):
        if line.amount is not None:
            yield f"$.lines[{place}].amount", line.amount
    for place, part in enumerate(wanted.refunds):
        yield f"$.refunds[{place}].amount", part.amount


# ---- credit notes


def _credit_note(correction_id: str, wanted: CorrectionRequest, found: Correctable) -> CreditOrder:
    invoice = found.invoice
    zero = Money.zero(invoice.total.currency)
    _check_state("credit_note", found)
    order = CreditOrder(
        correction_id,
        invoice.id,
        invoice.legal_entity,
        wanted.lines or _all_lines(found),
        *(getattr(wanted, name) or zero for name in BACK),
        refunds=wanted.refunds,
        reason=wanted.reason,
        text=wanted.text,
    )
    _check_credit(order, found)
    return order


def _all_lines(found: Correctable) -> tuple[CreditedLine, ...]:
    """Return all that is left of the lines of an invoice."""
    if below := [each.line.description for each in found.lines if each.line.net.amount < 0]:
        reason = f"the invoice has lines below nothing ({', '.join(below)}): name those to credit"
        raise ProblemError(CORRECTION_REFUSED, "Not all of it can be credited.", (FieldError("$.lines", reason),))
    lines = tuple(
        CreditedLine(each.line.id, each.quantity) if each.quantity else CreditedLine(each.line.id, amount=each.net)
        for each in found.lines
        if each.net.amount > 0
    )
    if not lines:
        raise ProblemError(CREDIT_TOO_LARGE, f"All of {found.invoice.number} is credited already.")
    return lines


def _check_credit(order: CreditOrder, found: Correctable) -> None:
    """Raise `ProblemError` for lines that are not there, and for more than is left of a line, of the invoice, of a
    payment or of a refund."""
    _check_state("credit_note", found)
    by_id = {each.line.id: each for each in found.lines}
    if unknown := [place for place, each in enumerate(order.lines) if each.line not in by_id]:
        errors = [FieldError(f"$.lines[{each}].line", "the invoice has no such line") for each in unknown]
        raise ProblemError(CORRECTION_REFUSED, "It names lines that are not there.", errors)
    if errors := [
        FieldError(f"$.lines[{place}]", reason)
        for place, each in enumerate(order.lines)
        if (reason := _too_much(each, by_id[each.line]))
    ]:
        raise ProblemError(CREDIT_TOO_LARGE, "More is to be credited than is left.", errors)
    left, worth = found.invoice.total - found.credited, expected_total(order, found)
    if worth.amount > left.amount:
        raise ProblemError(CREDIT_TOO_LARGE, f"{worth} is to be credited, and {left} is left of the invoice.")
    if order.refund.amount:
        _check_back(order.refund, found, "$.refund")
    _check_named(order.refunds, found.unexplained)
    if found.unexplained and _back(order).amount > found.kept.amount:
        detail = (
            f"{found.kept} of what was paid has not gone back yet, and {_back(order)} is to: name what was refunded."
        )
        errors = [FieldError(f"$.{name}", f"together at most {found.kept}") for name in BACK]
        raise ProblemError(REFUND_TOO_LARGE, detail, errors)


def _back(order: CreditOrder) -> Money:
    """Return what goes back to the customer with a credit note."""
    return order.refund + order.to_balance + order.outside


def _too_much(line: CreditedLine, left: LineLeft) -> str:
    if line.quantity is not None and left.quantity is None:
        return f"it was credited by amounts, and {left.net} before tax is left of it"
    if line.quantity is not None and line.quantity > (left.quantity or 0):
        return f"{left.quantity} is left of it"
    if line.amount is not None and left.quantity is not None and left.quantity != left.line.quantity:
        return f"it was credited by pieces, of which {left.quantity} are left"
    if line.amount is not None and line.amount.amount > left.net.amount:
        return f"{left.net} before tax is left of it"
    return ""


def _check_named(named: Sequence[RefundPart], there: Sequence[RefundPart]) -> None:
    left = {each.id: each.amount for each in there}
    if errors := [
        FieldError(f"$.refunds[{place}]", f"{left[each.id]} of it is not explained" if each.id in left else "none")
        for place, each in enumerate(named)
        if each.id not in left or each.amount.amount > left[each.id].amount
    ]:
        raise ProblemError(CORRECTION_REFUSED, "No such refund of the invoice lacks a credit note.", errors)


def expected_total(order: CreditOrder, found: Correctable) -> Money:
    """Return what the lines come to by the rule of shares, with their tax. Billing says what they do."""
    by_id = {each.line.id: each for each in found.lines}
    shares = [sum(expected(each, by_id[each.line]), Money.zero(found.invoice.total.currency)) for each in order.lines]
    return total(shares, found.invoice.total.currency)


def expected(line: CreditedLine, of: LineLeft) -> tuple[Money, Money]:
    """Return the net and the tax of a credited line by the rule of shares: so much of the invoice's line as is credited
    of its pieces, or of its net, rounded once; what is credited last takes all that is left."""
    step = smallest_charge(of.line.net.currency).amount
    if line.quantity is not None:
        if line.quantity == of.quantity:
            return of.net, of.tax
        part, whole = line.quantity, of.line.quantity
    else:
        part, whole = (line.amount or of.net).amount, of.line.net.amount
        if part == of.net.amount:
            return of.net, of.tax

    def share(amount: Money) -> Money:
        return Money(_rounded(amount.amount * part, whole, step), amount.currency)

    return (line.amount or share(of.line.net)), share(of.line.tax)


def _rounded(numerator: int, denominator: int, step: int) -> int:
    """Return a fraction of minor units, rounded half up to a multiple of `step`."""
    return (2 * numerator + denominator * step) // (2 * denominator * step) * step


def back_of(order: CreditOrder, found: Correctable) -> tuple[Money, Money]:
    """Return what of a credit note was paid already by our own calculation, and what the order says that goes back."""
    due = found.invoice.balance if found.invoice.state == "open" else Money.zero(found.invoice.total.currency)
    worth = expected_total(order, found)
    paid = Money(max(worth.amount - due.amount, 0), worth.currency)
    named = total((each.amount for each in order.refunds), worth.currency)
    return paid, _back(order) + named


def does_not_add_up(order: CreditOrder, found: Correctable, reason: str) -> ProblemError:
    """Return the problem of a credit note that billing refuses to preview for `reason`."""
    paid, back = back_of(order, found)
    if paid != back:
        detail = f"{paid} of it was paid, and {back} goes back."
        errors = [FieldError(f"$.{name}", f"together they are {back}") for name in (*BACK, "refunds")]
        return ProblemError(AMOUNTS_DO_NOT_ADD_UP, detail, errors)
    return ProblemError(CORRECTION_REFUSED, "Billing refuses the credit note.", (FieldError("$.lines", reason),))


# ---- refunds


def _refund(correction_id: str, wanted: CorrectionRequest, found: Correctable) -> RefundOrder:
    invoice = found.invoice
    if wanted.payment_id is None and len(found.payments) != 1:
        reason = f"the invoice has {len(found.payments)} payments: say which of {_names(found) or 'none'}"
        raise ProblemError(CORRECTION_REFUSED, "It names no payment.", (FieldError("$.payment_id", reason),))
    payment = wanted.payment_id or found.payments[0].payment_id
    left = next((each.refundable for each in found.payments if each.payment_id == payment), None)
    if left is None:
        reason = f"it has {_names(found)}"
        raise ProblemError(CORRECTION_REFUSED, "It has no such payment.", (FieldError("$.payment_id", reason),))
    amount = wanted.amount or min(left, found.kept, key=lambda each: each.amount)
    _check_refund(payment, amount, found)
    return RefundOrder(correction_id, invoice.id, invoice.legal_entity, payment, amount)


def _names(found: Correctable) -> str:
    return ", ".join(each.payment_id for each in found.payments)


def _check_refund(payment_id: str, amount: Money, found: Correctable) -> None:
    """Raise `ProblemError` for a payment that is disputed, and for more than is left of it."""
    part = next(each for each in found.payments if each.payment_id == payment_id)
    if part.disputed:
        raise ProblemError(PAYMENT_DISPUTED, f"{payment_id} is disputed.")
    most = min(part.refundable, found.kept, key=lambda each: each.amount)  # what was credited has gone back already
    if not 0 < amount.amount <= most.amount:
        detail = f"{most} of {payment_id} can be refunded, and {amount} is asked for.{_gone_elsewhere(found)}"
        raise ProblemError(REFUND_TOO_LARGE, detail, (FieldError("$.amount", f"at most {most}"),))


def _gone_elsewhere(found: Correctable) -> str:
    """Return why less may go back than billing has left of what was paid. What is in a customer's balance is taken off
    later invoices, and pays for nothing else (Stripe, Payments: Customer balance, credit balances)."""
    more = total((each.refundable for each in found.payments), found.kept.currency) - found.kept
    if more.amount <= 0:
        return ""
    return (
        f" {more} of it was credited into the customer's balance or settled outside, and billing pays nothing out of"
        " the balance: the next invoices use it up; or void the credit note in billing, and ask for one with a refund."
    )


def _check_back(amount: Money, found: Correctable, path: str) -> None:
    """Raise `ProblemError` where no payment of an invoice has so much left that a credit note refunds it: billing takes
    it of one."""
    most = max((each.refundable.amount for each in found.payments), default=0)
    if amount.amount <= most:
        return
    if any(each.disputed for each in found.payments):
        raise ProblemError(PAYMENT_DISPUTED, "What was paid is disputed.", (FieldError(path, "it cannot be refunded"),))
    detail = f"{Money(most, amount.currency)} can be refunded of one payment, and {amount} is asked for."
    raise ProblemError(REFUND_TOO_LARGE, detail, (FieldError(path, f"at most {Money(most, amount.currency)}"),))


# ---- invoices


def _check_end(wanted: CorrectionRequest, found: Correctable) -> None:
    _check_state(wanted.kind, found)


def _check_state(kind: str, found: Correctable) -> None:
    """Raise `ProblemError` for an invoice that is in no state for a correction of this kind."""
    problem = _problem_of(kind, found)
    if problem is not None:
        raise ProblemError(problem, f"The invoice {found.invoice.number} is {_words(found.invoice)}.")


def _problem_of(kind: str, found: Correctable) -> ProblemType | None:
    invoice = found.invoice
    if invoice.state == "void":
        return INVOICE_VOID
    if found.processing:
        return PAYMENT_PROCESSING
    if invoice.state == "uncollectible" and kind != "void":
        return INVOICE_WRITTEN_OFF
    if kind == "credit_note":
        return None
    if invoice.state == "paid" or (kind == "void" and invoice.payments):
        return INVOICE_PAID
    return INVOICE_CREDITED if kind == "void" and found.credited.amount else None


def _words(invoice: Invoice) -> str:
    return f"{invoice.state}, and {invoice.balance} of {invoice.total} is open"


# ---- with others


def fits_with(wanted: Wanted, kind: str, amount: Money, found: Correctable) -> Callable[[Sequence[sa.Row[Any]]], None]:
    """Return what checks a correction against those that are asked for already and not carried out."""

    def check(others: Sequence[sa.Row[Any]]) -> None:
        if others and not _together(wanted, kind, amount, found, others):
            names = ", ".join(each.id for each in others)
            raise ProblemError(INVOICE_RESERVED, f"With {names} it is more than there is.")

    return check


def _together(wanted: Wanted, kind: str, amount: Money, found: Correctable, others: Sequence[sa.Row[Any]]) -> bool:
    """Return whether there is enough of an invoice for a correction and those that come before it."""
    if kind in ("void", "write_off") or any(each.kind in ("void", "write_off") for each in others):
        return False
    before = [wanted_of(each) for each in others]
    credits_ = [each for each in before if isinstance(each, CreditOrder)]
    if isinstance(wanted, CreditOrder):
        reserved = sum(each.amount for each in others if each.kind == "credit_note")
        if reserved + amount.amount > (found.invoice.total - found.credited).amount:
            return False
        if not all(_line_fits(each, credits_, found) for each in wanted.lines):
            return False
        if {each.id for each in wanted.refunds} & {each.id for order in credits_ for each in order.refunds}:
            return False
    back = [*before, wanted]
    of_payments = {each.payment_id: each.refundable.amount for each in found.payments}
    for key, most in of_payments.items():
        if sum(e.amount.amount for e in back if isinstance(e, RefundOrder) and e.payment_id == key) > most:
            return False
    refunded = sum(each.amount.amount for each in back if isinstance(each, RefundOrder))
    refunded += sum(each.refund.amount for each in back if isinstance(each, CreditOrder))
    gone = sum(each.amount.amount for each in back if isinstance(each, RefundOrder))
    gone += sum(_back(each).amount for each in back if isinstance(each, CreditOrder))
    return refunded <= sum(of_payments.values()) and gone <= found.kept.amount


def _line_fits(line: CreditedLine, others: Sequence[CreditOrder], found: Correctable) -> bool:
    """Return whether a line can be credited after the other orders: in the same way, and with what they leave."""
    left = next(each for each in found.lines if each.line.id == line.line)
    earlier = [each for order in others for each in order.lines if each.line == line.line]
    if any((each.quantity is None) != (line.quantity is None) for each in earlier):
        return False
    if line.quantity is not None:
        return line.quantity + sum(each.quantity or 0 for each in earlier) <= (left.quantity or 0)
    asked = sum(each.amount.amount for each in (*earlier, line) if each.amount is not None)
    return asked <= left.net.amount


def numbered(wanted: Wanted, tries: int) -> Wanted:
    """Return what billing is asked for the nth time that people want it tried."""
    return msgspec.structs.replace(wanted, attempt=tries)
