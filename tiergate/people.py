"""Links with which people sign in to the console, as commands make them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from experience_apis.console.sessions import Grant
from policies.identity.roles import ROLES
from tiergate.composition import console, open_catalogue
from tiergate.settings import Settings
from tiergate.shared import SharedState


def sign_in_link(settings: Settings, person: str, roles: Iterable[str] = (), name: str = "") -> str:
    """Return a link with which a person signs in once, soon; with all roles of the catalogue where none is named.
    Raises `LookupError` for a role that there is not, and `StoreAway`."""
    known = tuple(ROLES.of(open_catalogue(settings).current))
    wanted = tuple(roles) or known
    if unknown := [each for each in wanted if each not in known]:
        raise LookupError(f"there is no role {', '.join(unknown)}: {', '.join(known)}")
    shared = SharedState(settings)
    made = console(settings, shared, shared.revocations())
    return made.link(asyncio.run(made.sessions.offer(Grant(person, wanted, name))))
