"""What every route is governed by, tried on a small app of its own."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Generator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from limits.aio.storage import Storage
from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from litestar.testing import TestClient

from canonical.faults import Conflict, NotFound, Rejected, Throttled, Unavailable, UnknownOutcome
from canonical.ids import identifiers
from policies.audit import AuditLog
from policies.authentication import Principal, Verifier
from policies.bodies import MAX_BODY
from policies.catalogue import Client
from policies.chain import Gate, Ungoverned, governed
from policies.living import Living
from policies.throttling import Throttle
from policies.tokens import Issuer, signing_key

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
CATALOGUE = """
[service_tiers.t]
objective = "fast"
sheds_at = 100

[throttle_tiers.many]
rates = "1000/second"
daily = 100_000
concurrent = 50

[health.operations]
live = { open = "health", tier = "t", idempotency = "safe" }
ready = { open = "health", tier = "t", idempotency = "safe" }

[apis.shop]
layer = "experience"
owner = "somebody"
title = "Shop"
versions.v1 = { state = "active" }

[apis.shop.operations]
read = { scope = "shop:read", tier = "t", idempotency = "safe" }
write = { scope = "shop:write", tier = "t", idempotency = "natural" }
fail = { scope = "shop:read", tier = "t", idempotency = "safe" }
sees = { scope = "shop:read", tier = "t", idempotency = "safe" }
hook = { open = "signature", tier = "t", idempotency = "natural" }

