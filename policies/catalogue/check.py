"""Reads a catalogue and says what is wrong with it: each flaw with its line, its key and the remedy."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Iterable, Iterator
from datetime import date
from itertools import chain
from typing import Any, get_args

from canonical.fields import is_known
from policies.catalogue import document
from policies.catalogue.locate import located
from policies.catalogue.model import (
    DEFAULT,
    INSTANCE,
    LEGAL_ENTITY,
    SHIPPED,
    Api,
    Catalogue,
    CatalogueError,
    Client,
    Domain,
    Path,
    Report,
    Version,
    Violation,
)
from policies.catalogue.nearest import hint
from policies.catalogue.sections import catalogue_type, sections

SCOPE = re.compile(r"[a-z_]+:[a-z_]+")
VERSION = re.compile(r"v[1-9][0-9]*")
ENTITIES = re.compile(rf"\*|{LEGAL_ENTITY}")
SCHEMA = "policies/catalogue/catalogue.schema.json"
NOTICE_DAYS = 90
"""How long at least a deprecated version goes on."""


def load(path: pathlib.Path = SHIPPED) -> Catalogue:
    """Read and check a catalogue. Raises `CatalogueError` with everything that is wrong with it."""
    return load_with_text(path)[0]


def load_with_text(path: pathlib.Path) -> tuple[Catalogue, str]:
    """Return what `load` does, with the text of the same moment."""
    raw = path.read_bytes()
    catalogue, violations = read(raw)
    if catalogue is None or violations:
        raise CatalogueError(path.name, violations)
    return catalogue, document.text_of(raw)


def read(raw: bytes, today: date | None = None) -> tuple[Catalogue | None, list[Violation]]:
    """Return the catalogue, if it has the shape of one, and its violations. With `today`, what has expired is a
    flaw too."""
    catalogue, text, violations = document.read(raw, catalogue_type(), SCHEMA)
    if catalogue is None:
        return None, violations
    checks = (*CHECKS, *(each.check for each in sections()))
    found = chain.from_iterable(check(catalogue) for check in checks)
    return catalogue, located(text, chain(found, _expired(catalogue, today) if today else ()))


def schema() -> dict[str, Any]:
    """Return the catalogue's JSON Schema (draft 2020-12), for editors and for those who write catalogues by program."""
    return document.schema(catalogue_type(), "Tiergate catalogue")


# ---- the sense


def _check_operations(catalogue: Catalogue) -> Iterator[Report]:
    seen: dict[str, Path] = {}
    for path, operation_id, operation in catalogue.placed_operations():
        if (operation.scope is None) == (operation.open is None):
            yield (
                path,
                "it has both or neither of scope and open",
                "give the scope it needs, or the reason why it is open",
            )
        if operation.scope is not None and not SCOPE.fullmatch(operation.scope):
            yield (
                (*path, "scope"),
                f"{operation.scope!r} is not a scope",
                "write it as <what>:<right>, as in orders:read",
            )
        if operation.open is not None and operation.idempotency == "key":
            reason = "a key belongs to a caller, and an open operation knows none"
            yield (*path, "idempotency"), reason, "give the scope it needs, or make it natural"
        if operation.tier not in catalogue.service_tiers:
            known = ", ".join(sorted(catalogue.service_tiers))
            yield (*path, "tier"), f"there is no service tier {operation.tier!r}", f"use one of {known}, or add it"
        if operation_id in seen:
            yield path, f"{'.'.join(seen[operation_id])} has the same operation id", "rename one of the two"
        seen.setdefault(operation_id, path)


def _check_scopes(catalogue: Catalogue) -> Iterator[Report]:
    """Scopes that nobody grants, or that nothing needs."""
    for path, _, operation in catalogue.placed_operations():
        if operation.scope is None:
            continue
        api = path[1] if path[0] == "apis" else None  # each layer serves the gateway's own
        holders = [each for each in catalogue.clients.values() if api is None or api in each.apis]
        if not any(operation.scope in each.scopes for each in holders):
            yield (
                (*path, "scope"),
                f"no client {f'that may call {api} ' if api else ''}has {operation.scope!r}",
                "grant it to one, or remove the operation",
            )
    for name, client in catalogue.clients.items():
        needed = {each.scope for each in catalogue.operations_of(client).values()}
        for scope in sorted(client.scopes - needed):
            yield (
                ("clients", name, "scopes"),
                f"no operation of its apis needs {scope!r}",
                "take the scope away, or name the API that needs it",
            )


