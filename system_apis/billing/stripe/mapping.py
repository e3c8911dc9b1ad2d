"""Canonical contracts and customers to Stripe's parameters, and Stripe's invoices back."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, time, timedelta, tzinfo
from decimal import Decimal
from typing import Any, cast

import msgspec

from canonical.billing import Contract
from canonical.deals import MONTHS, Custom, PricedLine, plain
from canonical.faults import Rejected
from canonical.money import Money, exponent
from canonical.parties import Address, Customer, CustomerCopy, Recipient, compact_number
from canonical.products import ListInterval, ListPrice
from canonical.tax import STANDARD_CLASS, TaxTreatment
from policies.outbound.ownership import TECHNICAL, Fields
from system_apis.billing.stripe import amounts, parts, tax_ids
from system_apis.billing.stripe.parts import LINE, MAX_VALUE, Item, Part, price_key
from system_apis.billing.stripe.tax_ids import TaxId

Row = dict[str, Any]
BY_BILLING = "billing"
"""What the metadata says of the tax of a contract about which Stripe Tax decides."""
HOLD = timedelta(days=730)
"""How long a schedule waits for provisioning before Stripe would start it, from its first day or from now."""
DAYS_UNTIL_DUE = 30
PURCHASE_ORDER = "PO number"
"""The name of the custom field of an invoice."""
BILL_TO = "tiergate_bill_to"
LIST = "tiergate_list"
"""The metadata of a list price: its lookup key, which goes to the next one when the price changes."""
YEAR = 12
OVER = "canceled"
"""The state of a schedule that bills nothing more. The subscription of one that was released, or completed its last
phase, goes on (Subscription schedules: Completing a schedule)."""
EVIDENCE = {
    "explanation": "uncategorized_text",
    "product": "product_description",
    "service_on": "service_date",
    "usage": "access_activity_log",
    "cancellation_terms": "cancellation_policy_disclosure",
    "no_cancellation": "cancellation_rebuttal",
    "refund_terms": "refund_policy_disclosure",
    "no_refund": "refund_refusal_explanation",
    "not_twice": "duplicate_charge_explanation",
}
"""What Stripe calls each text of an answer to a bank (API reference: The Dispute object, `evidence`)."""
FIELDS: dict[str, Fields] = {
    "customers": {
        "name": "customer.name",
        "email": "customer.contact contract.invoicing",
        "address.*": "customer.address",
        "tax.validate_location": TECHNICAL,
        "tax_exempt": "customer.tax_treatment",
        "metadata.tiergate_id": "customer.id",
        "metadata.tiergate_parent": "customer.parent_id",
        "metadata.tiergate_correlation": "order.correlation_id",
        "metadata.tiergate_tax_number": "customer.tax_number",
        "metadata.tiergate_email": "customer.contact",
        "payment_method": "customer.payment_method",
        "invoice_settings.default_payment_method": "customer.payment_method",
    },
    "customers/tax_ids": {"type": TECHNICAL, "value": "customer.tax_number"},
    "payment_methods/attach": {"customer": "customer.references"},
    "webhook_endpoints": dict.fromkeys(
        ("url", "enabled_events", "api_version", "disabled", "metadata.tiergate"), TECHNICAL
    ),
    "products": {
        "id": "line.sku product.sku",
        "name": "line.name product.name",
        "tax_code": "line.tax_class",
        "active": "product.active",
        "default_price": "product.prices",
    },
    "prices": {
        "product": "line.sku",
        "currency": "line.unit_price",
        "unit_amount": "line.unit_price",
        "unit_amount_decimal": "line.unit_price",
        "nickname": "line.agreed",
        "metadata.tiergate_list": "product.prices",
        "metadata.*": "line.agreed",
        "active": "product.prices",
        "lookup_key": "line.sku",
        "transfer_lookup_key": TECHNICAL,
        "tax_behavior": TECHNICAL,
        "recurring.interval": "line.interval",
        "recurring.interval_count": "line.billing_months",
        "recurring.usage_type": "line.meter",
        "recurring.meter": "line.meter",
    },
    "tax_rates": {
        "display_name": TECHNICAL,
        "inclusive": TECHNICAL,
        "percentage": "line.tax_percent",
        "description": "contract.legal_entity",
        "metadata.tiergate_key": "line.tax",
    },
    "subscriptions": {
        "items.id": TECHNICAL,
        "items.price": "contract.lines",
        "items.quantity": "line.quantity",
        "items.deleted": "contract.lines",
        "items.tax_rates": "line.tax",
        "items.metadata.*": "line.id",
        "invoice_settings.description": "line.agreed",
        "metadata.tiergate_changes": "change.id",
        "metadata.tiergate_transfer": "change.id",
        "proration_behavior": "change.settlement",
        "proration_date": "change.effective_at",
        "cancel_at_period_end": "contract.state",
        "cancel_at": "contract.term_months",
        "pause_collection": "contract.state",
        "pause_collection.behavior": "contract.state",
        "pause_collection.resumes_at": "contract.state",
        "off_session": TECHNICAL,
    },
    "invoices": {"auto_advance": TECHNICAL},
    "credit_notes": {
        "invoice": "credit_order.invoice_id",
        "lines.type": TECHNICAL,
        "lines.invoice_line_item": "credit_order.lines",
        "lines.quantity": "credit_order.lines",
        "lines.amount": "credit_order.lines",
        "reason": "credit_order.reason",
        "email_type": TECHNICAL,
        "refund_amount": "credit_order.refund",
        "credit_amount": "credit_order.to_balance",
        "out_of_band_amount": "credit_order.outside",
        "refunds.*": "credit_order.refunds",
        "metadata.tiergate_correction": "credit_order.id",
        "metadata.tiergate_reason": "credit_order.text",
    },
    "refunds": {
        "payment_intent": "refund_order.payment_id",
        "amount": "refund_order.amount",
        "metadata.tiergate_correction": "refund_order.id",
    },
    "billing": {
        "display_name": "contract.id line.meter",
        "default_aggregation.formula": TECHNICAL,
        "event_name": "contract.id line.meter",
        "identifier": "usage.id",
        "timestamp": "usage.ends_at",
        "payload.*": "contract.customer_id usage.quantity",
    },
    "invoiceitems": {
        "customer": "contract.customer_id",
        "subscription": "contract.id",
        "price_data.currency": "line.unit_price",
        "price_data.product": "line.sku",
        "price_data.unit_amount_decimal": "line.unit_price",
        "price_data.tax_behavior": TECHNICAL,
        "quantity_decimal": "usage.quantity",
        "description": TECHNICAL,
        "period.*": "usage.ends_at",
        "tax_rates": "line.tax",
        "discountable": TECHNICAL,
        "metadata.tiergate_usage_correction": "usage.id",
    },
    "disputes": {"submit": TECHNICAL} | {f"evidence.{name}": f"evidence.{ours}" for ours, name in EVIDENCE.items()},
    "disputes/close": {},
    "subscription_schedules/cancel": {"invoice_now": TECHNICAL, "prorate": TECHNICAL},
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
        "phases.invoice_settings.days_until_due": "contract.state contract.invoicing",
        "phases.invoice_settings.custom_fields.*": "contract.invoicing",
        "phases.invoice_settings.footer": "contract.invoicing",
        "phases.invoice_settings.description": "line.agreed",
        "phases.items.price": "contract.lines",
        "phases.items.quantity": "line.quantity",
        "phases.items.tax_rates": "line.tax",
        "phases.items.metadata.*": "line.id",
        "phases.add_invoice_items.price": "contract.lines",
        "phases.add_invoice_items.quantity": "line.quantity",
        "phases.add_invoice_items.tax_rates": "line.tax",
        "phases.add_invoice_items.metadata.*": "line.id",
        "phases.default_tax_rates": "contract.tax",
        "phases.automatic_tax.enabled": "contract.tax",
        "phases.metadata.tiergate_contract": "contract.id",
        "phases.metadata.tiergate_order": "order.id",
        "phases.metadata.tiergate_customer": "customer.id",
        "phases.metadata.tiergate_legal_entity": "contract.legal_entity",
        "phases.metadata.tiergate_tax": "contract.tax",
        "phases.metadata.tiergate_correlation": "order.correlation_id",
        "phases.metadata.tiergate_bill_to": "contract.invoicing",
        "phases.metadata.tiergate_changes": "change.id",
        "phases.metadata.*": "contract.custom",
    },
}
"""The fields that may be written, each with its field of the canonical model. Finalizing, paying and cancelling write
none.
"""
CUSTOM = "custom_"
"""What the key of a custom field begins with. Metadata has 50 keys at most, of 40 characters each, with values of 500
(API reference: Metadata); a contract has no more and no longer ones (`canonical.deals`)."""
TAX_EXEMPT: dict[TaxTreatment, str] = {"standard": "none", "reverse_charge": "reverse", "outside_scope": "exempt"}


class Rate(msgspec.Struct, frozen=True):
    """What a tax rate stands for: the code of ours, empty for one that somebody else made, and what it is of where."""

    code: str
    percent: Decimal
    country: str = ""
    state: str = ""


def customer(source: Customer, correlation_id: str) -> Row:
    address = source.address
    mail = source.contact.email if source.contact and source.contact.email else None
    return {
        "name": source.name,
        "email": mail,
        "address": {
            "line1": address.street,
            "postal_code": address.postal_code,
            "city": address.city,
            "state": address.state,
            "country": address.country,
        },
        "tax_exempt": TAX_EXEMPT[source.tax_treatment],
        "metadata": {
            "tiergate_id": source.id,
            "tiergate_parent": source.parent_id,
            "tiergate_correlation": correlation_id,
            "tiergate_tax_number": tax_number(source) or None,
            "tiergate_email": mail,
        },
    }


def tax_id(source: Customer) -> TaxId | None:
    """Return the customer's tax number as Stripe takes it; None where there is none, or one of an unknown kind."""
    return tax_ids.tax_id(source.tax_number, source.address.country) if source.tax_number else None


