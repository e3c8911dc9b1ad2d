"""Who may change which field: a write to a platform carries what that platform owns, and copies.

The copies are those that the catalogue declares as projections; any other field is refused before it is sent. A
connector declares which field of the canonical model each field of its platform's records is, and a field that it does
not declare is not sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, cast

from canonical.fields import ENTITIES, fields_of
from policies.catalogue.model import Catalogue, Domain, Fact, Report
from policies.catalogue.sections import section
from policies.problems import NOT_OWNED, FieldError, ProblemError

TECHNICAL = ""
"""Marks a field that says nothing of the business: how a list is sorted, what an answer is to contain."""
ALL_OF = ".*"
"""The end of a field's name that stands for everything inside the field."""
Fields = Mapping[str, str]
"""The canonical field (`customer.address`) of each field of a platform's record (`address.city`).

It is several, separated by blanks, where a text is put together from them.
"""
Carried = tuple[str, Any]
"""A kind of record on the platform, and what is written to it."""
Owner = Literal["crm", "erp", "billing", "provisioning", "tiergate"]


class Ownership(Fact, frozen=True):
    """Who may change a field, and where a copy of it is kept for reading."""

    owner: Owner
    projections: frozenset[Domain] = frozenset()


def _violations(catalogue: Catalogue) -> Iterator[Report]:
    for entity, fields in OWNERSHIP.of(catalogue).items():
        path = ("ownership", entity)
        if entity not in ENTITIES:
            yield path, f"the canonical model has no {entity!r}", f"use one of {', '.join(sorted(ENTITIES))}"
            continue
        for field, rule in fields.items():
            if field not in fields_of(entity):
                known = ", ".join(sorted(fields_of(entity)))
                yield (*path, field), f"a {entity} has no field {field!r}", f"use one of {known}"
            if rule.owner in rule.projections:
                yield (*path, field), f"{rule.owner} owns it and has a copy of it", "take it out of the projections"


OWNERSHIP = section("ownership", dict[str, dict[str, Ownership]], check=_violations, title="Ownership of")


def carried(domain: Domain, known: Mapping[str, Fields], records: list[Carried]) -> frozenset[str]:
    """Return the canonical fields that a write carries. Raises `ProblemError` (403) for an undeclared field."""
    found: set[str] = set()
    for record, content in records:
        fields = known.get(record, {})
        for path in _leaves("", content):
            field = _looked_up(fields, path)
            if field is None:
                raise _refusal(f"{record}.{path}", f"Nothing is known of {record}.{path} of the {domain}.")
            found.update(field.split())
    return frozenset(found)


def check(catalogue: Catalogue, domain: Domain, fields: frozenset[str]) -> None:
    """Raise `ProblemError` (403) for a field that a domain neither owns nor has a copy of."""
    for field in sorted(fields):
        entity, _, name = field.partition(".")
        rule = OWNERSHIP.of(catalogue).get(entity, {}).get(name)
        if rule is None:
            raise _refusal(field, f"The catalogue says of nobody that it owns {field}.")
        if domain != rule.owner and domain not in rule.projections:
            raise _refusal(field, f"{field} belongs to {rule.owner}, and the {domain} has no copy of it.")


def _leaves(path: str, content: Any) -> Iterator[str]:
    """Yield the paths to all values that are not None; lists add nothing to a path."""
    if isinstance(content, dict):
        for name, inner in cast("dict[str, Any]", content).items():
            yield from _leaves(f"{path}.{name}" if path else name, inner)
    elif isinstance(content, list | tuple):
        for inner in cast("list[Any]", content):
            yield from _leaves(path, inner)
    elif content is not None:
        yield path


def _looked_up(fields: Fields, path: str) -> str | None:
    if path in fields:
        return fields[path]
    while path:
        if path + ALL_OF in fields:
            return fields[path + ALL_OF]
        path = path.rpartition(".")[0]
    return None


def _refusal(field: str, detail: str) -> ProblemError:
    return ProblemError(NOT_OWNED, detail, (FieldError(field, "it is not written here"),))
