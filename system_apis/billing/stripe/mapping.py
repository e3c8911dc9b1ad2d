"""Canonical contracts and customers to Stripe's parameters, and Stripe's invoices back."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any, cast

from canonical.billing import Contract, Invoice, InvoiceLine, InvoiceState, LineTax, Payment
from canonical.deals import PricedLine
from canonical.money import Money
from canonical.parties import Customer
from canonical.tax import TaxTreatment
from policies.outbound.ownership import TECHNICAL, Fields
from system_apis.billing.stripe import amounts, tax_ids
from system_apis.billing.stripe.amounts import from_stripe
from system_apis.billing.stripe.parts import MAX_VALUE, Item, Part, price_key
from system_apis.billing.stripe.tax_ids import TaxId

Row = dict[str, Any]
HOLD = timedelta(days=180)
"""How long after its planned start a schedule waits for provisioning before Stripe would start it."""
DAYS_UNTIL_DUE = 30
FIELDS: dict[str, Fields] = {
    "customers": {
        "name": "customer.name",
        "email": "customer.contact",
        "address.*": "customer.address",
        "tax_exempt": "customer.tax_treatment",
        "metadata.tiergate_id": "customer.id",
        "metadata.tiergate_parent": "customer.parent_id",
        "metadata.tiergate_correlation": "order.correlation_id",
        "metadata.tiergate_tax_number": "customer.tax_number",
        "payment_method": "customer.payment_method",
        "invoice_settings.default_payment_method": "customer.payment_method",
    },
    "customers/tax_ids": {"type": TECHNICAL, "value": "customer.tax_number"},
    "payment_methods/attach": {"customer": "customer.references"},
    "products": {"id": "line.sku", "name": "line.name"},
    "prices": {
        "product": "line.sku",
        "currency": "line.unit_price",
        "unit_amount": "line.unit_price",
        "lookup_key": "line.sku",
        "recurring.interval": "line.interval",
    },
    "tax_rates": {
        "display_name": TECHNICAL,
        "inclusive": TECHNICAL,
        "percentage": "line.tax_percent",
        "description": "contract.legal_entity",
        "metadata.tiergate_key": "line.tax",
    },
    "subscription_schedules": {
        "customer": "contract.customer_id",
        "start_date": "contract.starts_on",
        "end_behavior": TECHNICAL,
        "expand": TECHNICAL,
        "metadata.tiergate_key": "contract.id",
        "metadata.tiergate_correlation": "order.correlation_id",
        "phases.start_date": "contract.starts_on",
        "phases.duration.*": "contract.term_months",
        "phases.collection_method": "contract.state",
        "phases.invoice_settings.days_until_due": "contract.state",
        "phases.items.price": "contract.lines",
        "phases.items.quantity": "line.quantity",
        "phases.items.tax_rates": "line.tax",
        "phases.items.metadata.*": "line.id",
        "phases.add_invoice_items.price": "contract.lines",
        "phases.add_invoice_items.quantity": "line.quantity",
        "phases.add_invoice_items.tax_rates": "line.tax",
        "phases.add_invoice_items.metadata.*": "line.id",
        "phases.default_tax_rates": "contract.tax",
        "phases.metadata.tiergate_contract": "contract.id",
        "phases.metadata.tiergate_order": "order.id",
        "phases.metadata.tiergate_customer": "customer.id",
        "phases.metadata.tiergate_legal_entity": "contract.legal_entity",
        "phases.metadata.tiergate_tax": "contract.tax",
        "phases.metadata.tiergate_correlation": "order.correlation_id",
    },
}
"""The fields that may be written, each with its field of the canonical model. Finalizing, paying and cancelling write
none.
"""
TAX_EXEMPT: dict[TaxTreatment, str] = {"standard": "none", "reverse_charge": "reverse", "outside_scope": "exempt"}


def customer(source: Customer, correlation_id: str) -> Row:
    address = source.address
    return {
        "name": source.name,
        "email": source.contact.email if source.contact and source.contact.email else None,
        "address": {
            "line1": address.street,
            "postal_code": address.postal_code,
            "city": address.city,
            "country": address.country,
        },
        "tax_exempt": TAX_EXEMPT[source.tax_treatment],
        "metadata": {
            "tiergate_id": source.id,
            "tiergate_parent": source.parent_id,
            "tiergate_correlation": correlation_id,
            "tiergate_tax_number": tax_number(source) or None,
        },
    }


def tax_id(source: Customer) -> TaxId | None:
    """Return the customer's tax number as Stripe takes it; None where there is none, or one of an unknown kind."""
    return tax_ids.tax_id(source.tax_number, source.address.country) if source.tax_number else None


