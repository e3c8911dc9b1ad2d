"""Salesforce records to canonical deals, and a deal's status back."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from math import isfinite
from typing import Any

import msgspec
import pycountry

from canonical.deals import Deal, DealLine, DealStatus, PlacedDeal
from canonical.faults import Unavailable
from canonical.parties import Account, AccountSync, Address, Contact
from policies.http.client import REPLACEMENT
from policies.outbound.ownership import TECHNICAL, Fields

Row = dict[str, Any]
LEVELS = ("Account", "Account.Parent", "Account.Parent.Parent", "Account.Parent.Parent.Parent")
"""How far up one query sees; SOQL follows at most five relationships."""
ADDRESS = {"Street": "street", "PostalCode": "postal_code", "City": "city", "CountryCode": "country"}
ACCOUNT = (
    "Id",
    "ParentId",
    "Name",
    "VatNumber__c",
    "PaymentMethod__c",
    "Partner__c",
    *(f"Billing{part}" for part in ADDRESS),
)
OWNED = ("ParentId", "Name", "VatNumber__c", "Partner__c", *(f"Billing{part}" for part in ADDRESS))
CONTACT = ("FirstName", "LastName", "Email")
DEFAULT_TERM = 12
"""Months."""
MOST = 2**31 - 1
"""The greatest whole number that every table can hold."""
CURRENCY, COUNTRY, COUNTRY_TEXT = "CurrencyIsoCode", "BillingCountryCode", "BillingCountry"
DETAIL = "TiergateDetail__c"
DETAIL_LENGTH = 32_768
"""Characters of a Long Text Area, if nothing else is known of an org."""
COLLECTION = 200
"""Records in one collection."""
MARK = ("TiergateCustomer__c", "TiergateRevision__c")
"""The fields that we write to an account."""
TERMS = ("Evergreen__c",)
"""The fields of a deal that an org has where `deal_terms` says so."""
DEAL = (
    *TERMS,
    "Id",
    "Name",
    "IsWon",
    "CloseDate",
    "CurrencyIsoCode",
    "LegalEntity__c",
    "StartDate__c",
    "TermMonths__c",
    "Revision__c",
    "Pricebook2Id",
    "PlacedBy__c",
    "Owner.Username",
)
FIELDS: dict[str, Fields] = {
    "Opportunity": {
        "Name": "deal.name",
        "AccountId": "deal.account",
        "Pricebook2Id": "deal.lines",
        "StageName": "deal.won",
        "CloseDate": TECHNICAL,
        "CurrencyIsoCode": "deal.currency",
        "LegalEntity__c": "deal.legal_entity",
        "StartDate__c": "deal.starts_on",
        "TermMonths__c": "deal.term_months",
        "PlacedBy__c": "deal.placed_by",
        "TiergateKey__c": TECHNICAL,
        "TiergateStatus__c": "order.state",
        "TiergateDetail__c": "order.blocked_reason",
        "TiergateOrder__c": "order.id",
        "TiergateCorrelation__c": "order.correlation_id",
    },
    "OpportunityLineItem": {
        "OpportunityId": "deal.lines",
        "PricebookEntryId": "deal.lines",
        "Quantity": "deal.lines",
        "UnitPrice": "deal.lines",
        "SortOrder": TECHNICAL,
        "TiergateKey__c": TECHNICAL,
    },
    "Account": {"TiergateCustomer__c": "customer.id", "TiergateRevision__c": "customer.revision"},
    "Contract": {
        "AccountId": "contract.customer_id",
        "StartDate": "contract.starts_on",
        "ContractTerm": "contract.term_months",
        "Opportunity__c": "contract.order_id",
        "Status": "contract.state",
        "TiergateContract__c": "contract.id",
    },
}
"""The fields that may be written, each with its field of the canonical model."""
LINE = ("Id", "Quantity", "UnitPrice", "Discount", "ProductCode", "Name", "Product2Id", "Product2.BillingInterval__c")


SOLD = (
    "IsWon",
    "AccountId",
    "CurrencyIsoCode",
    "LegalEntity__c",
    "StartDate__c",
    "TermMonths__c",
    "Revision__c",
)
"""What a sale is made of, beside its lines."""
SOLD_LINE = ("Id", "Quantity", "UnitPrice", "Discount", "Product2Id")
WORDS = {
    "customer.id": "Account.TiergateCustomer__c",
    "deal.name": "Opportunity.Name",
    "deal.revision": "Opportunity.Revision__c",
    "deal.starts_on": "Opportunity.StartDate__c",
    "deal.placed_by": "Opportunity.PlacedBy__c",
    "deal.account.name": "Account.Name",
    "deal.account.partner": "Account.Partner__c",
    "deal.account.payment_method": "Account.PaymentMethod__c",
    "deal.account.contact.name": "Contact.LastName",
    "deal.account.contact.email": "Contact.Email",
    "deal.account.address.street": "Account.BillingStreet",
    "deal.account.address.postal_code": "Account.BillingPostalCode",
    "deal.account.address.city": "Account.BillingCity",
    "deal.won": "Opportunity.StageName",
    "deal.account": "Opportunity.AccountId",
    "deal.account.ancestors": "Account.ParentId",
    "deal.account.address.country": "Account.BillingCountryCode",
    "deal.account.tax_number": "Account.VatNumber__c",
    "deal.legal_entity": "Opportunity.LegalEntity__c",
    "deal.currency": "Opportunity.CurrencyIsoCode",
    "deal.term_months": "Opportunity.TermMonths__c",
    "deal.lines": "OpportunityLineItems",
    "sku": "ProductCode",
    "quantity": "Quantity",
    "interval": "BillingInterval__c",
    "listed": "PricebookEntry",
    "unit_price": "UnitPrice",
}
"""The names that people who work in an org know canonical fields by; fields of a line by their last part."""
ON_A_LINE = re.compile(r"deal\.lines(\[\d+\])\.(\w+)")


def in_words(field: str) -> str:
    """Return an org's name of a canonical field: `deal.lines[0].quantity` is `OpportunityLineItems[0].Quantity`."""
    if line := ON_A_LINE.fullmatch(field):
        return f"{WORDS['deal.lines']}{line[1]}.{WORDS.get(line[2], line[2])}"
    return WORDS.get(field, field)


