"""What the portal shows, from the catalogue in force and the published contracts."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import msgspec
import swagger_ui_bundle  # pyright: ignore[reportMissingTypeStubs]
from markupsafe import Markup

from policies.catalogue.model import Catalogue
from policies.contract.version_chain import VersionChain
from policies.problems import TYPES

HERE = Path(__file__).parent
CONTRACTS = HERE.parents[1] / "openapi"
EVENTS = "events.v1"
KINDS = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
OWN_ASSETS = ("portal.css", "favicon.svg", "reference.js", "reference.css")
SWAGGER_ASSETS = ("swagger-ui-bundle.js", "swagger-ui.css")

_templates = jinja2.Environment(
    loader=jinja2.FileSystemLoader(HERE / "templates"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
)


def page(name: str, **values: Any) -> str:
    """Return a page of the portal. Raises `jinja2.TemplateNotFound` for one that there is not."""
    return _templates.get_template(f"{name}.html").render(values)


def _code(text: str) -> Markup:
    """Return `backticks` as code, everything else as plain text."""
    parts = text.split("`")
    return Markup().join(
        Markup("<code>{}</code>").format(part) if place % 2 else part for place, part in enumerate(parts)
    )


_templates.filters["code"] = _code


def home(catalogue: Catalogue) -> str:
    """Return the APIs that can be called from outside, with the life of each version."""
    apis = {name: api for name, api in catalogue.apis.items() if api.layer == "experience"}
    return page("home", apis=apis)


def reference(document: str) -> str:
    api, _, version = document.partition(".")
    return page("reference", document=document, api=api, version=version)


def events() -> str:
    """Return the events that the layers rely on, with an example of each."""
    described = msgspec.json.decode((CONTRACTS / f"{EVENTS}.json").read_bytes())
    found = [each for each in described["components"]["messages"].values() if each["name"].startswith("com.tiergate.")]
    for each in found:
        each["example"] = msgspec.json.format(msgspec.json.encode(each["examples"][0]["payload"]), indent=2).decode()
    return page("events", events=found)


def problems() -> str:
    return page("problems", problems=sorted(TYPES.values(), key=lambda each: (each.status, each.name)))


def problem(name: str) -> str | None:
    """Return the page that the `type` of a problem leads to; None for a problem that there is not."""
    found = TYPES.get(name)
    return page("problem", problem=found) if found else None


def guide(catalogue: Catalogue, older: Mapping[str, Mapping[str, VersionChain]], name: str) -> str | None:
    """Return the guide to a version from the one before it, the named changes in words; None when there is no such
    page.

    `name` is `<api>-<version>`; `older` are the older versions of each API.
    """
    api, _, version = name.rpartition("-")
    steps = {step.newer: step for chain in older.get(api, {}).values() for step in chain.steps}
    if version not in steps:
        return None
    of = catalogue.apis[api]
    return page("guide", path=api, api=of, step=steps[version], life=of.versions[steps[version].version], steps=steps)


def documents(catalogue: Catalogue) -> frozenset[str]:
    """Return the contracts that are published here: those of the APIs that can be called here, and the events."""
    named = {
        f"{name}.{version}"
        for name, api in catalogue.apis.items()
        if api.layer == "experience"
        for version in api.versions
    }
    return frozenset(named | {EVENTS})


@cache
def asset(name: str) -> tuple[bytes, bytes, str] | None:
    """Return (content, the same compressed, media type) of a file that pages need."""
    if name in OWN_ASSETS:
        path = HERE / "assets" / name
    elif name in SWAGGER_ASSETS:
        path = Path(str(swagger_ui_bundle.swagger_ui_path)) / name
    else:
        return None
    content = path.read_bytes()
    return content, gzip.compress(content, 6), KINDS[path.suffix]
