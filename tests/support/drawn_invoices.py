"""Invoices drawn at random, taxed and rounded as billing does it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from canonical.billing import Contract, Invoice, InvoiceLine, LineTax
from canonical.deals import PricedLine
from canonical.money import Money
from sandbox.store import SandboxClock, Store
from sandbox.stripe.account import Account
from sandbox.stripe.balances import Balances
from sandbox.stripe.invoicing import Invoicing
from system_apis.billing.stripe import amounts
from tests.support.connector_kit import samples

CURRENCIES = ("JPY", "EUR", "KWD")
DISCOUNTS = (0, 5, 10, 15, 20, 25, 50)
"""Per cent of a list price."""


def contracts(seed: int, count: int, percents: Mapping[str, Decimal], most_lines: int = 30) -> Iterator[Contract]:
    """Yield contracts of 1 to `most_lines` lines at 1 to 20,000 minor units a piece, each line with one of the taxes.

    `percents` holds the rate of each tax by its code. A discount is given where billing takes the price that is left.
    """
    draw = Random(seed)
    codes = sorted(percents)
    for number in range(count):
        currency = draw.choice(CURRENCIES)
        lines = tuple(
            _line(draw, f"lin_{seed}.{number}.{place}", currency, code := draw.choice(codes), percents[code])
            for place in range(draw.randint(1, most_lines))
        )
        yield samples.contract(f"{seed}_{number}", "drawn", "cus_drawn", lines, date(2026, 1, 1))


def _line(draw: Random, key: str, currency: str, code: str, percent: Decimal) -> PricedLine:
    step = amounts.STEP.get(currency, 1)
    listed, discount = draw.randint(1, 20_000 // step) * step, draw.choice(DISCOUNTS)
    net, rest = divmod(listed * (100 - discount), 100)
    price = Money(listed if rest or net % step or not net else net, currency)
    return PricedLine(key, "PLATFORM", "Platform fee", draw.randint(1, 9), price, "year", code, f"{percent:f}")


def invoicing(folder: Path) -> Invoicing:
    """Return what works out the taxes: the stand-in's own rounding, in an account that is kept in `folder`."""
    account = Account(Store(folder / "billing.sqlite"), SandboxClock())
    return Invoicing(account, Balances(account))


def issued(contract: Contract, billing: Invoicing, on: date) -> Invoice:
    """Return the invoice of a contract with the taxes that billing works out."""
    lines = tuple(_issued(each, billing, on) for each in contract.lines)
    return samples.invoice_of(contract.id, contract.customer_id, lines, on)


def _issued(line: PricedLine, billing: Invoicing, on: date) -> InvoiceLine:
    currency = line.unit_price.currency
    amount = amounts.to_stripe(line.net, "line.unit_price")
    rates: list[Any] = [{"id": line.tax, "percentage": line.tax_percent}]
    (tax,) = billing.taxes(amount, currency.lower(), rates)
    charged = amounts.from_stripe(tax["amount"], currency)
    return InvoiceLine(line.sku, line.name, line.quantity, line.net, charged, on, on, (LineTax(line.tax, charged),))


def credited_in_part(invoice: Invoice, draw: Random) -> Invoice:
    """Return an invoice of a change: about half of the lines are credited, with the taxes that were charged on them."""
    lines = tuple(_credited(each) if draw.random() < 0.5 else each for each in invoice.lines)
    return samples.invoice_of(invoice.id, invoice.customer_id, lines, invoice.issued_on)


def _credited(line: InvoiceLine) -> InvoiceLine:
    taxes = tuple(msgspec.structs.replace(each, amount=-each.amount) for each in line.taxes)
    return msgspec.structs.replace(line, net=-line.net, tax=-line.tax, taxes=taxes)


def by_code(lines: Sequence[InvoiceLine]) -> dict[str, tuple[Money, Money]]:
    """Return what is taxed and the tax, by the code of the tax."""
    found: dict[str, tuple[Money, Money]] = {}
    for line in lines:
        for tax in line.taxes:
            base, amount = found.get(tax.code, (Money.zero(line.net.currency),) * 2)
            found[tax.code] = (base + line.net, amount + tax.amount)
    return found