def _check_apis(catalogue: Catalogue) -> Iterator[Report]:
    """Report APIs that a client cannot call, and clients that may call none."""
    for name, client in catalogue.clients.items():
        path = ("clients", name, "apis")
        if not client.apis:
            of_layer = sorted(each for each, api in catalogue.apis.items() if api.layer == client.audience)
            yield path, "it may call no API", f"list those that it may call, of {', '.join(of_layer)}"
        for each in sorted(client.apis):
            api = catalogue.apis.get(each)
            if api is None:
                yield path, f"there is no API {each!r}{hint(each, catalogue.apis)}", "name one of [apis]"
            elif api.layer != client.audience:
                reason = (
                    f"{each} is an API of the {api.layer} layer, and its tokens are for the {client.audience} layer"
                )
                yield path, reason, "take it out, or correct the audience"


def _check_clients(catalogue: Catalogue) -> Iterator[Report]:
    for name, client in catalogue.clients.items():
        path = ("clients", name)
        for entity in sorted(client.legal_entities):
            if not ENTITIES.fullmatch(entity):
                yield (
                    (*path, "legal_entities"),
                    f"{entity!r} is not a legal entity",
                    'write its code, as in DE01, or "*"',
                )
        if client.kind == "partner":
            yield from _check_partner(path, client)
        if client.kind == "service" and client.audience == "experience":
            yield (
                (*path, "audience"),
                "a layer of ours never calls a channel",
                "use the next layer down, or another kind",
            )


def _check_partner(path: Path, client: Client) -> Iterator[Report]:
    if client.audience != "experience":
        yield (*path, "audience"), "a partner may only call channels", 'set audience = "experience"'
    if "*" in client.legal_entities:
        yield (*path, "legal_entities"), "a partner sees named legal entities only", "list them"


def _check_versions(catalogue: Catalogue) -> Iterator[Report]:
    for name, api in catalogue.apis.items():
        path = ("apis", name, "versions")
        retired = _is_retired(api)
        if not retired and not any(each.state == "active" for each in api.versions.values()):
            remedy = "make the newest one active; or retire the API: make it deprecated, without a successor"
            yield path, "no version is active", remedy
        for version, life in api.versions.items():
            if not VERSION.fullmatch(version):
                yield (*path, version), f"{version!r} is not a major version", "name it v1, v2, …"
            else:
                yield from _check_life((*path, version), life)
                check = _check_end if retired else _check_successor
                yield from check((*path, version), api, version, life)


def _is_retired(api: Api) -> bool:
    """Say whether an API ends as a whole: no version is active, and one has nothing that comes after it."""
    lives = api.versions.values()
    ends = any(each.state == "deprecated" and each.successor is None for each in lives)
    return ends and not any(each.state == "active" for each in lives)


def _check_life(path: Path, life: Version) -> Iterator[Report]:
    dated = life.deprecated_on or life.sunset_on
    if life.state != "deprecated" and dated:
        yield (
            path,
            f"a version that is {life.state} has no date of its end",
            'remove the dates, or set state = "deprecated"',
        )
    if life.state == "deprecated" and life.deprecated_on is None:
        yield (*path, "deprecated_on"), "it is missing", "say since when the version is deprecated"
    if life.deprecated_on and life.sunset_on and (life.sunset_on - life.deprecated_on).days < NOTICE_DAYS:
        yield (
            (*path, "sunset_on"),
            f"it gives callers less than {NOTICE_DAYS} days",
            "move the sunset, or the deprecation",
        )


def _check_end(path: Path, _api: Api, _version: str, life: Version) -> Iterator[Report]:
    """Check a version of an API that is retired."""
    if life.successor is not None:
        yield (*path, "successor"), "the API is retired: nothing comes after its versions", "take it out"
    if life.state == "deprecated" and life.sunset_on is None:
        yield (*path, "sunset_on"), "it is missing, and the API is retired", "say when it ends"
    if life.state == "deprecated" and not life.guide:
        remedy = "name the address of a page that says what callers do; or name a successor that is active"
        yield (*path, "guide"), "it is missing, and the API is retired", remedy


def _check_successor(path: Path, api: Api, version: str, life: Version) -> Iterator[Report]:
    if life.state == "deprecated" and life.successor is None:
        yield (*path, "successor"), "it is missing", "name the version that callers should move to"
    if life.successor is not None:
        after = api.versions.get(life.successor)
        if after is None or after.state != "active":
            yield (*path, "successor"), f"{life.successor!r} is not an active version of this API", "name an active one"
        elif VERSION.fullmatch(life.successor) and int(life.successor[1:]) <= int(version[1:]):
            yield (*path, "successor"), f"{life.successor} is not newer than {version}", "name a newer one"


