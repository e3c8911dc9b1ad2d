"""Canonical invoices and customers to Tryton's records, and its postings back."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import msgspec
from stdnum import get_cc_module
from stdnum.eu import vat as eu_vat

from canonical.billing import Invoice, InvoiceLine, Payment, Posting
from canonical.credits import below_nothing
from canonical.faults import Rejected
from canonical.money import Money, digits_of, exponent
from canonical.parties import Address, Customer, CustomerCopy
from policies.outbound.ownership import TECHNICAL, Fields

Row = dict[str, Any]
POSTED = ("posted", "paid")
POSTING = [
    "number",
    "state",
    "invoice_date",
    "total_amount",
    "tax_amount",
    "amount_to_pay",
    "accounting_date",
    "currency.code",
    "reference",
]
DRAFTED = [*POSTING, "taxes.tax", "taxes.base", "taxes.amount"]
"""What has to be known of a draft: its taxes too, which become billing's."""
TaxSide = tuple[int, bool]
"""A tax as Tryton keeps it on an invoice: its id, and whether it is on what is charged. What is credited has a row of
its own (`_key` of `account.invoice.tax`, 8.2)."""
PAYING = [
    *POSTING,
    "_timestamp",
    "move",
    "party",
    "company",
    "account",
    "currency",
    "alternative_payees",
    "payment_lines.move.description",
]
"""What has to be known of an invoice to pay it: who may pay, the payments that are booked already, and its stamp."""
CANCELLING = [*POSTING, "move", "account", "payment_lines"]
"""What has to be known of an invoice to take it back: what is booked on whose account, and what was paid."""
HUNDREDTHS = 2
PAYMENT_METHOD = "Billing"
"""The payment method whose account collects what the billing platform owes us until it pays out."""
RECEIVABLE = (["type.receivable", "=", True], ["party_required", "=", True])
"""The accounts that invoices are booked on."""
EXPENSE = (["type.statement", "=", "income"], ["type.revenue", "=", False], ["closed", "=", False])
"""The accounts that may bear what billing takes."""
UNIT_PRICE_DIGITS = 4
OTHER_NUMBERS = {"US": "ein", "ZA": "tin", "UA": "edrpou", "MD": "idno"}
"""What python-stdnum calls the numbers of companies where there is no VAT number."""
CREDITED = "/credit"
"""What the reference of a credit note ends with; what stands before is its invoice's."""
PREVIEWED = "/preview"
"""What the reference of a draft ends with that is made for a preview, and deleted."""
DELTA = ("days", "weeks", "months", "day", "month", "weekday")
"""What a delta of a payment term says (`account.invoice.payment_term.line.delta`, 8.2)."""
ADDRESS = ["street", "postal_code", "city", "country.code"]
"""What is read of an address to say where a customer is."""
IDS = {"": TECHNICAL}
"""The ids of records that are named, and not written to."""
INVOICE = "model.account.invoice.create"
_PARTY = {
    "code": "customer.id",
    "name": "customer.name",
    "addresses": TECHNICAL,
    "addresses.street": "customer.address",
    "addresses.postal_code": "customer.address",
    "addresses.city": "customer.address",
    "addresses.country": "customer.address",
    "addresses.party_name": "customer.name",
    "identifiers": TECHNICAL,
    "identifiers.type": TECHNICAL,
    "identifiers.code": "customer.tax_number customer.id",
    "contact_mechanisms": TECHNICAL,
    "contact_mechanisms.type": TECHNICAL,
    "contact_mechanisms.value": "customer.contact",
}
_USER: Fields = dict.fromkeys(("name", "login", "password", "active", "company", "companies", "groups"), TECHNICAL)
_TEMPLATE: Fields = {"name": "product.name"}
FIELDS: dict[str, Fields] = {
    "model.product.template.create": _TEMPLATE
    | {
        "code": "product.sku",
        "type": TECHNICAL,
        "default_uom": "product.unit",
        "account_category": "product.category",
        "products": TECHNICAL,
    },
    "model.product.template.write": IDS | _TEMPLATE,
    "model.product.product.write": IDS | {"active": "product.active"},
    "model.party.party.create": _PARTY,
    "model.party.party.write": IDS | _PARTY,
    INVOICE: {
        "type": TECHNICAL,
        "company": "invoice.legal_entity",
        "journal": TECHNICAL,
        "account": TECHNICAL,
        "currency": "invoice.total",
        "party": "invoice.customer_id",
        "invoice_address": "invoice.customer_id invoice.bill_to",
        "reference": "invoice.id",
        "description": "invoice.purchase_order invoice.number invoice.contract_id order.correlation_id",
        "payment_term": "invoice.due_on",
        "payment_term_date.*": "invoice.due_on invoice.issued_on",
        "comment": "invoice.custom",
        "invoice_date.*": "invoice.issued_on",
        "accounting_date.*": "invoice.issued_on",
        "lines": TECHNICAL,
        "lines.type": TECHNICAL,
        "lines.product": "invoice.lines",
        "lines.unit": TECHNICAL,
        "lines.account": TECHNICAL,
        "lines.currency": "invoice.total",
        "lines.quantity": "invoice.lines",
        "lines.unit_price.*": "invoice.lines",
        "lines.description": "invoice.lines",
        "lines.taxes": "invoice.lines invoice.tax_treatment",
        "lines.taxes_date.*": "invoice.issued_on",
    },
    "model.party.address.create": {
        "party": TECHNICAL,
        "invoice": TECHNICAL,
        "street": "invoice.bill_to",
        "postal_code": "invoice.bill_to",
        "city": "invoice.bill_to",
        "country": "invoice.bill_to",
        "party_name": "invoice.bill_to",
    },
    "model.account.invoice.write": {
        **IDS,
        "accounting_date.*": "invoice.issued_on",
        "invoice_date.*": "invoice.issued_on",
        "taxes": TECHNICAL,
        "taxes.amount.*": "invoice.tax",
        "payment_lines": TECHNICAL,
    },
    "model.account.move.create": {
        "company": TECHNICAL,
        "journal": TECHNICAL,
        "period": TECHNICAL,
        "origin": TECHNICAL,
        "date.*": "reversal.reversed_on fee.taken_on",
        "description": "reversal.id fee.id",
        "lines": TECHNICAL,
        "lines.account": TECHNICAL,
        "lines.description": "fee.dispute_id",
        "lines.party": TECHNICAL,
        "lines.second_currency": TECHNICAL,
        "lines.debit.*": "reversal.amount fee.amount",
        "lines.credit.*": "reversal.amount fee.amount",
        "lines.amount_second_currency.*": "reversal.amount fee.amount",
        "lines.maturity_date.*": "reversal.reversed_on",
    },
    "model.account.move.post": IDS,
    "model.account.move.delete": IDS,
    "wizard.account.move.cancel.create": {},
    "wizard.account.move.cancel.execute": {"default.reversal": TECHNICAL},
    "wizard.account.move.cancel.delete": {},
    "wizard.account.move.line.reschedule.create": {},
    "wizard.account.move.line.reschedule.execute": {
        "preview.journal": TECHNICAL,
        "preview.currency": TECHNICAL,
        "preview.description": "invoice.id reversal.id",
        "preview.terms": TECHNICAL,
        "preview.terms.date.*": "reversal.reversed_on invoice.issued_on",
        "preview.terms.amount.*": "reversal.amount invoice.total",
        "preview.terms.currency": TECHNICAL,
    },
    "wizard.account.move.line.reschedule.delete": {},
    "model.account.invoice.post": IDS,
    "model.account.invoice.delete": IDS,
    "wizard.account.invoice.pay.create": {},
    "wizard.account.invoice.pay.execute": {
        "start.payee": TECHNICAL,
        "start.payees": TECHNICAL,
        "start.currency": "payment.amount",
        "start.company": TECHNICAL,
        "start.invoice_account": TECHNICAL,
        "start.amount.*": "payment.amount",
        "start.date.*": "payment.received_on",
        "start.description": "payment.id",
        "start.payment_method": TECHNICAL,
        "ask.*": TECHNICAL,
        "ask.type": "payment.overpaid",
    },
    "wizard.account.invoice.pay.delete": {},
    "wizard.account.move.reconcile_lines.create": {},
    "wizard.account.move.reconcile_lines.execute": {
        "writeoff.writeoff": TECHNICAL,
        "writeoff.date.*": "invoice.cancelled_on",
        "writeoff.description": "invoice.id",
    },
    "wizard.account.move.reconcile_lines.delete": {},
    "wizard.account.move.unreconcile_lines.create": {},
    "wizard.account.move.unreconcile_lines.execute": {},
    "wizard.account.move.unreconcile_lines.delete": {},
    "model.account.invoice.payment.method.create": dict.fromkeys(
        ("name", "company", "journal", "credit_account", "debit_account"), TECHNICAL
    ),
    "model.account.invoice.payment.method.delete": IDS,
    "model.ir.note.create": {"resource": TECHNICAL, "message": TECHNICAL},
    "model.ir.note.delete": IDS,
    "model.res.user.create": _USER,
    "model.res.user.write": {**IDS, **_USER},
    "model.res.user.warning.skip": {},
}
"""The fields that each method may write, each with its field of the canonical model."""


