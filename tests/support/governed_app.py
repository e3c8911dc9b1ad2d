"""A small governed app behind a test client, with which tests try what every route is governed by."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from limits.aio.storage import Storage
from litestar import get, post
from litestar.di import NamedDependency
from litestar.exceptions import InternalServerException
from litestar.openapi.config import OpenAPIConfig
from litestar.params import FromPath, JSONBody, QueryParameter
from litestar.testing import TestClient
from litestar.types import ControllerRouterHandler

from canonical.faults import Conflict, NotFound, Rejected, Throttled, Unavailable, UnknownOutcome
from canonical.ids import identifiers
from policies.audit.files import LogFiles
from policies.audit.log import AuditLog
from policies.catalogue.live import LiveCatalogue
from policies.catalogue.model import Client
from policies.chain.gate import Gate, governed
from policies.context import deadline
from policies.contract.operation import operation
from policies.http.client import TransportFailure
from policies.identity.authentication import Principal, Verifier
from policies.identity.issuer import ISSUER, Issuer
from policies.identity.jwks import Jwk, SigningKeys
from policies.identity.key_ring import KeyRing, public_jwk
from policies.identity.revocation import RevocationDocument, Revocations
from policies.observe.metrics import Metrics
from policies.problems import INVALID, ProblemError
from policies.store.documents import FileDocument
from policies.store.secret import NO_SECRET, Secret
from policies.store.shared_store import SharedFileStore
from policies.traffic.idempotency import IdempotencyRecord
from policies.traffic.rate_limit import RateLimiter

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
CATALOGUE = """
[service_tiers.t]
objective = "fast"
timeout = 10
sheds_at = 100

[throttle_tiers.many]
rates = "1000/second"
daily = 100_000
concurrent = 50

[gateway]
audit_days = 30

[gateway.operations]
live = { open = "health", tier = "t", idempotency = "safe" }
ready = { open = "health", tier = "t", idempotency = "safe" }
metrics = { open = "health", tier = "t", idempotency = "safe" }

[apis.shop]
layer = "experience"
owner = "somebody"
title = "Shop"
audit_days = 60
versions.v1 = { state = "active" }

[apis.shop.operations]
read = { scope = "shop:read", tier = "t", idempotency = "safe" }
write = { scope = "shop:write", tier = "t", idempotency = "natural" }
fail = { scope = "shop:read", tier = "t", idempotency = "safe" }
sees = { scope = "shop:read", tier = "t", idempotency = "safe" }
left = { scope = "shop:read", tier = "t", idempotency = "safe" }
order = { scope = "shop:write", tier = "t", idempotency = "key" }
sealed = { scope = "shop:write", tier = "t", idempotency = "key" }
hook = { open = "signature", tier = "t", idempotency = "natural" }

