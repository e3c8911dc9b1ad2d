"""How parties that are there already are found, and what they say of themselves.

A party that Tiergate made has our id as its code. One that was taken over keeps its code, and has our id as an
identifier without a type, which is neither checked nor printed (`party.identifier`, 8.2).
"""

from __future__ import annotations

import re
from typing import Any

from canonical.ids import is_identifier
from canonical.parties import Customer, CustomerMatch, compact_number, folded
from canonical.tax import EU
from system_apis.erp.tryton.mapping import Row

OUR_ID = r"cus\_" + 32 * "_"
"""What `like` finds our ids with: only a backslash makes an underscore one (operators of `trytond.model.fields`)."""
NUMBER_LENGTH = 5
"""What is shorter is no tax number that says who somebody is."""
FIELDS = [
    "code",
    "name",
    "active",
    "addresses",
    "addresses.city",
    "identifiers.type",
    "identifiers.code",
    "identifiers.active",
    "contact_mechanisms.type",
    "contact_mechanisms.value",
]


def ours(customer_id: str) -> list[Any]:
    """Return the domain of the party that is a customer of ours."""
    return ["OR", ["code", "=", customer_id], ["identifiers.code", "=", customer_id]]


def ours_or(customer_id: str, reference: str) -> list[Any]:
    """Return the domain of the party that is a customer, or that `reference` says is to become it."""
    own = ours(customer_id)
    return [*own, ["id", "=", int(reference)]] if reference.isdecimal() else own


def similar(customer: Customer, reference: str) -> list[Any]:
    """Return the domain of the party that is a customer, and of those that may be it: wider than what `match` lets
    pass. Those that are other customers of ours, or that Tryton has replaced by another one, are none."""
    alike: list[Any] = ["OR", ["name", "ilike", _literal(customer.name.strip())]]
    if customer.contact and customer.contact.email:
        mail = [["type", "=", "email"], ["value", "ilike", _literal(customer.contact.email.strip())]]
        alike.append(["contact_mechanisms", "where", mail])
    if len(number := compact_number(customer.tax_number or "")) >= NUMBER_LENGTH:
        alike.append(["identifiers.code", "ilike", f"%{'%'.join(_without_country(number))}%"])
    if reference.isdecimal():
        alike.append(["id", "=", int(reference)])
    free = [
        ["replaced_by", "=", None],
        ["OR", ["code", "=", None], ["code", "not like", OUR_ID]],
        ["identifiers", "not where", [["code", "like", OUR_ID]]],
    ]
    return ["OR", ours(customer.id), [*free, alike]]


def match(row: Row, customer: Customer, reference: str) -> CustomerMatch | None:
    """Return what a party says of itself, None for one that is not like the customer or is another one of ours."""
    numbers = [_number(each) for each in _identifiers(row)]
    mails: list[str] = [each["value"] for each in row["contact_mechanisms."] if each["type"] == "email"]
    own = is_linked(row, customer.id)
    if not own and any(is_identifier(each or "", "cus") for each in (row["code"], *_codes(row))):
        return None
    number, mail = compact_number(customer.tax_number or ""), customer.contact.email if customer.contact else ""
    same_number = len(number) >= NUMBER_LENGTH and number in numbers
    same_mail = next((each for each in mails if folded(each or "") == folded(mail)), "")
    alike = own or same_number or same_mail or folded(row["name"] or "") == folded(customer.name)
    if not alike and str(row["id"]) != reference:
        return None
    return CustomerMatch(
        str(row["id"]),
        row["name"] or "",
        email=same_mail or next(iter(mails), ""),
        city=next((each["city"] for each in row["addresses."] if each["city"]), ""),
        tax_number=number if same_number else next(iter(numbers), ""),
        same_tax_number=same_number,
        active=bool(row["active"]),  # SQLite has 0 and 1
        customer_id=customer.id if own else "",
    )


def is_linked(row: Row, customer_id: str) -> bool:
    """Return whether a party has our id of a customer."""
    return customer_id in (row["code"], *_codes(row))


def has_number(row: Row, number: str) -> bool:
    """Return whether a party has a tax number, in whatever form."""
    return compact_number(number) in [_number(each) for each in _identifiers(row)]


def number_held(row: Row, customer: Customer) -> str:
    """Return the tax number of a party: the customer's own where the party has it in any form, else the first that is
    of a kind which Tryton checks; empty for none."""
    if customer.tax_number and has_number(row, customer.tax_number):
        return customer.tax_number
    return next((_number(each) for each in _identifiers(row) if each["type"]), "")


def _identifiers(row: Row) -> list[Row]:
    return [each for each in row["identifiers."] if each["active"]]


def _codes(row: Row) -> list[str]:
    return [each["code"] for each in _identifiers(row)]


def _number(identifier: Row) -> str:
    """Return an identifier as a tax number in its compact form, which begins with the country in the European Union.

    Types such as `de_vat` are kept without it (python-stdnum).
    """
    number, kind = compact_number(identifier["code"]), identifier["type"] or ""
    country = kind[:2].upper()
    prefix = "EL" if country == "GR" else country
    return prefix + number if kind.endswith("_vat") and country in EU and not number.startswith(prefix) else number


def _without_country(number: str) -> str:
    return number[2:] if re.match(r"[A-Z]{2}\d", number) else number


def _literal(text: str) -> str:
    """Return a text in which `ilike` finds no wildcard."""
    return re.sub(r"([\\%_])", r"\\\1", text)
