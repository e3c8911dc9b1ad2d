"""What people write in the CRM, as it is understood."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from canonical.deals import InvoiceTerms
from canonical.parties import Address, Recipient
from system_apis.crm.salesforce.client import is_elsewhere
from system_apis.crm.salesforce.columns import Column, Reader
from system_apis.crm.salesforce.mapping import deal_query, sale_digest, to_account, to_deal
from system_apis.crm.salesforce.org import SHIPPED, org_of


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
    ("held", "text"),
    [(4711000.0, "4711000"), (123456789.5, "123456789.5"), (12.0, "12"), (0.1, "0.1"), (1e16, "10000000000000000")],
)
def test_a_number_in_a_custom_field_or_a_table_of_values_keeps_all_its_digits(held: float, text: str) -> None:
    row = {"CostCenter__c": held}

    assert Reader("Opportunity", "custom.cost_center", Column("CostCenter__c")).anything(row, "deal") == text
    known = Column("CostCenter__c", values={text: "DE01"})
    assert Reader("Opportunity", "legal_entity", known).text(row, "deal") == "DE01"


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


def deal_row(**fields: Any) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(
        ("Owner", "Revision__c", "CurrencyIsoCode", "LegalEntity__c", "StartDate__c", "PlacedBy__c", "TermMonths__c")
    )
    account = {"BillingStreet": "Hauptstr. 1", "BillingCity": "Berlin", "BillingCountryCode": "DE"}
    row |= {"Id": "006", "Name": "Deal", "CloseDate": "2026-03-01", "IsWon": True, "OpportunityLineItems": None}
    return row | {"Account": account} | fields


@pytest.mark.parametrize(
    ("contact", "codes", "address"),
    [
        ({"MailingCity": "Wien", "MailingCountryCode": "at"}, True, Address("", "", "Wien", "AT")),
        ({"MailingCity": "Wien", "MailingCountry": "Austria"}, False, Address("", "", "Wien", "AT")),
        ({"MailingCity": "Wien"}, True, Address("Hauptstr. 1", "", "Berlin", "DE")),
    ],
)
def test_who_gets_the_invoices_has_an_address_of_its_own_or_that_of_the_account(
    contact: dict[str, str], *, codes: bool, address: Address
) -> None:
    person = {"Name": "Accounts", "Email": "ap@example.com"}
    row = deal_row(PurchaseOrder__c=" 4500012345 ", PaymentDays__c=45.0, BillToContact__r=person | contact)

    terms = to_deal(row, (), [], [], set(), org_of("", country_codes=codes, deal_terms=True)).invoicing

    assert terms == InvoiceTerms("4500012345", 45, Recipient("Accounts", "ap@example.com", address))


@pytest.mark.parametrize(("written", "days"), [(None, None), (0.0, 0), (30.0, 30), (30.5, -1), (-3.0, -3)])
def test_days_until_an_invoice_is_due_are_taken_as_they_are_said(written: float | None, days: int | None) -> None:
    deal = to_deal(deal_row(PaymentDays__c=written), (), [], [], set(), org_of("", deal_terms=True))

    assert deal.invoicing == InvoiceTerms(days_until_due=days)


def test_an_org_that_says_nothing_of_invoices_leaves_them_as_they_are() -> None:
    assert to_deal(deal_row(PaymentDays__c=30.0), (), [], [], set(), org_of("")).invoicing == InvoiceTerms()


def test_a_change_of_the_terms_is_a_change_of_the_sale_and_a_field_that_is_empty_or_absent_is_none() -> None:
    plain, org = {"Id": "006", "IsWon": True}, org_of("", deal_terms=True)

    assert sale_digest(plain | {"PurchaseOrder__c": None, "Evergreen__c": False}, org) == sale_digest(plain, org)
    assert sale_digest(plain, org) == sale_digest(plain, org_of(""))
    assert sale_digest(plain | {"PurchaseOrder__c": "1"}, org) != sale_digest(plain, org)


@pytest.mark.parametrize(
    ("contract", "named"),
    [
        ({"Id": "800A", "TiergateContract__c": "con_1", "Opportunity__c": "006B"}, "con_1"),
        ({"Id": "800A", "TiergateContract__c": "con_1", "Opportunity__c": None}, "con_1"),
        ({"Id": "800A", "TiergateContract__c": None, "Opportunity__c": None}, "800A"),
        ({"Id": "800A", "TiergateContract__c": "con_1", "Opportunity__c": "006"}, ""),
        (None, ""),
    ],
    ids=["ours", "without-its-deal", "not-ours", "of-the-deal-itself", "none"],
)
def test_a_deal_that_names_a_contract_changes_it_unless_it_has_come_of_the_deal_itself(
    contract: dict[str, Any] | None, named: str
) -> None:
    row = deal_row() | {"Contract": contract}
    plain = {"Id": "006", "IsWon": True, "Type": "Cancellation"}

    assert to_deal(row, (), [], [], set(), org_of("")).contract_id == named
    assert (sale_digest(plain | {"Contract": contract}, org_of("")) != sale_digest(plain, org_of(""))) == bool(named)


@pytest.mark.parametrize(
    ("kind", "change"),
    [("Cancellation", "cancellation"), ("Renewal", "renewal"), ("New Business", "amendment"), (None, "amendment")],
)
def test_the_type_of_a_deal_says_whether_its_contract_ends_or_is_renewed(kind: str | None, change: str) -> None:
    contract = {"Contract": {"Id": "800A", "TiergateContract__c": "con_1", "Opportunity__c": None}}
    sold, org = {"Id": "006", "IsWon": True} | contract, org_of("")

    assert to_deal(deal_row(Type=kind) | contract, (), [], [], set(), org).change == change
    is_same = sale_digest(sold | {"Type": kind}, org) == sale_digest(sold, org)
    assert is_same == (change == "amendment")


@pytest.mark.parametrize(
    ("key", "named"),
    [
        ('"Amended__r.TiergateContract__c"', "con_2"),
        ('"AmendedId__c"', "con_3"),
        ('{ constant = "" }', ""),
    ],
    ids=["another-reference", "a-field-with-our-id", "none"],
)
def test_a_mapping_file_says_where_a_deal_names_its_contract_and_what_ends_it(
    tmp_path: Path, key: str, named: str
) -> None:
    own = SHIPPED.read_text().replace("[deal]\n", f'[deal]\nchange = "Kind__c"\ncontract_id = {key}\n')
    file = tmp_path / "mapping.toml"
    file.write_text(own.replace("[org]\n", '[org]\ncancellation = "End"\n'))
    known = {"Contract": {"Id": "800A", "TiergateContract__c": "con_1", "Opportunity__c": None}}
    known |= {"Amended__r": {"Id": "800B", "TiergateContract__c": "con_2", "Opportunity__c": None}}

    org = org_of(str(file))
    deal = to_deal(deal_row(AmendedId__c="con_3", Kind__c="End") | known, (), [], [], set(), org)

    assert (deal.contract_id, deal.change) == (named, "cancellation")
    wanted = deal_query("006", org)
    assert ("Amended__r.Id, Amended__r.Opportunity__c" in wanted) == (named == "con_2")
    assert "Contract.Id" not in wanted
