"""Judges the committed contracts: by the routes they come from, by the rules of style, and by what was released before.

The linter and the differ are Redocly's, configured in `openapi/rules/redocly.yaml`; what it says of a break is said
here for the people it concerns: which client would notice, and how the same can be done without breaking it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from policies.catalogue.check import load
from policies.catalogue.model import LEGAL_ENTITY, Catalogue
from tiergate.contracts import asyncapi, diagrams
from tiergate.contracts.write import write
from tiergate.settings import NotReady

HERE = Path(__file__).parents[2] / "openapi"
RULES = "rules"
RELEASED = "released"
REMEDIES = {
    "path-removed": "keep the operation in this version and leave it out of a new one",
    "operation-removed": "keep the operation in this version and leave it out of a new one",
    "parameter-removed": "keep the parameter in this version, even if it does nothing",
    "parameter-became-required": "give it a default in this version",
    "required-properties-added": "add the field as an optional one, with a default",
    "required-properties-removed": "keep answering with the field in this version",
    "property-removed": (
        "keep the field and add the new one beside it, or rename it in a new version with a named change"
    ),
    "schema-type-changed": "keep the field as it is and add one of the new type under another name",
    "schema-constraint-changed": "keep the bound in this version",
    "enum-values-removed": "keep the value and answer it as before",
    "enum-values-added": "answer the new value in a new version only; a named change writes an old one in its place",
    "response-removed": "keep answering as before in this version",
    "channel-removed": "keep the channel, and add the new one beside it",
    "message-removed": "keep the event and add the next major version beside it",
}
WIDENED = {("^[A-Z]{2}[0-9]{2}$", f"^{LEGAL_ENTITY}$")}
"""Patterns of requests, each with the one that replaced it and takes all that it took: that breaks nobody."""
PATTERN_CHANGED = re.compile("`pattern` of .* changed from '(.*)' to '(.*)'[.]")
OTHERWISE = "make it in a new version, and let a named change write it the old way for this one"


class Break(msgspec.Struct, frozen=True):
    """One change that breaks a released contract, for whom, and how to make it without breaking anybody."""

    document: str
    where: str
    message: str
    clients: tuple[str, ...]
    remedy: str

    def __str__(self) -> str:
        concerned = ", ".join(self.clients) or "nobody yet"
        return f"{self.document}: {self.message} ({self.where})\n    breaks: {concerned}\n    instead: {self.remedy}"


def judged(folder: Path, documentation: Path = diagrams.DOCUMENT) -> list[str]:
    """Return all that is wrong with the contracts and with the diagrams of the documentation, in words; nothing
    when they may be released."""
    stale = [f"{name}: the routes say something else; run `make openapi`" for name in drift(folder)]
    stale += [each for path in (documentation, *diagrams.GUIDES) for each in diagrams.stale(path)]
    return [*stale, *style(folder), *map(str, breaks(folder))]


def release(folder: Path) -> None:
    """Keep the contracts as they are now as what later ones are compared with."""
    released = folder / RELEASED
    released.mkdir(exist_ok=True)
    for path in folder.glob("*.json"):
        shutil.copy(path, released / path.name)


def drift(folder: Path) -> list[str]:
    """Return the documents that are not what the routes say."""
    with tempfile.TemporaryDirectory() as scratch:
        made = {path.name: path.read_bytes() for path in write(Path(scratch))}
    committed = {path.name: path.read_bytes() for path in folder.glob("*.json")}
    return sorted(name for name in made.keys() | committed.keys() if made.get(name) != committed.get(name))


def style(folder: Path, *documents: Path) -> list[str]:
    """Return what the linter says of the documents in `folder`, or of these."""
    chosen = documents or tuple(sorted(folder.glob("*.json")))
    reports = _redocly("lint", *map(str, chosen), "--format=json", "--max-problems=1000")
    return [
        f"{Path(each['location'][0]['source']['ref']).name} {each['location'][0].get('pointer', '')}: "
        f"{each['message']} ({each['ruleId']})"
        for report in reports
        for each in report["problems"]
    ]


def breaks(folder: Path) -> list[Break]:
    """Return what would break a released version. A version that is a draft may still change as it likes."""
    catalogue = load()
    return [
        each for released in sorted((folder / RELEASED).glob("*.json")) for each in _breaks(folder, released, catalogue)
    ]


def _breaks(folder: Path, released: Path, catalogue: Catalogue) -> Iterator[Break]:
    name, version, _ = released.name.split(".")
    present = folder / released.name
    if (
        name in catalogue.apis
        and version in catalogue.apis[name].versions
        and catalogue.apis[name].versions[version].state == "draft"
    ):
        return
    if not present.exists():
        yield Break(
            released.name,
            version,
            "the whole version is gone",
            _callers(catalogue, name),
            "let it reach its sunset first",
        )
        return
    if present.read_bytes() == released.read_bytes():
        return
    (report,) = _redocly("diff", str(released), str(present), "--format=json", "--fail-on=none")
    document = json.loads(released.read_text())
    for change in report["changes"]:
        for verdict in change["verdicts"] if change["impact"] == "major" else ():
            if _takes_more(change["path"], verdict["message"]):
                continue
            clients = _callers(catalogue, name, _operations_at(document, change["path"]))
            yield Break(
                released.name,
                _readable(change["path"]),
                verdict["message"],
                clients,
                REMEDIES.get(verdict["ruleId"], OTHERWISE),
            )


def _takes_more(pointer: str, message: str) -> bool:
    """Return whether what changed is a pattern of a request, and takes all that it took before."""
    changed = PATTERN_CHANGED.match(message)
    return changed is not None and "/requestBody/" in pointer and changed.groups() in WIDENED


def _operations_at(document: dict[str, Any], pointer: str) -> set[str]:
    """Return the operations that a place in a document belongs to; none for a place that all share."""
    parts = [each.replace("~1", "/").replace("~0", "~") for each in pointer.removeprefix("#/").split("/")]
    if parts[0] != "paths" or len(parts) < 2:  # noqa: PLR2004
        return set()
    item: dict[str, Any] = document["paths"].get(parts[1], {})
    method = parts[2] if len(parts) > 2 and parts[2] in item else None  # noqa: PLR2004
    return {each["operationId"] for name, each in item.items() if method in {None, name}}


def _callers(catalogue: Catalogue, name: str, operations: set[str] | None = None) -> tuple[str, ...]:
    if name not in catalogue.apis:
        return ("every subscriber",) if f"{name}." in asyncapi.NAME else ()
    api = catalogue.apis[name]
    concerned = operations or set(api.operations)
    scopes = {api.operations[each].scope for each in concerned if each in api.operations}
    return tuple(
        sorted(client for client, of in catalogue.clients.items() if of.audience == api.layer and scopes & of.scopes)
    )


def _readable(pointer: str) -> str:
    return re.sub(r"^#/paths/([^/]+)/?", lambda found: found[1].replace("~1", "/") + " ", pointer)


def _redocly(*arguments: str) -> list[dict[str, Any]]:
    """Return the reports of one run, one after another. Raises `NotReady` when there is none."""
    rules = HERE / RULES
    command = [str(Path(sys.executable).with_name("node")), str(rules / "node_modules/@redocly/cli/bin/cli.js")]
    done = subprocess.run(
        [*command, *arguments, f"--config={rules / 'redocly.yaml'}", "--lint-config=error"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"REDOCLY_SUPPRESS_UPDATE_NOTICE": "true", "REDOCLY_TELEMETRY": "off"},
    )
    if not done.stdout.startswith("{"):
        raise NotReady(f"the linter of contracts gave no report (`make check` installs it): {done.stderr.strip()}")
    reports: list[dict[str, Any]] = []
    rest = done.stdout
    while rest:
        report, end = json.JSONDecoder().raw_decode(rest)
        reports.append(report)
        rest = rest[end:].lstrip()
    return reports