def quoted(text: str) -> str:
    """Return `text` as a SOQL string literal (SOQL reference: quoted string escape sequences)."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


class OrgKind(msgspec.Struct, frozen=True):
    """The standard fields that an org has or lacks.

    `currency` is that of an org without multiple currencies, empty for one with them; `country_codes` is whether it
    has state and country picklists; `terms` whether it has the fields of `TERMS`.
    """

    currency: str = ""
    country_codes: bool = True
    terms: bool = False

    def fields(self, names: Iterable[str]) -> list[str]:
        """Return those of the fields that the org has, or what it has in their place."""
        lacking = {CURRENCY} if self.currency else set[str]()
        lacking |= set() if self.terms else {*TERMS}
        there = [each for each in names if each not in lacking]
        return there if self.country_codes else [COUNTRY_TEXT if each == COUNTRY else each for each in there]

    def in_currency(self, currency: str) -> str:
        """Return the condition for records in a currency, with its AND."""
        return "" if self.currency else f" AND {CURRENCY} = {quoted(currency)}"

    def sells_in(self, currency: str) -> bool:
        return not self.currency or self.currency == currency

    def completed(self, row: Row) -> Row:
        """Return a record of the org with the fields that it lacks: its currency, and the code of a country's name."""
        made = row | ({CURRENCY: self.currency} if self.currency else {})
        made |= {} if self.terms else dict.fromkeys(TERMS)
        return made if self.country_codes else made | {COUNTRY: _code_of(row.get(COUNTRY_TEXT))}


def _code_of(country: Any) -> Any:
    """Return the ISO 3166 code of a country by its English name or one of its codes, else what was there."""
    try:
        return pycountry.countries.lookup(country.strip()).alpha_2
    except (LookupError, AttributeError):
        return country


def deal_query(deal_id: str, org: OrgKind) -> str:
    """Return one query for a deal, its lines, its account and the account's parents."""
    account = ", ".join(f"Account.{field}" for field in org.fields(ACCOUNT))
    parents = ", ".join(f"{level}.ParentId" for level in LEVELS[1:])
    lines = f"(SELECT {', '.join(LINE)} FROM OpportunityLineItems ORDER BY SortOrder, Id)"
    own = ", ".join(org.fields(DEAL))
    return f"SELECT {own}, {account}, {parents}, {lines} FROM Opportunity WHERE Id = {quoted(deal_id)}"


