"""Says in words what a catalogue decides about a call, and what a change of it changes for whom."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any, TypeVar, cast

import msgspec

from policies.catalogue.check import line_of, lines_of
from policies.catalogue.model import Api, Catalogue, Client, Operation

T = TypeVar("T")


class Decision(msgspec.Struct, frozen=True):
    """One policy's word on a call, and the line of the catalogue that decides it."""

    policy: str
    outcome: str
    line: int


class Explanation(msgspec.Struct, frozen=True):
    """Everything that would happen to a call. `allowed` is whether it reaches its handler."""

    allowed: bool
    decisions: tuple[Decision, ...]


class Unknown(LookupError):
    """The catalogue has no such client or operation; the message lists those it has."""


def explain(catalogue: Catalogue, text: str, client_name: str, operation_id: str, today: date) -> Explanation:
    """Return what would happen if a client called an operation. Raises `Unknown`."""
    if client_name not in catalogue.clients:
        raise Unknown(f"there is no client {client_name!r}; there are {', '.join(sorted(catalogue.clients))}")
    name = catalogue.api_of(operation_id)
    if name is None:
        known = sorted(each for api in catalogue.apis.values() for each in api.operations)
        raise Unknown(f"there is no operation {operation_id!r}; there are {', '.join(known)}")
    lines = lines_of(text)
    made: list[Decision] = []
    allowed = True
    for fine, policy, outcome, path in _decisions(catalogue, name, operation_id, client_name, today):
        allowed = allowed and fine
        made.append(Decision(policy, outcome, line_of(lines, path)))
        if not fine:
            break
    return Explanation(allowed, tuple(made))


def _decisions(
    catalogue: Catalogue, name: str, operation_id: str, client_name: str, today: date
) -> Iterator[tuple[bool, str, str, tuple[str, ...]]]:
    """Return the decisions in the order in which the chain asks."""
    of_client, of_operation = ("clients", client_name), ("apis", name, "operations", operation_id)
    api, client = catalogue.apis[name], catalogue.clients[client_name]
    operation = api.operations[operation_id]
    for version, life in api.versions.items():
        ended = life.sunset_on is not None and life.sunset_on <= today
        outcome = f"{name} {version} is {life.state}"
        if ended:
            outcome = f"{name} {version} ended on {life.sunset_on}: 410, move to {life.successor}"
        elif life.sunset_on:
            outcome += f" and ends on {life.sunset_on}; its successor is {life.successor}"
        yield not ended or len(api.versions) > 1, "version", outcome, ("apis", name, "versions", version)
    if operation.open:
        yield True, "authentication", f"none is asked: {operation.open}", of_operation
    elif client.audience != api.layer:
        refused = f"its tokens are for the {client.audience} layer, this is the {api.layer} layer: 401"
        yield False, "authentication", refused, (*of_client, "audience")
    else:
        yield True, "authentication", f"a token for the {api.layer} layer", (*of_client, "audience")
    yield from _throttle(catalogue, client, operation, of_operation)
    if operation.scope and operation.scope not in client.scopes:
        yield False, "authorization", f"the scope {operation.scope} is not granted: 403", (*of_client, "scopes")
    elif operation.scope:
        yield True, "authorization", f"the scope {operation.scope} is granted", (*of_client, "scopes")
    entities = catalogue.entities_of(client)
    everybody = "*" in entities
    seen = "every legal entity" if everybody else _listed(entities)
    others = "" if everybody else "; to it, records of others do not exist: 404"
    yield True, "objects", f"records of {seen}{others}", (*of_client, "legal_entities")
    yield True, "idempotency", _repeat(operation), of_operation
    yield True, "service tier", operation.tier.replace("_", " "), of_operation


def _throttle(
    catalogue: Catalogue, client: Client, operation: Operation, of_operation: tuple[str, ...]
) -> Iterator[tuple[bool, str, str, tuple[str, ...]]]:
    if client.tier is None:
        yield True, "throttle", "none: a layer of ours, whose caller has been counted", of_operation
        return
    tier = catalogue.throttle_tiers[client.tier]
    counts = f"{tier.rates}; {tier.daily} a day, {tier.concurrent} at once; this call counts {operation.cost}"
    yield True, "throttle", counts, ("throttle_tiers", client.tier)
    if operation.rates:
        yield True, "throttle", f"{operation.rates} of this operation", of_operation


def _repeat(operation: Operation) -> str:
    match operation.idempotency:
        case "safe":
            return "changes nothing: may be repeated, and leaves no audit record"
        case "natural":
            return "the same call twice is the call once"
        case "key":
            return "asks for Idempotency-Key: the same key again is answered as the first time, for 24 h"


# ---- differences


def diff(before: Catalogue, after: Catalogue) -> list[str]:
    """Return what a change of the catalogue changes, in sentences: APIs first, then client by client."""
    return [
        *_apis(before, after),
        *_tiers(before, after),
        *_clients(before, after),
        *_facts(before, after),
        *_rules(before, after),
    ]


def _apis(before: Catalogue, after: Catalogue) -> Iterator[str]:
    for name, old, new in _paired(before.apis, after.apis):
        if new is None:
            yield f"API {name} is gone, with all its operations."
        elif old is None:
            yield f"API {name} is new: {', '.join(sorted(new.operations))}."
        else:
            yield from _versions(name, old, new)
            yield from _operations(name, old, new)
            if old.owner != new.owner:
                yield f"API {name}: {new.owner} answers for it instead of {old.owner}."
            if old.audit_days != new.audit_days:
                yield f"API {name}: audit records are kept for {new.audit_days} days instead of {old.audit_days}."


