"""What a person who signs in to the console may do: the roles of the teams, each with the rights of one client.

A person has the roles whose `groups` the issuer says that he or she is in, and works in one of them at a time. So what
segregation keeps apart in clients is apart for people too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from canonical.cases import Team
from policies.catalogue.model import Catalogue, Fact, Name, Report
from policies.catalogue.sections import section


class Role(Fact, frozen=True):
    """The people of a `team`: they may do what the `client` may, and no more. `groups` are those of the OIDC issuer
    whose members have the role; without one it is given by a sign-in link alone."""

    title: Name
    team: Team
    client: Name
    groups: frozenset[str] = frozenset()


def roles_of(catalogue: Catalogue, groups: Collection[str]) -> tuple[str, ...]:
    """Return the names of the roles that the members of some groups have, in the order of the catalogue."""
    return tuple(name for name, role in ROLES.of(catalogue).items() if role.groups & set(groups))


def _check(catalogue: Catalogue) -> Iterator[Report]:
    for name, role in ROLES.of(catalogue).items():
        client = catalogue.clients.get(role.client)
        path = ("roles", name, "client")
        if client is None:
            yield path, f"there is no client {role.client!r}", "name one of [clients]"
        elif client.kind != "internal" or client.audience != "experience":
            yield path, f"{role.client} is no internal client of the channels", "name one that is"


ROLES = section("roles", dict[str, Role], check=_check, title="Roles of people")