def decimal(value: Decimal) -> Row:
    return {"__class__": "Decimal", "decimal": str(value)}


def from_decimal(value: Row | None) -> Decimal:
    return Decimal(value["decimal"]) if value else Decimal(0)


def day(value: date) -> Row:
    return {"__class__": "date", "year": value.year, "month": value.month, "day": value.day}


def from_day(value: Row) -> date:
    return date(value["year"], value["month"], value["day"])


def moment(value: datetime) -> Row:
    """Return a moment as Tryton writes it: in UTC, without a zone."""
    utc = value.astimezone(UTC)
    time = {"hour": utc.hour, "minute": utc.minute, "second": utc.second, "microsecond": utc.microsecond}
    return {**day(utc.date()), "__class__": "datetime", **time}


def party(customer: Customer, countries: dict[str, int], identifier_types: Collection[str]) -> Row:
    """Return a new party. Its code is the canonical id, which Tryton keeps unique."""
    address = customer.address
    postal = postal_address(customer.name, address, countries)
    made: Row = {"code": customer.id, "name": customer.name, "addresses": [["create", [postal]]]}
    if customer.tax_number:
        kind = identifier_type(customer.tax_number, address.country, identifier_types)
        made["identifiers"] = [["create", [{"type": kind, "code": customer.tax_number}]]]
    if customer.contact and customer.contact.email:
        made["contact_mechanisms"] = [["create", [{"type": "email", "value": customer.contact.email}]]]
    return made


