"""The Salesforce stand-in, driven by simple-salesforce: all that the connector and a salesperson use, and how it
fails."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from time import time
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import jwt
import pytest
import requests
from requests.adapters import HTTPAdapter
from simple_salesforce.api import Salesforce
from simple_salesforce.exceptions import (
    SalesforceAuthenticationFailed,
    SalesforceExpiredSession,
    SalesforceMalformedRequest,
    SalesforceResourceNotFound,
)

from tests.support.environment import Environment
from tiergate.dev.sandbox import CLIENT_ID, USERNAME


class ToTheStandIn(HTTPAdapter):
    """The library speaks to https://….salesforce.com only; this sends the same requests to the stand-in."""

    def __init__(self, base_url: str) -> None:
        super().__init__()
        self._base = urlsplit(base_url)

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        asked = urlsplit(str(request.url))
        request.url = urlunsplit((self._base.scheme, self._base.netloc, asked.path, asked.query, ""))
        return super().send(request, *args, **kwargs)


def session(environment: Environment) -> requests.Session:
    made = requests.Session()
    made.mount("https://", ToTheStandIn(environment.sandbox.url("crm")))
    return made


@pytest.fixture
def crm(environment: Environment) -> Any:
    """Logged in with the JWT bearer flow."""
    key = (environment.sandbox.kept / "crm_private_key").read_text()
    return Salesforce(
        username=USERNAME,
        consumer_key=CLIENT_ID,
        privatekey=key,
        session=session(environment),
        version="66.0",
        domain="login",
    )


def test_a_client_logs_in_with_client_credentials_and_sees_its_limits(environment: Environment) -> None:
    crm = Salesforce(
        consumer_key=CLIENT_ID,
        consumer_secret=environment.sandbox.client_secret,
        domain="my.org",
        session=session(environment),
    )

    assert crm.limits()["DailyApiRequests"]["Max"] == 100_000
    crm.query("SELECT Id FROM Account LIMIT 1")
    assert crm.api_usage["api-usage"].total == 100_000
    assert crm.api_usage["api-usage"].used > 0


def test_wrong_credentials_and_expired_sessions_are_refused(environment: Environment) -> None:
    with pytest.raises(SalesforceAuthenticationFailed, match="invalid client credentials"):
        Salesforce(consumer_key=CLIENT_ID, consumer_secret="wrong", domain="my.org", session=session(environment))
    stranger = Salesforce(instance="stand-in.salesforce.com", session_id="00D!made-up", session=session(environment))
    with pytest.raises(SalesforceExpiredSession):
        stranger.query("SELECT Id FROM Account")


def test_records_are_created_read_changed_and_deleted(crm: Any) -> None:
    account = crm.Account.create({"Name": "Peer AG", "BillingCountryCode": "DE"})["id"]
    child = crm.Account.create({"Name": "Peer Nord", "ParentId": account})["id"]

    crm.Account.update(account, {"Name": "Peer SE"})
    assert crm.Account.get(account)["Name"] == "Peer SE"
    assert (
        crm.query(f"SELECT Parent.Name FROM Account WHERE Id = '{child}'")["records"][0]["Parent"]["Name"] == "Peer SE"
    )
    crm.Account.delete(child)

    with pytest.raises(SalesforceResourceNotFound):
        crm.Account.get(child)


def test_an_upsert_by_external_id_creates_once_and_then_changes(crm: Any) -> None:
    account = crm.Account.create({"Name": "Upsert AG"})["id"]
    key = f"TiergateContract__c/con_{uuid4().hex}"

    first = crm.Contract.upsert(key, {"AccountId": account, "ContractTerm": 12})
    second = crm.Contract.upsert(key, {"Status": "Activated"})

    assert (first, second) == (201, 200)
    (row,) = crm.query(f"SELECT Status, ContractTerm FROM Contract WHERE AccountId = '{account}'")["records"]
    assert (row["Status"], row["ContractTerm"]) == ("Activated", 12)
    assert crm.Contract.get_by_custom_id("TiergateContract__c", key.split("/")[1])["AccountId"] == account


