"""Salesforce records to canonical deals, and a deal's status back."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from functools import cache
from math import ceil, isfinite
from typing import Any, Literal, cast

import pycountry

from canonical.amendments import months_between
from canonical.deals import ContractCopy, Deal, DealLine, DealStatus, InvoiceTerms, PlacedDeal
from canonical.faults import Unavailable
from canonical.parties import Account, AccountSync, Address, Contact, Recipient
from canonical.states import OrderState
from policies.outbound.ownership import ALL_OF, TECHNICAL, Fields
from policies.outbound.paths import PlatformPath, path_of
from system_apis.crm.salesforce.columns import MOST, Column, Reader, Row, at, is_number
from system_apis.crm.salesforce.org import Org, org_of, quoted

LEVELS = ("Account", "Account.Parent", "Account.Parent.Parent", "Account.Parent.Parent.Parent")
"""How far up one query sees; SOQL follows at most five relationships."""
CONTACT = ("FirstName", "LastName", "Email")
CONTRACT = ("AccountId", "StartDate", "ContractTerm")
CONTACT_READERS = [
    Reader("Contact", key, Column(name)) for key, name in zip(("name", "name", "email"), CONTACT, strict=True)
]
DEFAULT_TERM = 12
"""Months."""
DETAIL_LENGTH = 32_768
"""Characters of a Long Text Area, if nothing else is known of an org."""
COLLECTION = 200
"""Records in one collection."""
STAMP = "SystemModstamp"
DEAL = ("Id", "IsWon", "Pricebook2Id")
ACCOUNT = ("Id", "ParentId")
LINE = ("Id", "Product2Id")
SOLD = ("currency", "legal_entity", "starts_on", "term_months", "revision")
"""What a sale is made of, beside its account and its lines."""
SOLD_LATER, AGREED_LATER = ("evergreen",), ("purchase_order", "days_until_due", "bill_to.name")
"""The same, where there is something. Without it a sale has the fingerprint that it had before this was read."""
AGREED = ("currency", "legal_entity", "starts_on", "term_months")
"""What a channel has agreed on, and must not become something else in the org."""
SOLD_LINE = ("quantity", "unit_price", "discount_percent")
OWNED = ("name", "tax_number", "partner", "address.street", "address.postal_code", "address.city", "address.country")
OWNED_LATER = ("address.state", "tax_exempt")
"""What the CRM owns of an account. Without the later ones it has the fingerprint that it had before they were read."""
ADMINISTERED: dict[str, Fields] = {
    "CustomField": {"FullName": TECHNICAL, f"Metadata{ALL_OF}": TECHNICAL},
    "PermissionSet": dict.fromkeys(("Name", "Label", "Description"), TECHNICAL),
    "PermissionSetAssignment": dict.fromkeys(("PermissionSetId", "AssigneeId"), TECHNICAL),
    "FieldPermissions": dict.fromkeys(
        ("ParentId", "SobjectType", "Field", "PermissionsRead", "PermissionsEdit"), TECHNICAL
    ),
}
"""The fields of what setup makes."""
FIELDS = org_of("").writable() | ADMINISTERED
"""The fields that may be written, each with its field of the canonical model, in an org that is mapped as shipped."""


def deal_query(deal_id: str, org: Org) -> str:
    """Return one query for a deal, its lines, its account and the account's parents."""
    return f"SELECT {_deal_wanted(org)} FROM Opportunity WHERE Id = {quoted(deal_id)}"


def _own(org: Org) -> list[str]:
    return org.fields((*DEAL, *_of_contract(org)), [*org.deal.values(), *org.custom.values(), *org.invoicing.values()])


def _of_contract(org: Org) -> list[str]:
    """Return what is read of the contract that a deal names, beside our id of it."""
    return [".".join((*org.contract, each)) for each in ("Id", org.written.contract.deal)] if org.contract else []


def _contract_named(row: Row, org: Org) -> Any:
    """Return the contract that a deal changes, as the org has it: our id of it, its own of one that is not ours. The
    contract that has come of the deal itself is none that it changes."""
    contract: Row = (at(row, org.contract) if org.contract else None) or {}
    if contract and contract.get(org.written.contract.deal) == row["Id"]:
        return None
    return org.deal["contract_id"].raw(row) or contract.get("Id")


def contract_of(row: Row, org: Org) -> str:
    """Return the contract that a deal changes; empty for a sale. Raises `Unreadable`."""
    named = _contract_named(row, org)
    return org.deal["contract_id"].text(row, "deal").strip() or str(named) if named else ""


