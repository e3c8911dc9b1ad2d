"""Verification of access tokens (RFC 9068), following RFC 8725."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Iterator
from typing import Any

import jwt
import msgspec
from jwt.types import Options

from canonical.ids import Clock
from policies.catalogue.explain import Outcome, Question
from policies.catalogue.model import Layer
from policies.identity.issuer import LEEWAY, LONGEST, TYPES, audience
from policies.identity.jwks import SigningKeys
from policies.identity.revocation import Revocations
from policies.policy import Call, Policy, Principal, Rules
from policies.problems import UNAUTHENTICATED, ProblemError

MAX_TOKEN = 4096
CACHED = 10_000
BY_OUR_CLOCK: Options = {"verify_exp": False, "verify_nbf": False, "verify_iat": False}
REQUIRED = ["iss", "sub", "aud", "exp", "iat", "jti", "client_id", "scope"]
NOT_OURS = frozenset({"jku", "jwk", "x5u", "x5c", "x5t", "x5t#S256", "crit", "zip", "enc"})
"""Header parameters that bring a key, or ask for more than we do. No token of a trusted issuer has one."""
MALFORMED = (
    jwt.InvalidTokenError,
    jwt.InvalidKeyError,
    UnicodeError,
    RecursionError,
    msgspec.ValidationError,
    ValueError,
)


class _Claims(msgspec.Struct, frozen=True):
    """The claims of a token that we read. Without `entities` the caller sees what the catalogue lets its client see."""

    sub: str
    client_id: str
    scope: str
    jti: str
    exp: int
    iat: int
    nbf: int = 0
    entities: tuple[str, ...] = ("*",)
    partner: str = ""


class Verifier:
    """Verify one issuer's tokens for one layer.

    A verified token is cached by its hash until it expires or is revoked.
    """

    def __init__(self, keys: SigningKeys, issuer: str, layer: Layer, revocations: Revocations, clock: Clock) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience(layer)
        self._revocations = revocations
        self._clock = clock
        self._cache: dict[bytes, Principal] = {}

    def known(self, authorization: bytes, now: float) -> Principal | None:
        """Return the caller of an `Authorization` header that was verified before, else None.

        `now` is in seconds since 1970, UTC. Raises `ProblemError` (401), which does not say why, for a token that is
        too long, expired or revoked.
        """
        if len(authorization) > MAX_TOKEN:
            raise unauthenticated()
        digest = hashlib.sha256(authorization).digest()
        known = self._cache.get(digest)
        if known is None:
            return None
        expired = known.expires_at + LEEWAY < now
        if expired or self._revocations.current.covers(known.token_id, known.client, known.issued_at):
            self._cache.pop(digest, None)
            raise unauthenticated()
        return known

    async def principal(self, authorization: str) -> Principal:
        """Return the caller of an `Authorization` header. Raises `ProblemError` (401), which does not say why."""
        raw = authorization.encode("latin-1")
        if found := self.known(raw, self._clock().timestamp()):
            return found
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise unauthenticated()
        verified = await self._verify(token)
        if len(self._cache) >= CACHED:
            self._cache.clear()
        self._cache[hashlib.sha256(raw).digest()] = verified
        return self.known(raw, self._clock().timestamp()) or verified

    async def _verify(self, token: str) -> Principal:
        try:
            header = jwt.get_unverified_header(token)
            key = await self._keys.find(str(header.get("kid", "")))
            if key is None or str(header.get("typ", "")).lower() not in TYPES or NOT_OURS & header.keys():
                raise unauthenticated()
            decoded = jwt.decode(
                token,
                key.public,
                algorithms=[key.algorithm],
                audience=self._audience,
                issuer=self._issuer,
                options={"require": REQUIRED, "strict_aud": True, **BY_OUR_CLOCK},
            )
            claims = self._claims(decoded)
        except MALFORMED as error:
            raise unauthenticated() from error
        return Principal(
            subject=claims.sub,
            client=claims.client_id,
            scopes=frozenset(claims.scope.split()),
            entities=frozenset(claims.entities),
            token_id=claims.jti,
            issued_at=float(claims.iat),
            expires_at=float(claims.exp),
            partner=claims.partner,
        )

    def _claims(self, decoded: dict[str, Any]) -> _Claims:
        """Return the claims, after checking the times of RFC 7519 (sections 4.1.4 to 4.1.6) against our clock."""
        if any(type(decoded.get(name, 0)) is not int for name in ("exp", "nbf", "iat")):
            raise unauthenticated()
        claims = msgspec.convert(decoded, _Claims)
        now = self._clock().timestamp()
        begun = claims.nbf - LEEWAY <= now and claims.iat - LEEWAY <= now
        if not begun or claims.exp + LEEWAY <= now or claims.exp - claims.iat > LONGEST or not claims.client_id:
            raise unauthenticated()
        return claims


def unauthenticated() -> ProblemError:
    """Return the one answer to every bad token, which does not say why."""
    return ProblemError(UNAUTHENTICATED, "No valid access token for this layer was sent.")


class Authentication(Policy):
    """A call proves by its token who it is, for this layer."""

    def __init__(self, rules: Rules, verifier: Verifier) -> None:
        self._clients = {
            name: client for name, client in rules.catalogue.clients.items() if client.audience == rules.layer
        }
        self._verifier = verifier

    @staticmethod
    def applies(rules: Rules) -> bool:
        return not rules.operation.open

    def enter(self, call: Call) -> Awaitable[None] | None:
        authorization = call.headers.get(b"authorization", b"")
        principal = self._verifier.known(authorization, call.now.timestamp())
        if principal is None:
            return self._verified(call, authorization.decode("latin-1"))
        return self._identify(call, principal)

    async def _verified(self, call: Call, authorization: str) -> None:
        self._identify(call, await self._verifier.principal(authorization))

    def _identify(self, call: Call, principal: Principal) -> None:
        client = self._clients.get(principal.client)
        if client is None:
            raise unauthenticated()
        call.principal, call.client, call.client_name = principal, client, principal.client

    @classmethod
    def explain(cls, question: Question) -> Iterator[Outcome]:
        audience, layer = question.client.audience, question.layer
        path = (*question.of_client, "audience")
        if question.operation.open:
            yield Outcome(True, "authentication", f"none is asked: {question.operation.open}", question.of_operation)
        elif audience != layer:
            refused = f"its tokens are for the {audience} layer, this is the {layer} layer: 401"
            yield Outcome(False, "authentication", refused, path)
        else:
            yield Outcome(True, "authentication", f"a token for the {layer} layer", path)