def tax_number(source: Customer) -> str:
    """Return the tax number as it is noted in the metadata, also of a kind that Stripe does not know."""
    known = tax_id(source)
    return known.value if known else (source.tax_number or "")[:MAX_VALUE]


def address_held(row: Row) -> Address:
    """Return the address of a customer as Stripe has it."""
    found: Row = row["address"] or {}
    street = filter(None, (found.get("line1"), found.get("line2")))
    return Address("\n".join(street), *(found.get(name) or "" for name in ("postal_code", "city", "country", "state")))


def customer_copy(row: Row, tax_ids: Iterable[Row], source: Customer, recipient: str) -> CustomerCopy:
    """Return what Stripe holds of a customer, whose owners say `source`. `recipient` is who gets its invoices in its
    place, as `recipient` returns it: Stripe has one address for both."""
    mail, own = row["email"] or "", source.contact.email if source.contact else ""
    numbers = [each["value"] for each in tax_ids]
    return CustomerCopy(
        row["id"],
        row["name"] or "",
        address_held(row),
        own if recipient and mail == recipient else mail,
        _number_held(row, numbers, source),
    )


def _number_held(row: Row, numbers: list[str], source: Customer) -> str:
    """Return the tax number of a customer; the one of `source` where Stripe has that in a form of its own. One that is
    of no kind which Stripe knows is in the metadata alone."""
    noted: str = row["metadata"].get("tiergate_tax_number", "")
    present = numbers or ([noted] if noted and tax_id(source) is None else [])
    wanted = compact_number(tax_number(source))
    if wanted and wanted in map(compact_number, present):
        return source.tax_number or ""
    return next(iter(present), "")