def _change(row: Row, org: Org) -> Literal["amendment", "renewal", "cancellation"]:
    said = org.deal["change"].raw(row)
    if said == org.names.cancellation:
        return "cancellation"
    return "renewal" if said == org.names.renewal else "amendment"


@cache
def _deal_wanted(org: Org) -> str:
    own = _own(org)
    account = org.fields(ACCOUNT, org.account.values(), "Account.")
    parents = [f"{level}.ParentId" for level in LEVELS[1:]]
    of_line = ", ".join(org.fields(LINE, org.line.values()))
    lines = f"(SELECT {of_line} FROM OpportunityLineItems ORDER BY SortOrder, Id)"
    return ", ".join({each.lower(): each for each in (*own, *account, *parents, lines)}.values())


@cache
def parts_of_deal(org: Org) -> frozenset[str]:
    """Return what a row that answers `deal_query` has."""
    return frozenset({each.partition(".")[0] for each in _own(org)} | {"Account", "OpportunityLineItems"})


@cache
def parts_of_line(org: Org) -> frozenset[str]:
    """Return what each of its lines has."""
    return frozenset(each.partition(".")[0] for each in org.fields(LINE, org.line.values()))


HELD: OrderState = "on_hold"
"""What a deal shows whose order waits for a correction."""


def sales_query(condition: str, org: Org, cut_over: date) -> str:
    """Return the query for the deals that were won since a day, and those that were sold and are lost, with what is
    sold.

    The stage of a deal that was created as won was never changed (Object Reference: Opportunity, LastStageChangeDate).
    """
    since = f"{cut_over.isoformat()}T00:00:00.000Z"
    won = f"LastStageChangeDate >= {since} OR (LastStageChangeDate = null AND CreatedDate >= {since})"
    which = f"((IsWon = true AND ({won})) OR (IsClosed = true AND {org.written.deal.order} != null)){org.is_ours()}"
    return f"SELECT {_sale_wanted(org)} FROM Opportunity WHERE {which} AND {condition}"


def changed_sales(since: str, org: Org) -> str:
    """Return the condition for deals that were changed since a moment (as SOQL has it), and for those whose orders are
    held and whose accounts were changed."""
    held = f"{org.written.deal.state} = '{HELD}' AND Account.{STAMP} >= {since}"
    return f"({STAMP} >= {since} OR ({held})) ORDER BY {STAMP}, Id"


def is_held(row: Row, org: Org) -> bool:
    """Return whether the order of a deal waits for a correction, as the deal shows it."""
    return row.get(org.written.deal.state) == HELD


def buyer_digest(row: Row, org: Org) -> str:
    """Return a fingerprint of the account of a deal, as 16 hex digits: of the fields that are read of it."""
    account: Row = row.get("Account") or {}
    read = [at(account, tuple(path.split("."))) for path in org.fields(ACCOUNT, org.account.values())]
    return hashlib.sha256(repr(read).encode()).hexdigest()[:16]


@cache
def _sale_wanted(org: Org) -> str:
    of_line = ", ".join(org.fields(LINE, _sold_of_line(org)))
    buyer = (f"Account.{path}" for path in org.fields(ACCOUNT, org.account.values()))
    change = (*org.deal["contract_id"].fields, *org.deal["change"].fields, *_of_contract(org))
    fixed = ("Id", "IsWon", "AccountId", STAMP, org.written.deal.state, f"Account.{STAMP}", *buyer, *change)
    sold = [*(org.deal[each] for each in SOLD), *_sold_later(org)]
    own = ", ".join(_firsts(fixed, sold))
    return f"{own}, (SELECT {of_line} FROM OpportunityLineItems ORDER BY Id)"


def _sold_later(org: Org) -> list[Reader]:
    return [*(org.deal[each] for each in SOLD_LATER), *(org.invoicing[each] for each in AGREED_LATER)]


def _firsts(fixed: Iterable[str], readers: Iterable[Reader]) -> list[str]:
    """Return fields that a query asks for, without those that are read where the first is empty."""
    wanted = [*fixed, *(each.column.field for each in readers if each.path)]
    return list({each.lower(): each for each in wanted}.values())


@cache
def _sold_of_line(org: Org) -> list[Reader]:
    """Return what is sold with a line: fields of its own. What belongs to its product changes with the product."""
    interval = org.line["interval"]
    return [*(org.line[each] for each in SOLD_LINE), *([interval] if interval.own_field else [])]


