"""Scopes that no client may hold together: the duties of two people never fall to one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import msgspec

from policies.catalogue.diff import listed
from policies.catalogue.model import Catalogue, Fact, Kind, Name, Report
from policies.catalogue.sections import section


class Segregation(Fact, frozen=True):
    """Scopes that no client of these kinds may hold together. A layer of ours (`service`) hands on what one caller
    holds."""

    scopes: Annotated[frozenset[str], msgspec.Meta(min_length=2)]
    reason: Name
    kinds: tuple[Kind, ...] = ("internal", "partner", "service")


def _check(catalogue: Catalogue) -> Iterator[Report]:
    needed = {operation.scope for _, _, operation in catalogue.placed_operations()}
    for index, rule in enumerate(SEGREGATION.of(catalogue)):
        path = ("segregation", str(index), "scopes")
        for scope in sorted(rule.scopes - needed):
            yield path, f"no operation needs {scope!r}", "correct the scope, or remove the rule"
        for name, client in catalogue.clients.items():
            if rule.scopes <= client.scopes and client.kind in rule.kinds:
                reason = f"{' and '.join(sorted(rule.scopes))} conflict: {rule.reason}"
                yield ("clients", name, "scopes"), reason, "split the client in two"


def _diff(before: Catalogue, after: Catalogue) -> Iterator[str]:
    old, new = SEGREGATION.of(before), SEGREGATION.of(after)
    for rule in new:
        if rule not in old:
            yield f"{listed(rule.scopes)} may no longer be held by one client: {rule.reason}."
    for rule in old:
        if rule not in new:
            yield f"{listed(rule.scopes)} may now be held by one client."


SEGREGATION = section("segregation", tuple[Segregation, ...], check=_check, diff=_diff)
