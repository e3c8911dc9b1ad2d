"""The keys with which one replica signs, and those of all replicas, with which it verifies.

A private key stays in the state folder that it was made in. Its public key is published to the other replicas as a JSON
Web Key (RFC 7517), and they take a token that it has signed. A new key is published some time before it signs, and the
one before it verifies for as long as a token of it may be valid.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import msgspec
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from canonical.ids import Clock
from policies.background import rest
from policies.identity.issuer import ALGORITHM, LONGEST
from policies.identity.jwks import Jwk
from policies.store.documents import Document
from policies.store.files import is_full, update_atomically

PACE = 5.0
"""Seconds between two reads of what is published."""
BEFORE_USE = 60.0
"""Seconds for which a new key is published before it signs: all replicas know it by then."""
LIVES = LONGEST + 2 * 3600.0
"""Seconds for which a published key verifies that its replica does not publish again."""
PUBLISH_EVERY = 3600.0
DAY = 24 * 3600.0
BLOCK = re.compile(rb"-----BEGIN [^-]+-----.+?-----END [^-]+-----\s*", re.DOTALL)
log = structlog.get_logger("tiergate.keys")


class Published(msgspec.Struct, frozen=True):
    """A public key. It was published at `since` and verifies until `until`, in seconds since 1970, UTC; `by` names the
    replica."""

    jwk: Jwk
    since: float
    until: float
    by: str = ""


class Directory(msgspec.Struct, frozen=True):
    """The public keys of all replicas by their ids, and when each that was withdrawn was.

    The latter is kept for ever: a replica that comes back may still have the key.
    """

    keys: dict[str, Published] = {}
    withdrawn: dict[str, float] = {}

    def valid(self, now: float) -> dict[str, Published]:
        """Return the keys that verify at `now`."""
        return {name: key for name, key in self.keys.items() if key.until > now and name not in self.withdrawn}


class OwnKey(msgspec.Struct, frozen=True):
    """A private key and its id."""

    key_id: str
    private: Ed25519PrivateKey
    pem: bytes


class KeyRing:
    """Make, publish and change the keys of one state folder."""

    def __init__(
        self, path: Path, published: Document, clock: Clock, *, by: str = "", days: float | None = 0.0
    ) -> None:
        """`path` is that of the private keys, the newest last. A key that is older than `days` is followed by a new
        one, with 0 only one that was withdrawn is, and with None the file is somebody else's: it is there, and is never
        written. `by` is what this replica is called."""
        self._path = path
        self._published = published
        self._clock = clock
        self._by = by
        self._days = days
        self._own: list[OwnKey] = []
        self._known = Directory()
        self.trouble = ""
        """Why keys cannot be read or published now; empty when they can."""

    @property
    def signs(self) -> OwnKey:
        """Return the key that signs now: the newest that all replicas know."""
        now = self._clock().timestamp()
        good = [each for each in self._own if each.key_id not in self._known.withdrawn]
        ready = [each for each in good if self._since(each, now) <= now - BEFORE_USE]
        return (ready or good[:1] or self._own)[-1]

    def directory(self) -> Directory:
        """Return what is published, as it was read last."""
        return self._known

    def tend(self) -> None:
        """Read the keys, make one where it is time for it, and publish what the others do not know.

        Raises `OSError`, and `ValueError` for what is no Ed25519 private key.
        """
        now = self._clock().timestamp()
        self._known = _directory(self._published.read())
        self._own = _own(_stored(self._path))
        if self._days is not None and self._is_time(_stored(self._path), now):
            update_atomically(self._path, lambda found: found + _new_key() if self._is_time(found, now) else found)
        self._own = _own(self._path.read_bytes())
        if any(self._is_unknown(each, now) for each in self._own):
            self._publish(now)
        if self._days is not None and self.signs is not self._own[0]:
            self._drop_former()

    def withdraw(self, key_id: str) -> bool:
        """Let a key verify nothing any more, in every replica within seconds; its replica makes a new one. Return
        whether it was known. Raises `OSError`."""
        found: list[bool] = []

        def without(document: bytes) -> bytes:
            known, now = _directory(document), self._clock().timestamp()
            found.append(key_id in known.keys)
            return _encoded(known, now, withdrawn={key_id: now} if found[-1] else {})

        self._published.change(without)
        return found[-1]

    def follow(self) -> str:
        """Make a new key, which signs as soon as all replicas know it, and return its id. Raises as `tend` does."""
        update_atomically(self._path, lambda content: content + _new_key())
        self.tend()
        return self._own[-1].key_id

    async def fetch(self) -> list[Jwk]:
        """Return the public keys of all replicas. When they cannot be read now, those that are known go on until they
        end."""
        await self.look()
        return self.public()

    def public(self) -> list[Jwk]:
        """Return the public keys of all replicas, as they were read last."""
        own = {each.key_id: public_jwk(each.private) for each in self._own if each.key_id not in self._known.withdrawn}
        known = self._known.valid(self._clock().timestamp())
        return list((own | {name: each.jwk for name, each in known.items()}).values())

    def begin(self) -> None:
        """Tend the keys for the first time. A full disk keeps nobody from signing with a key that is there. Raises as
        `tend` does."""
        try:
            self.tend()
        except OSError as error:
            if not (is_full(error) and self._own):
                raise
            self._note(error)

    async def look(self) -> None:
        """Tend the keys. When that is not possible now, those that are known go on."""
        try:
            await asyncio.to_thread(self.tend)
        except (OSError, ValueError) as error:
            self._note(error)
        else:
            self.trouble = ""

    def _note(self, error: Exception) -> None:
        if not self.trouble:
            log.warning("the signing keys cannot be read or published", reason=str(error))
        self.trouble = f"they cannot be read or published ({type(error).__name__})"

    async def watch(self) -> None:
        """Tend the keys again and again, for as long as the layer runs."""
        while True:
            await rest(PACE)
            await self.look()

    # ----

    def _since(self, key: OwnKey, now: float) -> float:
        known = self._known.keys.get(key.key_id)
        return known.since if known else now

    def _is_time(self, content: bytes, now: float) -> bool:
        """Return whether it is time for a new key, with those of `content`."""
        own = _own(content)
        if not own or own[-1].key_id in self._known.withdrawn:
            return True
        return bool(self._days) and now - self._since(own[-1], now) > (self._days or 0) * DAY

    def _is_unknown(self, key: OwnKey, now: float) -> bool:
        if key.key_id in self._known.withdrawn:
            return False
        known = self._known.keys.get(key.key_id)
        return known is None or known.until < now + LIVES - PUBLISH_EVERY

    def _publish(self, now: float) -> None:
        def add(document: bytes) -> bytes:
            known = _directory(document)
            mine = {
                each.key_id: Published(
                    public_jwk(each.private),
                    known.keys[each.key_id].since if each.key_id in known.keys else now,
                    now + LIVES,
                    self._by,
                )
                for each in self._own
                if each.key_id not in known.withdrawn
            }
            return _encoded(known, now, keys=mine)

        self._published.change(add)
        self._known = _directory(self._published.read())

    def _drop_former(self) -> None:
        """Remove the private keys that sign nothing any more. Their public ones verify until they end."""
        signs = self.signs.key_id

        def last(content: bytes) -> bytes:
            own = _own(content)
            names = [each.key_id for each in own]
            return b"".join(each.pem for each in own[names.index(signs) :]) if signs in names else content

        update_atomically(self._path, last)
        self._own = _own(self._path.read_bytes())


def _stored(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def _new_key() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _own(content: bytes) -> list[OwnKey]:
    """Return the keys of a file. Raises `ValueError` for one of another kind, and for none in a file that is not
    empty."""
    found: list[OwnKey] = []
    for pem in BLOCK.findall(content):
        key = load_pem_private_key(pem, password=None)
        if not isinstance(key, Ed25519PrivateKey):
            raise ValueError("the issuer's key is no Ed25519 private key")  # noqa: TRY004 - of a file, not of a caller
        found.append(OwnKey(str(public_jwk(key)["kid"]), key, pem if pem.endswith(b"\n") else pem + b"\n"))
    if content.strip() and not found:
        raise ValueError("the issuer's key is no private key")
    return found


def public_jwk(key: Ed25519PrivateKey) -> dict[str, Any]:
    """Return the public key as a JSON Web Key, named by its thumbprint (RFC 7638)."""
    raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    members = {"crv": "Ed25519", "kty": "OKP", "x": base64.urlsafe_b64encode(raw).rstrip(b"=").decode()}
    digest = hashlib.sha256(json.dumps(members, separators=(",", ":")).encode()).digest()
    return members | {"kid": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(), "use": "sig", "alg": ALGORITHM}


def _directory(document: bytes) -> Directory:
    """Return what is published. What is not well-formed was not written by a replica, and counts as nothing."""
    if not document:
        return Directory()
    try:
        known = msgspec.json.decode(document, type=Directory)
    except msgspec.DecodeError:
        log.warning("the published keys cannot be read, and are published again")
        return Directory()
    return msgspec.structs.replace(known, keys={n: each for n, each in known.keys.items() if each.jwk.get("kid") == n})


def _encoded(
    known: Directory, now: float, keys: dict[str, Published] | None = None, withdrawn: dict[str, float] | None = None
) -> bytes:
    """Return what is published, with what is added and without what is over."""
    gone = known.withdrawn | (withdrawn or {})
    kept = {n: each for n, each in (known.keys | (keys or {})).items() if each.until > now and n not in gone}
    return msgspec.json.encode(Directory(kept, gone))