def sale_digest(row: Row, org: Org) -> str:
    """Return a fingerprint of what is sold with a deal, as 16 hex digits. It is another one when the deal is lost.

    Our own writing does not change it, nor what a sale is not made of, such as the deal's name.
    """
    lines: Row = row.get("OpportunityLineItems") or {}
    sold = [row.get("IsWon"), row.get("AccountId"), *(org.deal[each].first(row) for each in SOLD)]
    sold += [lines.get("totalSize"), *filter(None, (each.first(row) for each in _sold_later(org)))]
    if named := _contract_named(row, org):
        change = _change(row, org)
        sold += [named, change == "cancellation"]
        if change == "renewal":  # what was sold before there were any has the digest that it had
            sold.append(change)
    of_line = _sold_of_line(org)
    for each in lines_of(row):
        sold += [each.get("Id"), *(reader.first(each) for reader in of_line), each.get("Product2Id")]
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


def check_whole(row: Row, names: Iterable[str]) -> None:
    """Raise `Unavailable` for a row without the parts that were asked for: what answered is not the org."""
    if missing := sorted(each for each in names if each not in row):
        raise Unavailable("crm", f"it answered with a record that has no {missing[0]}")


def to_deal(
    row: Row,
    ancestors: tuple[str, ...],
    contacts: list[Row],
    potential_duplicates: list[Row],
    listed: set[str],
    org: Org,
    merged: tuple[str, ...] = (),
) -> Deal:
    """Return an opportunity as a canonical deal.

    `listed` holds the ids of the products that the price list has in the deal's currency, `merged` those of the
    accounts that were merged into the deal's. Raises `Unreadable`.
    """
    account: Row = row["Account"] or {}
    of, deal = "deal", org.deal
    evergreen = deal["evergreen"].flag(row, of)
    custom = {name: each.anything(row, of) for name, each in org.custom.items()}
    return Deal(
        id=row["Id"],
        name=deal["name"].text(row, of),
        revision=deal["revision"].whole(row, of, 1),
        account=to_account(account, contacts, org, ancestors, ids_of(potential_duplicates), merged),
        currency=deal["currency"].text(row, of),
        legal_entity=deal["legal_entity"].text(row, of) or None,
        starts_on=deal["starts_on"].day(row, of),
        term_months=_term(row, deal["term_months"], evergreen=evergreen),
        evergreen=evergreen,
        lines=tuple(_line(each, place, listed, org) for place, each in enumerate(lines_of(row))),
        won=bool(row["IsWon"]),
        placed_by=deal["placed_by"].text(row, of),
        custom={name: value for name, value in custom.items() if value},
        invoicing=_invoicing(row, org),
        contract_id=contract_of(row, org),
        change=_change(row, org),
    )


def _invoicing(row: Row, org: Org) -> InvoiceTerms:
    """Return what was agreed for the invoices; a recipient without an address of its own has that of the account."""
    texts = {name: each.text(row, "deal").strip() for name, each in org.invoicing.items() if name != "days_until_due"}
    name, email, street, postal_code, city, country = (
        texts[f"bill_to.{part}"] for part in ("name", "email", "street", "postal_code", "city", "country")
    )
    own = Address(street, postal_code, city, country.upper())
    recipient = Recipient(name, email, own if country else _address(row["Account"] or {}, org))
    days = org.invoicing["days_until_due"].value(row, "deal")
    return InvoiceTerms(
        texts["purchase_order"],
        None if days is None else _whole_or(days, -1),
        recipient if name else None,
    )


def _whole_or(number: Any, otherwise: int) -> int:
    """Return a number of a record that is whole and can be held, something else for any other."""
    whole = is_number(number) and isfinite(number) and abs(number) <= MOST and number == int(number)
    return int(number) if whole else otherwise


def revision_of(row: Row, org: Org) -> int:
    """Return the revision of a deal. Raises `Unreadable`."""
    return org.deal["revision"].whole(row, "deal", 1)


def to_account(
    row: Row,
    contacts: list[Row],
    org: Org,
    ancestors: tuple[str, ...] = (),
    potential_duplicates: tuple[str, ...] = (),
    merged: tuple[str, ...] = (),
) -> Account:
    """Return an account as a canonical one. `contacts` holds its first contact, if it has one.

    Raises `Unreadable`.
    """
    of, account = "deal.account", org.account
    return Account(
        id=row.get("Id", ""),
        name=account["name"].text(row, of),
        address=_address(row, org),
        tax_number=account["tax_number"].text(row, of) or None,
        contact=_contact(contacts[0]) if contacts else None,
        payment_method=account["payment_method"].text(row, of) or None,
        ancestors=ancestors,
        potential_duplicates=potential_duplicates,
        tax_exempt=account["tax_exempt"].flag(row, of),
        partner=account["partner"].text(row, of),
        revision=revision(row, contacts, org),
        merged=merged,
    )


