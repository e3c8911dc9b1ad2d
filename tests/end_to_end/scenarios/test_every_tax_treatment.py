"""Each way in which a sale can be taxed ends as cash: invoiced, posted with the tax that was decided, and paid."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from sandbox.salesperson import SaleLine
from tests.support.environment import Environment
from tests.support.platforms import EXACTLY_ONE


@pytest.mark.parametrize(
    ("treatment", "buyer", "rate", "tax"),
    [
        ("standard", {}, Decimal("0.19"), "VAT19"),
        ("standard", {"country": "AT", "tax_number": None}, Decimal("0.19"), "VAT19"),
        ("reverse_charge", {"country": "AT", "tax_number": "ATU13585627"}, Decimal(0), "REVERSE"),
        ("outside_scope", {"country": "US", "tax_number": None}, Decimal(0), "EXPORT"),
        ("outside_scope", {"country": "CH", "tax_number": "CHE-116.281.710 MWST"}, Decimal(0), "EXPORT"),
        ("outside_scope", {"country": "KZ", "tax_number": "whatever they write"}, Decimal(0), "EXPORT"),
    ],
    ids=[
        "at home",
        "to a consumer in the Union",
        "to a business in the Union",
        "elsewhere",
        "to Switzerland with a number",
        "with a number of no known kind",
    ],
)
def test_a_sale_is_posted_with_the_tax_that_was_decided(
    environment: Environment, treatment: str, buyer: dict[str, Any], rate: Decimal, tax: str
) -> None:
    name = f"Taxed {treatment} {buyer.get('country', 'DE')}"

    order = environment.paid_order(environment.sale(name, **buyer))

    assert environment.counted(order) == EXACTLY_ONE
    assert order.plan is not None
    assert order.plan.contract.tax == treatment
    (posted,) = environment.in_erp("account.invoice", ("reference", "=", order.plan.contract.references["invoice"]))
    assert posted.tax_amount == (posted.untaxed_amount * rate).quantize(Decimal("0.01"))
    assert {each.tax.name for each in posted.taxes} == {tax}
    billed = environment.stripe.v1.invoices.retrieve(order.plan.contract.references["invoice"])
    assert billed.total == posted.total_amount * 100


def test_lines_of_two_rates_are_billed_and_posted_by_rate(environment: Environment) -> None:
    lines = (SaleLine("SEAT", 1, 99.50), SaleLine("SUPPORT", 3, 0.50), SaleLine("HANDBOOK", 7, 39.95))

    order = environment.paid_order(environment.sale("Verlag mit zwei Steuersätzen", lines=lines))

    assert environment.counted(order) == EXACTLY_ONE
    assert order.plan is not None
    invoice = order.plan.contract.references["invoice"]
    (posted,) = environment.in_erp("account.invoice", ("reference", "=", invoice))
    billed = environment.stripe.v1.invoices.retrieve(invoice)
    by_rate = {each.tax.name: (int(each.base * 100), int(each.amount * 100)) for each in posted.taxes}
    assert by_rate == {"VAT19": (9950 + 150, 1891 + 29), "VAT7": (27965, 1958)}
    assert sorted(each.amount for each in billed.total_taxes or ()) == [1891 + 29, 1958]
    assert posted.total_amount * 100 == billed.total == 9950 + 150 + 1920 + 27965 + 1958
    assert posted.amount_to_pay == 0