def postal_address(name: str, address: Address, countries: dict[str, int]) -> Row:
    return {
        "street": address.street,
        "postal_code": address.postal_code,
        "city": address.city,
        "country": countries.get(address.country),
        "party_name": name,
    }


def customer_copy(
    party: Row, addresses: Sequence[Row], mails: Sequence[Row], source: Customer, tax_number: str
) -> CustomerCopy:
    """Return what Tryton holds of a customer, whose owners say `source`: of its addresses and e-mails the first one,
    which is the one that is written. Of a state it keeps none that we write."""
    first: Row = addresses[0] if addresses else {}
    country: Row = first.get("country.") or {}
    street, postal_code, city = (first.get(name) or "" for name in ("street", "postal_code", "city"))
    address = Address(street, postal_code, city, country.get("code", ""), source.address.state)
    mail: str = next((each["value"] or "" for each in mails), "")
    return CustomerCopy(str(party["id"]), party["name"] or "", address, mail, tax_number)


def identifier_type(number: str, country: str, known: Collection[str]) -> str | None:
    """Return Tryton's type of a company's tax number, None for a number of no kind that Tryton checks.

    `known` are the types that this Tryton has. VAT numbers are called `eu_vat`, `ch_vat` and so on, whatever
    python-stdnum calls them (`replace_vat` of its module party, 8.2).
    """
    if eu_vat.is_valid(number):
        return "eu_vat"
    code = country.lower()
    name = OTHER_NUMBERS.get(country, "vat")
    module = get_cc_module(code, name) if code else None
    kind = f"{code}_{name}"
    return kind if module and module.is_valid(number) and kind in known else None


