"""SigningKeys from an OIDC issuer, by discovery over real HTTP; and what becomes of a bad one."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Generator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from jwt.algorithms import RSAAlgorithm

from canonical.faults import Unavailable
from canonical.ids import utc_now
from policies.catalogue.model import SHIPPED
from policies.identity.jwks import Discovery, SigningKeys
from tests.support.environment import Environment
from tiergate.doctor import examine, examine_token

RSA = generate_private_key(65537, 2048)
PUBLIC = json.loads(RSAAlgorithm.to_jwk(RSA.public_key())) | {"kid": "2026", "alg": "RS256", "use": "sig"}  # pyright: ignore[reportUnknownMemberType]


class OidcIssuer:
    """Answers with whatever a test wants it to say."""

    def __init__(self) -> None:
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = issuer.pages.get(self.path, b"")
                self.send_response(200 if body else 404)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 – the base class's name
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.pages: dict[str, bytes] = {}
        self.say(issuer=self.url, jwks_uri=f"{self.url}/keys")
        self.pages["/keys"] = json.dumps({"keys": [PUBLIC]}).encode()
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def say(self, **configuration: str) -> None:
        self.pages["/.well-known/openid-configuration"] = json.dumps(configuration).encode()


@pytest.fixture
def oidc() -> Generator[OidcIssuer]:
    made = OidcIssuer()
    yield made
    made.server.shutdown()
    made.server.server_close()


def fetched(oidc: OidcIssuer) -> list[dict[str, Any]]:
    return asyncio.run(Discovery(oidc.url).fetch())


def test_the_keys_are_where_the_issuer_says(oidc: OidcIssuer) -> None:
    assert fetched(oidc) == [PUBLIC]


BAD: dict[str, tuple[dict[str, str], bytes, str]] = {
    "another issuer": ({"issuer": "https://mallory.example.com"}, b"", "names another issuer"),
    "keys in the clear": ({"jwks_uri": "http://example.com/keys"}, b"", "not at an https address"),
    "no keys there": ({}, b"", "answered 404"),
    "no JSON": ({}, b"<html>", "did not answer with a JSON object"),
    "no key set": ({}, b'{"keys": 1}', "no keys"),
    "too much": ({}, b'{"keys": [' + b" " * 300_000 + b"]}", "answered 200 with 300"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_issuer_gives_no_keys_and_the_reason_is_said(oidc: OidcIssuer, name: str) -> None:
    configuration, keys, reason = BAD[name]
    oidc.say(**({"issuer": oidc.url, "jwks_uri": f"{oidc.url}/keys"} | configuration))
    oidc.pages["/keys"] = keys

    with pytest.raises(Unavailable, match=reason):
        fetched(oidc)


def test_when_the_issuer_is_away_the_keys_that_are_known_go_on_for_a_day(oidc: OidcIssuer) -> None:
    async def look() -> tuple[bool, ...]:
        now = start = utc_now()
        keys = SigningKeys(Discovery(oidc.url).fetch, lambda: now)
        before = await keys.find("2026")
        oidc.pages.clear()
        now = start + timedelta(hours=23)
        during = await keys.find("2026")
        now = start + timedelta(hours=25)
        return before is not None, during is not None, await keys.find("2026") is not None

    assert asyncio.run(look()) == (True, True, False)


def test_the_doctor_says_of_an_issuer_and_of_a_token_what_is_missing(oidc: OidcIssuer, tmp_path: Path) -> None:
    catalogue = tmp_path / "catalogue.toml"
    trusted = f"""
[issuers.theirs]
url = "{oidc.url}"
audience = "tiergate"
types = ["JWT"]
client = ["azp"]
clients = {{ "shop" = "sales-app" }}
"""
    catalogue.write_text(trusted + SHIPPED.read_text())
    config = tmp_path / "tiergate.toml"
    config.write_text(f'folder = "{tmp_path}"\n[governance]\ncatalogue = "{catalogue}"\n')
    now = int(time.time())
    claims = {
        "iss": oidc.url,
        "sub": "kim",
        "azp": "shop",
        "aud": ["tiergate"],
        "jti": "1",
        "iat": now,
        "exp": now + 60,
    }

    def said(**more: str) -> str:
        token = jwt.encode(claims | more, RSA, algorithm="RS256", headers={"kid": "2026"})
        return examine_token(config, token).what

    assert f"the issuer {oidc.url} has 1 keys that we accept" in [each.what for each in examine(config)]
    assert said(scope="orders:read") == "the token is of sales-app, for kim, with orders:read"
    assert said() == "the token is refused: it has no scope (scopes)"
    oidc.pages.clear()
    (missing,) = [each for each in examine(config) if oidc.url in each.what]
    assert (missing.state, missing.what) == ("missing", f"the issuer {oidc.url}: it answered 404 with 0 bytes")


def test_the_channels_take_the_tokens_of_the_issuer_that_the_settings_name_and_no_other(
    environment: Environment, oidc: OidcIssuer
) -> None:
    environment.children["experience"].stop()
    environment.start("experience", {"TIERGATE_GOVERNANCE_ISSUER": oidc.url})
    now = int(time.time())
    claims = {
        "iss": oidc.url,
        "sub": "alice",
        "client_id": "sales-france",
        "aud": "tiergate:experience",
        "jti": "1",
        "iat": now,
        "exp": now + 300,
        "scope": "orders:read openid",
    }
    token = jwt.encode(claims, RSA, algorithm="RS256", headers={"typ": "at+jwt", "kid": "2026"})
    url = f"{environment.sandbox.url('experience')}/sales/v1/orders"
    try:
        good = httpx.get(url, headers={"authorization": f"Bearer {token}"})
        local = httpx.get(url, headers=environment.channels.headers("sales-france"))
    finally:
        environment.children["experience"].stop()
        environment.start("experience")

    assert (good.status_code, good.json()["items"]) == (200, []), "it sees what the catalogue lets its client see"
    assert local.status_code == 401
