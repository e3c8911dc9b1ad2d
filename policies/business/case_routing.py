"""Whose a case is, and which others are settled with it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, cast, get_args

import msgspec

from canonical.cases import CaseKind, Team
from policies.catalogue.model import Catalogue, Domain, Fact, Report
from policies.catalogue.sections import section


class CaseRoute(Fact, frozen=True):
    """Whose a kind of case is: the `team`'s, unless the field in question or the platform that refused is somebody
    else's.

    Acting on a case of this kind also resolves the open cases of its subject that are of the kinds in `resolves`: they
    are the same trouble. All others stay open.
    """

    team: Team
    within_hours: Annotated[int, msgspec.Meta(ge=1, le=24 * 60)] = 24
    """Hours within which the team wants to settle it."""
    fields: dict[str, Team] = msgspec.field(default_factory=dict[str, Team])
    platforms: dict[Domain, Team] = msgspec.field(default_factory=dict[Domain, Team])
    resolves: frozenset[CaseKind] = frozenset()

    def to(self, field: str, platform: str) -> Team:
        """Return the team for a case about `field`, of which `platform` complains (empty if none does)."""
        return self.fields.get(field) or self.platforms.get(cast("Domain", platform)) or self.team


def _check(catalogue: Catalogue) -> Iterator[Report]:
    needed = any(api.layer == "process" for api in catalogue.apis.values())
    for kind in get_args(CaseKind) if needed else ():
        if kind not in CASE_ROUTING.of(catalogue):
            yield ("case_routing",), f"cases of the kind {kind} are unowned", f'add {kind} = {{ team = "…" }}'


CASE_ROUTING = section("case_routing", dict[CaseKind, CaseRoute], check=_check, title="Cases of the kind")