def invoice(
    source: Invoice,
    party_id: int,
    address: int,
    books: Row,
    lines: list[Row],
    correlation_id: str,
    custom_fields: Mapping[str, str],
) -> Row:
    """Return a draft. `books` holds the ids of company, journal, receivable account and currency, and of the payment
    term if there is one; `custom_fields` names the field of each custom field that has one.

    The day from which Tryton reckons a payment term is the one on which the invoice was issued, whatever day it is
    posted on; without a term, it is the day on which the invoice is due (`get_move` of `account.invoice`, 8.2).
    Its reference is billing's id.
    """
    bought = f"PO {source.purchase_order}" if source.purchase_order else ""
    about = " ".join(filter(None, (bought, source.number, source.contract_id, correlation_id)))
    issued = day(source.issued_on)
    term = books.get("payment_term")
    due = {"payment_term": term, "payment_term_date": issued} if term else {}
    if source.due_on and not term:
        due = {"payment_term_date": day(source.due_on)}
    return {
        **due,
        "type": "out",
        "company": books["company"],
        "journal": books["journal"],
        "account": books["receivable"],
        "currency": books["currency"],
        "party": party_id,
        "invoice_address": address,
        "reference": source.id,
        "description": about,
        "invoice_date": issued,
        "accounting_date": issued,
        "lines": [["create", lines]],
        **_custom(source, custom_fields),
    }


def days_of_term(term: Row) -> int | None:
    """Return after how many days all is due by a payment term; None for one that is about parts, months or weekdays."""
    lines: list[Row] = term["lines."]
    deltas: list[Row] = [each for line in lines for each in line["relativedeltas."]]
    if [each["type"] for each in lines] != ["remainder"] or any(
        each[name] not in (None, 0) for each in deltas for name in DELTA if name != "days"
    ):
        return None
    return sum(each["days"] for each in deltas)


def _custom(source: Invoice, fields: Mapping[str, str]) -> Row:
    """Return the custom fields: each in its own, those that have none in the comment."""
    noted = [f"{name}: {value}" for name, value in source.custom.items() if name not in fields]
    own = {fields[name]: value for name, value in source.custom.items() if name in fields}
    return own | ({"comment": "\n".join(noted)} if noted else {})


def taxes_of(source: InvoiceLine, of: Invoice) -> dict[str, Money]:
    """Return the taxes of a line by code. A line that names none has the one of the invoice's treatment."""
    if not source.taxes:
        return {of.tax_treatment: source.tax}
    found: dict[str, Money] = {}
    for each in source.taxes:
        found[each.code] = found[each.code] + each.amount if each.code in found else each.amount
    return found


def taxes_by_side(of: Invoice, tax: Callable[[str], int]) -> dict[TaxSide, Money]:
    """Return the taxes of an invoice as Tryton keeps them apart. `tax` returns the ERP's id of the tax with a code."""
    found: dict[TaxSide, Money] = {}
    for each in of.lines:
        for code, amount in taxes_of(each, of).items():
            side = tax(code), each.net.amount >= 0
            found[side] = found[side] + amount if side in found else amount
    return found


def tax_changes(present: list[Row], wanted: dict[TaxSide, Money], lines: int) -> list[Any]:
    """Return what to write to the taxes of a draft, so that they are the `wanted` amounts.

    Rounding can differ for each of the `lines` by one minor unit, and by ten in a currency with three digits, which
    billing charges in hundredths. Raises `Rejected` for more, and for a tax that one side has alone.
    """
    rows = {(each["tax"], from_decimal(each["base"]) >= 0): each for each in present}
    changes: list[Any] = []
    for side in sorted(rows.keys() | {each for each, amount in wanted.items() if amount.amount}):
        due = wanted.get(side)
        worked_out = from_decimal(rows[side]["amount"]) if side in rows else None
        if due is None or worked_out is None or not _is_rounding(Money.of(worked_out, due.currency) - due, lines):
            reason = f"Tryton works out {worked_out} of a tax that is {due} in billing"
            raise Rejected("erp", reason, field="tax")
        if due.decimal != worked_out:
            changes.append(["write", [rows[side]["id"]], {"amount": decimal(due.decimal)}])
    return changes


def _is_rounding(difference: Money, lines: int) -> bool:
    step = 10 ** max(exponent(difference.currency) - HUNDREDTHS, 0)
    return abs(difference.amount) <= lines * step


def quantity_and_price(source: InvoiceLine, digits: int) -> tuple[Decimal, Decimal]:
    """Return how many units of a line are booked at which price, so that Tryton makes its amount of them.

    `digits` are those of the unit. What is credited is a quantity below nothing, as in Tryton's own credit notes
    (`_credit` of `account.invoice.line`, 8.2). Tryton rounds quantity times price to the currency, halves to even
    (`amount`). Where neither the price that was agreed nor the one that follows from the amount gives the amount, and
    where the unit does not take the quantity, the line is one piece of the whole amount.
    """
    net = source.net.decimal
    units = abs(source.agreed.quantity if source.agreed else Decimal(source.quantity)).copy_sign(net)
    if units and digits_of(units) <= digits:
        prices = [abs(source.agreed.unit_price)] if source.agreed else []
        for price in (*prices, round(net / units, UNIT_PRICE_DIGITS)):
            if digits_of(price) <= UNIT_PRICE_DIGITS and round(units * price, exponent(source.net.currency)) == net:
                return units, price
    return Decimal(1).copy_sign(net), abs(net)