def test_soql_selects_with_every_clause_that_is_used(crm: Any) -> None:
    mark = uuid4().hex[:8]
    names = [f"{mark} O'Hara", f"{mark} Alpha", f"{mark} beta", f"{mark} Gamma"]
    ids = [crm.Account.create({"Name": name, "Industry": "A" if "a" in name else None})["id"] for name in names]

    def found(clauses: str) -> list[str]:
        rows = crm.query(f"SELECT Name FROM Account WHERE {clauses}")["records"]
        return [row["Name"].removeprefix(f"{mark} ") for row in rows]

    assert found(f"Name = '{mark} O\\'Hara'") == ["O'Hara"]
    assert found(f"Name LIKE '{mark}%' ORDER BY Name DESC LIMIT 2") == ["O'Hara", "Gamma"]
    assert found(f"Name LIKE '{mark}%' AND (Name LIKE '%lpha' OR Name LIKE '%eta') ORDER BY Name") == ["Alpha", "beta"]
    assert found(f"Id IN ('{ids[0]}', '{ids[3]}') ORDER BY Name ASC NULLS LAST") == ["Gamma", "O'Hara"]
    assert found(f"Name LIKE '{mark}%' AND Id NOT IN ('{ids[0]}') AND NOT Name LIKE '%beta' ORDER BY Name") == [
        "Alpha",
        "Gamma",
    ]
    assert found(f"Name LIKE '{mark}%' ORDER BY Name OFFSET 3") == ["O'Hara"]
    assert crm.query(f"SELECT COUNT() FROM Account WHERE Name LIKE '{mark}%'")["totalSize"] == 4
    assert found(
        f"Name LIKE '{mark}%' AND CreatedDate > 2020-01-01T00:00:00Z AND ParentId = null ORDER BY Name LIMIT 1"
    ) == ["Alpha"]


def test_child_records_come_inside_their_parent(crm: Any) -> None:
    account = crm.Account.create({"Name": "Family"})["id"]
    for name in ("Ada", "Bob"):
        crm.Contact.create({"LastName": name, "AccountId": account})

    (row,) = crm.query(
        f"SELECT Id, (SELECT LastName FROM Contacts ORDER BY LastName) FROM Account WHERE Id = '{account}'"
    )["records"]

    assert row["attributes"]["type"] == "Account"
    assert [each["LastName"] for each in row["Contacts"]["records"]] == ["Ada", "Bob"]


def test_long_answers_come_in_pages(crm: Any) -> None:
    account = crm.Account.create({"Name": "Crowd"})["id"]
    for number in range(205):
        crm.Contact.create({"LastName": f"N{number:03}", "AccountId": account})
    query = f"SELECT LastName FROM Contact WHERE AccountId = '{account}' ORDER BY LastName"

    first = crm.query(query, headers={"Sforce-Query-Options": "batchSize=200"})
    rest = crm.query_more(first["nextRecordsUrl"], identifier_is_url=True)

    assert (first["totalSize"], first["done"], len(first["records"])) == (205, False, 200)
    assert (rest["done"], rest["records"][0]["LastName"]) == (True, "N200")


def test_describe_names_fields_references_and_children(crm: Any) -> None:
    described = crm.Opportunity.describe()
    fields = {each["name"]: each for each in described["fields"]}

    assert fields["AccountId"]["referenceTo"] == ["Account"]
    assert fields["TiergateOrder__c"]["externalId"] is True
    assert "OpportunityLineItems" in [each["relationshipName"] for each in described["childRelationships"]]
    assert "Account" in [each["name"] for each in crm.describe()["sobjects"]]


