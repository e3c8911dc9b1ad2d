"""Signing people in with an OpenID Connect issuer: the authorization code flow with a proof key (OpenID Connect Core
1.0, section 3.1; RFC 7636; RFC 9700, section 2.1)."""

from __future__ import annotations

import base64
import hashlib
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import jwt
import msgspec
from jwt.types import Options

from canonical.faults import Unavailable
from canonical.ids import Clock
from policies.http.client import TransportFailure
from policies.http.platform_http import PlatformHttp
from policies.identity.issuer import LEEWAY
from policies.identity.jwks import MOST, TIMEOUT, Discovery, SigningKeys, is_address
from policies.store.secret import Secret

BY_OUR_CLOCK: Options = {"require": ["iss", "sub", "aud", "exp", "iat"], "verify_exp": False, "verify_iat": False}
UNUSABLE = (jwt.InvalidTokenError, jwt.InvalidKeyError, ValueError, TypeError)


class SignInRefused(Exception):
    """The issuer does not say who somebody is. The message says why, to those who run the gateway."""


class Tokens(msgspec.Struct, frozen=True):
    """What the token endpoint answers, as far as it is read."""

    id_token: str


class Proof(msgspec.Struct, frozen=True):
    """What one sign-in is known by: `state` to the browser, `nonce` in the token, `verifier` to the issuer."""

    state: str
    nonce: str
    verifier: str

    @property
    def challenge(self) -> str:
        """Return the challenge of the verifier (RFC 7636, section 4.2)."""
        return base64.urlsafe_b64encode(hashlib.sha256(self.verifier.encode()).digest()).rstrip(b"=").decode()


class OpenIdIssuer:
    """An issuer that people sign in with. We are its client `client_id`: with a secret, or a public one without."""

    def __init__(self, url: str, client_id: str, secret: Secret, scope: str, keys: SigningKeys, clock: Clock) -> None:
        self.url = url.rstrip("/")
        self._client_id = client_id
        self._secret = secret
        self._scope = scope
        self._keys = keys
        self._clock = clock
        self._discovery = Discovery(url)

    async def address(self, proof: Proof, back_to: str) -> str:
        """Return the address at which a person signs in. Raises `Unavailable`."""
        endpoint = await self._endpoint("authorization_endpoint")
        asked = {
            "response_type": "code",
            "client_id": self._client_id,
            "redirect_uri": back_to,
            "scope": self._scope,
            "state": proof.state,
            "nonce": proof.nonce,
            "code_challenge": proof.challenge,
            "code_challenge_method": "S256",
        }
        return f"{endpoint}{'&' if urlsplit(endpoint).query else '?'}{urlencode(asked)}"

    async def claims(self, code: str, proof: Proof, back_to: str) -> dict[str, Any]:
        """Return what the issuer says of the person that it has given a code to. Raises `Unavailable`, and
        `SignInRefused` for a code that it does not take and a token that is not its own, ours and of this sign-in."""
        endpoint = await self._endpoint("token_endpoint")
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": back_to,
            "code_verifier": proof.verifier,
        }
        headers = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
        if self._secret:
            pair = f"{quote(self._client_id, safe='')}:{quote(self._secret.reveal(), safe='')}"
            headers["authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        else:
            form["client_id"] = self._client_id
        status, content = await _posted(endpoint, urlencode(form).encode(), headers)
        if status in range(400, 500):
            raise SignInRefused(f"{self.url} does not take the code: {status}")
        try:
            if status not in range(200, 300):
                raise Unavailable("issuer", f"it answered {status}")
            token = msgspec.json.decode(content, type=Tokens).id_token
        except msgspec.DecodeError as error:
            raise Unavailable("issuer", "it did not answer with an id_token") from error
        return await self._verified(token, proof)

    async def _verified(self, token: str, proof: Proof) -> dict[str, Any]:
        """Return the claims of an ID token (OpenID Connect Core 1.0, section 3.1.3.7)."""
        try:
            key = await self._keys.find(str(jwt.get_unverified_header(token).get("kid", "")))
            if key is None:
                raise SignInRefused(f"{self.url} has no such key that we accept")
            claims: dict[str, Any] = jwt.decode(
                token,
                key.public,
                algorithms=[key.algorithm],
                audience=self._client_id,
                issuer=[self.url, f"{self.url}/"],
                options=BY_OUR_CLOCK,
            )
        except UNUSABLE as error:
            raise SignInRefused(f"its ID token is not good: {error}") from error
        now = self._clock().timestamp()
        if any(type(claims[name]) is not int for name in ("exp", "iat")):
            raise SignInRefused("exp and iat of its ID token are not whole seconds")
        if claims["exp"] + LEEWAY <= now or claims["iat"] - LEEWAY > now:
            raise SignInRefused("its ID token has expired, or is not good yet")
        if claims.get("nonce") != proof.nonce:
            raise SignInRefused("its ID token is of another sign-in")
        if claims.get("azp", self._client_id) != self._client_id:
            raise SignInRefused("its ID token was made for another client")
        return claims

    async def _endpoint(self, name: str) -> str:
        found = str((await self._discovery.configuration()).get(name, ""))
        if not is_address(found):
            raise Unavailable("issuer", f"its {name} is not at an https address without a user")
        return found


async def _posted(url: str, content: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
    """Return the status and the body of an answer. Raises `Unavailable`."""
    parts = urlsplit(url)
    http = PlatformHttp(f"{parts.scheme}://{parts.netloc}", 1)
    try:
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        response = await http.request("POST", path, seconds=TIMEOUT, content=content, headers=headers)
    except TransportFailure as error:
        raise Unavailable("issuer", str(error)) from error
    finally:
        await http.close()
    if len(response.content) > MOST:
        raise Unavailable("issuer", f"it answered with {len(response.content)} bytes")
    return response.status, response.content
