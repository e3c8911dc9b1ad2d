"""Who may open a page: a person with a session, whose forms come from our own pages."""

from __future__ import annotations

import hmac
from typing import Any, cast
from urllib.parse import parse_qs, quote, urlsplit

import msgspec
from litestar import Request, Response
from litestar.di import NamedDependency
from litestar.response import Redirect

from experience_apis.console.channel import Channel
from experience_apis.console.language import Language, language_of
from experience_apis.console.pages import HEADERS, ROOT, View
from experience_apis.console.sessions import Grant, Sessions, SignedIn
from policies.catalogue.model import Catalogue
from policies.chain.gate import ACTS_FOR, Gate
from policies.context import correlation
from policies.identity.authentication import LONGEST_SUBJECT, UNSTORABLE
from policies.identity.openid import OpenIdIssuer, SignInRefused
from policies.identity.roles import roles_of

FIELDS = 40
"""Fields that a form has at the most."""
FORM_TOKEN = "form_token"  # noqa: S105 - the name of a field
LANGUAGE, ZONE, THEME = "tiergate-language", "tiergate-zone", "tiergate-theme"
"""Cookies with what a person likes. They say nothing about who it is."""
OWN_SITE = {"same-origin", "none"}
"""What a browser says of a request that one of our pages sends, or a person by hand (Fetch Metadata, section 2.3)."""


class PeopleIssuer(msgspec.Struct, frozen=True):
    """The issuer that people sign in with, and the claims that say who somebody is, what called, and in which
    groups."""

    openid: OpenIdIssuer
    person: str
    name: str
    groups: str

    def grant(self, claims: dict[str, Any], catalogue: Catalogue) -> Grant:
        """Return who may sign in. Raises `SignInRefused` where the claims name nobody, or one without a role."""
        person, name, groups = claims.get(self.person), claims.get(self.name, ""), claims.get(self.groups, [])
        if not isinstance(person, str) or not 0 < len(person.strip()) <= LONGEST_SUBJECT or UNSTORABLE.search(person):
            raise SignInRefused(f"the claim {self.person} names nobody")
        if self.person == "email" and claims.get("email_verified", True) is not True:
            raise SignInRefused("the issuer has not verified the address of who signs in (email_verified)")
        listed = cast("list[object]", groups) if isinstance(groups, list) else [groups]
        roles = roles_of(catalogue, [str(each) for each in listed])
        if not roles:
            raise SignInRefused(f"no group of {person} has a role ({self.groups})")
        return Grant(person, roles, str(name)[:LONGEST_SUBJECT])


class Console(msgspec.Struct, frozen=True):
    """What the console works with. `url` is where browsers find it; without an `issuer` people sign in with links."""

    sessions: Sessions
    url: str
    issuer: PeopleIssuer | None = None

    @property
    def is_secure(self) -> bool:
        """Return whether browsers come over TLS."""
        return self.url.startswith("https://")

    def link(self, code: str) -> str:
        """Return the address with which somebody signs in. The code is in the part of it that no server sees."""
        return f"{self.url}{ROOT}/sign-in#{code}"

    @property
    def cookie(self) -> str:
        """Return the name of the cookie that holds the session: with TLS one that no other host of the domain can set
        (RFC 6265bis, section 4.1.3.2)."""
        return f"{self._bound}tiergate"

    @property
    def flow_cookie(self) -> str:
        """Return the name of the cookie of a browser that is on its way to the issuer and back, bound as the other: or
        a neighbour could let somebody come back from a sign-in of the neighbour's own."""
        return f"{self._bound}tiergate-sign-in"

    @property
    def _bound(self) -> str:
        return "__Host-" if self.is_secure else ""


class SignedOut(Exception):
    """Nobody is signed in, or the session is over. `path` is what was asked for."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


class ForeignForm(Exception):
    """A form that none of our pages has sent."""


def own_path(path: str) -> str:
    """Return a path of the console, and its first page for anything else: nobody is sent away to another site."""
    is_ours = path.startswith(ROOT) and path[len(ROOT) : len(ROOT) + 1] in {"", "/", "?", "#"}
    return path if is_ours and "\\" not in path and path.isprintable() else ROOT


def language_for(request: Request[Any, Any, Any]) -> Language:
    """Return the language and the zone of who asks."""
    cookies = request.cookies
    return language_of(cookies.get(LANGUAGE, ""), request.headers.get("accept-language", ""), cookies.get(ZONE, ""))


async def signed_in(
    request: Request[Any, Any, Any], console: NamedDependency[Console], gate: NamedDependency[Gate]
) -> SignedIn:
    """Return the session of who asks. Raises `SignedOut`."""
    token = request.cookies.get(console.cookie, "")
    catalogue = gate.live_catalogue.current
    found = await console.sessions.find(token, catalogue, is_used=not _is_part(request)) if token else None
    if found is None:
        raise SignedOut(request.url.path if request.method == "GET" else ROOT)
    request.scope["state"][ACTS_FOR] = found.session.grant.person
    return found


def view(request: Request[Any, Any, Any], signed_in: NamedDependency[SignedIn], gate: NamedDependency[Gate]) -> View:
    """Return what a page is made with."""
    correlation_id = str(request.scope["state"][correlation.STATE])
    channel = Channel(request.app, signed_in.principal, correlation_id)
    catalogue = gate.live_catalogue.current
    return View(signed_in, channel, language_for(request), catalogue, gate.clock, request.url.path, _is_part(request))


def _is_part(request: Request[Any, Any, Any]) -> bool:
    """Return whether a page asks by itself for a part of it that it shows again."""
    return request.headers.get("hx-request") == "true" and request.headers.get("hx-boosted") != "true"


async def form(request: Request[Any, Any, Any], signed_in: NamedDependency[SignedIn]) -> dict[str, str]:
    """Return the fields of a form that a page of ours has sent. Raises `ForeignForm`."""
    fields = await open_form(request)
    if not hmac.compare_digest(fields.pop(FORM_TOKEN, "").encode(), signed_in.session.form_token.encode()):
        raise ForeignForm
    return fields


async def open_form(request: Request[Any, Any, Any]) -> dict[str, str]:
    """Return the fields of a form of somebody who is not signed in, which comes from this site. Raises
    `ForeignForm`."""
    origin = request.headers.get("origin", "")
    is_own = request.headers.get("sec-fetch-site", "none") in OWN_SITE
    try:
        if not is_own or (origin and urlsplit(origin).netloc != request.headers.get("host", "")):
            raise ForeignForm
        raw = (await request.body()).decode()
        return {key: values[0] for key, values in parse_qs(raw, max_num_fields=FIELDS).items()}
    except ValueError as error:
        raise ForeignForm from error


def to_sign_in(request: Request[Any, Any, Any], error: SignedOut) -> Response[Any]:
    """Send somebody who is not signed in to the sign-in page, and back afterwards."""
    target = f"{ROOT}/sign-in" + (f"?to={quote(error.path)}" if error.path != ROOT else "")
    if request.headers.get("hx-request") == "true":  # the whole page goes there, not the part that was asked for
        return Response("", status_code=200, media_type="text/html", headers=HEADERS | {"HX-Redirect": target})
    return Redirect(target, status_code=303, headers=HEADERS)
