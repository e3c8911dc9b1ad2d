"""Tokens of other issuers: their claims under whatever names, and nothing that the catalogue does not list."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Generator
from datetime import timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from jwt.algorithms import RSAAlgorithm
from structlog.testing import capture_logs

from policies.catalogue.check import read
from policies.identity.jwks import SigningKeys
from policies.identity.trusted_issuers import TokenRefused
from tests.support.governed_app import CATALOGUE, NOW, Door

KEY = generate_private_key(65537, 2048)
JWKS = [json.loads(RSAAlgorithm.to_jwk(KEY.public_key())) | {"kid": "2026", "use": "sig"}]  # pyright: ignore[reportUnknownMemberType]
SECONDS = int(NOW.timestamp())
PATH = "/shop/v1/read"
TIMES = {"iat": SECONDS - 5, "nbf": SECONDS - 5, "exp": SECONDS + 3600}
ISSUERS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "Entra, version 2": (
        """
        audience = "2d1a6d3c-api"
        types = ["JWT"]
        client = ["azp", "appid"]
        scopes = ["scp", "roles"]
        token_id = ["uti"]
        clients = { "6731de76-app" = "someone" }
        """,
        {"typ": "JWT"},
        {"aud": "2d1a6d3c-api", "azp": "6731de76-app", "scp": "shop:read", "uti": "AbCd", "sub": "oid-of-a-person"},
    ),
    "Entra, version 1, of an app": (
        """
        audience = "api://tiergate"
        types = ["JWT"]
        client = ["azp", "appid"]
        scopes = ["scp", "roles"]
        token_id = ["uti"]
        clients = { "6731de76-app" = "someone" }
        """,
        {"typ": "JWT", "x5t": "aGFzaA"},
        {"aud": "api://tiergate", "appid": "6731de76-app", "roles": ["shop:read"], "uti": "AbCd", "sub": "oid"},
    ),
    "Okta": (
        """
        audience = "api://tiergate"
        types = ["JWT", ""]
        client = ["cid"]
        scopes = ["scp"]
        clients = { "0oa1b2c3" = "someone" }
        """,
        {"typ": None},
        {"aud": "api://tiergate", "cid": "0oa1b2c3", "scp": ["openid", "shop:read"], "jti": "AT.1", "sub": "kim@x.com"},
    ),
    "Keycloak": (
        """
        audience = "tiergate"
        types = ["JWT"]
        client = ["azp"]
        clients = { "shop" = "someone" }
        """,
        {"typ": "JWT"},
        {"aud": ["account", "tiergate"], "azp": "shop", "scope": "email shop:read", "jti": "5f", "sub": "uuid"},
    ),
    "Auth0": (
        """
        audience = "https://tiergate.example.com"
        types = ["JWT"]
        client = ["azp"]
        token_id = []
        clients = { "Q1w2" = "someone" }
        """,
        {"typ": "JWT"},
        {
            "aud": ["https://tiergate.example.com", "https://x.auth0.com/userinfo"],
            "azp": "Q1w2",
            "scope": "openid shop:read",
            "sub": "auth0|1",
        },
    ),
    "Google": (
        """
        audience = "77.apps.googleusercontent.com"
        types = ["JWT"]
        client = ["azp"]
        scopes = []
        token_id = []
        subject = ["email", "sub"]
        clients = { "77.apps.googleusercontent.com" = "someone" }
        """,
        {"typ": "JWT"},
        {"aud": "77.apps.googleusercontent.com", "azp": "77.apps.googleusercontent.com", "email": "kim@x.com"},
    ),
}
URL = "https://login.example.com/"


def catalogue(name: str) -> str:
    return f'{CATALOGUE}\n[issuers.theirs]\nurl = "{URL}"\n' + ISSUERS[name][0].replace("        ", "")


class Trusting(Door):
    """A door that takes the tokens of an issuer beside its own."""

    def __init__(self, folder: Path, name: str) -> None:
        super().__init__(folder, catalogue=catalogue(name))
        _, self.header, self.good = ISSUERS[name]
        self.asked: list[str] = []
        self.live_catalogue.when_changed(lambda now: self.verifier.trust(now, self.keys_of))

    def keys_of(self, url: str) -> SigningKeys:
        self.asked.append(url)

        async def fetch() -> list[dict[str, Any]]:
            return JWKS

        return SigningKeys(fetch, self.clock)

    def token(self, without: tuple[str, ...] = (), **changes: Any) -> str:
        claims = {"iss": URL} | TIMES | self.good | changes
        kept = {name: value for name, value in claims.items() if name not in without}
        return jwt.encode(kept, KEY, algorithm="RS256", headers={"kid": "2026"} | self.header)

    def status(self, token: str) -> int:
        return self.client.get(PATH, headers={"authorization": f"Bearer {token}"}).status_code

    def logged(self, token: str) -> list[str]:
        with capture_logs() as logs:
            assert self.status(token) == 401
        return [each["reason"] for each in logs if "trusted issuer" in each["event"]]


@pytest.fixture(params=ISSUERS)
def door(tmp_path: Path, request: pytest.FixtureRequest) -> Generator[Trusting]:
    made = Trusting(tmp_path, request.param)
    with made.client:
        yield made


@pytest.fixture
def keycloak(tmp_path: Path) -> Generator[Trusting]:
    made = Trusting(tmp_path, "Keycloak")
    with made.client:
        yield made


def test_a_token_of_each_usual_issuer_opens_and_says_whose_it_is(door: Trusting) -> None:
    assert door.status(door.token()) == 200

    caller = asyncio.run(door.verifier.principal(f"Bearer {door.token()}"))
    assert (caller.client, caller.subject) == ("someone", door.good.get("email") or door.good["sub"])
    assert "shop:read" in caller.scopes


def test_a_claim_that_is_missing_is_said_in_the_log_and_not_in_the_answer(door: Trusting) -> None:
    client = "cid" if "cid" in door.good else "appid" if "appid" in door.good else "azp"

    assert [client in each and "client" in each for each in door.logged(door.token(without=(client,)))] == [True]


def test_the_same_reason_is_logged_once_in_a_minute(keycloak: Trusting) -> None:
    token = keycloak.token(without=("scope",))

    assert keycloak.logged(token) == ["it has no scope (scopes)"]
    assert keycloak.logged(token) == []
    keycloak.now += timedelta(seconds=61)
    assert keycloak.logged(token) == ["it has no scope (scopes)"]


REFUSED: dict[str, dict[str, Any]] = {
    "a client that is not listed": {"azp": "another"},
    "a client of the catalogue by its own name": {"azp": "someone"},
    "a client that is a list": {"azp": ["shop"]},
    "another audience": {"aud": ["account"]},
    "another audience that begins alike": {"aud": "tiergate-2"},
    "expired": {"exp": SECONDS - 60},
    "a life of years": {"exp": SECONDS + 10 * 365 * 86400},
    "from the future": {"iat": SECONDS + 3600},
    "an expiry that is a text": {"exp": str(SECONDS + 60)},
    "an id that is a number": {"jti": 7},
    "a subject that is empty": {"sub": ""},
    "a subject that no database takes": {"sub": "kim\x00"},
    "a subject with half a character": {"sub": "kim\ud800"},
    "an id with half a character": {"jti": "\udfff"},
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_catalogue_does_not_say_is_refused_and_the_log_says_why(keycloak: Trusting, name: str) -> None:
    assert len(keycloak.logged(keycloak.token(**REFUSED[name]))) == 1


def test_a_token_that_the_issuer_has_not_signed_is_refused_and_not_logged(keycloak: Trusting) -> None:
    head, payload, _ = keycloak.token().split(".")
    _, _, signature = keycloak.token(sub="another").split(".")

    assert keycloak.logged(f"{head}.{payload}.{signature}") == []
    assert keycloak.logged(keycloak.token(iss="https://mallory.example.com/")) == []
    assert keycloak.logged(keycloak.token(iss=URL.rstrip("/"))) == []


def test_no_issuer_speaks_for_another(keycloak: Trusting) -> None:
    as_ours = jwt.encode(
        keycloak.good | TIMES | {"iss": "tiergate-local", "client_id": "someone", "aud": "tiergate:experience"},
        KEY,
        algorithm="RS256",
        headers={"kid": "2026", "typ": "at+jwt"},
    )

    assert keycloak.status(as_ours) == 401


def test_a_token_without_an_id_is_revoked_by_its_hash(tmp_path: Path) -> None:
    made = Trusting(tmp_path, "Auth0")
    with made.client:
        token = made.token()
        assert made.status(token) == 200
        signed = token.rpartition(".")[0]

        asyncio.run(made.revocations.revoke(token=hashlib.sha256(signed.encode()).hexdigest()[:24]))

        assert (made.status(token), made.status(made.token(sub="another"))) == (401, 200)
        assert made.status(f"{token}==") == 401


def test_an_issuer_that_leaves_the_catalogue_is_no_longer_trusted(keycloak: Trusting) -> None:
    token = keycloak.token()
    assert keycloak.status(token) == 200

    keycloak.catalogue.write_text(CATALOGUE)
    keycloak.live_catalogue.look()

    assert keycloak.status(token) == 401
    assert keycloak.asked == [URL]


OTHER = """
[clients.other]
kind = "internal"
owner = "somebody"
tier = "many"
audience = "experience"
apis = ["shop"]
scopes = ["shop:read"]
legal_entities = ["*"]
"""


def test_a_client_without_scopes_in_its_tokens_has_those_of_the_catalogue_as_it_is_now(tmp_path: Path) -> None:
    made = Trusting(tmp_path, "Google")
    with made.client:
        token = made.token()
        assert made.status(token) == 200

        lowered = catalogue("Google").replace('["shop:read", "shop:write"]', '["shop:write"]')
        made.catalogue.write_text(lowered + OTHER)
        made.live_catalogue.look()

        assert made.live_catalogue.refused == ""
        assert made.status(token) == 403


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ('url = "http://login.example.com"', "url"),
        ('url = "http://localhost:80@login.example.com"', "url"),
        ('url = "https://login.example.com@evil.example"', "url"),
        ("clients = {}", "no client of it is let in"),
        ('clients = { "a" = "nobody" }', "there is no client 'nobody'"),
        ("client = []", "it is empty"),
    ],
)
def test_a_catalogue_with_an_issuer_that_lets_nobody_in_is_refused(written: str, reason: str) -> None:
    key = written.split(maxsplit=1)[0]
    others = [line for line in catalogue("Keycloak").splitlines() if not line.startswith(f"{key} ")]
    place = others.index("[issuers.theirs]") + 1

    _, violations = read("\n".join([*others[:place], written, *others[place:]]).encode())

    assert [reason in str(each) for each in violations] == [True]


def test_a_reason_says_what_is_taken(keycloak: Trusting) -> None:
    reasons = {
        keycloak.token(iss="https://x.example.com"): "not trusted: tiergate-local, https://login.example.com/",
        "abc": "no JSON Web Token",
        keycloak.token(aud="account"): "Audience",
    }

    for token, reason in reasons.items():
        with pytest.raises(TokenRefused, match=reason):
            asyncio.run(keycloak.verifier.verify(token))
