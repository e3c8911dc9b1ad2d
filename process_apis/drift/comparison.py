"""What a field says, whatever form a system writes it in: values that differ in form alone are no drift."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

import msgspec

from canonical.parties import Address, compact_number

Value = str | int | date | Address | None
"""What a system says of a field; None or an empty text for nothing."""
PLAIN_LENGTH, CHECKED_LENGTH = 15, 18
"""Characters of a CRM's own id without and with the three that its capital letters are checked by (Object Reference:
ID field type): they say nothing of their own."""


class OnItsWay(Exception):
    """A change of our own is on its way to the platforms: what differs now may be explained by it."""


class NotKnown(Exception):
    """There is no such customer or contract of ours."""


class Compared(msgspec.Struct, frozen=True):
    """A field as its owner has it and as a system holds that does not own it, both in words.

    `field` is of the canonical model (`customer.name`), `system` a platform by its name in the catalogue.
    """

    field: str
    owner: str
    owner_value: str
    system: str
    value: str
    differs: bool
    legal_entity: str = ""

    @property
    def key(self) -> tuple[str, str]:
        return self.field, self.system


def compared(field: str, owner: str, owned: Value, system: str, held: Value, legal_entity: str) -> Compared:
    """Return what an owner and another system say of a field."""
    form = FORMS.get(field, _text)
    return Compared(field, owner, in_words(owned), system, in_words(held), form(owned) != form(held), legal_entity)


def in_words(value: Value) -> str:
    """Return a value as people read it; empty for nothing."""
    if isinstance(value, Address):
        city = " ".join(filter(None, (value.postal_code, value.city)))
        return ", ".join(filter(None, (*value.street.splitlines(), city, value.state, value.country)))
    return "" if value is None else str(value)


def _text(value: Value) -> str:
    """Return a text without what systems trim, wrap or encode in their own way. Its letters' case is the owner's."""
    return " ".join(unicodedata.normalize("NFC", in_words(value)).split())


def _address(value: Value) -> tuple[str, ...]:
    """Return the parts of an address. Codes of countries and states are the same in small letters."""
    found = value if isinstance(value, Address) else Address()
    codes = (found.country, found.state)
    return (*map(_text, (found.street, found.postal_code, found.city)), *(_text(each).upper() for each in codes))


def _mail(value: Value) -> str:
    """Return an e-mail address: the case of its host's letters says nothing (RFC 5321, section 2.4)."""
    local, at, host = _text(value).rpartition("@")
    return f"{local}{at}{host.casefold()}"


def _number(value: Value) -> str:
    return compact_number(in_words(value))


def _foreign_id(value: Value) -> str:
    """Return an id of a CRM's own in its shorter form."""
    text = _text(value)
    return text[:PLAIN_LENGTH] if len(text) == CHECKED_LENGTH else text


FORMS: Mapping[str, Callable[[Value], Any]] = {
    "customer.address": _address,
    "customer.contact": _mail,
    "customer.tax_number": _number,
    "contract.customer_id": _foreign_id,
}
"""How the fields are compared that are no plain texts."""
