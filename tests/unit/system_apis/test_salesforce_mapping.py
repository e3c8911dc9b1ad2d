"""What people write in the CRM, as it is understood."""

from __future__ import annotations

from typing import Any

import pytest

from system_apis.crm.salesforce.mapping import to_account, to_deal


@pytest.mark.parametrize("written", ["DE", "de", " De "])
def test_a_country_code_is_understood_however_it_is_written(written: str) -> None:
    assert to_account({"BillingCountryCode": written}, []).address.country == "DE"


@pytest.mark.parametrize(("written", "term"), [(None, 12), (24.0, 24), (0, 0), (0.5, 0), (-1.0, -1), (1000.0, 1000)])
def test_a_term_is_taken_as_it_is_said_and_none_is_a_year(written: float | None, term: int) -> None:
    row: dict[str, Any] = dict.fromkeys(
        ("Account", "Owner", "Revision__c", "CurrencyIsoCode", "LegalEntity__c", "StartDate__c", "PlacedBy__c")
    )
    row |= {"Id": "006", "Name": "Deal", "CloseDate": "2026-03-01", "IsWon": True, "TermMonths__c": written}

    assert to_deal(row | {"OpportunityLineItems": None}, (), [], [], set()).term_months == term
