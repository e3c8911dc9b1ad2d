"""The secrets with which clients ask for tokens: made here, shown once, stored as Argon2id digests (RFC 9106)."""

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
"""How many secrets of a client are valid at a time, so that a new one can be rolled out before the old one goes."""
AT_ONCE = 2
"""How many secrets are verified at a time: each verification takes a core for some tens of milliseconds."""
Digests = dict[str, list[str]]
"""The digests of each client's secrets, the oldest first."""
PREFIX = "tgs_"


class ClientSecrets:
    """Store the digests of all clients' secrets, in one file that is read again when it changes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._hasher = argon2.PasswordHasher()
        self._unowned = self._hasher.hash(secrets.token_urlsafe(32))
        self._busy = asyncio.Semaphore(AT_ONCE)
        self._stamp = 0
        self._digests: Digests = {}

    def make(self, client: str) -> str:
        """Create and return a new secret of a client. The one before the last becomes invalid."""
        secret = PREFIX + secrets.token_urlsafe(32)
        digest = self._hasher.hash(secret)
        self._change(lambda known: known | {client: [*known.get(client, ()), digest][-VALID:]})
        return secret

    def count(self, client: str) -> int:
        """Return how many secrets of a client are valid."""
        return len(self._read().get(client, ()))

    def forget(self, client: str) -> None:
        """Remove all secrets of a client."""
        self._change(lambda known: {name: digests for name, digests in known.items() if name != client})

    async def prove(self, client: str, secret: str) -> bool:
        """Return whether the secret is the client's. It takes as long for a client that has none."""
        digests = self._read().get(client) or [self._unowned]
        async with self._busy:
            for digest in reversed(digests):
                if await asyncio.to_thread(self._matches, digest, secret):
                    return digest != self._unowned
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
        update_atomically(self._path, lambda document: msgspec.json.encode(act(_read(document))))


def _read(document: bytes) -> Digests:
    return msgspec.json.decode(document, type=Digests) if document else {}
