"""What names a person in a record, and what takes its place."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Mapping
from typing import Any, cast

import msgspec
import sqlalchemy as sa

from canonical.parties import folded
from process_apis.erasure.people import PEOPLE, Person
from process_apis.erasure.tables import personal_columns
from process_apis.records import erased

WORDS: Mapping[str, tuple[str, ...]] = {
    "events.document": ("data.reason",),
    "cases.document": ("reason", "resolution"),
    "order_lines.line": ("name",),
    "orders.plan": (
        "customer.address.street",
        "contract.custom.*",
        "contract.invoicing.purchase_order",
        "contract.lines.name",
    ),
    "customers.document": ("address.street",),
}
"""Where a document has free text, in which a name may be."""
FEWEST_LETTERS = 2
"""Letters of a name below which free text is not searched for it."""


class Replacement:
    """What names a person in a row, and what takes its place.

    Of a row that belongs to a customer of the person's, names are replaced too.
    """

    def __init__(self, person: Person, placeholder: str, *, names: bool = True, addresses: bool = True) -> None:
        """With `names` alone, everything by which the names are known stays; with `addresses` alone, only that goes."""
        self._ids = person.ids
        self._placeholder = placeholder
        self._names = names_pattern(person) if names else None
        self._nameless = frozenset(map(folded, person.names)) if names else frozenset[str]()
        """The names of people without an address, who are replaced."""
        self._addresses = address_pattern(person.address) if addresses and person.address else None
        self._address = person.address if addresses else ""
        self._hints = _hints(person.address) if self._addresses is not None else ()

    def text(self, text: str, *, is_own: bool = True) -> str:
        """Return a text without the person; one that `is_own` belongs to the person's customers."""
        if self._addresses is not None:
            text = self._addresses.sub(erased.address(self._placeholder), text)
        if is_own and self._names is not None:
            text = self._names.sub(lambda found: found["company"] or self._placeholder, text)
        return text

    def changes(self, table: sa.Table, row: sa.Row[Any]) -> tuple[dict[str, Any], list[str]]:
        """Return the new values of the columns of a row that name the person, and the fields that do."""
        is_own = not self._ids.isdisjoint(each for each in row if isinstance(each, str))
        values: dict[str, Any] = {}
        fields: list[str] = []
        for column, kind in personal_columns(table):
            value = getattr(row, column)
            if value is None:
                continue
            if kind == "text":
                text = self.text(value, is_own=is_own)
                if text != value:
                    values[column] = text[: getattr(table.c[column].type, "length", None)]
                    fields.append(column)
                continue
            if not is_own and not any(each in value for each in self._hints):
                continue  # nothing is decoded that cannot have the address
            document = _Document(self, f"{table.name}.{column}", fields, is_own=is_own)
            content = msgspec.json.decode(value)
            new = document.walk("", content)
            if new != content:
                values[column] = msgspec.json.encode(new)
        return values, fields

    def is_person(self, content: Mapping[str, Any], *, is_own: bool) -> bool:
        """Return whether somebody whom a document names is the person."""
        if mail := content.get("email", ""):
            return bool(self._address) and erased.identity(mail) == self._address
        return is_own and folded(content.get("name", "")) in self._nameless

    def of(self, content: dict[str, Any]) -> dict[str, Any]:
        """Return what takes the place of somebody: a placeholder for name and address; of where it is, the country."""
        made = content | {"name": self._placeholder}
        if content.get("email"):
            made["email"] = erased.address(self._placeholder)
        if "address" in content:
            made["address"] = {"country": content["address"].get("country", "")}
        return made


class _Document:
    """A document in which a person is replaced; the paths at which it was are appended to `fields`."""

    def __init__(self, replacement: Replacement, column: str, fields: list[str], *, is_own: bool) -> None:
        self._replacement = replacement
        self._people = PEOPLE.get(column, ())
        self._words = WORDS.get(column, ())
        self._fields = fields
        self._is_own = is_own

    def walk(self, path: str, value: Any) -> Any:
        """Return the value at `path` with the person replaced; lists add nothing to a path."""
        if isinstance(value, dict):
            content = cast("dict[str, Any]", value)
            if path in self._people and self._replacement.is_person(content, is_own=self._is_own):
                self._fields.append(path)
                content = self._replacement.of(content)
            return {name: self.walk(f"{path}.{name}" if path else name, inner) for name, inner in content.items()}
        if isinstance(value, list):
            return [self.walk(path, each) for each in cast("list[Any]", value)]
        if isinstance(value, str):
            text = self._replacement.text(value, is_own=self._is_own and self._is_words(path))
            if text != value:
                self._fields.append(path)
            return text
        return value

    def _is_words(self, path: str) -> bool:
        return path in self._words or f"{path.rpartition('.')[0]}.*" in self._words


def names_pattern(person: Person, *, bounded: bool = True) -> re.Pattern[str] | None:
    """Return what finds the names of a person, None where there is none to look for.

    Where it is `bounded`, it finds no part of a word, and in the group `company` the name of a company whose name has
    the person's in it, which is a fact about the company.
    """
    names = [each for each in person.names if sum(map(str.isalpha, each)) >= FEWEST_LETTERS]
    if not names:
        return None
    wanted = _either(names)
    if not bounded:
        return re.compile(wanted, re.IGNORECASE)
    company = _either(person.companies) or "(?!)"
    return re.compile(rf"(?<!\w)(?:(?P<company>{company})|(?:{wanted}))(?!\w)", re.IGNORECASE)


def _either(names: Collection[str]) -> str:
    """Return the pattern of one of some names, the longest first: in both forms of their letters, with any blanks."""
    spaced = [r"\s+".join(map(re.escape, form.split())) for name in names for form in _forms(name)]
    return "|".join(sorted(filter(None, spaced), key=len, reverse=True))


def address_pattern(mail: str, *, bounded: bool = True) -> re.Pattern[str]:
    """Return what finds an address in a text and, where it is `bounded`, no longer one that ends or begins like it."""
    local, _, host = mail.rpartition("@")
    try:
        in_unicode = host.encode("ascii").decode("idna")
    except UnicodeError:
        in_unicode = host
    hosts = "|".join(re.escape(form) for each in (host, in_unicode) for form in _forms(each))
    found = rf"(?:{'|'.join(map(re.escape, _forms(local)))})@(?i:{hosts})"
    return re.compile(rf"(?<![\w.+&-])(?<!\w'){found}(?![\w-])(?!\.\w)" if bounded else found)


def _hints(mail: str) -> tuple[bytes, ...]:
    """Return bytes of which each document has some that has an address: what stands before the @, as far as JSON writes
    it as it is."""
    pieces = re.split(r'["\\\x00-\x1f]', mail.rpartition("@")[0])
    return tuple(each.encode() for each in _forms(max(pieces, key=len)))


def _forms(text: str) -> tuple[str, ...]:
    """Return a text with its accents composed and apart (Unicode Annex 15)."""
    return tuple(dict.fromkeys(unicodedata.normalize(form, text) for form in ("NFC", "NFD")))
