"""The OIDC issuers whose tokens the channels take beside our own, and what their claims are called.

Few issuers follow RFC 9068 to the letter. Entra says `azp` or `appid`, `scp` or `roles`, and `uti` (Microsoft identity
platform: Access token claims reference); Okta `cid`, and `scp` as a list; Keycloak and Auth0 `azp`, and several
audiences; most of them the type `JWT`. The catalogue says which claim of an issuer is what.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, cast

import msgspec
from jwt.utils import base64url_decode, base64url_encode

from policies.catalogue.model import Catalogue, Client, Fact, Name, Report
from policies.catalogue.nearest import hint
from policies.catalogue.sections import section

Claims = dict[str, Any]
IssuerUrl = Annotated[str, msgspec.Meta(pattern=r"^(https://|http://(127\.0\.0\.1|localhost)[:/])[^\s@\\]+\Z")]
ID_LENGTH = 24
COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


class TokenRefused(Exception):
    """A token is not taken. The message says why, to those who run the gateway and never to the caller.

    `signed` is whether a trusted issuer has signed it.
    """

    def __init__(self, reason: str, *, signed: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.signed = signed


class TrustedIssuer(Fact, frozen=True):
    """An issuer. `url` is what its tokens say in `iss`, to the letter; `audience` must be in `aud`.

    `clients` maps its ids of clients to clients of the catalogue: no other one is let in. `types` are the values of
    the header `typ` that it gives access tokens ("" for none). Each of the rest names claims, of which the first that
    is there counts; of `scopes` all count together, as words or lists. Without `scopes` a client has those of the
    catalogue, without `token_id` a token is known by its hash, without `legal_entities` a client sees what the
    catalogue lets it.
    """

    url: IssuerUrl
    audience: Name
    clients: dict[str, Name]
    types: tuple[str, ...] = ("at+jwt",)
    client: tuple[Name, ...] = ("client_id",)
    scopes: tuple[Name, ...] = ("scope",)
    token_id: tuple[Name, ...] = ("jti",)
    subject: tuple[Name, ...] = ("sub",)
    legal_entities: tuple[Name, ...] = ()

    def translated(self, claims: Claims, token: str, known: dict[str, Client]) -> Claims:
        """Return the claims under their names of RFC 9068. `known` are the catalogue's clients.

        Raises `TokenRefused` for one that is missing, and for a client that is not listed.
        """
        theirs = _first(claims, self.client, "client")
        client = self.clients.get(theirs) if isinstance(theirs, str) else None
        if client is None or client not in known:
            raise TokenRefused(f"clients has no {theirs!r}, which is its {self.client[0]}", signed=True)
        entities = {"entities": _first(claims, self.legal_entities, "legal_entities")} if self.legal_entities else {}
        return entities | {
            "sub": _first(claims, self.subject, "subject"),
            "client_id": client,
            "scope": self._scopes(claims, known[client]),
            "jti": self.id_of(claims, token),
            **{name: claims[name] for name in ("exp", "iat", "nbf") if name in claims},
        }

    def id_of(self, claims: Claims, token: str) -> str:
        """Return the id by which a token can be revoked. Raises `TokenRefused` when its claim is missing."""
        if not self.token_id:
            signed, _, _ = token.rpartition(".")  # a signature can be written in several ways, what it signs cannot
            return hashlib.sha256(signed.encode()).hexdigest()[:ID_LENGTH]
        return _first(claims, self.token_id, "token_id")

    def _scopes(self, claims: Claims, client: Client) -> str:
        if not self.scopes:
            return " ".join(sorted(client.scopes))
        there = [claims[name] for name in self.scopes if name in claims]
        if not there:
            raise TokenRefused(f"it has no {_or(self.scopes)} (scopes)", signed=True)
        words = (
            " ".join(map(str, cast("list[object]", each))) if isinstance(each, list) else str(each) for each in there
        )
        return " ".join(words)


def is_compact(token: str) -> bool:
    """Return whether a token is written as RFC 7515 (sections 2 and 7.1) has it: no padding, no other characters, and
    no bits that are ignored."""
    if not COMPACT.fullmatch(token):
        return False
    signature = token.rpartition(".")[2]
    try:
        return base64url_encode(base64url_decode(signature)).decode() == signature
    except ValueError:  # a length that no bytes have
        return False


def _first(claims: Claims, names: Sequence[str], what: str) -> Any:
    """Return the first of the claims that is there. Raises `TokenRefused`, with `what` the catalogue calls it."""
    for name in names:
        if name in claims:
            return claims[name]
    raise TokenRefused(f"it has no {_or(names)} ({what})", signed=True)


def _or(names: Sequence[str]) -> str:
    return " or ".join(names)


def _check(catalogue: Catalogue) -> Iterator[Report]:
    issuers = ISSUERS.of(catalogue)
    times = Counter(each.url for each in issuers.values())
    for name, issuer in issuers.items():
        path = ("issuers", name)
        if times[issuer.url] > 1:
            yield (*path, "url"), "another issuer has the same url", "write what it says into one"
        if not issuer.clients:
            yield (*path, "clients"), "no client of it is let in", 'write its ids, as in { "0oa1b2" = "sales-app" }'
        for theirs, ours in issuer.clients.items():
            where = (*path, "clients", theirs)
            client = catalogue.clients.get(ours)
            if client is None:
                yield where, f"there is no client {ours!r}{hint(ours, catalogue.clients)}", "name one of [clients]"
            elif client.audience != "experience":
                yield where, f"{ours} calls the {client.audience} layer", "name one that calls the channels"
        for claim in ("client", "subject"):
            if not getattr(issuer, claim):
                yield (*path, claim), "it is empty", "name the claim, or leave the key out"


ISSUERS = section("issuers", dict[str, TrustedIssuer], check=_check, title="Issuer")
