"""Revoked tokens: one by its id, or all that a client got before a moment. Every replica knows within 5 s.

What is revoked is one document, which says since when it is complete. A token that was issued before that is refused,
since nobody knows whether it was revoked: so a document that is lost, or cannot be read at a start, opens nothing. No
token is valid for longer than `LONGEST`, so that this ends by itself.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

import msgspec
import structlog

from canonical.ids import Clock
from policies.background import rest
from policies.identity.issuer import LEEWAY, LONGEST
from policies.store.documents import Document, why_away

PACE = 1.0
"""Seconds between two reads of the store."""
REMEMBERED = float(LONGEST + LEEWAY)
"""Seconds for which a revocation is stored: no token is valid longer."""
KEY = "tiergate:revoked"
"""What the document is called in Redis."""
LOST = "no revocations from before are stored: tokens that were issued until then are refused"
log = structlog.get_logger("tiergate.revocation")


class Revoked(msgspec.Struct, frozen=True):
    """`tokens` by their `jti`, and `clients` by name, each with when it was revoked; `since` is from when on all
    revocations are known. Times are in seconds since 1970, UTC."""

    tokens: dict[str, float] = {}
    clients: dict[str, float] = {}
    since: float = 0.0

    def covers(self, token_id: str, client: str, issued_at: float) -> bool:
        """Return whether a token is revoked, or may be. A client's tokens are, up to the second in which it was
        revoked."""
        return issued_at < self.since or token_id in self.tokens or issued_at <= self.clients.get(client, -1.0)

    def first_good(self, client: str, now: int) -> int:
        """Return the second, `now` or soon after it, from which on a token of a client is not revoked when it is
        issued."""
        return max(now, int(self.clients.get(client, -1.0)) + 1, math.ceil(self.since))


def begin(document: Document, now: datetime) -> None:
    """Begin a document where there is none yet: it is complete from the second of `now` on."""
    begun = msgspec.json.encode(Revoked(since=float(int(now.timestamp()))))
    if not document.read():
        document.change(lambda found: found or begun)


class RevocationStore(Protocol):
    """The document of revocations that all replicas share. Both methods raise `OSError` when it is away."""

    async def read(self) -> bytes: ...
    async def change(self, act: Callable[[bytes], bytes]) -> None:
        """Replace the document by what `act` makes of it. Concurrent changes are done one after the other."""
        ...


class RevocationDocument:
    """A store that is a document in the state folder, or in the database that replicas on several machines share."""

    def __init__(self, document: Document) -> None:
        self._document = document

    async def read(self) -> bytes:
        return await asyncio.to_thread(self._document.read)

    async def change(self, act: Callable[[bytes], bytes]) -> None:
        await asyncio.to_thread(self._document.change, act)


class Revocations:
    """What is revoked, as far as this replica knows. When the store is away, what was known stays revoked."""

    def __init__(self, store: RevocationStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._document: bytes = b""
        self._away = "not asked yet"
        self.current = Revoked(since=self._second())
        """What is known. Before the store was read for the first time, nothing of what was issued until now is good."""

    def _second(self) -> float:
        """Return the second that has begun: tokens say no more of when they were issued."""
        return float(int(self._clock().timestamp()))

    @property
    def said(self) -> str:
        """Return what readiness says: `ok`, with what is refused meanwhile, or that the store is away."""
        since = self.current.since
        refused = f"tokens issued before {datetime.fromtimestamp(since, UTC):%Y-%m-%dT%H:%M:%SZ} are refused"
        if self._away:
            return f"cannot be read ({self._away}); {refused if since else 'those that are known go on'}"
        return f"ok, {refused}: what was revoked before is not known" if self._refuses_until() else "ok"

    def _refuses_until(self) -> bool:
        return self._clock().timestamp() - self.current.since < REMEMBERED

    async def look(self) -> None:
        """Read what other replicas have revoked; a document that is not there, or is none, is begun.

        Raises `OSError` when the store is away.
        """
        if not await self.peek():
            await self._store.change(lambda found: found if _read(found) else self._begun())
            await self.peek()
            log.warning(LOST, since=self.current.since)
        self._away = ""

    async def peek(self) -> bool:
        """Read as `look` does, and change nothing. Return whether there is a document."""
        document = await self._store.read()
        if document != self._document or not document:
            known = _read(document)
            if known is None:
                return False
            if self._document and known.since > self.current.since:
                log.warning(LOST, since=known.since)
            self.current, self._document = known, document
        return True

    def _begun(self) -> bytes:
        """Return a document that is complete from now on, with what this replica knows of before."""
        return msgspec.json.encode(msgspec.structs.replace(self.current, since=self._second()))

    async def try_to_look(self) -> None:
        """Read the store. When it is away, that is logged."""
        try:
            await self.look()
        except OSError as error:
            reason = why_away(error)
            if self._away != reason:
                log.warning("the revocations cannot be read, those that are known go on", reason=reason)
            self._away = reason

    async def watch(self) -> None:
        """Read the store again and again, for as long as the layer runs."""
        while True:
            await self.try_to_look()
            await rest(PACE)

    async def revoke(self, *, token: str = "", client: str = "") -> None:
        """Revoke a token by its id, or all tokens of a client until now. Raises as `look` does."""
        at = self._clock().timestamp()

        def add(document: bytes) -> bytes:
            known = _read(document) or msgspec.json.decode(self._begun(), type=Revoked)
            tokens = {name: when for name, when in known.tokens.items() if at - when < REMEMBERED}
            clients = {name: when for name, when in known.clients.items() if at - when < REMEMBERED}
            tokens |= {token: at} if token else {}
            clients |= {client: at} if client else {}
            return msgspec.json.encode(Revoked(tokens, clients, known.since))

        await self._store.change(add)
        await self.look()


def _read(document: bytes) -> Revoked | None:
    """Return what a document says, or None when it is none."""
    try:
        return msgspec.json.decode(document, type=Revoked)
    except msgspec.DecodeError:
        return None