def test_change_lists_tell_what_was_updated_and_deleted(crm: Any) -> None:
    start = datetime.now(UTC) - timedelta(seconds=2)
    kept, gone = (crm.Account.create({"Name": name})["id"] for name in ("Kept", "Gone"))
    crm.Account.delete(gone)
    end = datetime.now(UTC) + timedelta(seconds=2)

    updated = crm.Account.updated(start, end)
    deleted = crm.Account.deleted(start, end)

    assert kept in updated["ids"]
    assert gone not in updated["ids"]
    assert gone in [each["id"] for each in deleted["deletedRecords"]]


def test_a_composite_runs_in_order_with_references_and_halts_as_a_whole(crm: Any) -> None:
    good = crm.restful(
        "composite",
        method="POST",
        json={
            "allOrNone": True,
            "compositeRequest": [
                {
                    "method": "POST",
                    "url": "/services/data/v66.0/sobjects/Account",
                    "referenceId": "a",
                    "body": {"Name": "Comp"},
                },
                {"method": "GET", "url": "/services/data/v66.0/sobjects/Account/@{a.id}", "referenceId": "b"},
            ],
        },
    )
    bad = crm.restful(
        "composite",
        method="POST",
        json={
            "allOrNone": True,
            "compositeRequest": [
                {
                    "method": "POST",
                    "url": "/services/data/v66.0/sobjects/Account",
                    "referenceId": "a",
                    "body": {"Nome": "X"},
                },
                {"method": "GET", "url": "/services/data/v66.0/limits", "referenceId": "b"},
            ],
        },
    )

    assert [each["httpStatusCode"] for each in good["compositeResponse"]] == [201, 200]
    assert good["compositeResponse"][1]["body"]["Name"] == "Comp"
    assert [each["body"][0]["errorCode"] for each in bad["compositeResponse"]] == ["INVALID_FIELD", "PROCESSING_HALTED"]


@pytest.mark.parametrize(
    ("sobject", "values", "code"),
    [
        ("Account", {}, "REQUIRED_FIELD_MISSING"),
        ("Account", {"Name": "X", "Shoe": 1}, "INVALID_FIELD"),
        ("Account", {"Name": "X", "ParentId": "001gK0000000000QAA"}, "MALFORMED_ID"),
        ("Account", {"Name": "X", "SystemModstamp": "2026-01-01"}, "INVALID_FIELD_FOR_INSERT_UPDATE"),
        (
            "Opportunity",
            {"Name": "X", "StageName": "Maybe", "CloseDate": "2026-01-01"},
            "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST",
        ),
        ("Opportunity", {"Name": "X", "StageName": "Closed Won", "CloseDate": "soon"}, "JSON_PARSER_ERROR"),
    ],
)
def test_a_wrong_record_is_refused_in_salesforces_words(
    crm: Any, sobject: str, values: dict[str, Any], code: str
) -> None:
    with pytest.raises(SalesforceMalformedRequest) as refused:
        getattr(crm, sobject).create(values)

    content: Any = refused.value.content
    assert content[0]["errorCode"] == code


@pytest.mark.parametrize(
    ("soql", "code"),
    [
        ("SELEC Id FROM Account", "MALFORMED_QUERY"),
        ("SELECT Shoe FROM Account", "INVALID_FIELD"),
        ("SELECT Owner.Shoe FROM Account", "INVALID_FIELD"),
        ("SELECT Id FROM Account WHERE Id = 'none' AND Shoe = 'x'", "INVALID_FIELD"),
        ("SELECT Id FROM Account WHERE Id = 'none' ORDER BY Shoe", "INVALID_FIELD"),
        ("SELECT Id, (SELECT Shoe FROM Contacts) FROM Account WHERE Id = 'none'", "INVALID_FIELD"),
        ("SELECT Id FROM Nothing", "INVALID_TYPE"),
    ],
)
def test_a_wrong_query_is_refused_in_salesforces_words(crm: Any, soql: str, code: str) -> None:
    with pytest.raises(SalesforceMalformedRequest) as refused:
        crm.query(soql)

    content: Any = refused.value.content
    assert content[0]["errorCode"] == code