def at_creation(source: Customer) -> Row:
    """Return what a new customer gets beside its own fields: its default payment method."""
    method = source.payment_method
    return {
        "payment_method": method,
        "invoice_settings": {"default_payment_method": method} if method else None,
    }


def meter(line: PricedLine, contract_id: str) -> Row:
    """Return the meter of a line that is charged by use: what was used in a period comes as one event, so it adds up
    (API reference: Create a billing meter)."""
    key = parts.meter_key(line, contract_id)
    return {"display_name": key, "event_name": key, "default_aggregation": {"formula": "sum"}}


def price(line: PricedLine, contract_id: str, meter_id: str | None = None) -> Row:
    """Return the price of one piece of a line, with what was agreed for it in its metadata. That of one which is
    charged by use has the meter with the id. Raises `Rejected` for one that Stripe cannot bill."""
    money, terms = line.unit_price, parts.piece_terms(line)
    made: Row = {
        "product": line.sku,
        "currency": money.currency.lower(),
        "lookup_key": price_key(line, contract_id),
        "tax_behavior": "exclusive",
        "recurring": _recurring(line, meter_id),
    }
    if terms:
        made |= {"nickname": terms.in_words(money.currency), "metadata": parts.written(terms)}
    piece = parts.piece_price(line)
    if piece != round(piece, exponent(money.currency)):
        if not amounts.takes_decimals(piece, money.currency):
            reason = f"{plain(piece)} {money.currency} has more digits than Stripe bills"
            raise Rejected("billing", reason, field="line.unit_price")
        return made | {"unit_amount_decimal": plain(amounts.price_to_stripe(piece, money.currency))}
    return made | {"unit_amount": amounts.to_stripe(Money.of(piece, money.currency), "line.unit_price")}