def tax_number(source: Customer) -> str:
    """Return the tax number as it is noted in the metadata, also of a kind that Stripe does not know."""
    known = tax_id(source)
    return known.value if known else (source.tax_number or "")[:MAX_VALUE]


def holds(present: Any, wanted: Any) -> bool:
    """Return whether `present`, what Stripe has, equals `wanted`.

    An address is compared in the parts that are given.
    """
    if isinstance(wanted, dict):
        parts = cast("Row", present or {})
        return all((parts.get(name) or "") == (value or "") for name, value in cast("Row", wanted).items())
    return present == wanted


def at_creation(source: Customer) -> Row:
    """Return what a new customer gets beside its own fields: its default payment method."""
    method = source.payment_method
    return {
        "payment_method": method,
        "invoice_settings": {"default_payment_method": method} if method else None,
    }


def price(line: PricedLine) -> Row:
    return {
        "product": line.sku,
        "currency": line.unit_price.currency.lower(),
        "unit_amount": amounts.to_stripe(line.unit_price, "line.unit_price"),
        "lookup_key": price_key(line),
        "recurring": None if line.interval == "one_time" else {"interval": line.interval},
    }


def tax_key(contract: Contract, line: PricedLine) -> str:
    """Return the natural key of the tax rate of a line: legal entity, code of the tax and percentage."""
    return ":".join((contract.legal_entity, *contract.tax_of(line)))


def tax_code(rate: Row) -> str:
    """Return the code of the tax that a rate of ours stands for; empty for one that somebody else made."""
    parts = (rate["metadata"].get("tiergate_key") or "").split(":")
    return parts[1] if len(parts) == len(("legal entity", "code", "percentage")) else ""


def tax_rate(contract: Contract, line: PricedLine) -> Row:
    code, percent = contract.tax_of(line)
    return {
        "display_name": "VAT",
        "inclusive": False,
        "percentage": percent,
        "description": f"{contract.legal_entity} {code}",
        "metadata": {"tiergate_key": tax_key(contract, line)},
    }


def contract_key(contract: Contract, place: int = 1) -> str:
    """Return the natural key of a contract's schedule, or of a further one: `place` counts them from 1.

    No id of ours has a `#`, so no other contract has such a key.
    """
    key = f"{contract.id}:{contract.group}"
    return key if place == 1 else f"{key}#{place}"


def phase(
    contract: Contract, part: Part, prices: dict[str, str], tax_rates: dict[str, str], correlation_id: str
) -> Row:
    """Return the one phase of a new schedule. Its metadata becomes the subscription's, and is on each invoice.

    `prices` and `tax_rates` hold Stripe's ids by natural key. The first item's rate is the phase's, others have theirs.
    """

    def rate(item: Item) -> str:
        return tax_rates[tax_key(contract, item.lines[0])]

    default = rate((*part.recurring, *part.once)[0])

    def items(wanted: tuple[Item, ...]) -> list[Row]:
        return [
            {
                "price": prices[price_key(each.lines[0])],
                "quantity": each.quantity,
                "tax_rates": None if rate(each) == default else [rate(each)],
                "metadata": each.metadata(),
            }
            for each in wanted
        ]

    return {
        "items": items(part.recurring),
        "add_invoice_items": items(part.once),
        "default_tax_rates": [default],
        "duration": {"interval": "month", "interval_count": contract.term_months},
        "metadata": {
            "tiergate_contract": contract.id,
            "tiergate_order": contract.order_id,
            "tiergate_customer": contract.customer_id,
            "tiergate_legal_entity": contract.legal_entity,
            "tiergate_tax": contract.tax,
            "tiergate_correlation": correlation_id,
        },
    }


