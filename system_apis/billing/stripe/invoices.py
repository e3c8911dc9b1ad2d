"""Stripe's invoices to canonical ones."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Any, cast

import msgspec

from canonical.billing import Invoice, InvoiceLine, InvoiceState, LineTax, Payment
from canonical.deals import LineTerms, is_whole
from canonical.money import Money
from canonical.tax import ChargedTax, TaxTreatment
from system_apis.billing.stripe import mapping
from system_apis.billing.stripe.amounts import from_stripe

Row = dict[str, Any]
CANCELLED = {"void": "voided_at", "uncollectible": "marked_uncollectible_at"}
"""The states of an invoice that is paid no more, and when it came to each (API reference: The Invoice object)."""


def invoice(
    source: Row,
    lines: list[Row],
    payments: list[Row],
    rates: dict[str, mapping.Rate],
    terms: dict[str, LineTerms | None],
    timezone: Callable[[str], tzinfo],
    settles: tuple[str, ...] = (),
) -> Invoice:
    """Return a Stripe invoice as a canonical one.

    `lines` and `payments` are complete lists, `rates` holds what each tax rate stands for by its id, `terms` what was
    agreed for one piece at each price by the price's id, `timezone` returns that of a legal entity's books: an invoice
    of 23:30 UTC on 31 December is one of January in Berlin. `settles` are the earlier invoices that are settled with
    it. Raises `KeyError` or `TypeError` for an invoice that belongs to no contract of ours.
    """
    metadata = metadata_of(source)
    read = reading(source, rates, terms, timezone)
    made = tuple(read.line(each) for each in lines)
    transitions: Row = source["status_transitions"]
    finalized = transitions["finalized_at"] or source["created"]
    return Invoice(
        id=source["id"],
        number=source["number"] or "",
        customer_id=metadata["tiergate_customer"],
        contract_id=metadata["tiergate_contract"],
        legal_entity=metadata["tiergate_legal_entity"],
        state=cast("InvoiceState", source["status"]),
        issued_on=read.day(finalized),
        total=read.money(source["total"]),
        tax=read.sum(source["total_taxes"]),
        balance=read.money(source["amount_remaining"]),
        tax_treatment=treatment(metadata["tiergate_tax"], made),
        lines=made,
        payments=read.payments(source, payments, settles),
        cancelled_on=read.day(transitions[CANCELLED[source["status"]]]) if source["status"] in CANCELLED else None,
        custom=mapping.custom(metadata),
        due_on=read.day(source["due_date"]) if source["due_date"] else None,
        purchase_order=_purchase_order(source),
        bill_to=mapping.bill_to(metadata),
    )


def metadata_of(source: Row) -> Row:
    """Return what an invoice says of its contract. Raises `KeyError` or `TypeError` for one of no subscription."""
    return source["parent"]["subscription_details"]["metadata"]


def reading(
    source: Row, rates: dict[str, mapping.Rate], terms: dict[str, LineTerms | None], timezone: Callable[[str], tzinfo]
) -> Reading:
    """Return what the parts of an invoice are read with. Raises as `invoice` does."""
    metadata = metadata_of(source)
    zone = timezone(metadata["tiergate_legal_entity"])
    return Reading(source["currency"].upper(), zone, rates, terms, _untaxed(source, metadata))


def _purchase_order(source: Row) -> str:
    """Return the buyer's number as the invoice shows it, also one that people wrote there."""
    fields: list[Row] = source["custom_fields"] or []
    return next((each["value"] for each in fields if each["name"] == mapping.PURCHASE_ORDER), "")


def _untaxed(source: Row, metadata: Row) -> ChargedTax | None:
    """Return what stands for the tax of a line without one, where Stripe Tax was to decide and did not; None elsewhere.

    A subscription's invoice goes on without tax when the customer's place is not known (docs.stripe.com/tax:
    Collect customer addresses).
    """
    if metadata["tiergate_tax"] != mapping.BY_BILLING:
        return None
    address: Row = source["customer_address"] or {}
    reason = source["automatic_tax"]["disabled_reason"] or "not_available"
    return ChargedTax(Decimal(0), address.get("country") or "", reason=reason)


def treatment(said: str, lines: tuple[InvoiceLine, ...]) -> TaxTreatment:
    """Return how a sale was treated: as its contract says, or as Stripe Tax has decided."""
    if said != mapping.BY_BILLING:
        return cast("TaxTreatment", said)
    charged = [each.charged for line in lines for each in line.taxes if each.charged]
    if any(each.percent for each in charged):
        return "standard"
    return "reverse_charge" if any(each.reason == "reverse_charge" for each in charged) else "outside_scope"


def price_of(line: Row) -> str | None:
    """Return the id of the price that a line was billed at; None for one of an amount alone."""
    pricing: Row = line["pricing"] or {}
    details: Row = pricing.get("price_details") or {}
    return details.get("price")


def product_of(line: Row) -> str:
    """Return the product of a line, which is its SKU; empty for a line of an amount alone."""
    pricing: Row = line["pricing"] or {}
    details: Row = pricing.get("price_details") or {}
    return details.get("product") or ""


