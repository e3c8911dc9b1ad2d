"""Reads `catalogue.toml`: the facts that the platform team governs."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

Layer = Literal["system", "process", "experience"]
SHIPPED = Path(__file__).with_name("catalogue.toml")


class CatalogueError(ValueError):
    """The catalogue contradicts itself; the message names the key."""


class ServiceTier(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    objective: str


class Operation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What governs one operation. Exactly one of `scope` and `open` is given."""

    tier: str
    idempotency: Literal["safe", "natural"]
    scope: str | None = None
    open: Literal["health", "signature"] | None = None


class Api(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    layer: Layer
    version: str
    operations: dict[str, Operation]


class Health(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    operations: dict[str, Operation]


class Client(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    kind: Literal["internal", "partner", "service"]
    owner: str
    audience: Layer
    scopes: frozenset[str]
    legal_entities: frozenset[str]


class Catalogue(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    service_tiers: dict[str, ServiceTier]
    apis: dict[str, Api]
    health: Health
    clients: dict[str, Client]

    def operations(self, layer: Layer) -> dict[str, Operation]:
        """Every operation that a layer may serve, by id."""
        found = dict(self.health.operations)
        for api in self.apis.values():
            if api.layer == layer:
                found |= api.operations
        return found


def load(path: Path = SHIPPED) -> Catalogue:
    """Read and check the catalogue. Raises `CatalogueError` with the key at fault."""
    try:
        catalogue = msgspec.toml.decode(path.read_bytes(), type=Catalogue)
    except msgspec.DecodeError as error:
        raise CatalogueError(f"{path.name}: {error}") from error
    grantable = {operation.scope for api in catalogue.apis.values() for operation in api.operations.values()}
    for name, api in {**catalogue.apis, "health": catalogue.health}.items():
        for operation_id, operation in api.operations.items():
            key = f"{path.name}: {name}.operations.{operation_id}"
            if (operation.scope is None) == (operation.open is None):
                raise CatalogueError(f"{key}: give either a scope or an open reason")
            if operation.tier not in catalogue.service_tiers:
                raise CatalogueError(f"{key}.tier: there is no service tier {operation.tier!r}")
    for name, client in catalogue.clients.items():
        if unknown := sorted(client.scopes - grantable):
            raise CatalogueError(f"{path.name}: clients.{name}.scopes: no operation asks for {unknown[0]!r}")
    return catalogue
