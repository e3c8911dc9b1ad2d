"""What the books of a Tryton are called is the company's own file, checked at start."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from canonical.money import Money
from canonical.tax import TaxedSale, TaxRule, code_for
from policies.store.secret import Secret
from system_apis.erp.tryton import Settings
from system_apis.erp.tryton.books import books
from system_apis.erp.tryton.mapping import FIELDS, INVOICE, invoice
from system_apis.mapping_file import MappingError
from tests.support.connector_kit import samples

COUNTRIES = st.sampled_from(["DE", "FR", "AT", "US", "CH", "GB"])
WHOLE = """
[legal_entities.DE01.taxes]
standard = { record = "VAT19" }

[[legal_entities.DE01.tax_rules]]
tax = "standard"
"""


def usual() -> tuple[TaxRule, ...]:
    shipped = books("").of("DE01")
    assert shipped is not None
    return shipped.tax_rules


@pytest.mark.parametrize(
    ("seller", "buyer", "registered", "expected"),
    [
        ("DE", "DE", True, "standard"),
        ("DE", "DE", False, "standard"),
        ("DE", "FR", True, "reverse_charge"),
        ("DE", "FR", False, "standard"),
        ("DE", "US", True, "outside_scope"),
        ("DE", "CH", False, "outside_scope"),
        ("US", "DE", True, "outside_scope"),
    ],
)
def test_as_shipped_the_tax_follows_from_the_two_countries(
    seller: str, buyer: str, registered: object, expected: str
) -> None:
    sale = TaxedSale(seller, buyer, date(2026, 1, 1), registered=registered is True)

    assert code_for(sale, usual()) == expected


@given(COUNTRIES, COUNTRIES, st.booleans())
def test_as_shipped_every_sale_has_exactly_one_tax(seller: str, buyer: str, registered: object) -> None:
    sale = TaxedSale(seller, buyer, date(2026, 1, 1), registered=registered is True)

    assert code_for(sale, usual()) in {"standard", "reverse_charge", "outside_scope"}


def test_as_shipped_printed_matter_bears_the_reduced_rate_at_home_alone() -> None:
    shipped = books("")
    home, abroad = (TaxedSale("DE", each, date(2026, 1, 1), product_class="reduced") for each in ("DE", "CH"))

    assert shipped.product_class("Printed matter") == "reduced"
    assert [code_for(home, usual()), code_for(abroad, usual())] == ["reduced", "outside_scope"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (WHOLE.replace('tax = "standard"', 'tax = "standrad"'), "line 6: legal_entities.DE01.tax_rules.0.tax"),
        (WHOLE + 'countries = ["XX"]', "'XX' is no country"),
        (WHOLE + 'states = ["CA"]', "write ISO 3166-2 codes such as US-CA"),
        (WHOLE + 'product_classes = ["books"]', "no product is of the class 'books'"),
        (WHOLE + "valid_from = 2026-02-01\nvalid_until = 2026-01-31", "it ends before it begins"),
        (WHOLE + '[[legal_entities.DE01.tax_rules]]\ntax = "standard"', "this one never decides"),
        (WHOLE + 'buyer = "abroad"', "'abroad' is none of the choices; use one of elsewhere, home, union"),
        (WHOLE + "colour = 1", "line 7: legal_entities.DE01.tax_rules.0.colour: there is no such key"),
        (WHOLE.replace("record", "name"), "add record"),
        (
            WHOLE + '[custom.invoice]\ncost_center = "comment"',
            "cost_center: 'comment' is written by Tiergate",
        ),
        ("[legal_entities", "it is not TOML"),
    ],
)
def test_a_mistake_is_named_with_its_line_its_key_and_the_remedy(tmp_path: Path, text: str, expected: str) -> None:
    file = tmp_path / "erp.toml"
    file.write_text(text)

    with pytest.raises(MappingError, match=r"line [0-9]+: ") as refused:
        books(str(file))

    assert expected in str(refused.value)


def test_a_mapping_that_is_not_there_is_said_at_start() -> None:
    with pytest.raises(ValueError, match=r"nowhere\.toml: line 1: \(file\): it cannot be read"):
        Settings(url="http://erp", database="books", user="u", password=Secret("p"), mapping="nowhere.toml")


def test_the_example_that_is_deployed_is_a_whole_mapping() -> None:
    example = books("deploy/mappings/tryton.toml")

    assert example.of("FR01") is not None
    assert example.of("ZZ99") is None


def test_a_custom_field_is_in_the_field_that_the_mapping_names_or_in_the_comment(
    tmp_path: Path,
) -> None:
    file = tmp_path / "erp.toml"
    file.write_text(WHOLE + '[custom.invoice]\ncost_center = "kostenstelle"')
    settings = Settings(url="http://erp", database="books", user="u", password=Secret("p"), mapping=str(file))
    sold = samples.invoice("in_1", "cus_1", "PLATFORM", (Money(100, "EUR"),), date(2026, 3, 1))
    sold = msgspec.structs.replace(sold, custom={"cost_center": "4711", "project": "Süd"})
    ids: dict[str, Any] = dict.fromkeys(("company", "journal", "receivable", "currency"), 1)

    record = invoice(sold, 1, 1, ids, [], "cor_1", books(str(file)).custom.invoice)

    assert (record["kostenstelle"], record["comment"]) == ("4711", "project: Süd")
    assert settings.fields(FIELDS)[INVOICE]["kostenstelle"] == "invoice.custom"