def _unknown_region(path: Path, catalogue: Catalogue, names: Iterable[str]) -> Iterator[Report]:
    for each in sorted(set(names) - catalogue.regions.keys() - {"*"}):
        yield path, f"there is no region {each!r}", f"use one of {', '.join(sorted(catalogue.regions))}, or add it"


def _check_regions(catalogue: Catalogue) -> Iterator[Report]:
    home: dict[str, str] = {}
    for name, region in catalogue.regions.items():
        path = ("regions", name)
        for entity in sorted(region.legal_entities):
            if entity == "*" or not ENTITIES.fullmatch(entity):
                yield (*path, "legal_entities"), f"{entity!r} is not a legal entity", "write its code, as in DE01"
            if other := home.get(entity):
                yield (*path, "legal_entities"), f"{entity} is in {other} already", "leave it in one region"
            home.setdefault(entity, name)
        for field in sorted(region.may_leave):
            if not is_known(field):
                yield (*path, "may_leave"), f"there is no field {field!r}", "write it as in order.id"
    for name, client in catalogue.clients.items():
        yield from _unknown_region(("clients", name, "regions"), catalogue, client.regions)
        for entity in sorted(client.legal_entities - home.keys() - {"*"}) if home else ():
            reason = f"{entity} belongs to no region"
            yield ("clients", name, "legal_entities"), reason, "add it to the region where its records stay"


def _check_platforms(catalogue: Catalogue) -> Iterator[Report]:
    for name, platform in catalogue.platforms.items():
        path = ("platforms", name)
        if not re.fullmatch(INSTANCE, name):
            reason = f"?instance= cannot carry {name!r}"
            yield path, reason, "use small letters, digits and hyphens, 40 of them at the most"
        yield from _unknown_region((*path, "region"), catalogue, [platform.region])
        if DEFAULT not in platform.calls:
            yield (*path, "calls"), "calls without a rule of their own have none", "add calls.default"
        if platform.retries.first > platform.retries.most:
            yield (*path, "retries"), "the first pause is longer than the longest", "make `most` the larger one"
        api = catalogue.apis.get(platform.domain)
        known = {DEFAULT, *(api.operations if api else ())}
        for each in sorted(platform.calls.keys() - known):
            reason = f"the {platform.domain} API has no operation {each!r}"
            yield (*path, "calls", each), reason, f"use one of {', '.join(sorted(known))}"
    yield from _check_who_serves(catalogue)


def _check_who_serves(catalogue: Catalogue) -> Iterator[Report]:
    """Work is routed by legal entity: each is served by one instance of a domain. A deal comes from the CRM that it is
    in."""
    homes = catalogue.homes()
    for domain in get_args(Domain):
        found = catalogue.instances(domain)
        served: dict[str, str] = {}
        for name in found:
            path = ("platforms", name, "legal_entities")
            for each in sorted(catalogue.platforms[name].legal_entities):
                if each != "*" and each not in homes:
                    yield path, f"{each} belongs to no region", "use the code of a legal entity that has one"
                if domain == "crm":
                    continue
                if other := served.get(each) or served.get("*") or (each == "*" and next(iter(served.values()), "")):
                    whom = "every legal entity" if "*" in (each, *served) else each
                    yield path, f"{other} serves {whom} in the domain {domain} already", "name each legal entity once"
                served.setdefault(each, name)
        for each in sorted(homes - served.keys()) if found and domain != "crm" and "*" not in served else ():
            yield ("platforms", found[0], "legal_entities"), f"no {domain} serves {each}", f"add {each} to one of them"


CHECKS = (
    _check_operations,
    _check_scopes,
    _check_apis,
    _check_clients,
    _check_versions,
    _check_regions,
    _check_platforms,
)


def _expired(catalogue: Catalogue, today: date) -> Iterator[Report]:
    for name, api in catalogue.apis.items():
        for version, life in api.versions.items():
            if life.sunset_on and life.sunset_on <= today:
                yield (
                    ("apis", name, "versions", version, "sunset_on"),
                    f"{version} has ended on {life.sunset_on} and answers 410",
                    "remove the version (or the API, if it is the last one), or move the date",
                )
