"""Who calls: verifies access tokens (RFC 9068) after the rules of RFC 8725."""

from __future__ import annotations

import hashlib
from typing import Any

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from jwt.types import Options

from canonical.ids import Clock
from policies.catalogue import Layer
from policies.problems import UNAUTHENTICATED, ProblemError
from policies.tokens import ALGORITHM, ISSUER, TYPE, audience

MAX_TOKEN = 4096
LEEWAY = 10
CACHED = 10_000
BY_OUR_CLOCK: Options = {"verify_exp": False, "verify_nbf": False, "verify_iat": False}
REQUIRED = ["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "client_id", "scope", "entities"]


class Principal(msgspec.Struct, frozen=True):
    """The verified caller. `subject` is on whose behalf, `client` who asks; `entities` whose records it may see."""

    subject: str
    client: str
    scopes: frozenset[str]
    entities: frozenset[str]
    expires_at: float

    def within(self, legal_entities: frozenset[str]) -> Principal:
        """The same caller, who sees no more than these."""
        if "*" in legal_entities or self.entities <= legal_entities:
            return self
        seen = legal_entities if "*" in self.entities else self.entities & legal_entities
        return msgspec.structs.replace(self, entities=seen)

    def may_see(self, legal_entity: str) -> bool:
        """The object-level check: whether records of `legal_entity` exist for this caller."""
        return "*" in self.entities or legal_entity in self.entities


class Verifier:
    """Verifies tokens for one layer. A verified token is kept by its hash until it expires."""

    def __init__(self, key: Ed25519PublicKey, layer: Layer, clock: Clock) -> None:
        self._key = key
        self._audience = audience(layer)
        self._clock = clock
        self._cache: dict[bytes, Principal] = {}

    def principal(self, authorization: str) -> Principal:
        """The caller that an `Authorization` header proves. Raises `ProblemError` (401) without telling why."""
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token or len(token) > MAX_TOKEN:
            raise _refused()
        digest = hashlib.sha256(token.encode()).digest()
        known = self._cache.get(digest)
        if known is None:
            known = self._verify(token)
            if len(self._cache) >= CACHED:
                self._cache.clear()
            self._cache[digest] = known
        if known.expires_at + LEEWAY < self._clock().timestamp():
            del self._cache[digest]
            raise _refused()
        return known

    def _verify(self, token: str) -> Principal:
        try:
            if jwt.get_unverified_header(token).get("typ") != TYPE:
                raise _refused()
            claims = jwt.decode(
                token,
                self._key,
                algorithms=[ALGORITHM],
                audience=self._audience,
                issuer=ISSUER,
                options={"require": REQUIRED, "strict_aud": True, **BY_OUR_CLOCK},
            )
            valid = self._in_time(claims)
        except (jwt.InvalidTokenError, UnicodeError) as error:
            raise _refused() from error
        if not valid:
            raise _refused()
        return Principal(
            subject=str(claims["sub"]),
            client=str(claims["client_id"]),
            scopes=frozenset(str(claims["scope"]).split()),
            entities=frozenset(map(str, claims["entities"])),
            expires_at=float(claims["exp"]),
        )

    def _in_time(self, claims: dict[str, Any]) -> bool:
        """The three times of RFC 7519 (sections 4.1.4 to 4.1.6) against our clock."""
        now = self._clock().timestamp()
        times = [claims[name] for name in ("exp", "nbf", "iat")]
        if not all(type(each) is int for each in times):
            return False
        expires, not_before, issued = times
        return expires + LEEWAY > now and not_before - LEEWAY <= now and issued - LEEWAY <= now


def _refused() -> ProblemError:
    return ProblemError(UNAUTHENTICATED, "No valid access token for this layer was sent.")