[clients.someone]
kind = "internal"
owner = "somebody"
tier = "many"
audience = "experience"
scopes = ["shop:read", "shop:write"]
legal_entities = ["*"]
"""
WRITER = Client("internal", "somebody", "experience", frozenset({"shop:read", "shop:write"}), frozenset({"*"}))
READER = msgspec.structs.replace(WRITER, scopes=frozenset({"shop:read"}))
FAULTS = {
    "rejected": Rejected("erp", "no", field="total"),
    "missing": NotFound("erp", "none"),
    "conflict": Conflict("erp", "twice"),
    "throttled": Throttled("erp", "slowly", retry_after=7),
    "away": Unavailable("erp", "gone"),
    "unknown": UnknownOutcome("erp", "who knows"),
}


class Item(msgspec.Struct):
    sku: str


class Basket(msgspec.Struct):
    items: list[Item]
    note: str = ""


@get("/shop/v1/read", operation_id="read", sync_to_thread=False)
def read(principal: NamedDependency[Principal]) -> dict[str, str]:
    return {"subject": principal.subject, "client": principal.client}


@post("/shop/v1/write", operation_id="write", sync_to_thread=False)
def write(data: JSONBody[Basket]) -> int:
    return len(data.items)


@get("/shop/v1/fail/{kind:str}", operation_id="fail", sync_to_thread=False)
def fail(kind: FromPath[str]) -> None:
    if kind in FAULTS:
        raise FAULTS[kind]
    raise RuntimeError("the secret is 42")


@post("/shop/v1/hook", operation_id="hook", sync_to_thread=False)
def hook() -> None:
    """Open: it would verify a signature."""


@get("/shop/v1/sees", operation_id="sees", sync_to_thread=False)
def sees(principal: NamedDependency[Principal]) -> list[str]:
    return sorted(principal.entities)


class Door:
    """The app behind a test client, with an issuer and a look at the audit log."""

    def __init__(self, folder: Path, shared: Storage | None = None) -> None:
        self.now = NOW
        self.key = signing_key(folder / "key.pem")
        self.issuer = Issuer(self.key, self.clock)
        self.log = folder / "audit.jsonl"
        verifier = Verifier(self.key.public_key(), "experience", self.clock)
        new_id = identifiers(self.clock, lambda bits: bits)
        self.catalogue = folder / "catalogue.toml"
        self.catalogue.write_text(CATALOGUE)
        self.living = Living(self.catalogue)
        self.gate = Gate(
            "experience",
            self.living,
            verifier,
            Throttle(self.clock, shared),
            AuditLog(self.log, b"key"),
            self.clock,
            new_id,
        )
        app = governed(self.gate, [read, write, fail, hook, sees], readiness=lambda: {"erp": "gone"}, state={})
        self.client = TestClient(app)

    def clock(self) -> datetime:
        return self.now

    def headers(self, client: Client = READER, **options: Any) -> dict[str, str]:
        return {"authorization": f"Bearer {self.issuer.token('someone', client, **options)}"}

    def audited(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@pytest.fixture
def door(tmp_path: Path) -> Generator[Door]:
    made = Door(tmp_path)
    with made.client:
        yield made


def test_a_good_token_opens_and_names_the_caller(door: Door) -> None:
    answer = door.client.get("/shop/v1/read", headers=door.headers(on_behalf_of="alice"))

    assert answer.status_code == 200
    assert answer.json() == {"subject": "alice", "client": "someone"}


def forged(door: Door, header: dict[str, Any] | None = None, key: Any = None, **claims: Any) -> str:
    """A token that is good but for what is given."""
    good: dict[str, Any] = jwt.decode(door.issuer.token("someone", READER), options={"verify_signature": False})
    payload = {name: value for name, value in (good | claims).items() if value is not None}
    algorithm = "EdDSA" if key is None or isinstance(key, Ed25519PrivateKey) else "HS256"
    return jwt.encode(
        payload, door.key if key is None else key, algorithm=algorithm, headers={"typ": "at+jwt"} | (header or {})
    )


def test_a_forgery_that_changes_nothing_is_good(door: Door) -> None:
    assert door.client.get("/shop/v1/read", headers={"authorization": f"Bearer {forged(door)}"}).status_code == 200


def unsigned(door: Door) -> str:
    head, body, _ = forged(door).split(".")
    none = base64.urlsafe_b64encode(b'{"alg":"none","typ":"at+jwt"}').rstrip(b"=").decode()
    assert head
    return f"{none}.{body}."


REFUSED: dict[str, Callable[[Door], str]] = {
    "no header": lambda _: "",
    "another scheme": lambda door: f"Basic {forged(door)}",
    "no token": lambda _: "Bearer ",
    "not a token": lambda _: "Bearer abc",
    "two dots": lambda _: "Bearer ..",
    "a broken part": lambda door: "Bearer " + forged(door).replace(".", ".!", 1),
    "no signature": lambda door: f"Bearer {unsigned(door)}",
    "a cut signature": lambda door: f"Bearer {forged(door)[:-4]}",
    "another key": lambda door: f"Bearer {forged(door, key=Ed25519PrivateKey.generate())}",
    "a secret of ours as key": lambda door: f"Bearer {forged(door, key='k' * 32)}",
    "another type": lambda door: f"Bearer {forged(door, header={'typ': 'JWT'})}",
    "no type": lambda door: f"Bearer {forged(door, header={'typ': None})}",
    "another issuer": lambda door: f"Bearer {forged(door, iss='mallory')}",
    "another layer": lambda door: f"Bearer {forged(door, aud='tiergate:process')}",
    "a list of layers": lambda door: f"Bearer {forged(door, aud=['tiergate:experience', 'tiergate:process'])}",
    "not valid yet": lambda door: f"Bearer {forged(door, nbf=int(NOW.timestamp()) + 3600)}",
    "from the future": lambda door: f"Bearer {forged(door, iat=int(NOW.timestamp()) + 3600)}",
    "a time that is no number": lambda door: f"Bearer {forged(door, exp=True)}",
    "expired": lambda door: f"Bearer {forged(door, exp=int(NOW.timestamp()) - 60)}",
    "no expiry": lambda door: f"Bearer {forged(door, exp=None)}",
    "no audience": lambda door: f"Bearer {forged(door, aud=None)}",
    "no scope": lambda door: f"Bearer {forged(door, scope=None)}",
    "oversized": lambda door: f"Bearer {forged(door, filler='x' * 5000)}",
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_token_is_refused_without_a_reason(door: Door, name: str) -> None:
    answer = door.client.get("/shop/v1/read", headers={"authorization": REFUSED[name](door)})

    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"] == "No valid access token for this layer was sent."
    assert answer.headers.get_list("x-correlation-id") == [answer.json()["correlation_id"]]


def test_a_cached_token_ends_with_its_time(door: Door) -> None:
    headers = door.headers(ttl=timedelta(minutes=5))
    assert door.client.get("/shop/v1/read", headers=headers).status_code == 200

    door.now = NOW + timedelta(minutes=6)

    assert door.client.get("/shop/v1/read", headers=headers).status_code == 401


def test_a_missing_scope_is_forbidden(door: Door) -> None:
    answer = door.client.post("/shop/v1/write", headers=door.headers(), json={"items": []})

    assert (answer.status_code, answer.json()["title"]) == (403, "Not allowed")


def test_a_correlation_id_is_taken_over_when_it_is_harmless_and_made_otherwise(door: Door) -> None:
    given = door.client.get("/shop/v1/read", headers=door.headers() | {"x-correlation-id": "order-4711"})
    made = door.client.get("/shop/v1/read", headers=door.headers() | {"x-correlation-id": "a b"})

    assert given.headers["x-correlation-id"] == "order-4711"
    assert made.headers["x-correlation-id"].startswith("cor_")


def test_every_write_and_refused_write_is_audited_and_no_read_is(door: Door) -> None:
    door.client.get("/shop/v1/read", headers=door.headers())
    door.client.post(
        "/shop/v1/write", headers=door.headers(WRITER, on_behalf_of="alice"), json={"items": [], "note": "private"}
    )
    door.client.post("/shop/v1/write", headers=door.headers(), json={"items": []})
    door.client.post("/shop/v1/write?token=secret", json={"items": []})

    lines = door.audited()
    assert [(each["operation"], each["on_behalf_of"], each["status"]) for each in lines] == [
        ("write", "alice", 201),
        ("write", "someone", 403),
        ("write", "", 401),
    ]
    assert "private" not in door.log.read_text()
    assert "secret" not in door.log.read_text()


def test_a_body_over_the_limit_is_refused(door: Door) -> None:
    answer = door.client.post(
        "/shop/v1/write", headers=door.headers(WRITER), json={"items": [], "note": "x" * MAX_BODY}
    )

    assert (answer.status_code, answer.json()["type"]) == (413, "/problems/body-too-large")


def test_every_unknown_field_is_named_with_its_path(door: Door) -> None:
    body = {"items": [{"sku": "A"}, {"sku": "B", "colour": "red"}], "note": "", "extra": {"a": 1}}

    answer = door.client.post("/shop/v1/write", headers=door.headers(WRITER), json=body)

    assert answer.status_code == 422
    assert [each["path"] for each in answer.json()["errors"]] == ["$.items[1].colour", "$.extra"]


@pytest.mark.parametrize("body", [{"items": [{"sku": 5}]}, {"note": "x"}, [], "text"])
def test_a_body_that_breaks_the_contract_is_unprocessable(door: Door, body: Any) -> None:
    answer = door.client.post("/shop/v1/write", headers=door.headers(WRITER), json=body)

    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/invalid-request")


def test_a_body_that_is_no_json_is_unprocessable(door: Door) -> None:
    headers = door.headers(WRITER) | {"content-type": "application/json"}

    assert door.client.post("/shop/v1/write", headers=headers, content=b"{").status_code == 422


@pytest.mark.parametrize(
    ("kind", "status", "problem"),
    [
        ("rejected", 422, "platform-rejected"),
        ("missing", 404, "platform-not-found"),
        ("conflict", 409, "platform-conflict"),
        ("throttled", 429, "platform-throttled"),
        ("away", 503, "platform-unavailable"),
        ("unknown", 504, "outcome-unknown"),
    ],
)
def test_each_platform_fault_is_one_problem(door: Door, kind: FromPath[str], status: int, problem: str) -> None:
    answer = door.client.get(f"/shop/v1/fail/{kind}", headers=door.headers())

    assert (answer.status_code, answer.json()["type"]) == (status, f"/problems/{problem}")
    assert answer.json()["remedy"]
    assert answer.headers.get_list("x-correlation-id") == [answer.json()["correlation_id"]]
    assert answer.headers.get("retry-after") == ("7" if kind == "throttled" else None)


def test_a_fault_of_ours_tells_nothing_of_its_inside(door: Door) -> None:
    answer = door.client.get("/shop/v1/fail/bug", headers=door.headers())

    assert answer.status_code == 500
    assert "42" not in answer.text
    assert answer.json()["correlation_id"]


def test_an_unknown_path_is_a_problem_too(door: Door) -> None:
    assert door.client.get("/nowhere").json()["type"] == "/problems/not-found"


def test_health_is_open_and_says_what_is_missing(door: Door) -> None:
    assert door.client.get("/health/live").json() == {"status": "ok"}
    answer = door.client.get("/health/ready")
    assert (answer.status_code, answer.json()) == (503, {"erp": "gone", "catalogue": "ok"})


def test_an_app_with_a_route_that_the_catalogue_does_not_know_does_not_start(door: Door) -> None:
    @get("/ungoverned", operation_id="ungoverned", sync_to_thread=False)
    def ungoverned() -> None:
        """Never served."""

    @get("/nameless", sync_to_thread=False)
    def nameless() -> None:
        """Never served."""

    for handler in (ungoverned, nameless):
        with pytest.raises(Ungoverned):
            governed(door.gate, [handler], readiness=dict, state={})