def held_until(contract: Contract) -> int:
    midnight = datetime(contract.starts_on.year, contract.starts_on.month, contract.starts_on.day, tzinfo=UTC)
    return int((midnight + HOLD).timestamp())


def invoice(source: Row, lines: list[Row], payments: list[Row], tax_codes: dict[str, str]) -> Invoice:
    """Return a Stripe invoice as a canonical one. `lines` and `payments` are complete lists, `tax_codes` holds the code
    of each tax rate by its id.

    Raises `KeyError` or `TypeError` for an invoice that belongs to no contract of ours.
    """
    currency = source["currency"].upper()
    metadata: Row = source["parent"]["subscription_details"]["metadata"]
    finalized = source["status_transitions"]["finalized_at"] or source["created"]
    return Invoice(
        id=source["id"],
        number=source["number"] or "",
        customer_id=metadata["tiergate_customer"],
        contract_id=metadata["tiergate_contract"],
        legal_entity=metadata["tiergate_legal_entity"],
        state=cast("InvoiceState", source["status"]),
        issued_on=_day(finalized),
        total=from_stripe(source["total"], currency),
        tax=_taxes(source["total_taxes"], currency),
        balance=from_stripe(source["amount_remaining"], currency),
        tax_treatment=cast("TaxTreatment", metadata["tiergate_tax"]),
        lines=tuple(_line(each, currency, tax_codes) for each in lines),
        payments=_payments(source, payments, currency),
    )


def _line(row: Row, currency: str, tax_codes: dict[str, str]) -> InvoiceLine:
    """Return a line. One that was made by hand may have no price, no quantity and no description.

    It is one piece of its amount then, and of no product of ours.
    """
    start, end = _day(row["period"]["start"]), _day(row["period"]["end"])
    pricing: Row = row["pricing"] or {}
    product: Row = pricing.get("price_details") or {}
    return InvoiceLine(
        sku=product.get("product") or "",
        description=row["description"] or "",
        quantity=row["quantity"] or 1,
        net=from_stripe(row["amount"], currency),
        tax=_taxes(row["taxes"], currency),
        period_start=start,
        period_end=max(start, end - timedelta(days=1)),
        taxes=tuple(LineTax(tax_codes[rate_of(each)], from_stripe(each["amount"], currency)) for each in row["taxes"] or ()),
    )


def rate_of(tax: Row) -> str:
    """Return the id of the rate by which a tax was charged."""
    return tax["tax_rate_details"]["tax_rate"]


def _payments(source: Row, rows: list[Row], currency: str) -> tuple[Payment, ...]:
    """Return what was paid. What is paid outside of Stripe is on the invoice alone, and has its id."""
    paid = [each for each in rows if each["status"] == "paid"]
    found = [_payment(each, source["id"], currency) for each in paid]
    outside = source["amount_paid"] - sum(each["amount_paid"] for each in paid)
    if source["status"] == "paid" and outside > 0:
        received = _day(source["status_transitions"]["paid_at"])
        found.append(
            Payment(f"{source['id']}:out_of_band", source["id"], from_stripe(outside, currency), received),
        )
    return tuple(found)


def _payment(row: Row, invoice_id: str, currency: str) -> Payment:
    """Return a payment under the id of the payment intent, charge or payment record that it is."""
    return Payment(
        id=row["payment"].get(row["payment"]["type"]) or row["id"],
        invoice_id=invoice_id,
        amount=from_stripe(row["amount_paid"], currency),
        received_on=_day(row["status_transitions"]["paid_at"]),
    )


def _taxes(rows: list[Row] | None, currency: str) -> Money:
    return from_stripe(sum(each["amount"] for each in rows or ()), currency)


def _day(timestamp: int) -> date:
    return datetime.fromtimestamp(timestamp, UTC).date()
