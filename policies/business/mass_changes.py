"""Changes of many contracts: how fast they are carried out."""

from __future__ import annotations

from typing import Annotated

import msgspec

from policies.catalogue.model import Fact
from policies.catalogue.sections import section


class MassChangePace(Fact, frozen=True):
    """How many contracts a mass change has on their way `at_once`, and begins `per_minute`, at the most: what customers
    wait for comes between."""

    at_once: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 20
    per_minute: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 300


MASS_CHANGE_PACE = section("mass_changes", MassChangePace, title="Mass changes")