def list_price_key(sku: str, currency: str) -> str:
    """Return the lookup key of a list price. The price of a line of a contract has another one."""
    return f"list:{sku}:{currency}"


def list_price(sku: str, price: ListPrice) -> Row:
    """Return a list price, which no contract is billed by. Raises `Rejected` for one that Stripe cannot bill."""
    field, key = f"prices.{price.currency}", list_price_key(sku, price.currency)
    if price.interval == "other":
        raise Rejected("billing", "it is for no interval that is known here", field=field)
    scaled = amounts.price_to_stripe(price.unit_price, price.currency)
    amount: Row = {"unit_amount_decimal": plain(scaled)}
    if price.unit_price == round(price.unit_price, exponent(price.currency)):
        amount = {"unit_amount": amounts.to_stripe(Money.of(price.unit_price, price.currency), field)}
    elif not amounts.takes_decimals(price.unit_price, price.currency):
        reason = f"{plain(price.unit_price)} {price.currency} has more digits than Stripe bills"
        raise Rejected("billing", reason, field=field)
    months = MONTHS.get(price.interval)
    return {
        "product": sku,
        "currency": price.currency.lower(),
        "lookup_key": key,
        "transfer_lookup_key": True,
        "tax_behavior": "exclusive",
        "recurring": None if months is None else _every(months),
        "metadata": {LIST: key},
        **amount,
    }


def listed_price(row: Row) -> ListPrice:
    """Return what a list price in Stripe stands for; of another interval than ours, with none."""
    currency: str = row["currency"].upper()
    decimal = Decimal(str(row["unit_amount_decimal"] or row["unit_amount"] or 0))
    months = months_of(row)
    known = next((name for name, each in MONTHS.items() if each == months), "other")
    interval = cast("ListInterval", known if row["recurring"] else "one_time")
    return ListPrice(currency, amounts.price_from_stripe(decimal, currency), interval)


def _every(months: int) -> Row:
    return (
        {"interval": "year", "interval_count": 1} if months == YEAR else {"interval": "month", "interval_count": months}
    )


def _recurring(line: PricedLine, meter_id: str | None) -> Row | None:
    """Return how often a price is billed, and by what (API reference: Prices, `recurring.interval_count`,
    `recurring.meter`)."""
    if line.interval == "one_time":
        return None
    by_use = {"usage_type": "metered", "meter": meter_id} if line.meter else {}
    if line.billing_months is None:
        return {"interval": line.interval} | by_use
    return {"interval": "month", "interval_count": line.billing_months} | by_use


def months_of(price: Row) -> int:
    """Return how many months a price of Stripe is for; 0 for one that is charged once, or by days or weeks."""
    recurring: Row = price["recurring"] or {"interval": "", "interval_count": 0}
    return MONTHS.get(recurring["interval"], 0) * recurring["interval_count"]


def of_lines(subscription: Row) -> list[Row]:
    """Return the items of a subscription that bill lines of the contract. One that is charged by use, and is of no
    line, was added by a person."""
    return [each for each in subscription["items"]["data"] if not is_metered(each) or LINE in each["metadata"]]


def is_metered(item: Row) -> bool:
    """Return whether an item of a subscription is charged by use (The Price object, `recurring.usage_type`)."""
    return item["price"]["recurring"]["usage_type"] == "metered"


def memo(items: Iterable[Item]) -> str:
    """Return what is written on each invoice about lines of which price and quantity do not say what was agreed."""
    lines = [line for item in items for line in item.lines if parts.piece_terms(line)]
    noted = (f"{line.name}: {line.in_words()}" for line in lines)
    return "\n".join(noted)[:MAX_VALUE]


def tax_key(contract: Contract, line: PricedLine) -> str:
    """Return the natural key of the tax rate of a line: legal entity, code of the tax and percentage."""
    return ":".join((contract.legal_entity, *contract.tax_of(line)))