def _address(row: Row, org: Org) -> Address:
    """Return an account's address. Without picklists an org's users write the codes as they like."""
    parts = ("street", "postal_code", "city", "country", "state")
    street, postal_code, city, country, state = (
        org.account[f"address.{part}"].text(row, "deal.account") for part in parts
    )
    country = country.strip().upper()
    return Address(street, postal_code, city, country, code_of_state(country, state.strip()) if state else "")


@cache
def _states_of(country: str) -> dict[str, str]:
    """Return the codes of a country's states (ISO 3166-2, without the country's) by name and by code."""
    found = cast("Any", pycountry.subdivisions).get(country_code=country) or ()
    codes = [(str(each.name), str(each.code).partition("-")[2]) for each in found]
    return {name.casefold(): code for name, code in codes} | {code.casefold(): code for _, code in codes}


def code_of_state(country: str, written: str) -> str:
    """Return the ISO 3166-2 code of a state, without the country's, by its name or its code, else what was there."""
    return _states_of(country).get(written.casefold(), written)


def _contact(row: Row) -> Contact:
    first, last, email = (each.text(row, "deal.account.contact") for each in CONTACT_READERS)
    return Contact(" ".join(filter(None, (first, last))), email)


def revision(row: Row, contacts: list[Row], org: Org) -> str:
    """Return a fingerprint of the fields that the CRM owns of an account, as 16 hex digits.

    What we write to the account ourselves does not change it.
    """
    owned = [row.get("ParentId") or "", *(org.account[each].raw(row) or "" for each in OWNED)]
    owned += [contacts[0][field] or "" for field in CONTACT] if contacts else []
    owned += [f"{each}={value}" for each in OWNED_LATER if (value := org.account[each].raw(row))]
    return hashlib.sha256(repr(owned).encode()).hexdigest()[:16]


def _term(row: Row, reader: Reader, *, evergreen: bool) -> int:
    """Return the months of a term: a year if none is said, 0 for what is no number of whole months, or has no end."""
    if evergreen and reader.raw(row) in (None, ""):
        return 0
    months = reader.value(row, "deal")
    if months is None:
        return DEFAULT_TERM
    return _whole_or(months, 0)


def _line(row: Row, place: int, listed: set[str], org: Org) -> DealLine:
    of, line = f"deal.lines[{place}]", org.line
    price, discount = (line[name].number(row, of, Decimal(0)) for name in ("unit_price", "discount_percent"))
    return DealLine(
        id=row["Id"],
        sku=line["sku"].text(row, of),
        name=line["name"].text(row, of),
        quantity=line["quantity"].number(row, of),
        unit_price=price * (100 - discount) / 100 if discount else price,
        interval=line["interval"].text(row, of),
        listed=row["Product2Id"] in listed,
        list_price=price if discount else None,
        discount_percent=discount,
    )


def prices_query(deal: PlacedDeal, org: Org) -> str:
    """Return the query for the price book's entries of the products that are ordered."""
    skus = ", ".join(sorted({quoted(line.sku) for line in deal.lines}))
    code = product_code(org)
    read = ["Id", "UnitPrice", code, "Pricebook2Id", *(intervals_of_products(org) or ())]
    return f"SELECT {', '.join(dict.fromkeys(read))} FROM PricebookEntry{_on_sale(deal, org)} AND {code} IN ({skus})"


def any_price_query(deal: PlacedDeal, org: Org) -> str:
    """Return the query for one price of the price book in the deal's currency."""
    return f"SELECT Id FROM PricebookEntry{_on_sale(deal, org)} LIMIT 1"


def _on_sale(deal: PlacedDeal, org: Org) -> str:
    return f" WHERE IsActive = true AND {org.price_book()}{org.in_currency(deal.currency)}"


def intervals_of_products(org: Org) -> tuple[str, ...] | None:
    """Return the paths from a price to the interval of its product; None where a line says it, which is not there
    yet."""
    paths = org.line["interval"].fields
    return paths if all(each.startswith("Product2.") for each in paths) else None