def sales_query(condition: str, org: OrgKind, cut_over: date) -> str:
    """Return the query for the deals that were won since a day, and those that were sold and are lost, with what is
    sold.

    The stage of a deal that was created as won was never changed (Object Reference: Opportunity, LastStageChangeDate).
    """
    lines = f"(SELECT {', '.join(SOLD_LINE)} FROM OpportunityLineItems ORDER BY Id)"
    since = f"{cut_over.isoformat()}T00:00:00.000Z"
    won = f"LastStageChangeDate >= {since} OR (LastStageChangeDate = null AND CreatedDate >= {since})"
    which = f"((IsWon = true AND ({won})) OR (IsClosed = true AND TiergateOrder__c != null))"
    own = ", ".join(org.fields(("Id", *SOLD, *TERMS, "SystemModstamp")))
    return f"SELECT {own}, {lines} FROM Opportunity WHERE {which} AND {condition}"


def sale_digest(row: Row) -> str:
    """Return a fingerprint of what is sold with a deal, as 16 hex digits. It is another one when the deal is lost.

    Our own writing does not change it, nor what a sale is not made of, such as the deal's name.
    """
    lines: Row = row.get("OpportunityLineItems") or {}
    sold = [row.get(each) for each in SOLD] + [lines.get("totalSize")]
    sold += [row[each] for each in TERMS if row.get(each)]
    sold += [each.get(field) for each in lines_of(row) for field in SOLD_LINE]
    return hashlib.sha256(repr(sold).encode()).hexdigest()[:16]


def visible_ancestors(row: Row) -> tuple[list[str], bool]:
    """Return the ids of the parents that one query shows, and whether there may be more above."""
    found: list[str] = []
    node: Row | None = row.get("Account")
    for _ in LEVELS:
        if not node or not node.get("ParentId"):
            return found, False
        found.append(node["ParentId"])
        node = node.get("Parent")
    return found, True


def lines_of(row: Row) -> list[Row]:
    return _children(row, "OpportunityLineItems")


def _children(row: Row, relation: str) -> list[Row]:
    """Return the rows that a subquery found beside a row: Salesforce answers null for none."""
    children: Row = row.get(relation) or {}
    return children.get("records", [])


class Unreadable(ValueError):
    """A value of a record is none.

    `field` is its canonical name, `reason` says what is wrong in an org's words.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field
        self.reason = reason


def check_whole(row: Row, names: Iterable[str]) -> None:
    """Raise `Unavailable` for a row without the fields that were asked for: what answered is not the org."""
    if missing := [each for each in names if each.partition(".")[0] not in row]:
        raise Unavailable("crm", f"it answered with a record that has no {missing[0]}")


def whole(row: Row, name: str, field: str, default: int) -> int:
    """Return a whole number from 1 of a record, the default where it has none. Raises `Unreadable`."""
    value = row.get(name)
    if value is None:
        return default
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and 1 <= value <= MOST and value == int(value):
        return int(value)
    raise Unreadable(field, f"{in_words(field)}: {value!r} is no whole number from 1 to {MOST}")


def text(row: Row, name: str, field: str) -> str:
    """Return a text of a record, empty where it has none. Raises `Unreadable`."""
    value = row.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Unreadable(field, f"{in_words(field)}: {value!r} is no text")
    if REPLACEMENT in value:
        raise Unreadable(field, f"{in_words(field)} holds a character that cannot be stored")
    return value


def _number(value: Any, field: str) -> Decimal:
    """Return a number of a record. Raises `Unreadable`."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise Unreadable(field, f"{in_words(field)}: {value!r} is no number")
    return Decimal(str(value))


def to_deal(
    row: Row, ancestors: tuple[str, ...], contacts: list[Row], potential_duplicates: list[Row], listed: set[str]
) -> Deal:
    """Return an opportunity as a canonical deal.

    `listed` holds the ids of the products that the price list has in the deal's currency. Raises `Unreadable`.
    """
    account: Row = row["Account"] or {}
    owner: Row = row["Owner"] or {}
    return Deal(
        id=row["Id"],
        name=text(row, "Name", "deal.name"),
        revision=whole(row, "Revision__c", "deal.revision", 1),
        account=to_account(account, contacts, ancestors, tuple(each["Id"] for each in potential_duplicates)),
        currency=text(row, "CurrencyIsoCode", "deal.currency"),
        legal_entity=text(row, "LegalEntity__c", "deal.legal_entity") or None,
        starts_on=_day(row["StartDate__c"] or row["CloseDate"]),
        term_months=_term(row["TermMonths__c"], evergreen=bool(row.get("Evergreen__c"))),
        evergreen=bool(row.get("Evergreen__c")),
        lines=tuple(_line(each, place, listed) for place, each in enumerate(lines_of(row))),
        won=bool(row["IsWon"]),
        placed_by=text(row, "PlacedBy__c", "deal.placed_by") or owner.get("Username") or "",
    )


