"""Canonical records to try a connector with."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

from msgspec.structs import replace

from canonical.billing import Contract, Invoice, InvoiceLine, Payment
from canonical.credits import CreditedPart, CreditNote, PaymentReversal
from canonical.deals import LineTerms, PlacedDeal, PlacedLine, PricedLine, ProvisioningRequest
from canonical.disputes import DisputeFee
from canonical.money import Money
from canonical.parties import Address, Contact, Customer
from tests.support.connector_kit.subject import LEGAL_ENTITY

PRICES = (Money(12345, "JPY"), Money(12345, "EUR"), Money(1234000, "KWD"))
"""Amounts in currencies with 0, 2 and 3 digits after the point, with a tax in steps that platforms bill."""
TAX_PERCENT = Decimal(19)


def customer(key: str, name: str = "Example GmbH", **facts: Any) -> Customer:
    address = Address("Hauptstraße 1", "10115", "Berlin", "DE")
    return Customer(
        key, name, address, contact=Contact("Kim Beispiel", "kim@example.com"), legal_entity=LEGAL_ENTITY, **facts
    )


def priced_line(key: str, sku: str, price: Money, interval: Any = "year", quantity: int = 1) -> PricedLine:
    return PricedLine(key, sku, "Platform fee", quantity, price, interval)


def contract(key: str, customer_id: str, reference: str, lines: tuple[PricedLine, ...], starts_on: date) -> Contract:
    return Contract(
        key,
        f"ord_{key}",
        customer_id,
        LEGAL_ENTITY,
        lines[0].unit_price.currency,
        starts_on,
        12,
        lines,
        "standard",
        str(TAX_PERCENT),
        references={"customer": reference},
    )


def invoice(key: str, customer_id: str, sku: str, nets: tuple[Money, ...], issued_on: date) -> Invoice:
    """Return an invoice as billing issued it, tax rounded for each line."""
    lines = tuple(
        InvoiceLine(sku, f"Line {place}", 1, net, net.times(TAX_PERCENT / 100), issued_on, issued_on)
        for place, net in enumerate(nets, 1)
    )
    return invoice_of(key, customer_id, lines, issued_on)


def prorated(
    key: str,
    customer_id: str,
    sku: str,
    parts: tuple[tuple[int, Money], ...],
    issued_on: date,
    *,
    taxed_by_sum: bool = False,
) -> Invoice:
    """Return an invoice of a change in the middle of a period: `parts` are what is charged for so many pieces, below
    nothing where it is credited, each for a time of its own and every other one with a discount. Tax is rounded for
    each line, or for the sum of all lines up to it."""
    lines: list[InvoiceLine] = []
    net_of_all = tax_of_all = Money.zero(parts[0][1].currency)
    for place, (pieces, net) in enumerate(parts):
        net_of_all += net
        tax = net_of_all.times(TAX_PERCENT / 100) - tax_of_all if taxed_by_sum else net.times(TAX_PERCENT / 100)
        tax_of_all += tax
        until = issued_on + timedelta(days=place)
        agreed = LineTerms(Decimal(pieces), Decimal("3.40"), Decimal(4), Decimal(15)) if place % 2 else None
        what = f"{'Remaining' if net.amount > 0 else 'Unused'} time {place}"
        lines.append(InvoiceLine(sku, what, pieces, net, tax, issued_on, until, agreed=agreed))
    return invoice_of(key, customer_id, tuple(lines), issued_on)


def invoice_of(key: str, customer_id: str, lines: tuple[InvoiceLine, ...], issued_on: date) -> Invoice:
    """Return an invoice of these lines."""
    zero = Money.zero(lines[0].net.currency)
    tax = sum((each.tax for each in lines), zero)
    total = sum((each.net for each in lines), tax)
    return Invoice(
        key,
        f"R-{key}",
        customer_id,
        f"con_{key}",
        LEGAL_ENTITY,
        "open",
        issued_on,
        total,
        tax,
        total,
        "standard",
        lines,
    )


def payment(of: Invoice) -> Payment:
    return Payment(f"pay_{of.id}", of.id, of.total, of.issued_on)


def credit_note(of: Invoice, part: Fraction = Fraction(1), *, off_due: bool = True, void: bool = False) -> CreditNote:
    """Return a credit note of a part of each line of an invoice: off what is due of it, or to be refunded."""
    lines = tuple(_part_of(each, part) for each in of.lines)
    zero = Money.zero(of.total.currency)
    tax = sum((each.tax for each in lines), zero)
    total = sum((each.net for each in lines), tax)
    return CreditNote(
        id=f"cn_{of.id}",
        number=f"{of.number}-CN-01",
        invoice_id=of.id,
        customer_id=of.customer_id,
        contract_id=of.contract_id,
        legal_entity=of.legal_entity,
        state="void" if void else "issued",
        issued_on=of.issued_on,
        total=total,
        tax=tax,
        off_due=total if off_due else zero,
        refunded=zero if off_due else total,
        to_balance=zero,
        outside=zero,
        tax_treatment=of.tax_treatment,
        lines=lines,
        cancelled_on=of.issued_on if void else None,
    )


def reversal(of: Payment, amount: Money, key: str = "", credit_note_id: str = "") -> PaymentReversal:
    """Return a part of a payment that went back."""
    return PaymentReversal(
        id=key or f"re_{of.id}",
        kind="refund",
        invoice_id=of.invoice_id,
        payment_id=of.id,
        customer_id="",
        legal_entity=LEGAL_ENTITY,
        amount=amount,
        reversed_on=of.received_on,
        credited=(CreditedPart(credit_note_id, amount),) if credit_note_id else (),
    )


def fee(key: str, amount: Money, taken_on: date) -> DisputeFee:
    return DisputeFee(key, f"du_of_{key}", "DE01", amount, taken_on)


def _part_of(line: InvoiceLine, part: Fraction) -> InvoiceLine:
    net = Money(round(line.net.amount * part), line.net.currency)
    return replace(line, net=net, tax=net.times(TAX_PERCENT / 100), taxes=())


def placed_deal(key: str, account: str, sku: str, starts_on: date, name: str = "Placed", lines: int = 3) -> PlacedDeal:
    ordered = tuple(PlacedLine(sku, place) for place in range(1, lines + 1))
    return PlacedDeal(key, name, account, LEGAL_ENTITY, "EUR", starts_on, 12, ordered, "a-partner")


def provisioning_request(key: str, attempt: int = 1) -> ProvisioningRequest:
    lines = tuple(priced_line(f"lin_{key}.{place}", "SEAT", Money(100, "EUR"), quantity=place) for place in (1, 2, 3))
    return ProvisioningRequest(key, lines, attempt, LEGAL_ENTITY)
