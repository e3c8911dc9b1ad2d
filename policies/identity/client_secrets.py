"""The secrets with which clients ask for tokens: made here, shown once, stored as Argon2id digests (RFC 9106).

A guess takes the same time for every name, whether there is such a client or not and however many secrets it has. Many
wrong guesses slow down all that come after and lock nobody out: a secret that was proved before is known again at once.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections.abc import Callable
from time import monotonic

import argon2
import msgspec
import structlog
from argon2.exceptions import VerifyMismatchError

from policies.store.documents import Document

VALID = 2
"""How many secrets of a client are valid at a time, so that a new one can be rolled out before the old one goes."""
AT_ONCE = 2
"""How many secrets are verified at a time: each verification takes a core for some tens of milliseconds."""
FREE = 60.0
"""Wrong guesses in a row that slow nothing down; one is forgiven each second."""
BRAKE = 0.25
"""Seconds that each guess waits after more of them."""
Digests = dict[str, list[str]]
"""The digests of each client's secrets, the oldest first."""
PREFIX = "tgs_"
log = structlog.get_logger("tiergate.clients")


class ClientSecrets:
    """Store the digests of all clients' secrets, in one document. A change counts at once."""

    def __init__(self, document: Document, clock: Callable[[], float] = monotonic) -> None:
        self._document = document
        self._clock = clock
        self._wrong = 0.0
        self._wrong_at = clock()
        self._key = secrets.token_bytes(32)
        self._proved: dict[bytes, tuple[str, str]] = {}
        """By what was proved, under a key of this process: the client and the digest of its secret."""
        self._hasher = argon2.PasswordHasher()
        self._unowned = ""
        self._busy = asyncio.Semaphore(AT_ONCE)
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

    async def was_proved(self, client: str, secret: str) -> bool:
        """Return whether this process knows already that the secret is the client's, and it still is."""
        found = self._proved.get(self._mark(client, secret))
        if found is None:
            return False
        return found[1] in (await self._known()).get(client, ())

    async def prove(self, client: str, secret: str) -> bool:
        """Return whether the secret is the client's. A wrong one takes as long for every name."""
        known = (await self._known()).get(client, [])
        async with self._busy:
            if not self._unowned:  # made for the first guess of all, at whatever name: a start has no time for it
                self._unowned = await asyncio.to_thread(self._hasher.hash, secrets.token_urlsafe(32))
            digests = [*known, *[self._unowned] * (VALID - len(known))]
            if self._wrong_lately() > FREE:
                await asyncio.sleep(BRAKE)
            for digest in reversed(digests):
                if await asyncio.to_thread(self._matches, digest, secret) and digest in known:
                    self._remember(client, secret, digest, await self._known())
                    return True
            self._wrong, self._wrong_at = self._wrong_lately() + 1, self._clock()
        return False

    def _wrong_lately(self) -> float:
        return max(0.0, self._wrong - (self._clock() - self._wrong_at))

    def _remember(self, client: str, secret: str, digest: str, valid: Digests) -> None:
        kept = {mark: of for mark, of in self._proved.items() if of[1] in valid.get(of[0], ())}
        self._proved = kept | {self._mark(client, secret): (client, digest)}

    def _mark(self, client: str, secret: str) -> bytes:
        return hmac.digest(self._key, f"{client}\0{secret}".encode(), "sha256")

    def _matches(self, digest: str, secret: str) -> bool:
        try:
            return self._hasher.verify(digest, secret)
        except VerifyMismatchError:
            return False

    async def _known(self) -> Digests:
        """Return the digests as they are now. While they cannot be read, those that were read last count."""
        try:
            self._digests = await asyncio.to_thread(self._read)
        except OSError as error:
            log.warning("the clients' secrets cannot be read, those that are known count", reason=str(error))
        return self._digests

    def _read(self) -> Digests:
        return _read(self._document.read())

    def _change(self, act: Callable[[Digests], Digests]) -> None:
        self._document.change(lambda document: msgspec.json.encode(act(_read(document))))


def _read(document: bytes) -> Digests:
    return msgspec.json.decode(document, type=Digests) if document else {}
