"""Who was erased, without a name: what stands in the place of a person, and the list that a restored backup is held
against.

Both are made from the person's address with a key, so that nobody finds the address by trying out many, and are the
same each time. The key and the list are one document, apart from the tables: a restore puts those back, and this not.
"""

from __future__ import annotations

import hmac
import secrets
import unicodedata
from collections.abc import Callable
from datetime import datetime

import msgspec

from policies.store.documents import Document

DOMAIN = "erased.invalid"
"""No mail is delivered there, ever (RFC 6761, section 6.4)."""
PREFIX = "erased-"
MAILTO = "mailto:"
DIGITS = 12
"""Hexadecimal digits of a placeholder."""


class Erasure(msgspec.Struct, frozen=True):
    """That a person was erased: who by a digest, when it was asked for and why, and when all of it was done (UTC)."""

    digest: str
    asked_at: datetime
    reason: str
    completed_at: datetime | None = None


class _Content(msgspec.Struct, frozen=True):
    """The document: the key in hex, and who was erased."""

    key: str
    people: tuple[Erasure, ...] = ()


class ErasedPeople:
    """Who was erased, as replicas share it."""

    def __init__(self, document: Document, copy: Document | None = None) -> None:
        """The `copy` is one that is not put back together with a `document` in a database."""
        self._document = document
        self._copy = copy

    def prepare(self) -> None:
        """Make the key, where there is none yet, and add whom the copy has, which a restore has taken away. Raises as
        `Document.change` does."""
        kept = self._copy.read() if self._copy else b""
        self._change(lambda found: _merged(found or kept or _encoded(_Content(secrets.token_hex(32))), kept))

    def all(self) -> tuple[Erasure, ...]:
        """Return who was erased, in the order in which it was asked for. Raises as `Document.read` does."""
        found = self._read()
        return found.people if found else ()

    def of(self, who: str) -> Erasure | None:
        """Return the erasure of a person, None for one who was not."""
        people = self.all()
        digest = self.digest(who) if people else ""
        return next((each for each in people if each.digest == digest), None)

    def digest(self, who: str) -> str:
        """Return what an audit record and the list call a person: the same for one `identity`, and for no other.

        Raises `LookupError` without a key."""
        return self._hmac("person", who)[:40]

    def placeholder(self, who: str) -> str:
        """Return what takes the place of a name: the same for all forms in which a subject may be written, as those are
        one when duties are kept apart. Raises `LookupError` without a key."""
        return PREFIX + self._hmac("placeholder", subject_name(who))[:DIGITS]

    def stands_for(self, placeholder: str, subject: str) -> bool | None:
        """Return whether a placeholder took the place of a subject; None when that cannot be known, since the key is
        lost. Raises as `Document.read` does."""
        if not self._read():
            return None
        return hmac.compare_digest(address(self.placeholder(subject)), placeholder)

    def ask(self, who: str, reason: str, now: datetime) -> Erasure:
        """Put a person on the list, before anything of it is erased. One that is there is begun again."""
        wanted = Erasure(self.digest(who), now, reason)

        def add(content: bytes) -> bytes:
            found = _decoded(content)
            known = [each for each in found.people if each.digest == wanted.digest]
            asked = [msgspec.structs.replace(each, completed_at=None) for each in known] or [wanted]
            others = [each for each in found.people if each.digest != wanted.digest]
            return _encoded(_Content(found.key, (*others, *asked)))

        self._change(add)
        return wanted

    def complete(self, who: str, now: datetime) -> None:
        """Note down that all of a person is erased."""
        digest = self.digest(who)

        def note(content: bytes) -> bytes:
            found = _decoded(content)
            done = [
                msgspec.structs.replace(each, completed_at=now) if each.digest == digest else each
                for each in found.people
            ]
            return _encoded(_Content(found.key, tuple(done)))

        self._change(note)

    def _change(self, act: Callable[[bytes], bytes]) -> None:
        self._document.change(act)
        if self._copy is not None:
            self._copy.change(lambda _: self._document.read())

    def _hmac(self, purpose: str, text: str) -> str:
        found = self._read()
        if found is None:
            raise LookupError("there is no key to make digests with")
        return hmac.digest(bytes.fromhex(found.key), f"{purpose}\0{text}".encode(), "sha256").hex()

    def _read(self) -> _Content | None:
        content = self._document.read()
        return _decoded(content) if content else None


def _merged(content: bytes, copy: bytes) -> bytes:
    """Return the document with whom a copy of it has besides. One that was made with another key says nothing."""
    found, kept = _decoded(content), _decoded(copy or content)
    known = {each.digest for each in found.people}
    more = [each for each in kept.people if each.digest not in known] if kept.key == found.key else []
    return _encoded(_Content(found.key, (*found.people, *more)))


def _decoded(content: bytes) -> _Content:
    return msgspec.json.decode(content, type=_Content)


def _encoded(content: _Content) -> bytes:
    return msgspec.json.encode(content)


def identity(mail: str) -> str:
    """Return an e-mail address as it is compared.

    Domains are one whatever case their letters have, and whether they are written in Unicode or in ASCII (RFC 5890).
    What stands before the @ is the host's own affair (RFC 5321, section 2.3.11): `Kim@`, `kim@` and `kim+news@` may be
    three people, and who is erased for another cannot be brought back.
    """
    local, _, domain = unicodedata.normalize("NFC", mail.strip()).rpartition("@")
    try:
        host = domain.encode("idna").decode("ascii")
    except UnicodeError:
        host = domain
    return f"{local}@{host.casefold()}"


def is_address(text: str) -> bool:
    """Return whether a text may be one e-mail address."""
    local, _, domain = text.strip().rpartition("@")
    return bool(local and domain) and not any(each.isspace() or not each.isprintable() for each in text.strip())


def subject_name(subject: str) -> str:
    """Return what a subject is compared by: forms of one address are one, whatever case or width its letters have."""
    return unicodedata.normalize("NFKC", subject).strip().casefold().removeprefix(MAILTO)


def address(placeholder: str) -> str:
    """Return the address that stands in the place of a person's."""
    return f"{placeholder}@{DOMAIN}"


def is_placeholder(text: str) -> bool:
    """Return whether a name or an address is that of somebody who was erased."""
    return text.startswith(PREFIX) and (text.endswith(f"@{DOMAIN}") or len(text) == len(PREFIX) + DIGITS)
