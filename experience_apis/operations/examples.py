"""One example of everything that the platform team gets."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

from experience_apis.operations.api import ApiStatus, VersionStatus
from policies.catalogue.explain import Decision, Explanation
from policies.contract.deprecation_usage import DeprecatedCalls


def examples(_: Callable[[Any], Any]) -> tuple[Any, ...]:
    """Return an instance of each type of this channel's contract."""
    older = VersionStatus("v1", "deprecated", date(2026, 10, 1), date(2027, 10, 1), "v2")
    newest = VersionStatus("v2", "active", None, None, None)
    return (
        ApiStatus("partners", "Partners", "experience", "partner management", (older, newest), ("partners_get_order",)),
        DeprecatedCalls("reseller-nord", "partners", "v1", date(2026, 11, 1), 42),
        Explanation(allowed=True, decisions=(Decision("version", "partners v2 is active", 151),)),
    )