def _day(value: Any) -> date:
    try:
        return date.fromisoformat(value)
    except (TypeError, ValueError) as error:
        field = "deal.starts_on"
        raise Unreadable(field, f"{in_words(field)}: {value!r} is no day") from error


def to_account(
    row: Row, contacts: list[Row], ancestors: tuple[str, ...] = (), potential_duplicates: tuple[str, ...] = ()
) -> Account:
    """Return an account as a canonical one. `contacts` holds its first contact, if it has one.

    Raises `Unreadable`.
    """
    return Account(
        id=row.get("Id", ""),
        name=text(row, "Name", "deal.account.name"),
        address=_address(row),
        tax_number=text(row, "VatNumber__c", "deal.account.tax_number") or None,
        contact=_contact(contacts[0]) if contacts else None,
        payment_method=text(row, "PaymentMethod__c", "deal.account.payment_method") or None,
        ancestors=ancestors,
        potential_duplicates=potential_duplicates,
        partner=text(row, "Partner__c", "deal.account.partner"),
        revision=revision(row, contacts),
    )


def _address(row: Row) -> Address:
    """Return an account's address. Without country picklists an org's users write the code as they like."""
    parts = (text(row, f"Billing{part}", f"deal.account.address.{name}") for part, name in ADDRESS.items())
    street, postal_code, city, country = parts
    return Address(street, postal_code, city, country.strip().upper())


def _contact(row: Row) -> Contact:
    named = (text(row, name, "deal.account.contact.name") for name in ("FirstName", "LastName"))
    return Contact(" ".join(filter(None, named)), text(row, "Email", "deal.account.contact.email"))


def revision(row: Row, contacts: list[Row]) -> str:
    """Return a fingerprint of the fields that the CRM owns of an account, as 16 hex digits.

    What we write to the account ourselves does not change it.
    """
    owned = [row.get(field) or "" for field in OWNED]
    owned += [contacts[0][field] or "" for field in CONTACT] if contacts else []
    return hashlib.sha256(repr(owned).encode()).hexdigest()[:16]


def _term(months: float | None, *, evergreen: bool) -> int:
    """Return the months of a term: a year if none is said, 0 for what is no number of whole months, or has no end."""
    if months is None:
        return 0 if evergreen else DEFAULT_TERM
    return int(months) if isfinite(months) and abs(months) <= MOST and months == int(months) else 0


def _line(row: Row, place: int, listed: set[str]) -> DealLine:
    """Return a line. Its discount is in per cent of the price (Object Reference: OpportunityLineItem)."""
    product: Row = row["Product2"] or {}
    field = f"deal.lines[{place}]"
    price, discount = (_number(row[name] or 0, f"{field}.unit_price") for name in ("UnitPrice", "Discount"))
    return DealLine(
        id=row["Id"],
        sku=text(row, "ProductCode", f"{field}.sku"),
        name=text(row, "Name", f"{field}.name"),
        quantity=_number(row["Quantity"], f"{field}.quantity"),
        unit_price=price * (100 - discount) / 100 if discount else price,
        interval=text(product, "BillingInterval__c", f"{field}.interval"),
        listed=row["Product2Id"] in listed,
        list_price=price if discount else None,
        discount_percent=discount,
    )


def prices_query(deal: PlacedDeal, org: OrgKind) -> str:
    """Return the query for the standard price list's entries of the products that are ordered."""
    skus = ", ".join(sorted({quoted(line.sku) for line in deal.lines}))
    return (
        "SELECT Id, UnitPrice, Product2.ProductCode, Pricebook2Id FROM PricebookEntry WHERE IsActive = true "
        f"AND Pricebook2.IsStandard = true{org.in_currency(deal.currency)} AND Product2.ProductCode IN ({skus})"
    )


def placing_request(deal: PlacedDeal, price_list: str, today: date, org: OrgKind) -> Row:
    """Return the request for the opportunity, still open: it is closed once its lines exist."""
    body = {
        "Name": deal.name,
        "AccountId": deal.account_id,
        "Pricebook2Id": price_list,
        "StageName": "Negotiation/Review",
        "CloseDate": today.isoformat(),
        CURRENCY: deal.currency,
        "LegalEntity__c": deal.legal_entity,
        "StartDate__c": deal.starts_on.isoformat(),
        "TermMonths__c": deal.term_months,
        "PlacedBy__c": deal.placed_by,
    }
    there = {name: body[name] for name in org.fields(body)}
    return _patch(f"sobjects/Opportunity/TiergateKey__c/{deal.key}", "deal", there)


