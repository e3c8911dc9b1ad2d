"""What the books of a Tryton are called is the company's own file, checked at start."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from canonical.money import Money
from canonical.tax import ChargedTax, TaxedSale, TaxRule, code_for
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


BILLED = """
[legal_entities.FR01.taxes]
standard = { record = "TVA20" }
reduced = { record = "TVA5.5" }
sales_tax = { record = "NY sales tax" }
reverse_charge = { record = "REVERSE", treatment = "reverse_charge" }

[[legal_entities.FR01.billed_taxes]]
tax = "standard"
percent = 20
countries = ["FR"]

[[legal_entities.FR01.billed_taxes]]
tax = "reduced"
percent = 5.5
countries = ["FR"]

[[legal_entities.FR01.billed_taxes]]
tax = "sales_tax"
states = ["US-NY"]
reasons = ["standard_rated"]

[[legal_entities.FR01.billed_taxes]]
tax = "reverse_charge"
reasons = ["reverse_charge"]
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
        (BILLED.replace('tax = "reduced"', 'tax = "reducd"'), "FR01 has no tax 'reducd'; use one of"),
        (BILLED.replace('"US-NY"', '"NY"'), "write ISO 3166-2 codes such as US-CA"),
        (BILLED.replace('percent = 20\ncountries = ["FR"]\n', ""), "this one is never chosen"),
        (WHOLE.partition("[[")[0], "nothing says which taxes DE01 charges; add tax_rules, or billed_taxes"),
        (WHOLE.replace("standard", '""', 1), "a tax has no code"),
        (BILLED.replace("5.5", "nan", 2).replace("TVAnan", "TVA5.5"), "NaN is no percentage; write one from 0 to 100"),
        (BILLED.replace("percent = 20", 'percent = "sNaN"'), "sNaN is no percentage"),
        (BILLED.replace("percent = 20", "percent = -20"), "-20 is no percentage"),
        ("[legal_entities", "it is not TOML"),
    ],
)
def test_a_mistake_is_named_with_its_line_its_key_and_the_remedy(tmp_path: Path, text: str, expected: str) -> None:
    file = tmp_path / "erp.toml"
    file.write_text(text)

    with pytest.raises(MappingError, match=r"line [0-9]+: ") as refused:
        books(str(file))

    assert expected in str(refused.value)


@pytest.mark.parametrize(
    ("charged", "expected"),
    [
        (ChargedTax(Decimal(20), "FR", "", "standard_rated"), "standard"),
        (ChargedTax(Decimal("5.5"), "FR", "", "reduced_rated"), "reduced"),
        (ChargedTax(Decimal("5.50"), "FR", "", "reduced_rated"), "reduced"),
        (ChargedTax(Decimal("4.875"), "US", "US-NY", "standard_rated"), "sales_tax"),
        (ChargedTax(Decimal(0), "AT", "", "reverse_charge"), "reverse_charge"),
        (ChargedTax(Decimal(19), "FR", "", "standard_rated"), None),
        (ChargedTax(Decimal(0), "US", "US-NY", "not_collecting"), None),
        (ChargedTax(Decimal(0), "", "", "finalization_requires_location_inputs"), None),
    ],
)
def test_what_billing_charged_is_booked_by_rate_place_and_reason(
    tmp_path: Path, charged: ChargedTax, expected: str | None
) -> None:
    file = tmp_path / "erp.toml"
    file.write_text(BILLED)

    named = books(str(file)).of("FR01")

    assert named is not None
    assert (named.taxed_by_billing, named.code_of(charged)) == (True, expected)


def test_where_there_are_rules_they_decide_beside_what_billing_has_charged(tmp_path: Path) -> None:
    file = tmp_path / "erp.toml"
    file.write_text(f'{BILLED}\n[[legal_entities.FR01.tax_rules]]\ntax = "standard"')

    named = books(str(file)).of("FR01")

    assert named is not None
    assert not named.taxed_by_billing


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
