"""Deals drawn at random, with trouble on every platform: each ends as cash that is the same everywhere, or in cases
whose reasons are true."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import date, timedelta
from random import Random
from typing import Any, NamedTuple

import pytest

from canonical.ids import utc_now
from canonical.orders import Order
from sandbox.salesperson import Sale, SaleLine
from tests.support.environment import Environment
from tests.support.platforms import OUR_READING, german_vat, wait_until

AT_ONCE = 24
RECURRING = ("PLATFORM", "SEAT", "SUPPORT")
ONE_OFF = ("ONBOARDING", "HANDBOOK")
CARDS = ("pm_card_visa", "pm_card_visa", "pm_card_visa", None, "pm_card_chargeCustomerFail")
SETTLED = ("active", "on_hold")
RULED_OUT = {
    "deal.account.tax_number": ("deal.account.address.country",),
    "deal.account.address.country": ("deal.account.tax_number",),
}
"""Mistakes that hide each other: where the country is none, no number can be checked."""


class Drawn(NamedTuple):
    """A sale, and the fields about which its order has to be held; none for one that goes through."""

    sale: Sale
    wrong: frozenset[str]

    @property
    def is_billed(self) -> bool:
        """Return whether the contract has begun."""
        return self.sale.starts_on is None or self.sale.starts_on <= utc_now().date()


def drawn(seed: int, today: date) -> Iterator[Drawn]:
    """Yield deals; two of three go through."""
    draw = Random(seed)
    for number in range(AT_ONCE):
        name = f"Drawn {seed}.{number}"
        country = draw.choice(("DE", "DE", "DE", "AT", "CH", "US"))
        lines = [_line(draw, draw.choice(RECURRING)) for _ in range(draw.randint(1, 4))]
        lines += [_line(draw, draw.choice(ONE_OFF)) for _ in range(draw.randint(0, 3))]
        draw.shuffle(lines)
        facts: dict[str, Any] = {
            "buyer": name,
            "lines": tuple(lines),
            "country": country,
            "tax_number": german_vat(name) if country == "DE" else None,
            "payment_method": draw.choice(CARDS),
            "starts_on": today + timedelta(days=draw.choice((0, 0, 0, -3, 45))),
        }
        wrong: dict[str, None] = {}
        for _ in range(draw.choice((0, 0, 0, 0, 1, 2))):
            field, changes = draw.choice(_mistakes(facts["lines"], today, draw.randrange(len(lines))))
            if not wrong.keys() & {field, *RULED_OUT.get(field, ())}:
                facts |= changes
                wrong[field] = None
        yield Drawn(Sale(**facts), frozenset(wrong))


def _line(draw: Random, sku: str) -> SaleLine:
    price = draw.choice((None, draw.randint(50, 20_000) / 100))
    return SaleLine(sku, draw.randint(1, 40), price)


def _mistakes(lines: tuple[SaleLine, ...], today: date, at: int) -> list[tuple[str, dict[str, Any]]]:
    """Return what can be wrong: the field that has to be named, and how the sale becomes so."""
    minus = (*lines[:at], SaleLine(lines[at].code, -lines[at].quantity, lines[at].unit_price), *lines[at + 1 :])
    return [
        ("deal.legal_entity", {"legal_entity": None}),
        ("deal.account.tax_number", {"country": "DE", "tax_number": "DE123456789"}),
        ("deal.account.address.country", {"country": "ZZ", "tax_number": None}),
        ("deal.starts_on", {"starts_on": today + timedelta(days=2000)}),
        ("deal.starts_on", {"starts_on": today - timedelta(days=400)}),
        (f"deal.lines[{at}].quantity", {"lines": minus}),
    ]


def trouble(environment: Environment, draw: Random) -> None:
    """Let each platform misbehave in some way for a few requests."""
    for platform in ("crm", "billing", "erp", "provisioning"):
        fault: dict[str, Any] = draw.choice(
            (
                {"kind": "slow", "milliseconds": 400, "times": 5},
                {"kind": "drop", "times": 2},
                {"kind": "status", "status": 503, "times": 3},
                {"kind": "status", "status": 429, "times": 3},
            )
        )
        environment.fault(platform, **fault, matching=OUR_READING if platform == "crm" else "")


def totals(environment: Environment, order: Order) -> tuple[Counter[tuple[int, int]], Counter[tuple[int, int]]]:
    """Return total and tax of each of an order's invoices in billing, and in the ERP, in minor units."""
    assert order.plan is not None
    customer = order.plan.customer.references.get("stripe") or "none"
    billed = [
        each
        for each in environment.stripe.v1.invoices.list({"customer": customer, "limit": 100}).data
        if each.status != "draft"
    ]
    named = ("reference", "in", [each.id for each in billed])
    rows = environment.rows_in_erp("account.invoice", ["total_amount", "tax_amount", "state"], named)
    assert {each["state"] for each in rows} <= {"posted", "paid"}
    return (
        Counter((each.total, sum(tax.amount for tax in each.total_taxes or ())) for each in billed),
        Counter((int(each["total_amount"] * 100), int(each["tax_amount"] * 100)) for each in rows),
    )


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(2, 26))])
def test_each_deal_becomes_cash_or_a_case_whose_reason_is_true(environment: Environment, seed: int) -> None:
    today = utc_now().date()
    deals = list(drawn(seed, today))
    trouble(environment, Random(seed))

    sold = [environment.sell(each.sale)[1] for each in deals]

    orders = [environment.order_in(deal, *SETTLED, seconds=240) for deal in sold]
    environment.calm()
    assert [order.state for order in orders] == ["on_hold" if each.wrong else "active" for each in deals]
    for deal, order in zip(deals, orders, strict=True):
        named = {each.field for each in environment.cases_of(order.id) if each.state == "open"}
        assert named == deal.wrong, deal
        assert order.plan is not None or deal.wrong
    going = [order for deal, order in zip(deals, orders, strict=True) if not deal.wrong]
    due = [order for deal, order in zip(deals, orders, strict=True) if not deal.wrong and deal.is_billed]
    wait_until(lambda: all(environment.posted_kinds(order) for order in due), 240, "every invoice is posted")
    for order in going:
        billed, posted = totals(environment, order)
        assert billed == posted, order.name
        assert sum(billed.values()) == (order in due), order.name
        counted = environment.counted(order)
        assert {counted[each] for each in ("crm.contracts", "billing.customers", "erp.customers")} == {1}, counted
        assert counted["billing.subscriptions"] == (order in due)