def recurs(prices: Iterable[Row], org: Org) -> bool:
    """Return whether one of the products that these are the prices of may be billed more than once. Raises
    `Unreadable`."""
    interval = org.line["interval"]
    return intervals_of_products(org) is None or any(interval.text(each, "deal.lines") != "one_time" for each in prices)


def product_code(org: Org) -> str:
    """Return the path from a price to the code of its product."""
    sku = org.line["sku"].column.field
    return sku if sku.startswith("Product2.") else "Product2.ProductCode"


def prices_by_sku(rows: list[Row], org: Org) -> dict[str, Row]:
    """Return the entries that `prices_query` found, by the codes of their products."""
    path = tuple(product_code(org).split("."))
    return {at(row, path): row for row in rows}


def record_type_query(deal: PlacedDeal, org: Org) -> str:
    """Return the query for the record type of a deal that a channel places, empty where any will do."""
    names = org.names.record_types
    named = str(org.deal["legal_entity"].written(deal.legal_entity)) if org.record_type else names[0] if names else ""
    if not named:
        return ""
    return f"SELECT Id FROM RecordType WHERE SobjectType = 'Opportunity' AND DeveloperName = {quoted(named)}"


def placing_request(deal: PlacedDeal, price_list: str, record_type: str, today: date, org: Org) -> Row:
    """Return the request for the opportunity, still open: it is closed once its lines exist."""
    body: Row = {
        "AccountId": deal.account_id,
        "Pricebook2Id": price_list,
        "StageName": org.names.open_stage,
        "CloseDate": today.isoformat(),
    }
    if record_type:
        body["RecordTypeId"] = record_type
    own = {
        "name": deal.name,
        "currency": deal.currency,
        "legal_entity": deal.legal_entity,
        "starts_on": deal.starts_on.isoformat(),
        "term_months": deal.term_months,
        "placed_by": deal.placed_by,
    }
    for name, value in own.items():
        if field := org.deal[name].own_field:
            body[field] = org.deal[name].written(value)
        elif name in AGREED and not (record_type and name == "legal_entity"):
            org.deal[name].check_constant(value)
    return patch(path_of("crm", "sobjects", "Opportunity", org.written.deal.key, deal.key), "deal", body)


def line_requests(deal: PlacedDeal, deal_id: str, entries: dict[str, Row], org: Org) -> list[Row]:
    """Return the requests for the lines, each with a key of its own, and for the close.

    They are sent all or nothing, so that lines which exist belong to a deal that is won.
    """
    key = org.written.line.key
    lines: list[Row] = [
        {
            "attributes": {"type": "OpportunityLineItem"},
            key: f"{deal.key}.{index}",
            "OpportunityId": deal_id,
            "PricebookEntryId": entries[line.sku]["Id"],
            "Quantity": line.quantity,
            "UnitPrice": entries[line.sku]["UnitPrice"],
            "SortOrder": index,
        }
        for index, line in enumerate(deal.lines)
    ]
    return [
        *in_collections(lines, key),
        patch(path_of("crm", "sobjects", "Opportunity", deal_id), "close", {"StageName": org.names.won_stage}),
    ]


def in_collections(lines: list[Row], key: str) -> list[Row]:
    """Return the requests for lines. A composite has 25 requests at most: they are in collections, of 200 lines each
    (REST API: sObject Collections)."""
    return [
        patch(
            path_of("crm", "composite", "sobjects", "OpportunityLineItem", key),
            f"lines{start}",
            {"allOrNone": True, "records": lines[start : start + COLLECTION]},
        )
        for start in range(0, len(lines), COLLECTION)
    ]


def shortened(words: str, length: int) -> str:
    """Return a text that a field of so many characters can hold, with an ellipsis for what is left out."""
    return words if len(words) <= length else f"{words[: max(length - 1, 0)]}…"[:length]


