"""Access tokens for clients that have a secret (RFC 6749, section 4.4), from the local issuer. An OIDC issuer replaces
it."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from datetime import timedelta
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, unquote

import msgspec
from litestar import Request, Response, Router
from litestar.di import NamedDependency

from policies.chain.gate import ACTS_FOR, Gate
from policies.contract.operation import operation
from policies.identity.client_secrets import ClientSecrets
from policies.identity.issuer import Issuer
from policies.traffic.rate_limit import RateLimitedCall, own_limits

TTL = timedelta(minutes=15)
UNKNOWN = "unknown"
"""What the audit records call all clients that do not exist."""
LONGEST = 200
FIELDS = 10
NEVER_KEPT = {"Cache-Control": "no-store", "Pragma": "no-cache"}


class Tokens(msgspec.Struct, frozen=True):
    """What tokens are made from."""

    issuer: Issuer
    credentials: ClientSecrets


class Refused(Exception):
    """An error response (RFC 6749, section 5.2)."""

    def __init__(self, error: str, description: str, status: int = HTTPStatus.BAD_REQUEST) -> None:
        super().__init__(description)
        self.answer = Response(
            {"error": error, "error_description": description},
            status_code=status,
            headers=NEVER_KEPT
            | ({"WWW-Authenticate": 'Basic realm="tiergate"'} if status == HTTPStatus.UNAUTHORIZED else {}),
        )


@operation("issue_token", "POST", "/token", summary="Get an access token for a client", status=200)
async def issue_token(
    tokens: NamedDependency[Tokens], gate: NamedDependency[Gate], request: Request[Any, Any, Any]
) -> Response[dict[str, Any]]:
    """Take the client's name and secret by Basic authentication or in the form; return a bearer token for this
    layer."""
    try:
        raw = (await request.body()).decode("latin-1")
        form = {key: values[0] for key, values in parse_qs(raw, max_num_fields=FIELDS).items()}
        return await _granted(tokens, gate, request, form)
    except Refused as refused:
        return refused.answer
    except ValueError as error:
        return Refused("invalid_request", f"The form cannot be read: {error}.").answer


async def _granted(
    tokens: Tokens, gate: Gate, request: Request[Any, Any, Any], form: Mapping[str, str]
) -> Response[dict[str, Any]]:
    if form.get("grant_type") != "client_credentials":
        raise Refused("unsupported_grant_type", "Send grant_type=client_credentials.")
    name, secret = _credentials(request.headers.get("authorization", ""), form)
    catalogue = gate.live_catalogue.current
    client = catalogue.clients.get(name)
    request.scope["state"][ACTS_FOR] = name if client else UNKNOWN
    operation = catalogue.gateway.operations["issue_token"]
    proved = client is not None and await tokens.credentials.was_proved(name, secret)
    peer = request.client.host if request.client else ""
    counted = name if proved else _guesser(name, peer)
    await gate.throttle.take(RateLimitedCall(counted, "issue_token"), own_limits(operation), operation.cost)
    proved = proved or await tokens.credentials.prove(name, secret)
    if client is None or not proved or client.audience != "experience":
        raise Refused("invalid_client", "The client and its secret do not belong together.", HTTPStatus.UNAUTHORIZED)
    asked = frozenset(form["scope"].split()) if "scope" in form else client.scopes
    if not asked <= client.scopes:
        raise Refused("invalid_scope", "The client does not have all of these scopes.")
    await gate.revocations.try_to_look()  # what was revoked a moment ago ends what is issued in the same second
    token = tokens.issuer.token(name, client, scopes=asked, ttl=TTL, reuse=False)
    seconds = int(TTL.total_seconds())
    granted = {"access_token": token, "token_type": "Bearer", "expires_in": seconds, "scope": " ".join(sorted(asked))}
    return Response(granted, headers=NEVER_KEPT)


def _guesser(name: str, peer: str) -> str:
    """Return what the guesses for a client from one address are counted by, so that nobody uses up those of another.
    It is the same for a name that no client has, and no longer for a long one."""
    return hashlib.sha256(f"{peer}\0{name}".encode()).hexdigest()[:32]


def _credentials(authorization: str, form: Mapping[str, str]) -> tuple[str, str]:
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() == "basic":
        try:
            name, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError) as error:
            raise Refused("invalid_client", "The Basic credentials cannot be read.", HTTPStatus.UNAUTHORIZED) from error
        name, secret = unquote(name), unquote(secret)
    else:
        name, secret = form.get("client_id", ""), form.get("client_secret", "")
    if not 1 <= len(name) <= LONGEST or not 1 <= len(secret) <= LONGEST:
        raise Refused("invalid_client", "Send the client's name and secret.", HTTPStatus.UNAUTHORIZED)
    return name, secret


router = Router("/oauth", route_handlers=[issue_token], include_in_schema=False)
