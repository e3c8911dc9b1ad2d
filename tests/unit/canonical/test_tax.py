"""The tax of a line follows from the rules of its legal entity, the first that fits."""

from __future__ import annotations

from datetime import date

import msgspec
import pytest

from canonical.tax import TaxedSale, TaxRule, code_for

SALE = TaxedSale("DE", "DE", date(2026, 7, 1))


@pytest.mark.parametrize(
    ("rule", "facts"),
    [
        ({"countries": ("CH", "LI")}, {"country": "LI"}),
        ({"states": ("US-CA",)}, {"country": "US", "state": "US-CA"}),
        ({"exempt": True}, {"exempt": True}),
        ({"product_classes": ("books",)}, {"product_class": "books"}),
        ({"valid_from": date(2027, 1, 1)}, {"on": date(2027, 1, 1)}),
        ({"valid_until": date(2026, 6, 30)}, {"on": date(2026, 6, 30)}),
    ],
    ids=["country", "state", "exemption", "product", "first day", "last day"],
)
def test_a_rule_decides_where_what_it_names_is_so_and_nowhere_else(
    rule: dict[str, object], facts: dict[str, object]
) -> None:
    rules = (TaxRule(tax="special", **rule), TaxRule(tax="other"))  # pyright: ignore[reportArgumentType]

    assert code_for(msgspec.structs.replace(SALE, **facts), rules) == "special"
    assert code_for(SALE, rules) == "other"


def test_no_tax_is_chosen_where_no_rule_fits() -> None:
    assert code_for(SALE, (TaxRule(tax="abroad", buyer="elsewhere"),)) is None