def status_requests(deal_id: str, status: DealStatus, correlation_id: str, detail_length: int, org: Org) -> list[Row]:
    """Return the composite's subrequests that show a status, and the contract when there is one.

    The detail is shortened to `detail_length` characters: the state is to be seen whatever there is to say of it.
    """
    findings = "; ".join(f"{org.in_words(each.field)}: {each.reason}" for each in status.findings)
    written = org.written.deal
    shown = {
        written.state: status.state,
        written.detail: shortened(findings or status.detail, detail_length),
        written.order: status.order_id,
        written.correlation: correlation_id,
    }
    requests = [patch(path_of("crm", "sobjects", "Opportunity", deal_id), "deal", shown)]
    if status.customer_id:
        followed = AccountSync(status.customer_id, status.revision)
        requests.append(followed_request(status.account_id, followed, org))
    if status.contract_id and status.starts_on:
        url = path_of("crm", "sobjects", "Contract", org.written.contract.contract, status.contract_id)
        contract = {
            "AccountId": status.account_id,
            "StartDate": status.starts_on.isoformat(),
            "ContractTerm": status.term_months or None,
            org.written.contract.deal: deal_id,
        }
        # A contract cannot be created as activated; it is drafted, then activated.
        active = {"Status": org.names.active_contract}
        requests += [patch(url, "contract", contract), patch(url, "activation", active)]
    return requests


def former_request(row: Row, status: DealStatus, org: Org) -> Row:
    """Return the request by which the record of a contract stays what it was for its account until it was transferred.

    The account of an activated contract cannot be changed (Salesforce Help, 000385190: Cannot Edit a Salesforce
    Contract's Account Name After It Has Been Activated). So the record ends with the transfer and gives up our id of
    the contract, by which the other account's is made.
    """
    since, until = contract_copy(row).starts_on, status.transferred_on
    ended: Row = {org.written.contract.contract: f"{status.contract_id}:{until}"}
    if since and until and (months := ceil(months_between(since, until))):
        ended["ContractTerm"] = months
    return patch(path_of("crm", "sobjects", "Contract", row["Id"]), "former", ended)


def contract_query(contract_id: str, org: Org) -> str:
    """Return the query for what we write to a contract, by our id of it."""
    key = org.written.contract.contract
    return f"SELECT Id, {', '.join(CONTRACT)} FROM Contract WHERE {key} = {quoted(contract_id)}"


def contract_copy(row: Row) -> ContractCopy:
    """Return what the org holds of a contract."""
    begins = date.fromisoformat(row["StartDate"]) if row["StartDate"] else None
    return ContractCopy(row["Id"], row["AccountId"], begins, row["ContractTerm"] or 0)


def followed_request(account_id: str, followed: AccountSync, org: Org) -> Row:
    """Return the request that writes which customer an account is, and the revision that was synced."""
    written = org.written.account
    body = {written.customer: followed.customer_id, written.revision: followed.revision}
    return patch(path_of("crm", "sobjects", "Account", account_id), "account", body)


def contact_query(account_id: str) -> str:
    """Return the query for the first contact of an account."""
    return (
        f"SELECT {', '.join(CONTACT)} FROM Contact WHERE AccountId = {quoted(account_id)} ORDER BY CreatedDate LIMIT 1"
    )


def accounts_query(condition: str, org: Org) -> str:
    """Return the query for accounts with the fields that we write to them, each with its first contact."""
    return f"SELECT {_account_wanted(org)} FROM Account WHERE {condition}"


@cache
def _account_wanted(org: Org) -> str:
    contact = f"(SELECT {', '.join(CONTACT)} FROM Contacts ORDER BY CreatedDate LIMIT 1)"
    mark = (org.written.account.customer, org.written.account.revision, STAMP)
    return ", ".join((*org.fields((*ACCOUNT, *mark), org.account.values()), contact))


def changed_contacts_query(condition: str, org: Org) -> str:
    """Return the query for contacts of customers."""
    return f"SELECT Id, AccountId, {', '.join(CONTACT)}, {STAMP} FROM Contact WHERE Account.{org.ours} AND {condition}"


def gone_query(condition: str, org: Org) -> str:
    """Return the query for customers' accounts that were deleted or merged into others."""
    own = f"Id, {org.written.account.customer}, {STAMP}"
    return f"SELECT {own} FROM Account WHERE IsDeleted = true AND {org.ours} AND {condition}"


def ids_of(rows: Iterable[Row]) -> tuple[str, ...]:
    return tuple(row["Id"] for row in rows)


def merged_query(condition: str) -> str:
    """Return the query for accounts that were deleted or merged into others (Object Reference: Account,
    MasterRecordId)."""
    return f"SELECT Id, MasterRecordId FROM Account WHERE IsDeleted = true AND {condition} ORDER BY Id"


def contacts_of(account: Row) -> list[Row]:
    """Return the contacts that `accounts_query` found beside an account."""
    return _children(account, "Contacts")


def patch(url: PlatformPath, reference: str, body: Row) -> Row:
    return {"method": "PATCH", "url": url, "referenceId": reference, "body": body}
