"""Reads a catalogue and says what is wrong with it: each flaw with its line, its key and the remedy."""

from __future__ import annotations

import pathlib
import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import date
from functools import cache
from itertools import chain
from typing import Any, get_args
from zoneinfo import available_timezones

import msgspec
from limits import parse_many

from canonical import events
from canonical.cases import CaseKind
from canonical.fields import ENTITIES, fields_of, is_known
from policies.catalogue.model import (
    DEFAULT,
    SHIPPED,
    Api,
    Catalogue,
    CatalogueError,
    Client,
    Domain,
    Operation,
    Version,
    Violation,
)
from policies.catalogue.participles import is_past_participle

Path = tuple[str, ...]
Report = tuple[Path, str, str]
"""Where, what, and what to do."""
SCOPE = re.compile(r"[a-z_]+:[a-z_]+")
VERSION = re.compile(r"v[1-9][0-9]*")
LEGAL_ENTITY = re.compile(r"\*|[A-Z]{2}[0-9]{2}")
LEAST = {"minimum": "write {} or more", "exclusiveMinimum": "write more than {}"}
NOTICE_DAYS = 90
"""How long at least a deprecated version goes on."""


def load(path: pathlib.Path = SHIPPED) -> Catalogue:
    """Read and check a catalogue. Raises `CatalogueError` with everything that is wrong with it."""
    catalogue, violations = read(path.read_bytes())
    if catalogue is None or violations:
        raise CatalogueError(path.name, violations)
    return catalogue


def read(raw: bytes, today: date | None = None) -> tuple[Catalogue | None, list[Violation]]:
    """Return the catalogue, if it has the shape of one, and its violations. With `today`, what has expired is a
    flaw too."""
    try:
        text = raw.decode()
        document = tomllib.loads(text)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        at = re.search(r"line (\d+)", str(error))
        return None, [Violation(int(at[1]) if at else 1, "(file)", f"it is not TOML: {error}", "fix the syntax")]
    try:
        catalogue = msgspec.convert(document, Catalogue)
    except msgspec.ValidationError as error:
        return None, _violations(text, list(_misshapen(document)) or [_by_msgspec(error)])
    found = chain.from_iterable(check(catalogue) for check in CHECKS)
    return catalogue, _violations(text, chain(found, _expired(catalogue, today) if today else ()))


def schema() -> dict[str, Any]:
    """Return the catalogue's JSON Schema (draft 2020-12), for editors and for those who write catalogues by program."""
    made = msgspec.json.schema(Catalogue)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Tiergate catalogue",
        **made,
    }


# ---- places


