"""Stripe's search query language, for customers (docs.stripe.com/search)."""

from __future__ import annotations

import re
from typing import NamedTuple

from sandbox.stripe.errors import StripeError, invalid
from sandbox.stripe.objects import Object

STRINGS = ("email", "name", "phone")
"""The fields of a customer that are searched as text (Query fields for Customers), beside `created` and `metadata`."""
QUOTED = r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'"
FIELD = rf"metadata\[(?:{QUOTED})\]|[a-z_]+"
CLAUSE = re.compile(rf"\s*(?P<not>-?)(?P<field>{FIELD})(?P<how>:|~|>=|<=|>|<)\s*(?P<value>{QUOTED}|\w+)")
JOINT = re.compile(r"\s+(AND|OR)\s+|\s+", re.IGNORECASE)
MOST_CLAUSES = 10
LEAST_OF_A_SUBSTRING = 3


class Clause(NamedTuple):
    """`key` is the key of the metadata; `value` is None for `null`, which is a field's absence."""

    field: str
    key: str
    how: str
    value: str | None
    is_negated: bool

    def holds(self, thing: Object) -> bool:
        return self._matches(thing) != self.is_negated

    def _matches(self, thing: Object) -> bool:
        present = thing["metadata"].get(self.key) if self.field == "metadata" else thing[self.field]
        if self.value is None:
            return present in (None, "")
        if self.field == "created":
            at, bound = int(thing["created"]), int(self.value)
            return {":": at == bound, ">": at > bound, ">=": at >= bound, "<": at < bound, "<=": at <= bound}[self.how]
        text, wanted = str(present or "").casefold(), self.value.casefold()
        return wanted in text if self.how == "~" else text == wanted and present is not None


def parse(query: str) -> tuple[list[Clause], bool]:
    """Return the clauses, and whether all of them have to hold: AND and OR do not go together. Raises `StripeError`."""
    clauses: list[Clause] = []
    joints: set[str] = set()
    place, text = 0, query.strip()
    while True:
        found = CLAUSE.match(text, place)
        if found is None:
            raise _unparsed()
        clauses.append(_clause(found))
        place = found.end()
        if place == len(text):
            break
        joint = JOINT.match(text, place)
        if joint is None:
            raise _unparsed()
        joints.add((joint[1] or "AND").upper())
        place = joint.end()
    if len(joints) > 1 or len(clauses) > MOST_CLAUSES:
        raise _unparsed()
    return clauses, joints != {"OR"}


def _clause(found: re.Match[str]) -> Clause:
    name, how, raw = found["field"], found["how"], found["value"]
    key = ""
    if name.startswith("metadata["):
        name, key = "metadata", _unquoted(name[len("metadata[") : -1])
    value = None if raw.casefold() == "null" else _unquoted(raw)
    is_text = name in (*STRINGS, "metadata")
    if not is_text and name != "created":
        raise invalid(f"Field `{name}` is an unsupported search field for resource `customers`.", "query", "")
    numeric = name == "created" and (value is None or not value.isdecimal() or how == "~")
    if numeric or (is_text and how not in ":~") or (how == "~" and (name == "metadata" or _is_short(value))):
        raise _unparsed()
    return Clause(name, key, how, value, bool(found["not"]))


def _is_short(value: str | None) -> bool:
    return value is None or len(value) < LEAST_OF_A_SUBSTRING


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1]) if text[0] in "\"'" else text


def _unparsed() -> StripeError:
    return invalid("We were unable to parse your search query.", "query", "parameter_invalid_string")