def test_a_deal_closes_as_a_salesperson_closes_it(crm: Any) -> None:
    account = crm.Account.create({"Name": "Deal AG"})["id"]
    book = crm.query("SELECT Id FROM Pricebook2 WHERE IsStandard = true")["records"][0]["Id"]
    entry = crm.query("SELECT Id, UnitPrice FROM PricebookEntry WHERE Product2.ProductCode = 'SEAT'")["records"][0]
    deal = crm.Opportunity.create(
        {
            "Name": "Deal",
            "AccountId": account,
            "Pricebook2Id": book,
            "StageName": "Prospecting",
            "CloseDate": "2026-01-31",
        }
    )["id"]
    line = crm.OpportunityLineItem.create({"OpportunityId": deal, "PricebookEntryId": entry["Id"], "Quantity": 3})["id"]

    priced = crm.OpportunityLineItem.get(line)
    assert (priced["UnitPrice"], priced["TotalPrice"], priced["ProductCode"]) == (entry["UnitPrice"], 720.0, "SEAT")
    assert crm.Opportunity.get(deal)["IsWon"] is False
    crm.Opportunity.update(deal, {"StageName": "Closed Lost"})
    assert (crm.Opportunity.get(deal)["IsClosed"], crm.Opportunity.get(deal)["IsWon"]) == (True, False)


@pytest.mark.parametrize(
    ("sobject", "values", "field"),
    [
        ("Account", {"Name": "x" * 256}, "Name"),
        ("Account", {"Name": "Long", "BillingCity": "x" * 41}, "BillingCity"),
        ("Account", {"Name": "Long", "Phone": "0" * 41}, "Phone"),
        ("Contact", {"LastName": "x" * 81}, "LastName"),
        ("Opportunity", {"Name": "x" * 121, "StageName": "Prospecting", "CloseDate": "2026-01-01"}, "Name"),
    ],
)
def test_a_text_that_is_longer_than_its_description_says_is_refused(
    crm: Any, sobject: str, values: dict[str, Any], field: str
) -> None:
    described = {each["name"]: each for each in getattr(crm, sobject).describe()["fields"]}

    with pytest.raises(SalesforceMalformedRequest) as refused:
        getattr(crm, sobject).create(values)

    content: Any = refused.value.content
    assert (content[0]["errorCode"], content[0]["fields"]) == ("STRING_TOO_LONG", [field])
    assert described[field]["length"] == len(values[field]) - 1


def test_a_deleted_record_is_found_by_those_who_ask_for_all(crm: Any) -> None:
    account = crm.Account.create({"Name": "Deleted"})["id"]
    crm.Account.delete(account)
    query = f"SELECT Id, IsDeleted FROM Account WHERE Id = '{account}'"

    assert crm.query(query)["totalSize"] == 0
    assert [each["IsDeleted"] for each in crm.query(query, include_deleted=True)["records"]] == [True]


def test_stamps_are_of_whole_seconds(crm: Any) -> None:
    account = crm.Account.create({"Name": "Stamped"})["id"]

    assert str(crm.Account.get(account)["SystemModstamp"]).endswith(".000+0000")


