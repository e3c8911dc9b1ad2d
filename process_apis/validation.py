"""Whether a deal can be fulfilled: every finding at once, before anything is created. Pure: no platform is asked
here."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import date
from decimal import Decimal

from stdnum import get_cc_module
from stdnum.eu import vat as eu_vat
from stdnum.exceptions import ValidationError

from canonical.amendments import NO_METERS, Meters
from canonical.billing import Contract
from canonical.cases import Finding
from canonical.countries import is_country
from canonical.deals import INTERVALS, LONGEST_CUSTOM, TOO_MUCH, Deal, DealLine, PricedLine, plain, priced_line
from canonical.money import Money, UnknownCurrency, exponent, smallest_charge
from canonical.orders import Plan
from canonical.parties import Customer, LegalEntity, Product
from canonical.tax import EU, Tax, TaxedSale, code_for

LONGEST_TERM = 120
"""Months of a contract: more is a slip of the pen."""
LONGEST_DUE = 365
"""Days until an invoice is due."""
LONGEST_PURCHASE_ORDER = 140
"""Characters that every platform shows."""


def findings(
    deal: Deal,
    seller: LegalEntity | None,
    products: Mapping[str, Product],
    duplicates: Collection[str],
    starts: tuple[date, date],
    meters: Meters = NO_METERS,
) -> list[Finding]:
    """Return all that is wrong with a deal.

    `products` are those that the ERP knows, by SKU; `duplicates` are other accounts with the same tax number that are
    customers already; `starts` are the first and the last day on which it may start; `meters` name the products that
    are charged by use.
    """
    return [
        *_of_parties(deal, seller, duplicates),
        *_of_currency(deal),
        *_of_term(deal, starts),
        *_of_lines(deal, products, meters),
        *_of_custom(deal),
        *_of_invoicing(deal),
        *(_of_taxes(deal, seller, products) if seller else ()),
    ]


def findings_of_lines(
    deal: Deal, seller: LegalEntity, products: Mapping[str, Product], meters: Meters
) -> list[Finding]:
    """Return what is wrong with the lines of a deal that changes a contract: their products, amounts and taxes."""
    lines = (
        each
        for place, line in enumerate(deal.lines)
        for each in _of_line(line, f"deal.lines[{place}]", deal, products, meters.get(line.sku, ""))
    )
    return [*lines, *_of_taxes(deal, seller, products)]


def priced(deal: Deal, seller: LegalEntity, products: Mapping[str, Product], meters: Meters) -> tuple[PricedLine, ...]:
    """Return the lines of a deal that has no findings, each with the tax of its own."""
    made: list[PricedLine] = []
    for line in deal.lines:
        tax = _tax(line, deal, seller, products)
        percent = _percent(tax) if tax.code else ""
        of_product = products[line.sku].tax_class, meters.get(line.sku, "")
        made.append(priced_line(line, deal.currency, tax.code, percent, *of_product))
    return tuple(made)


def _of_parties(deal: Deal, seller: LegalEntity | None, duplicates: Collection[str]) -> list[Finding]:
    found: list[Finding] = []
    account = deal.account
    if not deal.won:
        found.append(Finding("deal.won", "the deal is not closed as won"))
    if not account.id:
        found.append(Finding("deal.account", "the deal has no account"))
    if account.id in account.ancestors or len(set(account.ancestors)) < len(account.ancestors):
        found.append(Finding("deal.account.ancestors", "the account is its own ancestor"))
    if not account.address.country:
        found.append(Finding("deal.account.address.country", "the country decides the tax, and it is missing"))
    elif not is_country(account.address.country):
        unknown = f"{account.address.country} is not an ISO 3166 country code"
        found.append(Finding("deal.account.address.country", unknown))
    elif account.tax_number and not tax_number_is_valid(account.tax_number, account.address.country):
        found.append(Finding("deal.account.tax_number", f"{account.tax_number} is not a valid tax number"))
    found += _of_seller(deal, seller)
    if duplicates:
        others = ", ".join(sorted(duplicates))
        found.append(Finding("deal.account.tax_number", f"the same tax number is that of the customers {others}"))
    return found


def _of_seller(deal: Deal, seller: LegalEntity | None) -> list[Finding]:
    found: list[Finding] = []
    if not deal.legal_entity:
        found.append(Finding("deal.legal_entity", "the selling legal entity cannot be determined"))
    elif seller is None:
        found.append(Finding("deal.legal_entity", f"the ERP has no legal entity {deal.legal_entity}"))
    return found


def _of_taxes(deal: Deal, seller: LegalEntity, products: Mapping[str, Product]) -> Iterator[Finding]:
    """Yield one finding for each tax that is missing, however many lines it concerns."""
    if seller.taxed_by_billing or not deal.account.address.country:
        return  # billing's engine decides; a country that is missing is a finding of its own
    known = {each.code for each in seller.taxes}
    missing: dict[str, None] = {}
    for line in deal.lines:
        code = code_for(_taxed(line, deal, seller, products), seller.tax_rules)
        if code is None:
            missing[f"no tax rule of {seller.code} is about {line.sku} sold to {deal.account.address.country}"] = None
        elif code not in known:
            missing[f"{seller.code} has no tax for {code}"] = None
    yield from (Finding("deal.legal_entity", each) for each in missing)


def _taxed(line: DealLine, deal: Deal, seller: LegalEntity, products: Mapping[str, Product]) -> TaxedSale:
    account = deal.account
    address = account.address
    return TaxedSale(
        seller.country,
        address.country,
        deal.starts_on,
        f"{address.country}-{address.state}" if address.state else "",
        registered=bool(account.tax_number),
        exempt=account.tax_exempt,
        product_class=products.get(line.sku, Product()).tax_class,
    )


def _of_currency(deal: Deal) -> list[Finding]:
    try:
        exponent(deal.currency)
    except UnknownCurrency as error:
        return [Finding("deal.currency", str(error))]
    return []


def _of_term(deal: Deal, starts: tuple[date, date]) -> list[Finding]:
    found: list[Finding] = []
    if deal.evergreen:
        if deal.term_months:
            reason = f"it has no end, and a term of {deal.term_months} months"
            found.append(Finding("deal.term_months", reason))
    elif not 1 <= deal.term_months <= LONGEST_TERM:
        reason = f"the term has to be a whole number of months, from 1 to {LONGEST_TERM}"
        found.append(Finding("deal.term_months", reason))
    first, last = starts
    if not first <= deal.starts_on <= last:
        found.append(Finding("deal.starts_on", f"it starts on {deal.starts_on}, and has to from {first} to {last}"))
    return found


def _of_invoicing(deal: Deal) -> Iterator[Finding]:
    terms = deal.invoicing
    if len(terms.purchase_order) > LONGEST_PURCHASE_ORDER:
        reason = f"it has {len(terms.purchase_order)} characters, and an invoice shows {LONGEST_PURCHASE_ORDER} at most"
        yield Finding("deal.invoicing.purchase_order", reason)
    if terms.days_until_due is not None and not 0 <= terms.days_until_due <= LONGEST_DUE:
        reason = f"the days until an invoice is due have to be a whole number from 0 to {LONGEST_DUE}"
        yield Finding("deal.invoicing.days_until_due", reason)
    if terms.bill_to and not terms.bill_to.name:
        yield Finding("deal.invoicing.bill_to.name", "who gets the invoices has no name")
    if terms.bill_to and not is_country(terms.bill_to.address.country):
        unknown = f"{terms.bill_to.address.country or 'nothing'} is not an ISO 3166 country code"
        yield Finding("deal.invoicing.bill_to.address.country", unknown)


def _of_lines(deal: Deal, products: Mapping[str, Product], meters: Meters) -> list[Finding]:
    found: list[Finding] = []
    if not deal.lines:
        found.append(Finding("deal.lines", "the deal has no lines"))
    elif all(line.interval == "one_time" for line in deal.lines):
        found.append(Finding("deal.lines", "a contract needs at least one recurring line"))
    for index, line in enumerate(deal.lines):
        place, meter = f"deal.lines[{index}]", meters.get(line.sku, "")
        found += _of_line(line, place, deal, products, meter)
        if meter and line.sku in [each.sku for each in deal.lines[:index]]:
            found.append(Finding(f"{place}.sku", f"{line.sku} is charged by use, and is sold once: take a line away"))
    return found


def _of_custom(deal: Deal) -> Iterator[Finding]:
    for name, value in deal.custom.items():
        if len(value) > LONGEST_CUSTOM:
            reason = f"it has {len(value)} characters, and {LONGEST_CUSTOM} at most can travel to the books"
            yield Finding(f"deal.custom.{name}", reason)


def _of_line(line: DealLine, place: str, deal: Deal, products: Mapping[str, Product], meter: str) -> list[Finding]:
    found: list[Finding] = []
    known = products.get(line.sku)
    if known and known.withdrawn:
        found.append(Finding(f"{place}.sku", f"{line.sku} is sold no more: it is out of use in the ERP"))
    if known is None:
        found.append(Finding(f"{place}.sku", f"the ERP has no product {line.sku or '(none)'}"))
    found += _of_quantity(line, f"{place}.quantity", None if meter else products.get(line.sku))
    found += _by_use(line, place) if meter else ()
    if line.interval not in INTERVALS:
        found.append(Finding(f"{place}.interval", f"{line.interval or 'nothing'} is not one of {', '.join(INTERVALS)}"))
    if not line.listed:
        found.append(Finding(f"{place}.listed", f"the price list has no price for {line.sku} in {deal.currency}"))
    if wrong := _of_price(line, deal.currency, by_use=bool(meter)):
        found.append(Finding(f"{place}.unit_price", wrong))
    return found


def _of_price(line: DealLine, currency: str, *, by_use: bool) -> str:
    """Return what is wrong with the price of a line, empty where nothing is. What a line comes to that is charged by
    use is known once it was used."""
    if max(line.quantity, line.unit_price, line.quantity * line.unit_price) >= TOO_MUCH:
        return f"the line has an amount of {plain(TOO_MUCH)} or more"
    if line.unit_price < 0:
        return "the price is negative"
    if by_use:
        return ""
    if line.unit_price and line.quantity > 0 and _is_nothing(line, currency):
        return f"{line.terms.in_words(currency)} are less than the smallest amount of money"
    if line.interval in INTERVALS and (step := _step_between(line, currency)):
        return f"{line.terms.in_words(currency)} cannot be billed: what is charged is a multiple of {step}"
    return ""


def _by_use(line: DealLine, place: str) -> Iterator[Finding]:
    """Yield what a line cannot be that is charged by use."""
    if line.interval == "one_time":
        reason = f"{line.sku} is charged by use, after each month, quarter, half-year or year, and not once"
        yield Finding(f"{place}.interval", reason)
    if line.quantity > 0 and line.quantity != 1:
        reason = f"{line.sku} is charged by use: its quantity is 1, and its price that of one unit"
        yield Finding(f"{place}.quantity", reason)


def _is_nothing(line: DealLine, currency: str) -> bool:
    try:
        return not line.terms.net(currency).amount
    except UnknownCurrency:
        return False  # reported once, for the deal


def _step_between(line: DealLine, currency: str) -> Money | None:
    """Return the smallest amount that can be charged, where a piece of a line is no multiple of it; else None."""
    try:
        step = smallest_charge(currency)
    except UnknownCurrency:
        return None  # reported once, for the deal
    return step if priced_line(line, currency).charge.amount % step.amount else None


def _of_quantity(line: DealLine, place: str, product: Product | None) -> Iterator[Finding]:
    if line.quantity <= 0:
        yield Finding(place, f"{plain(line.quantity)} is not a positive number")
    elif product and line.quantity < TOO_MUCH and line.quantity != round(line.quantity, product.quantity_digits):
        digits = product.quantity_digits
        allowed = f"at most {digits} digits after the point" if digits else "whole numbers"
        reason = f"{plain(line.quantity)} cannot be posted: the ERP's unit of {line.sku} takes {allowed}"
        yield Finding(place, reason)


def tax_number_is_valid(number: str, country: str) -> bool:
    """Return whether a tax number is valid by form and check digits. Countries for which no rule is known pass."""
    try:
        if country in EU:
            prefix = eu_vat.compact(number)[:2]
            eu_vat.validate(number)
            return prefix == country or (prefix, country) == ("EL", "GR")
        module = get_cc_module(country.lower(), "vat")
        if module is not None:
            module.validate(number)
    except ValidationError:
        return False
    return True


def plan(
    deal: Deal,
    crm: str,
    seller: LegalEntity,
    products: Mapping[str, Product],
    order_id: str,
    customer_id: str,
    contract_id: str,
    parent_id: str | None,
    meters: Meters = NO_METERS,
) -> Plan:
    """Return the customer and the contract that a deal of a CRM becomes when it has no findings."""
    account = deal.account
    tax = _main(_tax(line, deal, seller, products) for line in deal.lines)
    customer = Customer(
        id=customer_id,
        name=account.name,
        address=account.address,
        contact=account.contact,
        parent_id=parent_id,
        tax_number=compact(account.tax_number, account.address.country),
        payment_method=account.payment_method,
        tax_treatment=tax.treatment,
        partner=account.partner,
        legal_entity=seller.code,
        revision=account.revision,
        references={crm: account.id},
        crm=crm,
    )
    contract = Contract(
        id=contract_id,
        order_id=order_id,
        customer_id=customer_id,
        legal_entity=seller.code,
        currency=deal.currency,
        starts_on=deal.starts_on,
        term_months=deal.term_months,
        lines=priced(deal, seller, products, meters),
        tax=tax.treatment,
        tax_percent=_percent(tax),
        custom=deal.custom,
        invoicing=deal.invoicing,
        taxed_by_billing=seller.taxed_by_billing,
    )
    return Plan(customer, contract, account.id)


def _tax(line: DealLine, deal: Deal, seller: LegalEntity, products: Mapping[str, Product]) -> Tax:
    """Return the tax of a line that has no findings. Where billing's engine decides, it is the most that is expected,
    and has no code."""
    if not seller.taxed_by_billing:
        code = code_for(_taxed(line, deal, seller, products), seller.tax_rules)
        return next(each for each in seller.taxes if each.code == code)
    if deal.account.tax_exempt:
        return Tax("", "outside_scope", Decimal(0))
    return Tax("", "standard", max((each.percent for each in seller.taxes), default=Decimal(0)))


def _main(taxes: Iterable[Tax]) -> Tax:
    """Return the tax of a contract: of those of its lines the one with the highest rate."""
    return max(taxes, key=lambda each: each.percent)


def _percent(tax: Tax) -> str:
    return plain(tax.percent)


def compact(number: str | None, country: str) -> str | None:
    """Return a tax number without blanks and dots, as the others take it."""
    if not number:
        return None
    if country not in EU:
        return number.strip()
    try:
        return str(eu_vat.compact(number))
    except ValidationError:  # something else was written in its place
        return number.strip()