def line_requests(deal: PlacedDeal, deal_id: str, entries: dict[str, Row]) -> list[Row]:
    """Return the requests for the lines, each with a key of its own, and for the close.

    They are sent all or nothing, so that lines which exist belong to a deal that is won. A composite has 25 requests at
    most: the lines are in collections, of 200 each (REST API: sObject Collections).
    """
    lines: list[Row] = [
        {
            "attributes": {"type": "OpportunityLineItem"},
            "TiergateKey__c": f"{deal.key}.{index}",
            "OpportunityId": deal_id,
            "PricebookEntryId": entries[line.sku]["Id"],
            "Quantity": line.quantity,
            "UnitPrice": entries[line.sku]["UnitPrice"],
            "SortOrder": index,
        }
        for index, line in enumerate(deal.lines)
    ]
    requests = [
        _patch(
            "composite/sobjects/OpportunityLineItem/TiergateKey__c",
            f"lines{start}",
            {"allOrNone": True, "records": lines[start : start + COLLECTION]},
        )
        for start in range(0, len(lines), COLLECTION)
    ]
    return [*requests, _patch(f"sobjects/Opportunity/{deal_id}", "close", {"StageName": "Closed Won"})]


def shortened(words: str, length: int) -> str:
    """Return a text that a field of so many characters can hold, with an ellipsis for what is left out."""
    return words if len(words) <= length else f"{words[: max(length - 1, 0)]}…"[:length]


def status_requests(deal_id: str, status: DealStatus, correlation_id: str, detail_length: int) -> list[Row]:
    """Return the composite's subrequests that show a status, and the contract when there is one.

    The detail is shortened to `detail_length` characters: the state is to be seen whatever there is to say of it.
    """
    findings = "; ".join(f"{in_words(each.field)}: {each.reason}" for each in status.findings)
    shown = {
        "TiergateStatus__c": status.state,
        DETAIL: shortened(findings or status.detail, detail_length),
        "TiergateOrder__c": status.order_id,
        "TiergateCorrelation__c": correlation_id,
    }
    requests = [_patch(f"sobjects/Opportunity/{deal_id}", "deal", shown)]
    if status.customer_id:
        followed = AccountSync(status.customer_id, status.revision)
        requests.append(followed_request(status.account_id, followed))
    if status.contract_id and status.starts_on:
        url = f"sobjects/Contract/TiergateContract__c/{status.contract_id}"
        contract = {
            "AccountId": status.account_id,
            "StartDate": status.starts_on.isoformat(),
            "ContractTerm": status.term_months or None,
            "Opportunity__c": deal_id,
        }
        # A contract cannot be created as activated; it is drafted, then activated.
        requests += [_patch(url, "contract", contract), _patch(url, "activation", {"Status": "Activated"})]
    return requests


def followed_request(account_id: str, followed: AccountSync) -> Row:
    """Return the request that writes which customer an account is, and the revision that was synced."""
    body = {"TiergateCustomer__c": followed.customer_id, "TiergateRevision__c": followed.revision}
    return _patch(f"sobjects/Account/{account_id}", "account", body)


def contact_query(account_id: str) -> str:
    """Return the query for the first contact of an account."""
    return (
        f"SELECT {', '.join(CONTACT)} FROM Contact WHERE AccountId = {quoted(account_id)} ORDER BY CreatedDate LIMIT 1"
    )


def accounts_query(condition: str, org: OrgKind) -> str:
    """Return the query for accounts with the fields that we write to them, each with its first contact."""
    contact = f"(SELECT {', '.join(CONTACT)} FROM Contacts ORDER BY CreatedDate LIMIT 1)"
    return (
        f"SELECT {', '.join((*org.fields(ACCOUNT), *MARK, 'SystemModstamp', contact))} FROM Account WHERE {condition}"
    )


def contacts_of(account: Row) -> list[Row]:
    """Return the contacts that `accounts_query` found beside an account."""
    return _children(account, "Contacts")


def _patch(url: str, reference: str, body: Row) -> Row:
    return {"method": "PATCH", "url": url, "referenceId": reference, "body": body}
