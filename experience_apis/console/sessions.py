"""Who is signed in to the console: sessions, and the codes that begin one.

What the browser holds is random and says nothing; the store knows it by its digest alone, so that who reads the store
cannot sign in with what is there. Replicas share the store.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta
from typing import TypeVar

import msgspec

from canonical.ids import Clock
from policies.catalogue.model import Catalogue
from policies.identity.openid import Proof
from policies.identity.revocation import Revocations
from policies.identity.roles import ROLES
from policies.policy import Principal
from policies.store.shared_store import SharedStore

T = TypeVar("T", bound=msgspec.Struct)
LONGEST = timedelta(hours=12)
"""How long a session lasts at the most: a working day."""
IDLE = timedelta(hours=1)
"""How long it lasts without a request."""
NOTED = timedelta(minutes=5)
"""How old what is known of the last request may become: not each one writes."""
LINK = timedelta(minutes=10)
"""How long a sign-in link is good."""
TOKEN_BYTES = 32
USED = b"used"
"""What is stored in the place of a code that was used."""


class Grant(msgspec.Struct, frozen=True):
    """Who may sign in: a person, by the name that the issuer calls him or her, and in which roles."""

    person: str
    roles: tuple[str, ...]
    name: str = ""
    """What the person is called on the pages."""

    @property
    def called(self) -> str:
        """Return what the person is called."""
        return self.name or self.person


class Session(msgspec.Struct, frozen=True):
    """A person who is signed in, in one role. Times are in seconds since 1970, UTC."""

    grant: Grant
    role: str
    form_token: str
    """What each form of the pages has to bring back: another site cannot know it."""
    began: float
    seen: float


class SignedIn(msgspec.Struct, frozen=True):
    """A session that is good now: under which key it is stored, and who the person is to the APIs."""

    key: str
    session: Session
    principal: Principal


class BegunSignIn(msgspec.Struct, frozen=True):
    """A sign-in with an issuer that has begun: what it is known by, and where the person wants to go."""

    proof: Proof
    to: str


class Sessions:
    """Begin, find and end sessions. Every method raises `StoreAway` while the store is away."""

    def __init__(self, store: SharedStore, revocations: Revocations, clock: Clock) -> None:
        self._store = store
        self.revocations = revocations
        self._clock = clock

    async def offer(self, grant: Grant) -> str:
        """Return a code with which a person signs in once, within `LINK`."""
        code = secrets.token_urlsafe(TOKEN_BYTES)
        await self._store.put_if_absent(_key("code", code), msgspec.json.encode(grant), LINK.total_seconds())
        return code

    async def redeem(self, code: str) -> Grant | None:
        """Return who may sign in with a code, once; None for one that is used, too old or was never given."""
        found = await self._taken(_key("code", code))
        return _decoded(found, Grant) if found else None

    async def _taken(self, key: str) -> bytes | None:
        """Return a value that is good once, and take it away."""
        found = await self._store.read(key)
        if found is None or found == USED:
            return None
        return found if await self._store.compare_and_swap(key, found, USED, 1.0) else None  # else another was faster

    async def start(self, to: str) -> BegunSignIn:
        """Begin a sign-in with an issuer, which has to come back within `LINK`."""
        begun = BegunSignIn(Proof(*(secrets.token_urlsafe(TOKEN_BYTES) for _ in Proof.__struct_fields__)), to)
        key = _key("flow", begun.proof.state)
        await self._store.put_if_absent(key, msgspec.json.encode(begun), LINK.total_seconds())
        return begun

    async def finish(self, state: str) -> BegunSignIn | None:
        """Return the sign-in of a browser that has come back, once; None for one that was not begun here."""
        found = await self._taken(_key("flow", state))
        return _decoded(found, BegunSignIn) if found else None

    async def begin(self, grant: Grant, role: str) -> str:
        """Begin a session. Return what the browser is to hold."""
        token, now = secrets.token_urlsafe(TOKEN_BYTES), self._clock().timestamp()
        session = Session(grant, role, secrets.token_urlsafe(TOKEN_BYTES), now, now)
        await self._store.put_if_absent(_key("session", token), msgspec.json.encode(session), IDLE.total_seconds())
        return token

    async def find(self, token: str, catalogue: Catalogue, *, is_used: bool = True) -> SignedIn | None:
        """Return the session of what a browser holds; None when there is none, or it is over. It lasts on when it
        `is_used`: what a page asks by itself is no use of it."""
        key, now = _key("session", token), self._clock().timestamp()
        found = await self._store.read(key)
        session = _decoded(found, Session) if found else None
        if found is None or session is None or session.began + LONGEST.total_seconds() <= now:
            return None
        ended = await self._store.read(_ended(session.grant.person))
        if ended is not None and session.began <= float(ended):
            return None
        principal = _principal(session, key, catalogue)
        if principal is None or self.revocations.current.covers(key, principal.client, session.began):
            return None
        if is_used and now - session.seen > NOTED.total_seconds():
            noted = msgspec.structs.replace(session, seen=now)
            left = min(IDLE.total_seconds(), session.began + LONGEST.total_seconds() - now)
            await self._store.compare_and_swap(key, found, msgspec.json.encode(noted), left)
        return SignedIn(key, session, principal)

    async def change_role(self, signed_in: SignedIn, token: str, role: str) -> str:
        """Return what the browser is to hold in another role of the person: a session of its own, in the place of the
        present one, which it does not outlive. Raises `LookupError` for a role that the person does not have."""
        session = signed_in.session
        if role not in session.grant.roles:
            raise LookupError(role)
        await self.end(token)
        other, now = secrets.token_urlsafe(TOKEN_BYTES), self._clock().timestamp()
        changed = Session(session.grant, role, secrets.token_urlsafe(TOKEN_BYTES), session.began, now)
        left = min(IDLE.total_seconds(), session.began + LONGEST.total_seconds() - now)
        await self._store.put_if_absent(_key("session", other), msgspec.json.encode(changed), left)
        return other

    async def end(self, token: str) -> None:
        """End a session; one that is over is left so. Another request may note meanwhile that it came: it is ended all
        the same."""
        key = _key("session", token)
        while (found := await self._store.read(key)) is not None:
            await self._store.compare_and_delete(key, found)

    async def end_all(self, person: str) -> None:
        """End all sessions of a person that have begun by now, on whatever machine."""
        key, now = _ended(person), repr(self._clock().timestamp()).encode()
        while (found := await self._store.put_if_absent(key, now, LONGEST.total_seconds())) is not None:
            if await self._store.compare_and_swap(key, found, now, LONGEST.total_seconds()):
                return


def _principal(session: Session, key: str, catalogue: Catalogue) -> Principal | None:
    """Return who a person is to the APIs: in his or her own name, with the rights of the role's client, and seeing what
    it sees. None where the catalogue has the role no more."""
    role = ROLES.of(catalogue).get(session.role)
    client = catalogue.clients.get(role.client) if role else None
    if role is None or client is None:
        return None
    until = session.began + LONGEST.total_seconds()
    entities = client.legal_entities
    return Principal(session.grant.person, role.client, client.scopes, entities, key, session.began, until)


def _key(kind: str, secret: str) -> str:
    return f"console-{kind}:{hashlib.sha256(secret.encode()).hexdigest()}"


def _ended(person: str) -> str:
    """Return where it stands since when all earlier sessions of a person are over."""
    return _key("ended", person)


def _decoded(found: bytes, kind: type[T]) -> T | None:
    """Return what was stored; None for what an older version has stored in another shape."""
    try:
        return msgspec.json.decode(found, type=kind)
    except msgspec.DecodeError:
        return None
