"""The local issuer: signs access tokens (RFC 9068) for the embedded default. Production uses an OIDC issuer."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from canonical.ids import Clock
from policies.catalogue.model import Client, Layer
from policies.store.files import read_or_create

if TYPE_CHECKING:
    from policies.identity.revocation import Revocations

ALGORITHM = "EdDSA"
TYPE = "at+jwt"
TYPES = (TYPE, f"application/{TYPE}")
ISSUER = "tiergate-local"
TOKEN_ID = re.compile(r"[0-9a-f]{24}")
"""The `jti` of a token of this issuer."""
LONGEST = 24 * 3600
"""Seconds that a token may be valid."""
LEEWAY = 10
"""Seconds that two clocks may differ."""


def audience(layer: Layer) -> str:
    """Return the `aud` of a layer. Each has its own, so that a token for one is worthless at another."""
    return f"tiergate:{layer}"


def signing_key(path: Path) -> Ed25519PrivateKey:
    """Return the issuer's key, after creating it on first use. Raises `TypeError` for a key of another kind."""
    key = load_pem_private_key(read_or_create(path, _new_key), password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise TypeError(f"{path} does not hold an Ed25519 private key")
    return key


def _new_key() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def public_jwk(key: Ed25519PrivateKey) -> dict[str, Any]:
    """Return the issuer's public key as a JSON Web Key, named by its thumbprint (RFC 7638)."""
    raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    members = {"crv": "Ed25519", "kty": "OKP", "x": base64.urlsafe_b64encode(raw).rstrip(b"=").decode()}
    digest = hashlib.sha256(json.dumps(members, separators=(",", ":")).encode()).digest()
    return members | {"kid": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(), "use": "sig", "alg": ALGORITHM}


class _Signed(msgspec.Struct, frozen=True):
    """A token that is used again until `reusable_until`."""

    token: str
    token_id: str
    issued_at: float
    reusable_until: datetime


class Issuer:
    """Sign tokens for the catalogue's clients. A token's `ttl` bounds what a stolen one is worth."""

    def __init__(self, key: Ed25519PrivateKey, clock: Clock, revocations: Revocations | None = None) -> None:
        """Create the issuer. What `revocations` covers is not used again; without them, only time ends a token."""
        self._key = key
        self._revocations = revocations
        self._key_id = str(public_jwk(key)["kid"])
        self._clock = clock
        self._cache: dict[tuple[object, ...], _Signed] = {}

    def token(
        self,
        name: str,
        client: Client,
        *,
        scopes: frozenset[str] | None = None,
        on_behalf_of: str = "",
        entities: frozenset[str] | None = None,
        partner: str = "",
        ttl: timedelta = timedelta(minutes=5),
        reuse: bool = True,
    ) -> str:
        """Return a token for `client.audience` with at most the client's own scopes and legal entities.

        `on_behalf_of` names the original subject; the client is then the actor (RFC 8693, section 4.1). With `partner`,
        no other partner's records are seen. With `reuse`, a token is used again for half of its life, unless it is
        revoked: for callers that forget it with their call.
        """
        granted = client.scopes & (client.scopes if scopes is None else scopes)
        seen = client.legal_entities if entities is None or "*" in entities else entities
        now = self._clock()
        key = (name, client.audience, granted, on_behalf_of, seen, partner, ttl)
        cached = self._cache.get(key) if reuse else None
        if cached and cached.reusable_until > now and not self._is_revoked(name, cached):
            return cached.token
        token_id = os.urandom(12).hex()
        issued = int(now.timestamp())
        if self._revocations is not None:  # a token of the second in which its client was revoked would be, too
            issued = self._revocations.current.first_good(name, issued)
        claims: dict[str, Any] = {
            "iss": ISSUER,
            "sub": on_behalf_of or name,
            "client_id": name,
            "aud": audience(client.audience),
            "iat": issued,
            "nbf": issued,
            "exp": int((now + ttl).timestamp()),
            "jti": token_id,
            "scope": " ".join(sorted(granted)),
            "entities": sorted(seen),
        }
        if partner:
            claims["partner"] = partner
        if on_behalf_of:
            claims["act"] = {"sub": name}
        signed = jwt.encode(claims, self._key, algorithm=ALGORITHM, headers={"typ": TYPE, "kid": self._key_id})
        if reuse:
            self._cache = {each: kept for each, kept in self._cache.items() if kept.reusable_until > now}
            self._cache[key] = _Signed(signed, token_id, float(issued), now + ttl / 2)
        return signed

    def _is_revoked(self, name: str, cached: _Signed) -> bool:
        known = self._revocations
        return known is not None and known.current.covers(cached.token_id, name, cached.issued_at)