def payment_id(row: Row) -> str:
    """Return the id of the payment intent, charge or payment record that a payment of an invoice is."""
    payment: Row = row["payment"]
    return payment.get(payment["type"]) or row["id"]


def rate_of(tax: Row) -> str:
    """Return the id of the rate by which a tax was charged."""
    return tax["tax_rate_details"]["tax_rate"]


class Reading(msgspec.Struct, frozen=True):
    """What the parts of one invoice are read with, and of its credit notes."""

    currency: str
    zone: tzinfo
    rates: dict[str, mapping.Rate]
    terms: dict[str, LineTerms | None]
    untaxed: ChargedTax | None

    def line(self, row: Row) -> InvoiceLine:
        """Return a line. One that was made by hand may have no price, no quantity and no description.

        It is one piece of its amount then, and of no product of ours.
        """
        start, end = self.day(row["period"]["start"]), self.day(row["period"]["end"])
        taxes: list[Row] = row["taxes"] or []
        quantity, agreed = self._quantity(row)
        return InvoiceLine(
            sku=product_of(row),
            description=row["description"] or "",
            quantity=quantity,
            net=self.money(row["amount"]),
            tax=self.sum(taxes),
            period_start=start,
            period_end=max(start, end - timedelta(days=1)),
            taxes=self._taxes(taxes),
            agreed=agreed,
            id=row["id"] or "",
        )

    def _taxes(self, rows: list[Row]) -> tuple[LineTax, ...]:
        if not rows and self.untaxed:
            return (LineTax("", self.money(0), self.untaxed),)
        return tuple(self._tax(each, self.rates[rate_of(each)]) for each in rows)

    def _tax(self, row: Row, rate: mapping.Rate) -> LineTax:
        """Return a tax by its code; one of a rate that is not ours by what was charged."""
        amount = self.money(row["amount"])
        if rate.code:
            return LineTax(rate.code, amount)
        return LineTax("", amount, ChargedTax(rate.percent, rate.country, rate.state, row["taxability_reason"]))

    def _quantity(self, row: Row) -> tuple[int, LineTerms | None]:
        """Return how many pieces were billed, and what was agreed for them all.

        The whole quantity of an invoice item cuts off what is after the point (Invoice Line Item, `quantity_decimal`).
        """
        exact = Decimal(row.get("quantity_decimal") or row["quantity"] or 1) or Decimal(1)
        if not is_whole(exact):
            return 1, LineTerms(exact, self.money(row["amount"]).decimal / exact)
        piece = self.terms.get(price_of(row) or "")
        return int(exact), piece and msgspec.structs.replace(piece, quantity=piece.quantity * exact)

    def payments(self, source: Row, rows: list[Row], settles: tuple[str, ...]) -> tuple[Payment, ...]:
        """Return what was paid, as it came in. What is paid outside of Stripe is on the invoice alone, and has its id.

        What was overpaid came with the last payment; Stripe says it of the invoice alone (The Invoice object,
        `amount_overpaid`), and the payment's own amount is what was paid for the invoice. That includes what the
        customer owed before (`starting_balance`), which is more than the invoice as well.
        """
        paid = sorted(
            (each for each in rows if each["status"] == "paid"), key=lambda each: each["status_transitions"]["paid_at"]
        )
        found = [self._payment(each, source["id"]) for each in paid]
        if found and source["amount_overpaid"]:
            more = self.money(source["amount_overpaid"])
            found[-1] = msgspec.structs.replace(found[-1], amount=found[-1].amount + more)
        outside = source["amount_paid"] - sum(each["amount_paid"] for each in paid)
        if source["status"] == "paid" and outside > 0:
            received = self.day(source["status_transitions"]["paid_at"])
            found.append(Payment(f"{source['id']}:out_of_band", source["id"], self.money(outside), received))
        left = self.money(source["total"])
        for place, each in enumerate(found):
            over = each.amount - left
            left = self.money(0) if over.amount > 0 else left - each.amount
            found[place] = msgspec.structs.replace(each, overpaid=over) if over.amount > 0 else each
        if settles and not found:
            received = self.day(source["status_transitions"]["paid_at"])
            found.append(Payment(f"{source['id']}:balance", source["id"], self.money(0), received))
        if settles:
            found[-1] = msgspec.structs.replace(found[-1], settles=settles)
        if source["status_transitions"]["marked_uncollectible_at"]:  # it may be paid or voided all the same
            found = [msgspec.structs.replace(each, recovered=True) for each in found]
        return tuple(found)

    def _payment(self, row: Row, invoice_id: str) -> Payment:
        return Payment(
            id=payment_id(row),
            invoice_id=invoice_id,
            amount=self.money(row["amount_paid"]),
            received_on=self.day(row["status_transitions"]["paid_at"]),
        )

    def money(self, amount: int) -> Money:
        return from_stripe(amount, self.currency)

    def sum(self, rows: list[Row] | None) -> Money:
        return self.money(sum(each["amount"] for each in rows or ()))

    def day(self, timestamp: int) -> date:
        return datetime.fromtimestamp(timestamp, self.zone).date()