def rate(row: Row) -> Rate:
    """Return what a tax rate stands for. Of one that Stripe Tax used, the effective percentage is what it charged; the
    other one is the law's (The Tax Rate object)."""
    own: str = (row["metadata"].get("tiergate_key") or "").partition(":")[2]  # a code may have a colon
    effective = row["effective_percentage"]
    return Rate(
        own.rpartition(":")[0],
        Decimal(str(row["percentage"] if effective is None else effective)),
        row["country"] or "",
        f"{row['country']}-{row['state']}" if row["country"] and row["state"] else "",
    )


def product_tax_code(line: PricedLine, tax_codes: dict[str, str]) -> str | None:
    """Return the tax code of a line's product; None where it is the account's own default. Raises `Rejected`."""
    if line.tax_class not in tax_codes and line.tax_class != STANDARD_CLASS:
        reason = f"{line.sku} is of the tax class {line.tax_class!r}, for which the settings have none of the tax_codes"
        raise Rejected("billing", reason, field="tax")
    return tax_codes.get(line.tax_class)


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

    `prices` and `tax_rates` hold Stripe's ids by natural key. The first item's rate is the phase's, others have theirs;
    there are none where Stripe Tax decides.
    """

    def rate(item: Item) -> str | None:
        return None if contract.taxed_by_billing else tax_rates[tax_key(contract, item.lines[0])]

    default = rate(part.items[0])

    def items(wanted: tuple[Item, ...]) -> list[Row]:
        return [
            {
                "price": prices[price_key(each.lines[0], contract.id)],
                "quantity": each.quantity,
                "tax_rates": None if rate(each) == default else [rate(each)],
                "metadata": each.metadata(),
            }
            for each in wanted
        ]

    shown = _shown(contract, part)
    return {
        **({"invoice_settings": shown} if shown else {}),
        "items": items(part.recurring),
        "add_invoice_items": items(part.once),
        **({"automatic_tax": {"enabled": True}} if default is None else {"default_tax_rates": [default]}),
        "duration": {"interval": "month", "interval_count": contract.term_months or _first_months(part)},
        "metadata": {
            "tiergate_contract": contract.id,
            "tiergate_order": contract.order_id,
            "tiergate_customer": contract.customer_id,
            "tiergate_legal_entity": contract.legal_entity,
            "tiergate_tax": BY_BILLING if contract.taxed_by_billing else contract.tax,
            "tiergate_correlation": correlation_id,
            **_bill_to(contract),
            **{f"{CUSTOM}{name}": value for name, value in contract.custom.items()},
        },
    }


def changed_items(
    subscription: Row, items: Iterable[Item], contract: Contract, prices: dict[str, str], tax_rates: dict[str, str]
) -> list[Row]:
    """Return what makes `items` of those of a subscription (API reference: Update a subscription, `items`).

    What people have added stays. An item that is to have another price is changed in its place, so that there are never
    more than twenty; one that is charged by use, and one that is not, take no other's place.
    `prices` and `tax_rates` hold Stripe's ids by natural key.
    """
    default = [each["id"] for each in subscription["default_tax_rates"]]
    present = of_lines(subscription)
    wanted = {prices[price_key(each.lines[0], contract.id)]: each for each in items}
    kept = [(each, price) for each in present if (price := each["price"]["id"]) in wanted]
    new = [price for price in wanted if price not in [each for _, each in kept]]
    gone = [each for each in present if each["price"]["id"] not in wanted]
    replaced = _replaced(gone, {price: wanted[price] for price in new})

    def rates(item: Item) -> list[str]:
        if contract.taxed_by_billing:
            return []
        rate = [tax_rates[tax_key(contract, item.lines[0])]]
        return [] if rate == default else rate

    rows: list[Row] = []
    for each, price in [*kept, *replaced]:
        item = wanted[price]
        row: Row = {"metadata": _named(each["metadata"], item.metadata())}
        if [rate["id"] for rate in each["tax_rates"]] != rates(item):
            row["tax_rates"] = rates(item) or ""
        if each["price"]["id"] != price:
            row |= {"price": price, "quantity": item.quantity}
        elif each.get("quantity") != item.quantity:
            row["quantity"] = item.quantity
        row = {name: value for name, value in row.items() if value != {}}
        rows += [{"id": each["id"]} | row] if row else []
    left = [each for each in gone if each not in [item for item, _ in replaced]]
    rows += [{"id": each["id"], "deleted": True} for each in left]
    rows += [
        {
            "price": price,
            "quantity": wanted[price].quantity,
            "tax_rates": rates(wanted[price]) or None,
            "metadata": wanted[price].metadata(),
        }
        for price in new
        if price not in [each for _, each in replaced]
    ]
    return rows


def _replaced(gone: list[Row], new: dict[str, Item]) -> list[tuple[Row, str]]:
    """Return which items that are to go have which of the new prices then: of what is charged by use one of the same
    product, for that names the lines of its invoices."""
    by_product = {item.lines[0].sku: price for price, item in new.items() if item.lines[0].meter}
    rows = [each for each in gone if not is_metered(each)]
    prices = [price for price, item in new.items() if not item.lines[0].meter]
    metered = [each for each in gone if is_metered(each) and each["price"]["product"] in by_product]
    return [*zip(rows, prices, strict=False), *((each, by_product[each["price"]["product"]]) for each in metered)]


def ended_items(subscription: Row) -> list[Row]:
    """Return what makes the items of a subscription bill nothing, for no line any more: it needs an item until it is
    cancelled, and a cancellation itself is always of now (API reference: Cancel a subscription, `prorate`). What is
    charged by use has no quantity to take away."""
    return [
        {"id": each["id"], "metadata": _named(each["metadata"], {})} | ({} if is_metered(each) else {"quantity": 0})
        for each in of_lines(subscription)
    ]


def _named(present: dict[str, str], wanted: dict[str, str]) -> dict[str, str]:
    """Return how metadata is changed so that it names other lines; an empty value takes one away (Metadata)."""
    gone = {name: "" for name in present if name.startswith(LINE) and name not in wanted}
    return gone | {name: value for name, value in wanted.items() if present.get(name) != value}


def _shown(contract: Contract, part: Part) -> Row:
    """Return what is said on each invoice, beside what is billed (API reference: Create a schedule,
    `phases.invoice_settings`)."""
    terms, noted = contract.invoicing, memo(part.items)
    shown: Row = {"description": noted} if noted else {}
    if terms.purchase_order:
        shown["custom_fields"] = [{"name": PURCHASE_ORDER, "value": terms.purchase_order}]
    if terms.bill_to:
        shown["footer"] = f"Bill to: {terms.bill_to.in_words()}"
    return shown


def _bill_to(contract: Contract) -> dict[str, str]:
    """Return the metadata that names who gets the invoices. Raises `Rejected` for more than metadata holds."""
    if contract.invoicing.bill_to is None:
        return {}
    written = msgspec.json.encode(contract.invoicing.bill_to).decode()
    if len(written) > MAX_VALUE:
        raise Rejected("billing", f"the recipient of invoices has more than {MAX_VALUE} characters", field="invoicing")
    return {BILL_TO: written}


def bill_to(metadata: dict[str, str]) -> Recipient | None:
    """Return who gets an invoice, as its subscription's metadata names it."""
    return msgspec.json.decode(metadata[BILL_TO], type=Recipient) if metadata.get(BILL_TO) else None


def recipient(schedules: Iterable[Row]) -> str:
    """Return the e-mail address of who gets the invoices of all contracts of a customer; empty where that differs, or
    is the customer itself."""
    named = [bill_to(each["phases"][0]["metadata"] or {}) for each in schedules if each["status"] != OVER]
    addresses = {each.email if each else "" for each in named}
    return addresses.pop() if len(addresses) == 1 else ""


def custom(metadata: dict[str, str]) -> Custom:
    """Return the custom fields of an invoice's contract."""
    return {key.removeprefix(CUSTOM): value for key, value in metadata.items() if key.startswith(CUSTOM)}


def _first_months(part: Part) -> int:
    """Return the months of the first invoice: a contract without end is released from its schedule after them, and its
    subscription goes on (API reference: Create a schedule, `end_behavior`)."""
    return parts.months(part.items[0].lines[0]) or 1


def held_until(contract: Contract, zone: tzinfo, now: datetime) -> int:
    return int((max(first_moment(contract, zone), now) + HOLD).timestamp())


def first_moment(contract: Contract, zone: tzinfo) -> datetime:
    """Return the beginning of a contract's first day, in the time zone of its seller's books."""
    return datetime.combine(contract.starts_on, time(), zone)
