"""Scopes that no client may hold together: the duties of two people never fall to one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, get_args

import msgspec

from policies.catalogue.diff import listed
from policies.catalogue.model import Catalogue, Fact, Kind, Name, Report
from policies.catalogue.sections import section

KINDS: tuple[Kind, ...] = get_args(Kind)


class Segregation(Fact, frozen=True):
    """Scopes that no client of these kinds may hold together. A layer of ours (`service`) hands on what one caller
    holds."""

    scopes: Annotated[frozenset[str], msgspec.Meta(min_length=2)]
    reason: Name
    kinds: tuple[Kind, ...] = KINDS


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
    for scopes in dict.fromkeys(each.scopes for each in (*new, *old)):
        was, now = _kept_apart(old, scopes), _kept_apart(new, scopes)
        for reason in dict.fromkeys(why for each, why in now.items() if each not in was):
            kinds = [each for each, why in now.items() if each not in was and why == reason]
            yield f"{listed(scopes)} may no longer be held by {_one_of(kinds)}: {reason}."
        if lost := [each for each in was if each not in now]:
            yield f"{listed(scopes)} may now be held by {_one_of(lost)}."
        for reason in dict.fromkeys(now[each] for each in now if each in was and was[each] != now[each]):
            yield f"{listed(scopes)} may still not be held by one client, and the reason is now: {reason}."


def _kept_apart(rules: Iterable[Segregation], scopes: frozenset[str]) -> dict[Kind, str]:
    """Return the kinds of clients that may not hold all of these scopes, each with the reason. A rule about some of
    them covers all of them."""
    found: dict[Kind, str] = {}
    for rule in rules:
        if rule.scopes <= scopes:
            found |= {kind: rule.reason for kind in rule.kinds if kind not in found}
    return found


def _one_of(kinds: list[str]) -> str:
    return "one client" if len(kinds) == len(KINDS) else f"one client of the kind {' or '.join(kinds)}"


SEGREGATION = section("segregation", tuple[Segregation, ...], check=_check, diff=_diff)