def composite(crm: Any, requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    body = {"allOrNone": True, "compositeRequest": requests}
    return list(crm.restful("composite", method="POST", json=body)["compositeResponse"])


def test_child_records_come_in_pages_of_their_own(crm: Any) -> None:
    account = crm.Account.create({"Name": "Large family"})["id"]
    for place in range(205):
        crm.Contact.create({"LastName": f"N{place:03}", "AccountId": account})

    (row,) = crm.query(
        f"SELECT Id, (SELECT LastName FROM Contacts ORDER BY LastName) FROM Account WHERE Id = '{account}'"
    )["records"]
    rest = crm.query_more(row["Contacts"]["nextRecordsUrl"], identifier_is_url=True)

    assert (row["Contacts"]["totalSize"], row["Contacts"]["done"], len(row["Contacts"]["records"])) == (205, False, 199)
    assert (rest["done"], [each["LastName"] for each in rest["records"]]) == (
        True,
        [f"N{at}" for at in range(199, 205)],
    )


@pytest.mark.parametrize(("url", "most"), [("sobjects/Account/describe", 25), ("query?q=SELECT+Id+FROM+User", 5)])
def test_a_composite_has_at_most_25_requests_and_5_queries(crm: Any, url: str, most: int) -> None:
    requests = [
        {"method": "GET", "url": f"/services/data/v66.0/{url}", "referenceId": f"r{place}"} for place in range(most + 1)
    ]

    well, refused = composite(crm, requests[:most]), composite(crm, requests)

    assert [each["httpStatusCode"] for each in well] == [200] * most
    assert [(each["httpStatusCode"], each["body"][0]["errorCode"]) for each in refused] == [(400, "LIMIT_EXCEEDED")]


def test_a_composite_that_fails_leaves_nothing_of_what_came_before(crm: Any) -> None:
    name = uuid4().hex
    url = "/services/data/v66.0/sobjects/Account"
    good = {"method": "POST", "url": url, "referenceId": "good", "body": {"Name": name}}
    bad = {"method": "POST", "url": url, "referenceId": "bad", "body": {"Nome": name}}

    answers = composite(crm, [good, bad])

    assert [each["body"][0]["errorCode"] for each in answers] == ["PROCESSING_HALTED", "INVALID_FIELD"]
    assert crm.query(f"SELECT Id FROM Account WHERE Name = '{name}'")["totalSize"] == 0


def test_a_collection_is_upserted_whole_or_not_at_all(crm: Any) -> None:
    marks = [uuid4().hex for _ in range(3)]
    records = [
        {"attributes": {"type": "Product2"}, "ProductCode": mark, "Name": mark, "IsActive": True} for mark in marks
    ]

    def upsert(several: list[dict[str, Any]]) -> list[dict[str, Any]]:
        body = {"allOrNone": True, "records": several}
        return list(crm.restful("composite/sobjects/Product2/ProductCode", method="PATCH", json=body))

    refused = upsert([*records[:2], records[2] | {"Family": 7}])
    none = crm.query(f"SELECT COUNT() FROM Product2 WHERE ProductCode IN ('{marks[0]}', '{marks[2]}')")["totalSize"]
    made, again = upsert(records), upsert(records)

    codes = [each["errors"][0]["statusCode"] for each in refused]
    assert (codes, none) == (["ALL_OR_NONE_OPERATION_ROLLED_BACK"] * 2 + ["JSON_PARSER_ERROR"], 0)
    assert [each["created"] for each in made] == [True] * 3
    assert [each["created"] for each in again] == [False] * 3
    with pytest.raises(SalesforceMalformedRequest, match="200 records"):
        upsert(records * 67)


def test_a_line_stays_with_its_deal(crm: Any) -> None:
    entry = crm.query("SELECT Id FROM PricebookEntry LIMIT 1")["records"][0]["Id"]
    deal = {"Name": "Deal", "StageName": "Prospecting", "CloseDate": "2026-01-31"}
    one, other = (crm.Opportunity.create(deal)["id"] for _ in range(2))
    line = crm.OpportunityLineItem.create({"OpportunityId": one, "PricebookEntryId": entry, "Quantity": 1})["id"]

    with pytest.raises(SalesforceMalformedRequest, match="INVALID_FIELD_FOR_INSERT_UPDATE"):
        crm.OpportunityLineItem.update(line, {"OpportunityId": other})


def test_ids_of_15_and_of_18_characters_are_the_same_record_and_the_longer_is_answered(crm: Any) -> None:
    account = crm.Account.create({"Name": "Short ids"})["id"]
    short = account[:15]

    contact = crm.Contact.create({"LastName": "Short", "AccountId": short})["id"]

    assert len(account) == 18
    assert crm.Account.get(short)["Id"] == account
    assert crm.Contact.get(contact)["AccountId"] == account
    assert crm.query(f"SELECT Id FROM Account WHERE Id = '{short}'")["records"][0]["Id"] == account
    assert crm.query(f"SELECT Id FROM Contact WHERE AccountId IN ('{short}')")["totalSize"] == 1
    assert crm.query(f"SELECT Id FROM Account WHERE Id != '{short}' AND Name = 'Short ids'")["totalSize"] == 0


@pytest.mark.parametrize(("domain", "well"), [("login", True), ("test", True), ("acme.my", False)])
def test_a_log_in_by_assertion_is_for_the_shared_addresses_of_salesforce(
    environment: Environment, domain: str, *, well: bool
) -> None:
    key = (environment.sandbox.kept / "crm_private_key").read_text()
    claims = {"iss": CLIENT_ID, "sub": USERNAME, "aud": f"https://{domain}.salesforce.com", "exp": time() + 180}
    form = {
        "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "assertion": jwt.encode(claims, key, algorithm="RS256"),
    }

    answer = requests.post(f"{environment.sandbox.url('crm')}/services/oauth2/token", data=form, timeout=10)

    assert answer.ok is well
    assert well or answer.json() == {"error": "invalid_grant", "error_description": "audience is invalid"}


def test_a_line_with_a_discount_costs_less(crm: Any) -> None:
    entry = crm.query("SELECT Id FROM PricebookEntry LIMIT 1")["records"][0]["Id"]
    deal = crm.Opportunity.create({"Name": "Deal", "StageName": "Prospecting", "CloseDate": "2026-01-31"})["id"]
    line = {"OpportunityId": deal, "PricebookEntryId": entry, "Quantity": 2, "UnitPrice": 100, "Discount": 15}

    made = crm.OpportunityLineItem.get(crm.OpportunityLineItem.create(line)["id"])

    assert (made["UnitPrice"], made["Discount"], made["TotalPrice"]) == (100, 15, 170)


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"LastName": "X", "Email": "nobody"}, "INVALID_EMAIL_ADDRESS"),
        ({"LastName": "X", "AccountId": "no id"}, "MALFORMED_ID"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused(crm: Any, values: dict[str, Any], code: str) -> None:
    with pytest.raises(SalesforceMalformedRequest) as refused:
        crm.Contact.create(values)

    content: Any = refused.value.content
    assert content[0]["errorCode"] == code


def test_part_of_an_employee_is_refused(crm: Any) -> None:
    with pytest.raises(SalesforceMalformedRequest, match="JSON_PARSER_ERROR"):
        crm.Account.create({"Name": "Half", "NumberOfEmployees": 1.5})


def test_a_standard_price_comes_before_any_other_and_a_product_has_one_in_a_book_and_a_currency(crm: Any) -> None:
    (standard,) = crm.query("SELECT Id FROM Pricebook2 WHERE IsStandard = true")["records"]
    own = crm.Pricebook2.create({"Name": "Partners", "IsActive": True})["id"]
    product = crm.Product2.create({"Name": "Priced", "ProductCode": uuid4().hex, "IsActive": True})["id"]
    price = {"Product2Id": product, "UnitPrice": 10.0, "CurrencyIsoCode": "EUR", "IsActive": True}

    with pytest.raises(SalesforceMalformedRequest) as too_early:
        crm.PricebookEntry.create(price | {"Pricebook2Id": own})
    crm.PricebookEntry.create(price | {"Pricebook2Id": standard["Id"]})
    crm.PricebookEntry.create(price | {"Pricebook2Id": own})
    with pytest.raises(SalesforceMalformedRequest) as twice:
        crm.PricebookEntry.create(price | {"Pricebook2Id": own, "UnitPrice": 11.0})

    refusals: list[Any] = [too_early.value.content, twice.value.content]
    assert [each[0]["errorCode"] for each in refusals] == ["STANDARD_PRICE_NOT_DEFINED", "DUPLICATE_VALUE"]