def _versions(name: str, old: Api, new: Api) -> Iterator[str]:
    for version, was, now in _paired(old.versions, new.versions):
        if now is None:
            yield f"API {name}: {version} is gone."
        elif was is None:
            yield f"API {name}: {version} is new ({now.state})."
        elif was != now:
            ends = f", ends on {now.sunset_on}, then {now.successor}" if now.sunset_on else ""
            yield f"API {name}: {version} was {was.state}, is {now.state}{ends}."


def _operations(name: str, old: Api, new: Api) -> Iterator[str]:
    for each, was, now in _paired(old.operations, new.operations):
        if now is None:
            yield f"API {name}: the operation {each} is gone."
        elif was is None:
            yield f"API {name}: the operation {each} is new and needs {now.scope or now.open}."
        elif was != now:
            changed = [
                f"{field} {getattr(was, field) or 'none'} becomes {getattr(now, field) or 'none'}"
                for field in Operation.__struct_fields__
                if getattr(was, field) != getattr(now, field)
            ]
            yield f"API {name}: {each}: {'; '.join(changed)}."


def reach(catalogue: Catalogue, client: Client) -> frozenset[str]:
    """Return the operations that a client may call."""
    return frozenset(
        operation_id
        for operation_id, operation in catalogue.operations(client.audience).items()
        if operation.scope in client.scopes
    )


def _clients(before: Catalogue, after: Catalogue) -> Iterator[str]:
    for name, old, new in _paired(before.clients, after.clients):
        if new is None:
            yield f"{name} is gone: every call of it is refused."
        elif old is None:
            yield f"{name} is new ({new.kind}, {new.owner}): it may call {_listed(reach(after, new))}."
        else:
            gained, lost = reach(after, new) - reach(before, old), reach(before, old) - reach(after, new)
            if gained:
                yield f"{name} may now also call {_listed(gained)}."
            if lost:
                yield f"{name} may no longer call {_listed(lost)}."
            if seen := after.entities_of(new) - before.entities_of(old):
                yield f"{name} now also sees the records of {_listed(seen)}."
            if unseen := before.entities_of(old) - after.entities_of(new):
                yield f"{name} no longer sees the records of {_listed(unseen)}."
            for field in ("kind", "owner", "audience", "tier"):
                if getattr(old, field) != getattr(new, field):
                    yield f"{name}: {field} {getattr(old, field)} becomes {getattr(new, field)}."


def _tiers(before: Catalogue, after: Catalogue) -> Iterator[str]:
    for name in sorted(before.throttle_tiers.keys() & after.throttle_tiers.keys()):
        old, new = before.throttle_tiers[name], after.throttle_tiers[name]
        whom = _listed(frozenset(each for each, client in after.clients.items() if client.tier == name))
        for field, unit in (("rates", ""), ("daily", " a day"), ("concurrent", " at once")):
            if getattr(old, field) != getattr(new, field):
                yield f"Tier {name} ({whom}): {getattr(old, field)}{unit} becomes {getattr(new, field)}{unit}."


FACTS = {
    "platforms": "Platform",
    "regions": "Region",
    "ownership": "Ownership of",
    "posting_windows": "Posting window of",
    "case_routing": "Cases of the kind",
}


def _facts(before: Catalogue, after: Catalogue) -> Iterator[str]:
    """Return what has no clients of its own: key by key."""
    for section, title in FACTS.items():
        tables: tuple[dict[str, Any], dict[str, Any]] = (getattr(before, section), getattr(after, section))
        for name, old, new in _paired(*tables):
            was, now = dict(_leaves(old)), dict(_leaves(new))
            for key in sorted(was.keys() | now.keys()):
                if was.get(key) != now.get(key):
                    yield f"{title} {name}: {key} {was.get(key, 'none')} becomes {now.get(key, 'none')}."


def _leaves(fact: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Return every value of a table, by its dotted key; lists in one order, as a text."""
    plain: Any = msgspec.to_builtins(fact)
    if isinstance(plain, dict):
        for key, inner in cast("dict[str, Any]", plain).items():
            yield from _leaves(inner, f"{path}.{key}" if path else key)
    elif isinstance(plain, list):
        yield path, ", ".join(sorted(map(str, cast("list[Any]", plain)))) or "none"
    elif plain is not None:
        yield path, str(plain)


def _rules(before: Catalogue, after: Catalogue) -> Iterator[str]:
    for rule in after.segregation:
        if rule not in before.segregation:
            yield f"{_listed(rule.scopes)} may no longer be held by one client: {rule.reason}."
    for rule in before.segregation:
        if rule not in after.segregation:
            yield f"{_listed(rule.scopes)} may now be held by one client."
    for name in sorted(after.events.keys() - before.events.keys()):
        yield f"The event {name} may now enter the log."
    for name in sorted(before.events.keys() - after.events.keys()):
        yield f"The event {name} is now refused."


def _paired(before: dict[str, T], after: dict[str, T]) -> Iterator[tuple[str, T | None, T | None]]:
    """Return each name of the two, with what it was and what it is."""
    for name in sorted(before.keys() | after.keys()):
        yield name, before.get(name), after.get(name)


def _listed(names: frozenset[str]) -> str:
    return ", ".join("everybody" if each == "*" else each for each in sorted(names)) or "nothing"
