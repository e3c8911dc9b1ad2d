"""Verification of access tokens (RFC 9068), following RFC 8725."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import jwt
import msgspec
import structlog
from jwt.types import Options

from canonical.ids import Clock
from policies.catalogue.explain import Outcome, Question
from policies.catalogue.model import Catalogue, Client, Layer
from policies.identity.issuer import LEEWAY, LONGEST, TYPES, audience
from policies.identity.jwks import SigningKeys, VerifyingKey
from policies.identity.revocation import Revocations
from policies.identity.trusted_issuers import ISSUERS, TokenRefused, TrustedIssuer, is_compact
from policies.policy import Call, Policy, Principal, Rules
from policies.problems import UNAUTHENTICATED, ProblemError

MAX_TOKEN = 4096
LONGEST_SUBJECT = 120
"""Characters of a subject: so many are kept of who placed an order."""
CACHED = 10_000
SILENT = 60.0
"""Seconds in which the same reason is logged once."""
BY_OUR_CLOCK: Options = {"verify_exp": False, "verify_nbf": False, "verify_iat": False}
ALWAYS = ["iss", "aud", "exp", "iat"]
REQUIRED = [*ALWAYS, "sub", "jti", "client_id", "scope"]
NOT_OURS = frozenset({"jku", "jwk", "x5u", "x5c", "crit", "zip", "enc"})
"""Header parameters that bring a key, or ask for more than we do. No token of a trusted issuer has one."""
MALFORMED = (jwt.DecodeError, UnicodeError, RecursionError, ValueError, TypeError)
UNUSABLE = (jwt.InvalidTokenError, jwt.InvalidKeyError, msgspec.ValidationError, *MALFORMED)
UNSTORABLE = re.compile(r"[\x00\ud800-\udfff]")
"""What JSON can write, and neither UTF-8 nor PostgreSQL takes: a half of a surrogate pair, and the null character."""
log = structlog.get_logger("tiergate.identity")


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


class _Trusted(msgspec.Struct, frozen=True):
    """An issuer: its keys, and what the catalogue says of its claims (nothing where they are those of RFC 9068)."""

    keys: SigningKeys
    said: TrustedIssuer | None = None


class _Verified(msgspec.Struct, frozen=True):
    """The caller of a token, and the key of its issuer that has signed it."""

    principal: Principal
    keys: SigningKeys
    key_id: str
    key: VerifyingKey


class Verifier:
    """Verify the tokens of one issuer for one layer, and of those that the catalogue trusts beside it.

    A verified token is cached by its hash until it expires or is revoked, its issuer withdraws the key, or the
    catalogue changes.
    """

    def __init__(self, keys: SigningKeys, issuer: str, layer: Layer, revocations: Revocations, clock: Clock) -> None:
        self._first = {issuer: _Trusted(keys)}
        self._trusted = dict(self._first)
        self._clients: dict[str, Client] = {}
        self._audience = audience(layer)
        self._revocations = revocations
        self._clock = clock
        self._cache: dict[bytes, _Verified] = {}
        self._said: dict[str, float] = {}
        """When a reason was logged last, in seconds since 1970, UTC."""

    def trust(self, catalogue: Catalogue, keys_of: Callable[[str], SigningKeys]) -> None:
        """Take also the tokens of the issuers that a catalogue names, and of no others. `keys_of` makes the keys of one
        that was not trusted before, by its URL."""
        known = self._trusted
        named = ISSUERS.of(catalogue).values()
        self._trusted = self._first | {
            each.url: _Trusted(known[each.url].keys if each.url in known else keys_of(each.url), each) for each in named
        }
        self._clients = catalogue.clients
        self._cache.clear()

    def known(self, authorization: bytes, now: float) -> Principal | None:
        """Return the caller of an `Authorization` header that was verified before, else None; None too when it is time
        to ask its issuer for the keys again.

        `now` is in seconds since 1970, UTC. Raises `ProblemError` (401), which does not say why, for a token that is
        too long, expired or revoked.
        """
        if len(authorization) > MAX_TOKEN:
            raise unauthenticated()
        digest = hashlib.sha256(authorization).digest()
        verified = self._cache.get(digest)
        if verified is None or not verified.keys.holds(verified.key_id, verified.key, now):
            return None
        known = verified.principal
        expired = known.expires_at + LEEWAY < now
        if expired or self._revocations.current.covers(known.token_id, known.client, known.issued_at):
            self._cache.pop(digest, None)
            raise unauthenticated()
        return known

    async def principal(self, authorization: str) -> Principal:
        """Return the caller of an `Authorization` header. Raises `ProblemError` (401), which does not say why.

        The log says it of a token that a trusted issuer has signed.
        """
        raw = authorization.encode("latin-1")
        if found := self.known(raw, self._clock().timestamp()):
            return found
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise unauthenticated()
        trusted = self._trusted
        try:
            verified = await self._verify(token)
        except TokenRefused as refused:
            self._log(refused)
            raise unauthenticated() from refused
        if self._trusted is trusted:  # a catalogue that came meanwhile may no longer trust its issuer
            if len(self._cache) >= CACHED:
                self._cache.clear()
            self._cache[hashlib.sha256(raw).digest()] = verified
            return self.known(raw, self._clock().timestamp()) or verified.principal
        return await self.principal(authorization)

    def _log(self, refused: TokenRefused) -> None:
        now = self._clock().timestamp()
        if refused.signed and now - self._said.get(refused.reason, 0.0) > SILENT:
            if len(self._said) >= CACHED:
                self._said.clear()
            self._said[refused.reason] = now
            log.warning("a token of a trusted issuer is refused", reason=refused.reason)

    async def verify(self, token: str) -> Principal:
        """Return the caller of a token. Raises `TokenRefused`, which says why."""
        return (await self._verify(token)).principal

    async def _verify(self, token: str) -> _Verified:
        if not is_compact(token):
            raise TokenRefused("it is no JSON Web Token")
        try:
            header = jwt.get_unverified_header(token)
            claimed = jwt.decode(token, options={"verify_signature": False})
        except UNUSABLE as error:
            raise TokenRefused("it is no JSON Web Token") from error
        issuer, kind = str(claimed.get("iss")), str(header.get("typ", ""))
        trusted = self._trusted.get(issuer)
        if trusted is None:
            raise TokenRefused(f"the issuer {issuer!r} is not trusted: {', '.join(self._trusted)}")
        key_id = str(header.get("kid", ""))
        key = await trusted.keys.find(key_id)
        if key is None:
            raise TokenRefused(f"{issuer} has no key {header.get('kid')!r} that we accept")
        types = trusted.said.types if trusted.said else TYPES
        if kind.lower() not in {each.lower() for each in types}:
            raise TokenRefused(f"its typ is {kind!r}, and {' or '.join(types)} is taken (types)")
        if brought := NOT_OURS & header.keys():
            raise TokenRefused(f"its header has {', '.join(sorted(brought))}, which no access token has")
        try:
            decoded = self._signed(token, key, issuer, trusted.said)
            claims = self._claims(trusted.said.translated(decoded, token, self._clients) if trusted.said else decoded)
        except (jwt.InvalidSignatureError, jwt.InvalidAlgorithmError, jwt.InvalidKeyError) as error:
            raise TokenRefused("its signature is not the issuer's") from error
        except UNUSABLE as error:
            raise TokenRefused(str(error), signed=True) from error
        caller = Principal(
            subject=claims.sub,
            client=claims.client_id,
            scopes=frozenset(claims.scope.split()),
            entities=frozenset(claims.entities),
            token_id=claims.jti,
            issued_at=float(claims.iat),
            expires_at=float(claims.exp),
            partner=claims.partner,
        )
        return _Verified(caller, trusted.keys, key_id, key)

    def _signed(self, token: str, key: VerifyingKey, issuer: str, said: TrustedIssuer | None) -> dict[str, Any]:
        """Return the claims of a token that its issuer has signed for us. Raises an error of `jwt`."""
        options: Options = {"require": ALWAYS if said else REQUIRED, "strict_aud": said is None, **BY_OUR_CLOCK}
        wanted = said.audience if said else self._audience
        return jwt.decode(
            token, key.public, algorithms=[key.algorithm], audience=wanted, issuer=issuer, options=options
        )

    def _claims(self, decoded: dict[str, Any]) -> _Claims:
        """Return the claims, after checking the times of RFC 7519 (sections 4.1.4 to 4.1.6) against our clock."""
        if any(type(decoded.get(name, 0)) is not int for name in ("exp", "nbf", "iat")):
            raise TokenRefused("exp, nbf and iat are not all whole seconds", signed=True)
        claims = msgspec.convert(decoded, _Claims)
        now = self._clock().timestamp()
        if claims.nbf - LEEWAY > now or claims.iat - LEEWAY > now:
            raise TokenRefused("it is not valid yet", signed=True)
        if claims.exp + LEEWAY <= now:
            raise TokenRefused("it has expired", signed=True)
        if claims.exp - claims.iat > LONGEST:
            raise TokenRefused(f"it is good for more than {LONGEST // 3600} hours", signed=True)
        for what, claim in (("client", claims.client_id), ("subject", claims.sub), ("id", claims.jti)):
            if not claim.strip():
                raise TokenRefused(f"it names no {what}", signed=True)
        if len(claims.sub) > LONGEST_SUBJECT:
            raise TokenRefused(f"its subject has more than {LONGEST_SUBJECT} characters", signed=True)
        if UNSTORABLE.search(claims.sub + claims.jti):
            raise TokenRefused("a character of sub or jti cannot be stored", signed=True)
        return claims


def unauthenticated() -> ProblemError:
    """Return the one answer to every bad token, which does not say why but which scheme is asked for (RFC 6750, section
    3)."""
    challenge = {"WWW-Authenticate": 'Bearer realm="tiergate"'}
    return ProblemError(UNAUTHENTICATED, "No valid access token for this layer was sent.", headers=challenge)


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
        if call.proved is not None:
            return self._identify(call, call.proved)
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
