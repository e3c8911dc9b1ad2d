"""Which kind of tax number the Stripe connector sends a number as."""

from __future__ import annotations

import re

import pytest

from sandbox.stripe.tax_ids import TYPES
from system_apis.billing.stripe.tax_ids import FORMS, TaxId, tax_id


@pytest.mark.parametrize(
    ("number", "country", "kind", "value"),
    [
        ("DE136695976", "DE", "eu_vat", "DE136695976"),
        ("136 695 976", "DE", "eu_vat", "DE136695976"),
        ("FR40303265045", "DE", "eu_vat", "FR40303265045"),
        ("FR 40 303265045", "US", "eu_vat", "FR40303265045"),
        ("EL094259216", "GR", "eu_vat", "EL094259216"),
        ("094259216", "GR", "eu_vat", "EL094259216"),
        ("ATU13585627", "AT", "eu_vat", "ATU13585627"),
        ("XI980780684", "GB", "eu_vat", "XI980780684"),
        ("GB 980 7806 84", "GB", "gb_vat", "GB980780684"),
        ("980780684", "GB", "gb_vat", "GB980780684"),
        ("CHE-116.281.710 MWST", "CH", "ch_vat", "CHE-116.281.710 MWST"),
        ("CHE116281710TVA", "CH", "ch_vat", "CHE-116.281.710 TVA"),
        ("CHE-116.281.710", "CH", "ch_vat", "CHE-116.281.710 MWST"),
        ("CHE-116.281.710", "LI", "li_uid", "CHE116281710"),
        ("NO 995 525 828 MVA", "NO", "no_vat", "995525828MVA"),
        ("91-1144442", "US", "us_ein", "91-1144442"),
        ("51 824 753 556", "AU", "au_abn", "51824753556"),
        ("ESC120101XX1", "MX", "mx_rfc", "ESC120101XX1"),
    ],
)
def test_a_number_is_sent_as_the_kind_of_its_country_in_stripes_form(
    number: str, country: str, kind: str, value: str
) -> None:
    assert tax_id(number, country) == TaxId(kind, value)
    assert re.fullmatch(TYPES[kind], value)


@pytest.mark.parametrize(
    ("number", "country"), [("K-77", "BR"), ("12", "US"), ("CHE-1", "CH"), ("unknown", "GB"), ("123456789", "ZZ")]
)
def test_a_number_of_no_known_kind_is_none(number: str, country: str) -> None:
    assert tax_id(number, country) is None


def test_every_kind_that_is_sent_is_one_that_stripe_knows() -> None:
    assert {kind for kind, _, _ in FORMS.values()} <= TYPES.keys()
