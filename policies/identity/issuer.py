"""The local issuer: signs access tokens (RFC 9068) for the embedded default. Production uses an OIDC issuer."""

from __future__ import annotations

import os
import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import jwt
import msgspec

from canonical.ids import Clock
from policies.catalogue.model import Client, Layer

if TYPE_CHECKING:
    from policies.identity.key_ring import KeyRing
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


class _Signed(msgspec.Struct, frozen=True):
    """A token that is used again until `reusable_until`."""

    token: str
    token_id: str
    issued_at: float
    reusable_until: datetime


class Issuer:
    """Sign tokens for the catalogue's clients. A token's `ttl` bounds what a stolen one is worth."""

    def __init__(self, keys: KeyRing, clock: Clock, revocations: Revocations | None = None) -> None:
        """Create the issuer. What `revocations` covers is not used again; without them, only time ends a token."""
        self._keys = keys
        self._revocations = revocations
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
        now, signs = self._clock(), self._keys.signs
        key = (signs.key_id, name, client.audience, granted, on_behalf_of, seen, partner, ttl)
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
        signed = jwt.encode(claims, signs.private, algorithm=ALGORITHM, headers={"typ": TYPE, "kid": signs.key_id})
        if reuse:
            self._cache = {each: kept for each, kept in self._cache.items() if kept.reusable_until > now}
            self._cache[key] = _Signed(signed, token_id, float(issued), now + ttl / 2)
        return signed

    def _is_revoked(self, name: str, cached: _Signed) -> bool:
        known = self._revocations
        return known is not None and known.current.covers(cached.token_id, name, cached.issued_at)