def line(source: InvoiceLine, product: Row, taxes: list[int], currency: int, taxed_on: date) -> Row:
    """Return a line of a draft, taxed as of the day `taxed_on`, whatever day it is posted on."""
    quantity, unit_price = quantity_and_price(source, product["digits"])
    period = f"{source.period_start.isoformat()} – {source.period_end.isoformat()}"
    agreed = source.agreed.in_words(source.net.currency) if source.agreed else ""
    return {
        "type": "line",
        "product": product["id"],
        "unit": product["default_uom"],
        "account": product["account"],
        "currency": currency,
        "quantity": float(quantity),
        "unit_price": decimal(unit_price),
        "description": ", ".join(filter(None, (source.description, agreed, period))),
        "taxes": [["add", taxes]],
        "taxes_date": day(taxed_on),
    }


def credit_note(source: Invoice) -> Invoice:
    """Return the credit note of a whole invoice, on the day on which it was cancelled, as an invoice below nothing."""
    return msgspec.structs.replace(
        source,
        id=f"{source.id}{CREDITED}",
        number=f"credit of {source.number}",
        issued_on=source.cancelled_on or source.issued_on,
        total=-source.total,
        tax=-source.tax,
        balance=-source.total,
        lines=tuple(map(below_nothing, source.lines)),
        payments=(),
    )


def payment(source: Payment, row: Row, on: date, method: int) -> Row:
    """Return the form of Tryton's wizard for paying the invoice `row`. The move's description is billing's id."""
    others: list[int] = row["alternative_payees"] or []
    return {
        "payee": others[0] if len(others) == 1 else row["party"],
        "payees": [row["party"], *others],
        "currency": row["currency"],
        "company": row["company"],
        "invoice_account": row["account"],
        "amount": decimal(source.amount.decimal),
        "date": day(on),
        "description": source.id,
        "payment_method": method,
    }


def payment_type(source: Payment, due: Money) -> str:
    """Return what Tryton is to make of a payment, as its wizard calls it; empty for exactly what is `due`.

    Raises `Rejected` for more than is due, unless billing says that so much of it was overpaid.
    """
    over = source.overpaid or Money.zero(due.currency)
    if source.amount == due and not over.amount:
        return ""
    if source.amount.amount < due.amount and not over.amount:
        return "partial"
    if over.amount and source.amount == due + over:
        return "overpayment"
    raise Rejected("erp", f"the payment of {source.amount} is not the {due} that is due", field="amount")


def posting(row: Row) -> Posting:
    """Return what is booked for a record. The day is the one in the books, whatever day its number is of."""
    currency = row["currency."]["code"]
    return Posting(
        number=row["number"] or "",
        total=Money.of(from_decimal(row["total_amount"]), currency),
        tax=Money.of(from_decimal(row["tax_amount"]), currency),
        balance=Money.of(from_decimal(row["amount_to_pay"]), currency),
        posted_on=from_day(row["accounting_date"] or row["invoice_date"]),
        reference=row["reference"],
    )


def previewed(draft: Row, invoice_id: str, on: date) -> Posting:
    """Return what would be booked for an invoice on the day `on`: all of it is due, as it is not of a draft."""
    drafted = posting(draft)
    return msgspec.structs.replace(drafted, balance=drafted.total, posted_on=on, reference=invoice_id)


def left_of(lines: list[Row]) -> Decimal:
    """Return the sum of lines on an account, debit less credit: in the currency of their invoices where it is one,
    since that is what Tryton reconciles by, and books the difference of the rates (`reconcile` of `account.move.line`,
    8.2)."""
    if len({each["second_currency"] for each in lines}) == 1 and lines[0]["second_currency"]:
        return sum((from_decimal(each["amount_second_currency"]) for each in lines), Decimal(0))
    return sum((from_decimal(each["debit"]) - from_decimal(each["credit"]) for each in lines), Decimal(0))
