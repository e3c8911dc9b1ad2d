"""What people write in the CRM, as it is understood."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from system_apis.crm.salesforce.client import is_elsewhere
from system_apis.crm.salesforce.mapping import to_account, to_deal
from system_apis.crm.salesforce.org import org_of


@pytest.mark.parametrize("written", ["DE", "de", " De "])
def test_a_country_code_is_understood_however_it_is_written(written: str) -> None:
    assert to_account({"BillingCountryCode": written}, [], org_of("")).address.country == "DE"


@pytest.mark.parametrize(
    ("written", "evergreen", "term"),
    [
        (None, None, 12),
        (24.0, False, 24),
        (0, None, 0),
        (0.5, None, 0),
        (-1.0, None, -1),
        (1000.0, None, 1000),
        (None, True, 0),
        (24.0, True, 24),
    ],
)
def test_a_term_is_taken_as_it_is_said_and_none_is_a_year_or_has_no_end(
    written: float | None, *, evergreen: bool | None, term: int
) -> None:
    row: dict[str, Any] = dict.fromkeys(
        ("Account", "Owner", "Revision__c", "CurrencyIsoCode", "LegalEntity__c", "StartDate__c", "PlacedBy__c")
    )
    row |= {"Id": "006", "Name": "Deal", "CloseDate": "2026-03-01", "IsWon": True, "TermMonths__c": written}

    row |= {"Evergreen__c": evergreen, "OpportunityLineItems": None}
    deal = to_deal(row, (), [], [], set(), org_of("", deal_terms=True))

    assert (deal.term_months, deal.evergreen) == (term, bool(evergreen))


@pytest.mark.parametrize(
    ("price", "discount", "net"),
    [(100.0, 15.0, "85.00"), (100.0, None, "100"), (99.5, 0, "99.5"), (100.0, 100.0, "0"), (240.0, 12.5, "210")],
)
def test_a_line_costs_its_price_less_its_discount(price: float, discount: float | None, net: str) -> None:
    line = dict.fromkeys(("ProductCode", "Name", "Product2Id", "Product2"))
    row: dict[str, Any] = dict.fromkeys(
        ("Account", "Owner", "Revision__c", "CurrencyIsoCode", "LegalEntity__c", "StartDate__c", "PlacedBy__c")
    )
    row |= {"Id": "006", "Name": "Deal", "CloseDate": "2026-03-01", "IsWon": True, "TermMonths__c": None}
    row["OpportunityLineItems"] = {
        "records": [line | {"Id": "00k", "Quantity": 1, "UnitPrice": price, "Discount": discount}]
    }

    assert to_deal(row, (), [], [], set(), org_of("")).lines[0].unit_price == Decimal(net)


@pytest.mark.parametrize(
    ("url", "instance_url", "elsewhere"),
    [
        ("https://login.salesforce.com", "https://acme.my.salesforce.com", "https://acme.my.salesforce.com"),
        ("https://acme.my.salesforce.com", "https://acme.my.salesforce.com/", ""),
        ("https://ACME.my.salesforce.com", "https://acme.my.salesforce.com", ""),
        ("https://gateway.internal", "https://acme.my.salesforce.com", ""),
        ("https://login.salesforce.com", "https://evil.example.com", ""),
        ("https://login.salesforce.com", "", ""),
    ],
)
def test_an_org_that_is_at_another_address_of_salesforce_is_named_and_nothing_else_is(
    url: str, instance_url: str, elsewhere: str
) -> None:
    assert is_elsewhere(url, instance_url) == elsewhere
