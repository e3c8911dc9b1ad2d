"""The secrets that clients ask for tokens with: made here, shown once, kept as Argon2id digests (RFC 9106)."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from pathlib import Path

import argon2
import msgspec
from argon2.exceptions import VerifyMismatchError

from policies.store.files import update_atomically

VALID = 2
"""How many secrets of a client count at a time, so that a new one can be rolled out before the old one goes."""
AT_ONCE = 2
"""How many are verified at a time: each takes a core for some tens of milliseconds."""
Digests = dict[str, list[str]]
"""Of each client, the oldest first."""
PREFIX = "tgs_"


class ClientSecrets:
    """The digests of all clients' secrets, in one file that is read anew when it changes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._hasher = argon2.PasswordHasher()
        self._nobody = self._hasher.hash(secrets.token_urlsafe(32))
        self._busy = asyncio.Semaphore(AT_ONCE)
        self._stamp = 0
        self._digests: Digests = {}

    def make(self, client: str) -> str:
        """A new secret of a client. The one before the last does not count any more."""
        secret = PREFIX + secrets.token_urlsafe(32)
        digest = self._hasher.hash(secret)
        self._change(lambda known: known | {client: [*known.get(client, ()), digest][-VALID:]})
        return secret

    def forget(self, client: str) -> None:
        """No secret of the client counts any more."""
        self._change(lambda known: {name: digests for name, digests in known.items() if name != client})

    async def prove(self, client: str, secret: str) -> bool:
        """Whether the secret is the client's. Takes as long for a client that has none."""
        digests = self._read().get(client) or [self._nobody]
        async with self._busy:
            for digest in reversed(digests):
                if await asyncio.to_thread(self._matches, digest, secret):
                    return digest != self._nobody
        return False

    def _matches(self, digest: str, secret: str) -> bool:
        try:
            return self._hasher.verify(digest, secret)
        except VerifyMismatchError:
            return False

    def _read(self) -> Digests:
        if not self._path.exists():
            return {}
        stamp = self._path.stat().st_mtime_ns
        if stamp != self._stamp:
            self._digests = _read(self._path.read_bytes())
            self._stamp = stamp
        return self._digests

    def _change(self, act: Callable[[Digests], Digests]) -> None:
        update_atomically(self._path, lambda document: msgspec.json.encode(act(_read(document))), 0o600)


def _read(document: bytes) -> Digests:
    return msgspec.json.decode(document, type=Digests) if document else {}
