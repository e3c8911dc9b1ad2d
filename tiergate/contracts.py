"""Writes the OpenAPI document of every API, from the routes themselves."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import msgspec
from litestar import Litestar
from litestar.openapi.config import OpenAPIConfig

from policies.catalogue import Api
from policies.catalogue_check import load
from policies.catalogue_check import schema as schema_of_the_catalogue
from policies.problems import CONTENT_TYPE, Problem
from tiergate import wiring
from tiergate.settings import Billing, Crm, Erp, Provisioning, Secrets, Settings


def write(folder: Path) -> list[Path]:
    """One document for each API and major version. Gives the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        settings = Settings(
            crm=Crm("http://crm", "client"), erp=Erp("http://erp", "database", "user"), billing=Billing("http://billing"),
            provisioning=Provisioning("http://provisioning"), folder=scratch,
        )  # fmt: skip
        secrets = Secrets("s", "", "s", "s", "s", "whsec_c2VjcmV0c2VjcmV0c2VjcmV0")
        config = OpenAPIConfig(title="Tiergate", version="v1")
        apps = (
            wiring.system_app(settings, secrets, config),
            wiring.process_app(settings, config),
            wiring.experience_app(settings, config),
        )
    written: list[Path] = []
    for name, api in load().apis.items():
        for version in api.versions:
            document = next(each for each in (_document(app, name, api, version) for app in apps) if each["paths"])
            written.append(_written(folder / f"{name}.{version}.json", document))
    return written


def write_schema(path: Path) -> Path:
    """The JSON Schema of the catalogue, for editors."""
    return _written(path, schema_of_the_catalogue())


def _written(path: Path, document: dict[str, Any]) -> Path:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")
    return path


def _document(app: Litestar, name: str, api: Api, version: str) -> dict[str, Any]:
    whole: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(app.openapi_schema.to_schema()))
    prefix = f"/{name}/{version}"
    paths = {path: item for path, item in whole["paths"].items() if path.startswith(prefix)}
    for operation in (each for item in paths.values() for each in item.values()):
        _describe_answers(operation)
    components = whole.get("components", {})
    _, inner = msgspec.json.schema_components([Problem], ref_template="#/components/schemas/{name}")
    schemas = _used(paths, components.get("schemas", {}) | inner)
    return {
        "openapi": whole["openapi"],
        "info": {
            "title": f"Tiergate {api.title} API",
            "version": version,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
        "security": [{"token": []}],
    }


def _describe_answers(operation: dict[str, Any]) -> None:
    """Every refusal is a problem of ours, whatever the framework would have answered."""
    answers: dict[str, Any] = operation["responses"]
    answers.pop("400", None)
    for answer in answers.values():
        answer["description"] = "Done"
    schema = {"$ref": "#/components/schemas/Problem"}
    answers["default"] = {
        "description": "A problem (RFC 9457): what is wrong, and what to do",
        "content": {CONTENT_TYPE: {"schema": schema}},
    }


def _used(paths: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    """The schemas that the paths refer to, and those that these refer to."""
    used: dict[str, Any] = {}
    pending = [paths]
    while pending:
        text = msgspec.json.encode(pending.pop()).decode()
        for name, schema in schemas.items():
            if name not in used and f'"#/components/schemas/{name}"' in text:
                used[name] = schema
                pending.append(schema)
    return dict(sorted(used.items()))