[clients.someone]
kind = "internal"
owner = "somebody"
tier = "many"
audience = "experience"
apis = ["shop"]
scopes = ["shop:read", "shop:write"]
legal_entities = ["*"]
"""
WRITER = Client("internal", "somebody", "experience", frozenset({"shop:read", "shop:write"}), frozenset({"*"}))
READER = msgspec.structs.replace(WRITER, scopes=frozenset({"shop:read"}))
GOVERNOR = msgspec.structs.replace(WRITER, scopes=frozenset({"governance:read"}))
FAULTS = {
    "rejected": Rejected("erp", "no", field="total"),
    "missing": NotFound("erp", "none"),
    "conflict": Conflict("erp", "twice"),
    "throttled": Throttled("erp", "slowly", retry_after=7),
    "away": Unavailable("erp", "gone"),
    "unknown": UnknownOutcome("erp", "who knows"),
    "refused": TransportFailure("ConnectionRefusedError", request_sent=False).fault("process", safe=True),
}


class Item(msgspec.Struct):
    sku: str


class Basket(msgspec.Struct):
    items: list[Item]
    note: str = ""


@get("/shop/v1/read", operation_id="read", sync_to_thread=False)
def read(
    principal: NamedDependency[Principal],
    shop_state: Annotated[Literal["open", "closed"] | None, QueryParameter(name="state")] = None,
) -> dict[str, str]:
    del shop_state
    return {"subject": principal.subject, "client": principal.client}


@post("/shop/v1/write", operation_id="write", sync_to_thread=False)
def write(data: JSONBody[Basket]) -> int:
    return len(data.items)


@post("/shop/v1/order", operation_id="order", sync_to_thread=False)
def order(door: NamedDependency[Door], act: NamedDependency[str], data: JSONBody[Basket]) -> dict[str, str]:
    if data.note == "refuse":
        raise ProblemError(INVALID, "The order is refused.")
    if door.fails:
        door.fails -= 1
        raise FAULTS["away"]
    if data.note in door.refusals:
        raise door.refusals.pop(data.note)
    door.acts.append(act)
    _, _, long = data.note.partition("long ")
    return {"act": act} | ({"long": "x" * int(long)} if long else {})


@operation("sealed", "POST", "/shop/v1/sealed", summary="Seal", holds_secret=True, sync_to_thread=False)
def sealed(door: NamedDependency[Door], act: NamedDependency[str]) -> dict[str, str]:
    door.acts.append(act)
    return {"act": act, "secret": f"secret of {act}"}


@get("/shop/v1/fail/{kind:str}", operation_id="fail", sync_to_thread=False)
def fail(kind: FromPath[str]) -> None:
    if kind in FAULTS:
        raise FAULTS[kind]
    if kind == "framework":
        raise InternalServerException("the secret is 42")
    raise RuntimeError("the secret is 42")


@post("/shop/v1/hook", operation_id="hook", sync_to_thread=False)
def hook() -> None:
    """Do nothing: it is open, as a route that verifies a signature is."""


@operation("sees", "GET", "/shop/v1/sees", summary="See", passes="sees", sync_to_thread=False)
def sees(principal: NamedDependency[Principal]) -> list[str]:
    return sorted(principal.entities)


@get("/shop/v1/left", operation_id="left", sync_to_thread=True)
def left() -> float:
    return deadline.left(1000.0)


HANDLERS: Sequence[ControllerRouterHandler] = (read, write, order, sealed, fail, hook, sees, left)


class Door:
    """Run the governed app behind a test client, with an issuer and access to the audit log."""

    def __init__(
        self,
        folder: Path,
        counts: Storage | None = None,
        *,
        catalogue: str = CATALOGUE,
        handlers: Sequence[ControllerRouterHandler] = HANDLERS,
        provided: Mapping[str, object] | None = None,
        openapi: OpenAPIConfig | None = None,
        metrics_token: Secret = NO_SECRET,
    ) -> None:
        self.now = NOW
        self.acts: list[str] = []
        self.fails = 0
        self.refusals: dict[str, ProblemError] = {}
        """Refusals by the note of the order, each of which strikes once."""
        self.keys = KeyRing(folder / "key.pem", FileDocument(folder / "signing-keys.json"), self.clock)
        self.keys.tend()
        self.key = self.keys.signs.private
        self.issuer = Issuer(self.keys, self.clock)
        self.shared = folder / "shared.sqlite"
        self.audit_files = LogFiles(folder / "audit.jsonl", folder / "heads" / "audit.head")
        self.log = self.audit_files.log
        self.jwks: list[Jwk] = [public_jwk(self.key)]
        self.fetched = 0
        self.while_fetching: Callable[[], None] = lambda: None
        (folder / "revoked.json").write_text("{}")  # complete: no token is too old to be known of
        self.revocations = Revocations(RevocationDocument(FileDocument(folder / "revoked.json")), self.clock)
        self.verifier = Verifier(
            SigningKeys(self._fetch, self.clock), ISSUER, "experience", self.revocations, self.clock
        )
        new_id = identifiers()
        self.catalogue = folder / "catalogue.toml"
        self.catalogue.write_text(catalogue)
        self.live_catalogue = LiveCatalogue(self.catalogue)
        self.gate = Gate(
            "experience",
            self.live_catalogue,
            self.verifier,
            self.revocations,
            self.keys,
            RateLimiter(self.clock, counts),
            SharedFileStore(self.shared, self.clock),
            AuditLog(self.audit_files, b"key"),
            self.clock,
            new_id,
            Metrics("experience"),
            metrics_token,
        )
        self.app = governed(
            self.gate,
            handlers,
            readiness=lambda: {"erp": "gone"},
            provided={"door": self, **(provided or {})},
            openapi=openapi,
        )
        self.client = TestClient(self.app)

    async def _fetch(self) -> list[Jwk]:
        self.fetched += 1
        self.while_fetching()
        return self.jwks

    def clock(self) -> datetime:
        return self.now

    def headers(self, client: Client = READER, **options: Any) -> dict[str, str]:
        return {"authorization": f"Bearer {self.issuer.token('someone', client, **options)}"}

    def kept(self) -> tuple[str, IdempotencyRecord]:
        """Return the name and the record of the only idempotency key."""
        with closing(sqlite3.connect(self.shared)) as connection:
            name, value = connection.execute("SELECT name, value FROM kept").fetchone()
        return name, msgspec.msgpack.decode(value, type=IdempotencyRecord)

    def keep(self, name: str, kept: IdempotencyRecord, seconds: float) -> None:
        """Replace the record of a key."""
        with closing(sqlite3.connect(self.shared)) as connection:
            until = self.now.timestamp() + seconds
            connection.execute(
                "UPDATE kept SET value = ?, until = ? WHERE name = ?", (msgspec.msgpack.encode(kept), until, name)
            )
            connection.commit()

    def audited(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]
