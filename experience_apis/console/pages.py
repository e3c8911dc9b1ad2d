"""How the console's pages are made: templates over what the APIs answer, for one person who is signed in."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import msgspec
from litestar import Response
from markupsafe import Markup, escape

from canonical.ids import Clock
from canonical.money import Money
from experience_apis.console.channel import Channel
from experience_apis.console.language import Language
from experience_apis.console.sessions import SignedIn
from policies.catalogue.model import Catalogue
from policies.identity.roles import ROLES, Role

HERE = Path(__file__).parent
KINDS = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
ROOT = "/console"
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_templates = jinja2.Environment(
    loader=jinja2.FileSystemLoader(HERE / "templates"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def sentence(text: str) -> str:
    """Return a text with a capital at its beginning; the others stay, which German has within."""
    return text[:1].upper() + text[1:]


_templates.filters["sentence"] = sentence


class Place(msgspec.Struct, frozen=True):
    """A page of the menu: what it is called, where it is, the key that opens it, and the operation that it shows."""

    name: str
    path: str
    key: str
    operation_id: str


PLACES = (
    Place("Now", ROOT, "n", "overview_get_flow"),
    Place("Cases", f"{ROOT}/cases", "c", "support_list_cases"),
    Place("Find", f"{ROOT}/find", "f", "overview_search"),
)


class View(msgspec.Struct, frozen=True):
    """What a page is made with: who reads it, in which language, and how it asks the APIs."""

    signed_in: SignedIn
    channel: Channel
    language: Language
    catalogue: Catalogue
    clock: Clock
    here: str
    is_part: bool
    """Whether a part of a page is asked for, and not all of it."""

    @property
    def role(self) -> Role:
        """Return the role in which the person works."""
        return ROLES.of(self.catalogue)[self.signed_in.session.role]

    def may(self, operation_id: str) -> bool:
        """Return whether the person may call an operation of the channels."""
        client = self.catalogue.clients[self.signed_in.principal.client]
        return operation_id in self.catalogue.operations_of(client)

    def places(self) -> tuple[Place, ...]:
        """Return the menu: the pages that the person may see."""
        return tuple(each for each in PLACES if self.may(each.operation_id))

    def page(self, name: str, *, status: int = 200, **values: Any) -> Response[str]:
        """Return a page."""
        now = self.clock()
        session = self.signed_in.session
        roles = {each: role for each, role in ROLES.of(self.catalogue).items() if each in session.grant.roles}
        content = rendered(
            name,
            self.language,
            now,
            view=self,
            session=session,
            role=self.role,
            roles=roles,
            places=self.places(),
            **values,
        )
        return answer(content, status)


def answer(content: str, status: int = 200) -> Response[str]:
    """Return a page as it goes out."""
    return Response(content, status_code=status, media_type="text/html", headers=HEADERS)


def rendered(name: str, language: Language, now: datetime, **values: Any) -> str:
    """Return a page in a language."""
    return _templates.get_template(f"{name}.html").render(
        _=language.text, language=language, now=now, asset=address, **_writing(language, now), **values
    )


def closed(language: Language, *, is_away: bool) -> str:
    """Return the page for somebody who cannot be let in: while the store of the sessions is away, or for a form that
    none of our pages has sent."""
    page = _templates.get_template("closed.html")
    return page.render(_=language.text, language=language, asset=address, is_away=is_away)


def _writing(language: Language, now: datetime) -> dict[str, Any]:
    """Return how the pages write what the APIs answer."""

    def money(amount: Money | None) -> Markup:
        return Markup('<span class="money">{}</span>').format(language.money(amount)) if amount else Markup("–")

    def moment(at: datetime | None) -> Markup:
        if at is None:
            return Markup("–")
        shown, exact = language.moment(at), language.exact(at)
        return Markup('<time datetime="{}" title="{}">{}</time>').format(at.isoformat(), exact, shown)

    def ago(at: datetime | None) -> Markup:
        if at is None:
            return Markup("–")
        shown, exact = language.ago(at, now), language.exact(at)
        return Markup('<time datetime="{}" title="{}">{}</time>').format(at.isoformat(), exact, shown)

    def words(name: str) -> str:
        """Return a name of the API as people read it."""
        return language.text(name.replace("_", " ").replace(":", " "))

    return {"money": money, "moment": moment, "ago": ago, "words": words, "code": _code}


def _code(text: str) -> Markup:
    return Markup("<code>{}</code>").format(escape(text))


class Asset(msgspec.Struct, frozen=True):
    """A file of the pages, as it is and compressed; `digest` changes with it."""

    content: bytes
    compressed: bytes
    media_type: str
    digest: str


@cache
def assets() -> Mapping[str, Asset]:
    """Return the files of the pages by name."""
    found: dict[str, Asset] = {}
    for path in sorted((HERE / "assets").iterdir()):
        if path.suffix in KINDS:
            content = path.read_bytes()
            digest = hashlib.sha256(content).hexdigest()[:12]
            found[path.name] = Asset(content, gzip.compress(content, mtime=0), KINDS[path.suffix], digest)
    return found


def address(name: str) -> str:
    """Return the address of a file of the pages: another one when it has changed, so that it can be kept for ever."""
    return f"{ROOT}/assets/{name}?v={assets()[name].digest}"
