"""Says in words what a change of the catalogue changes for whom."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, TypeVar, cast

import msgspec

from policies.catalogue.model import Api, Catalogue, Client, Operation
from policies.catalogue.sections import Section, sections

T = TypeVar("T")


def diff(before: Catalogue, after: Catalogue) -> list[str]:
    """Return what a change of the catalogue changes, in sentences: what all share, then section by section."""
    return [
        *_apis(before, after),
        *_operations("The gateway", before.gateway.operations, after.gateway.operations, after.clients),
        *_audit_days("The gateway", before.gateway.audit_days, after.gateway.audit_days),
        *_values("Service tier", before.service_tiers, after.service_tiers),
        *_clients(before, after),
        *_values("Platform", before.platforms, after.platforms),
        *_values("Region", before.regions, after.regions),
        *chain.from_iterable(_section(each, before, after) for each in sections()),
    ]


def _section(section: Section[Any], before: Catalogue, after: Catalogue) -> Iterable[str]:
    if section.diff:
        return section.diff(before, after)
    return _values(section.title, section.of(before), section.of(after))


def _apis(before: Catalogue, after: Catalogue) -> Iterator[str]:
    for name, old, new in paired(before.apis, after.apis):
        if new is None:
            yield f"API {name} is gone, with all its operations."
        elif old is None:
            yield f"API {name} is new: {', '.join(sorted(new.operations))}."
        else:
            yield from _versions(name, old, new)
            callers = {each: client for each, client in after.clients.items() if name in client.apis}
            yield from _operations(f"API {name}", old.operations, new.operations, callers)
            if old.owner != new.owner:
                yield f"API {name}: {new.owner} answers for it instead of {old.owner}."
            yield from _audit_days(f"API {name}", old.audit_days, new.audit_days)


def _audit_days(title: str, old: int, new: int) -> Iterator[str]:
    if old != new:
        yield f"{title}: audit records are kept for {new} days instead of {old}."


def _versions(name: str, old: Api, new: Api) -> Iterator[str]:
    for version, was, now in paired(old.versions, new.versions):
        if now is None:
            yield f"API {name}: {version} is gone."
        elif was is None:
            yield f"API {name}: {version} is new ({now.state})."
        elif was != now:
            then = f", then {now.successor}" if now.successor else ", and nothing comes after it"
            ends = f", ends on {now.sunset_on}{then}" if now.sunset_on else ""
            yield f"API {name}: {version} was {was.state}, is {now.state}{ends}."


def _operations(
    title: str, old: dict[str, Operation], new: dict[str, Operation], callers: dict[str, Client]
) -> Iterator[str]:
    for each, was, now in paired(old, new):
        if now is None:
            yield f"{title}: the operation {each} is gone."
        elif was is None:
            asks = f"needs {now.scope}" if now.scope else f"is open ({now.open})"
            yield f"{title}: the operation {each} is new and {asks}."
        elif was != now:
            changed = [
                f"{field} {getattr(was, field) or 'none'} becomes {getattr(now, field) or 'none'}"
                for field in Operation.__struct_fields__
                if getattr(was, field) != getattr(now, field)
            ]
            concerned = {name for name, client in callers.items() if client.scopes & {was.scope, now.scope}}
            whom = f" It concerns {listed(frozenset(concerned))}." if was.scope != now.scope and concerned else ""
            yield f"{title}: {each}: {'; '.join(changed)}.{whom}"


def reach(catalogue: Catalogue, client: Client) -> frozenset[str]:
    """Return the operations that a client may call."""
    return frozenset(
        operation_id
        for operation_id, operation in catalogue.operations_of(client).items()
        if operation.scope in client.scopes
    )


def _clients(before: Catalogue, after: Catalogue) -> Iterator[str]:
    for name, old, new in paired(before.clients, after.clients):
        if new is None:
            yield f"{name} is gone: every call of it is refused."
        elif old is None:
            yield f"{name} is new ({new.kind}, {new.owner}): it may call {listed(reach(after, new))}."
        else:
            gained, lost = reach(after, new) - reach(before, old), reach(before, old) - reach(after, new)
            if gained:
                yield f"{name} may now also call {listed(gained)}."
            if lost:
                yield f"{name} may no longer call {listed(lost)}."
            yield from _seen(name, before.entities_of(old), after.entities_of(new))
            for field in ("kind", "owner", "audience", "tier"):
                if getattr(old, field) != getattr(new, field):
                    yield f"{name}: {field} {getattr(old, field)} becomes {getattr(new, field)}."


def _seen(name: str, was: frozenset[str], now: frozenset[str]) -> Iterator[str]:
    """Yield whose records a client sees now; "*" stands for every legal entity."""
    if "*" in now:
        if "*" not in was:
            yield f"{name} now sees the records of every legal entity."
    elif "*" in was:
        yield f"{name} no longer sees records of others than {listed(now)}." if now else f"{name} sees no records now."
    else:
        if gained := now - was:
            yield f"{name} now also sees the records of {listed(gained)}."
        if lost := was - now:
            yield f"{name} no longer sees the records of {listed(lost)}."


def _values(title: str, before: Any, after: Any) -> Iterator[str]:
    """Yield what has no sentences of its own, value by value; a table of tables, table by table."""
    if isinstance(before, dict):
        for name, old, new in paired(cast("dict[str, Any]", before), cast("dict[str, Any]", after)):
            yield from _leaf_by_leaf(f"{title} {name}", old, new)
    else:
        yield from _leaf_by_leaf(title, before, after)


def _leaf_by_leaf(title: str, old: Any, new: Any) -> Iterator[str]:
    was, now = dict(_leaves(old)), dict(_leaves(new))
    for key in sorted(was.keys() | now.keys()):
        if was.get(key) != now.get(key):
            yield f"{title}: {key} {was.get(key, 'none')} becomes {now.get(key, 'none')}."


def _leaves(fact: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield every value of a table, by its dotted key; lists in one order, as a text."""
    plain: Any = msgspec.to_builtins(fact)
    if isinstance(plain, dict):
        for key, inner in cast("dict[str, Any]", plain).items():
            yield from _leaves(inner, f"{path}.{key}" if path else key)
    elif isinstance(plain, list):
        yield path, ", ".join(sorted(map(str, cast("list[Any]", plain)))) or "none"
    elif plain is not None:
        yield path, str(plain)


def paired(before: dict[str, T], after: dict[str, T]) -> Iterator[tuple[str, T | None, T | None]]:
    """Return each name of the two tables, with what it was and what it is."""
    for name in sorted(before.keys() | after.keys()):
        yield name, before.get(name), after.get(name)


def listed(names: frozenset[str]) -> str:
    """Return names as they stand in a sentence."""
    return ", ".join(sorted(names)) or "nothing"
