"""The keys that tokens are verified with, each for one algorithm (RFC 8725, section 3.1), rotated by their issuer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import jwt
import msgspec
import structlog
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from canonical.faults import PlatformFault, Unavailable
from canonical.ids import Clock
from policies.http.client import TransportFailure
from policies.http.platform_http import PlatformHttp

Jwk = dict[str, Any]
Fetch = Callable[[], Awaitable[list[Jwk]]]
WEAKEST_RSA = 2048
"""The fewest bits of an RSA key (RFC 7518, section 3.3)."""
PACE = 30.0
"""Seconds between two requests for new keys: an unknown key id cannot make us ask more often."""
GOOD_FOR = 600.0
"""Seconds after which the keys are read again, so that one that was withdrawn is dropped."""
LONGEST_AWAY = 24 * 3600.0
"""Seconds for which keys are good that cannot be read again: one of them may have been withdrawn."""
MOST = 256 * 1024
HERE = ("127.0.0.1", "localhost")
"""The only hosts whose keys are read over plain http."""
TIMEOUT = 5.0
"""Seconds that an issuer has for an answer."""
log = structlog.get_logger("tiergate.keys")


class VerifyingKey(msgspec.Struct, frozen=True):
    """A public key and the one algorithm that it is for."""

    algorithm: str
    public: Any


class SigningKeys:
    """Find the keys of one issuer by their ids. Those of an issuer that does not answer go on for a day."""

    def __init__(self, fetch: Fetch, clock: Clock, *, pace: float = PACE, good_for: float = GOOD_FOR) -> None:
        """`pace` and `good_for` are in seconds: how often they are read again for an unknown id at most, and after how
        long at least."""
        self._fetch = fetch
        self._clock = clock
        self._pace = pace
        self._good_for = good_for
        self._lock = asyncio.Lock()
        self._asked_at = float("-inf")
        self._read_at = float("-inf")
        self._known: dict[str, VerifyingKey] = {}

    async def find(self, key_id: str) -> VerifyingKey | None:
        """Return the key of that id, or None when the issuer has none.

        The keys are read again first when the id is unknown, or when they are old.
        """
        now = self._clock().timestamp()
        known = self._known.get(key_id)
        is_due = now - self._asked_at > (self._good_for if known else self._pace)
        if is_due or (known is None and self._lock.locked()):  # what is being read may have it
            async with self._lock:
                if now - self._asked_at > self._pace:
                    await self._refresh(now)
        return self._known.get(key_id)

    def holds(self, key_id: str, key: VerifyingKey, now: float) -> bool:
        """Return whether a key is still the issuer's, as far as is known without asking again; False when it is time to
        ask. `now` is in seconds since 1970, UTC."""
        return self._known.get(key_id) is key and now - self._asked_at <= self._good_for

    async def _refresh(self, now: float) -> None:
        self._asked_at = now
        try:
            found = await self._fetch()
        except PlatformFault as fault:
            log.warning("the issuer's keys cannot be read, those that are known go on", reason=type(fault).__name__)
            if now - self._read_at > LONGEST_AWAY:
                self._known = {}
            return
        self._read_at = now
        known, read = self._known, {str(each["kid"]): key for each in found if "kid" in each and (key := usable(each))}
        self._known = {name: known[name] if known.get(name) == key else key for name, key in read.items()}


def usable(jwk: Jwk) -> VerifyingKey | None:
    """Return a signature key of a kind that we accept, else None.

    Those are RSA of 2048 bits or more, P-256 and Ed25519; never a shared secret.
    """
    uses = jwk.get("key_ops", ["verify"])
    if jwk.get("use", "sig") != "sig" or not isinstance(uses, list) or "verify" not in uses:
        return None
    try:
        public = jwt.PyJWK(jwk).key
    except (jwt.InvalidKeyError, jwt.PyJWKError, KeyError, ValueError, TypeError):
        return None
    algorithm = algorithm_of(public)
    return VerifyingKey(algorithm, public) if algorithm and jwk.get("alg", algorithm) == algorithm else None


def algorithm_of(public: object) -> str | None:
    match public:
        case RSAPublicKey() if public.key_size >= WEAKEST_RSA:
            return "RS256"
        case EllipticCurvePublicKey() if isinstance(public.curve, SECP256R1):
            return "ES256"
        case Ed25519PublicKey():
            return "EdDSA"
        case _:
            return None


def is_address(url: str) -> bool:
    """Return whether keys may be read at a URL: over https, or on this machine, and with no user before the host, which
    can look like a host."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return False
    plain = parts.scheme == "http" and host in HERE
    return bool(host) and (plain or parts.scheme == "https") and "@" not in parts.netloc and "\\" not in url


class Discovery:
    """Read an OIDC issuer's keys (OpenID Connect Discovery 1.0, section 4)."""

    def __init__(self, issuer: str) -> None:
        self._issuer = issuer.rstrip("/")

    async def configuration(self) -> dict[str, Any]:
        """Return what the issuer says of itself. Raises `Unavailable` when it does not answer, or is another one."""
        configuration = await self._read(f"{self._issuer}/.well-known/openid-configuration")
        if str(configuration.get("issuer", "")).rstrip("/") != self._issuer:
            raise Unavailable("issuer", "it names another issuer in its configuration")
        return configuration

    async def fetch(self) -> list[Jwk]:
        """Return the issuer's keys. Raises `Unavailable` when it does not answer, or its answers are not valid."""
        configuration = await self.configuration()
        where = str(configuration.get("jwks_uri", ""))
        if not is_address(where):
            raise Unavailable("issuer", "its keys are not at an https address without a user")
        keys = (await self._read(where)).get("keys")
        if not isinstance(keys, list):
            raise Unavailable("issuer", "its key set has no keys")
        return [each for each in keys if isinstance(each, dict)]  # pyright: ignore[reportUnknownVariableType]

    async def _read(self, url: str) -> dict[str, Any]:
        try:
            parts = urlsplit(url)
            http = PlatformHttp(f"{parts.scheme}://{parts.netloc}", 1)
            try:
                path = urlunsplit(("", "", parts.path, parts.query, ""))
                response = await http.request("GET", path, seconds=TIMEOUT)
            finally:
                await http.close()
        except TransportFailure as error:
            raise error.fault("issuer", safe=True) from error
        except ValueError as error:
            raise Unavailable("issuer", "its keys are not at an address") from error
        if not response.is_success or len(response.content) > MOST:
            raise Unavailable("issuer", f"it answered {response.status} with {len(response.content)} bytes")
        try:
            return msgspec.json.decode(response.content, type=dict[str, Any])
        except msgspec.DecodeError as error:
            raise Unavailable("issuer", "it did not answer with a JSON object") from error