def lines_of(text: str) -> dict[Path, int]:
    """Return the line (from 1) of each table and key that is written out; keys inside inline tables share their
    line."""
    found: dict[Path, int] = {}
    counted: Counter[Path] = Counter()
    table: Path = ()
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*(\[\[?)([^\[\]]+)\]\]?\s*(#.*)?$", line):
            table = _keys(header[2])
            if header[1] == "[[":
                counted[table] += 1
                table = (*table, str(counted[table] - 1))
            path = table
        elif key := re.match(r"\s*([\w.\-]+|\"[^\"]+\")\s*=", line):
            path = (*table, *_keys(key[1]))
        else:
            continue
        for depth in range(1, len(path) + 1):
            found.setdefault(path[:depth], number)
    return found


def line_of(lines: dict[Path, int], path: Path) -> int:
    """Return the line of a path, or of the nearest part of it that is written out."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)


def _keys(text: str) -> Path:
    return tuple(each.strip().strip('"') for each in re.findall(r'"[^"]+"|[^.\s]+', text.strip()))


def _violations(text: str, wrong: Iterable[Report]) -> list[Violation]:
    lines = lines_of(text)
    made = [
        Violation(line_of(lines, path), ".".join(path) or "(file)", reason, remedy) for path, reason, remedy in wrong
    ]
    return sorted(made, key=lambda each: (each.line, each.key))


# ---- the shape


@cache
def _validator() -> Any:
    from jsonschema import Draft202012Validator  # costs a tenth of a second, and only a wrong catalogue needs it

    return Draft202012Validator(schema(), format_checker=Draft202012Validator.FORMAT_CHECKER)


def _misshapen(document: dict[str, Any]) -> Iterator[Report]:
    for error in _validator().iter_errors(msgspec.to_builtins(document)):
        yield from _shape(error)


def _by_msgspec(error: msgspec.ValidationError) -> Report:
    """Return what the schema does not tell: that the name of a key is none of the choices."""
    reason, _, where = str(error).partition(" - at ")
    at = re.search(r"\$\.?([^`]*)", where)
    return tuple(at[1].split(".")) if at and at[1] else (), reason, "see policies/catalogue.schema.json for the choices"


def _shape(error: Any) -> Iterator[Report]:
    path: Path = tuple(map(str, error.absolute_path))
    match error.validator:
        case "additionalProperties":
            known = sorted(error.schema.get("properties", ()))
            for key in sorted(set(error.instance) - set(known)):
                yield (*path, key), "there is no such key", f"remove it, or use one of {', '.join(known)}"
        case "required":
            for key in sorted(set(error.validator_value) - set(error.instance)):
                yield (*path, key), "it is missing", f"add {key} = …"
        case "enum":
            yield path, f"{error.instance!r} is none of the choices", f"use one of {', '.join(error.validator_value)}"
        case "anyOf" | "oneOf":
            inner = sorted(error.context, key=lambda each: len(each.absolute_path), reverse=True)
            yield path, f"{error.instance!r} does not fit", f"{inner[0].message}" if inner else "see the schema"
        case "type":
            kind = {"object": "a table", "array": "a list", "string": "a text", "integer": "a whole number"}
            wanted = kind.get(str(error.validator_value), str(error.validator_value))
            yield path, f"{error.instance!r} is not {wanted}", f"write {wanted}"
        case "minimum" | "exclusiveMinimum":
            yield path, f"{error.instance} is too small", LEAST[error.validator].format(error.validator_value)
        case "minLength" | "minItems":
            yield path, "it is too short", "say more: " + error.message
        case _:
            yield path, error.message, "see policies/catalogue.schema.json"


# ---- the sense


def _operations(catalogue: Catalogue) -> Iterator[tuple[Path, str, Operation]]:
    for name, api in catalogue.apis.items():
        for operation_id, operation in api.operations.items():
            yield ("apis", name, "operations", operation_id), operation_id, operation
    for operation_id, operation in catalogue.gateway.operations.items():
        yield ("gateway", "operations", operation_id), operation_id, operation


def _check_operations(catalogue: Catalogue) -> Iterator[Report]:
    seen: dict[str, Path] = {}
    for path, operation_id, operation in _operations(catalogue):
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
        if operation.tier not in catalogue.service_tiers:
            known = ", ".join(sorted(catalogue.service_tiers))
            yield (*path, "tier"), f"there is no service tier {operation.tier!r}", f"use one of {known}, or add it"
        if operation_id in seen:
            yield path, f"{'.'.join(seen[operation_id])} has the same operation id", "rename one of the two"
        seen.setdefault(operation_id, path)


def _check_scopes(catalogue: Catalogue) -> Iterator[Report]:
    """Scopes that nobody grants, or that nothing needs."""
    for path, _, operation in _operations(catalogue):
        if operation.scope is None:
            continue
        layer = catalogue.apis[path[1]].layer
        holders = [each for each in catalogue.clients.values() if each.audience == layer]
        if not any(operation.scope in each.scopes for each in holders):
            yield (
                (*path, "scope"),
                f"no client of the {layer} layer has {operation.scope!r}",
                "grant it to one, or remove the operation",
            )
    for name, client in catalogue.clients.items():
        needed = {each.scope for each in catalogue.operations(client.audience).values()}
        for scope in sorted(client.scopes - needed):
            yield (
                ("clients", name, "scopes"),
                f"no operation of the {client.audience} layer needs {scope!r}",
                "take the scope away, or correct the audience",
            )


def _check_rates(catalogue: Catalogue) -> Iterator[Report]:
    written: list[tuple[Path, str]] = [
        (("throttle_tiers", name, "rates"), tier.rates) for name, tier in catalogue.throttle_tiers.items()
    ]
    written += [((*path, "rates"), each.rates) for path, _, each in _operations(catalogue) if each.rates]
    written += [(("platforms", name, "rate"), each.rate) for name, each in catalogue.platforms.items()]
    for path, rates in written:
        try:
            parse_many(rates)
        except ValueError:
            yield path, f"{rates!r} is not a list of rates", 'write them as in "100/second; 3000/minute"'


def _check_clients(catalogue: Catalogue) -> Iterator[Report]:
    for name, client in catalogue.clients.items():
        path = ("clients", name)
        if (client.tier is None) != (client.kind == "service"):
            yield (
                (*path, "tier"),
                "a layer of ours has no throttle tier, everybody else has one",
                "add it, or take it away",
            )
        if client.tier is not None and client.tier not in catalogue.throttle_tiers:
            known = ", ".join(sorted(catalogue.throttle_tiers))
            yield (*path, "tier"), f"there is no throttle tier {client.tier!r}", f"use one of {known}, or add it"
        for entity in sorted(client.legal_entities):
            if not LEGAL_ENTITY.fullmatch(entity):
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
        for rule in catalogue.segregation:
            if rule.scopes <= client.scopes and client.kind in rule.kinds:
                pair = " and ".join(sorted(rule.scopes))
                yield (*path, "scopes"), f"{pair} conflict: {rule.reason}", "split the client in two"


def _check_partner(path: Path, client: Client) -> Iterator[Report]:
    if client.audience != "experience":
        yield (*path, "audience"), "a partner may only call channels", 'set audience = "experience"'
    if "*" in client.legal_entities:
        yield (*path, "legal_entities"), "a partner sees named legal entities only", "list them"


def _check_versions(catalogue: Catalogue) -> Iterator[Report]:
    for name, api in catalogue.apis.items():
        path = ("apis", name, "versions")
        if not any(each.state == "active" for each in api.versions.values()):
            yield path, "no version is active", "make the newest one active"
        for version, life in api.versions.items():
            if not VERSION.fullmatch(version):
                yield (*path, version), f"{version!r} is not a major version", "name it v1, v2, …"
            else:
                yield from _check_life((*path, version), api, version, life)


def _check_life(path: Path, api: Api, version: str, life: Version) -> Iterator[Report]:
    dated = life.deprecated_on or life.sunset_on
    if life.state != "deprecated" and dated:
        yield (
            path,
            f"a version that is {life.state} has no date of its end",
            'remove the dates, or set state = "deprecated"',
        )
    if life.state == "deprecated" and life.deprecated_on is None:
        yield (*path, "deprecated_on"), "it is missing", "say since when the version is deprecated"
    if life.state == "deprecated" and life.successor is None:
        yield (*path, "successor"), "it is missing", "name the version that callers should move to"
    if life.deprecated_on and life.sunset_on and (life.sunset_on - life.deprecated_on).days < NOTICE_DAYS:
        yield (
            (*path, "sunset_on"),
            f"it returns callers less than {NOTICE_DAYS} days",
            "move the sunset, or the deprecation",
        )
    if life.successor is not None:
        after = api.versions.get(life.successor)
        if after is None or after.state != "active":
            yield (*path, "successor"), f"{life.successor!r} is not an active version of this API", "name an active one"
        elif VERSION.fullmatch(life.successor) and int(life.successor[1:]) <= int(version[1:]):
            yield (*path, "successor"), f"{life.successor} is not newer than {version}", "name a newer one"


def _check_segregation(catalogue: Catalogue) -> Iterator[Report]:
    needed = {operation.scope for _, _, operation in _operations(catalogue)}
    for index, rule in enumerate(catalogue.segregation):
        for scope in sorted(rule.scopes - needed):
            yield (
                ("segregation", str(index), "scopes"),
                f"no operation needs {scope!r}",
                "correct the scope, or remove the rule",
            )


def _unknown_region(path: Path, catalogue: Catalogue, names: Iterable[str]) -> Iterator[Report]:
    for each in sorted(set(names) - catalogue.regions.keys() - {"*"}):
        yield path, f"there is no region {each!r}", f"use one of {', '.join(sorted(catalogue.regions))}, or add it"


def _check_regions(catalogue: Catalogue) -> Iterator[Report]:
    home: dict[str, str] = {}
    for name, region in catalogue.regions.items():
        path = ("regions", name)
        for entity in sorted(region.legal_entities):
            if entity == "*" or not LEGAL_ENTITY.fullmatch(entity):
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


def _check_ownership(catalogue: Catalogue) -> Iterator[Report]:
    for entity, fields in catalogue.ownership.items():
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


def _check_platforms(catalogue: Catalogue) -> Iterator[Report]:
    for name, platform in catalogue.platforms.items():
        path = ("platforms", name)
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
    homes = {each for region in catalogue.regions.values() for each in region.legal_entities}
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


def _check_posting_windows(catalogue: Catalogue) -> Iterator[Report]:
    homes = {each for region in catalogue.regions.values() for each in region.legal_entities}
    for name, window in catalogue.posting_windows.items():
        path = ("posting_windows", name)
        if name not in homes:
            yield path, f"{name} belongs to no region", "use the code of a legal entity that has one"
        if (window.opens is None) != (window.closes is None):
            yield path, "it opens and never closes, or the other way round", "give both times, or neither"
        elif window.opens is not None and window.opens == window.closes:
            yield path, "it closes when it opens", "make the times differ, or leave them out"
        if window.timezone not in available_timezones():
            yield (*path, "timezone"), f"there is no time zone {window.timezone!r}", "write it as in Europe/Berlin"


def _check_case_routing(catalogue: Catalogue) -> Iterator[Report]:
    needed = any(api.layer == "process" for api in catalogue.apis.values())
    for kind in get_args(CaseKind) if needed else ():
        if kind not in catalogue.case_routing:
            yield ("case_routing",), f"cases of the kind {kind} are unowned", f'add {kind} = {{ team = "…" }}'


def _check_events(catalogue: Catalogue) -> Iterator[Report]:
    for name in catalogue.events:
        rule = "com.tiergate.<domain>.<entity>.<past participle>.v<major>"
        if not events.TYPE.fullmatch(name):
            yield ("events", name), "the name breaks the rule", f"write it as {rule}"
        elif not is_past_participle(word := name.split(".")[-2]):
            reason = (
                f"the name breaks the rule: {word!r} does not end in -ed and is no irregular past participle we know"
            )
            yield ("events", name), reason, f"write it as {rule}, or add the verb to policies/participles.txt"


CHECKS = (
    _check_operations,
    _check_scopes,
    _check_rates,
    _check_clients,
    _check_versions,
    _check_segregation,
    _check_regions,
    _check_ownership,
    _check_platforms,
    _check_posting_windows,
    _check_case_routing,
    _check_events,
)


def _expired(catalogue: Catalogue, today: date) -> Iterator[Report]:
    for name, api in catalogue.apis.items():
        for version, life in api.versions.items():
            if life.sunset_on and life.sunset_on <= today:
                yield (
                    ("apis", name, "versions", version, "sunset_on"),
                    f"{version} has ended on {life.sunset_on} and answers 410",
                    "remove the version, or move the date",
                )
