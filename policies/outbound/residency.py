"""Records stay in the region of their legal entity.

They are neither stored, sent nor shown outside it, but for the fields that the catalogue allows to leave.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

from policies.catalogue.live import LiveCatalogue
from policies.problems import OUTSIDE_REGION, FieldError, ProblemError

_entity: ContextVar[str] = ContextVar("legal_entity", default="")


@contextmanager
def record_of(legal_entity: str) -> Generator[None]:
    """Let everything sent inside be part of a record of this legal entity."""
    token = _entity.set(legal_entity)
    try:
        yield
    finally:
        _entity.reset(token)


class Residency:
    """Check records against the region in which this deployment runs and stores them."""

    def __init__(self, live_catalogue: LiveCatalogue, region: str) -> None:
        """Create the check for `region`. Raises `LookupError` for a region that the catalogue does not know."""
        if region not in live_catalogue.current.regions:
            known = ", ".join(sorted(live_catalogue.current.regions))
            raise LookupError(f"the catalogue has no region {region!r}; it has {known}")
        self._live_catalogue = live_catalogue
        self.region = region

    def check_leaving(self, place: str, region: str, fields: frozenset[str]) -> None:
        """Raise `ProblemError` (403) when fields of the present record may not be sent to `place` in `region`.

        A record without a legal entity yet belongs to the region of this deployment.
        """
        if not fields:
            return
        entity, catalogue = _entity.get(), self._live_catalogue.current
        home = catalogue.region_of(entity) if entity else self.region
        if home is None:
            raise _refusal(f"The legal entity {entity} belongs to no region.", "legal_entity")
        staying = sorted(fields - catalogue.regions[home].may_leave) if home != region else ()
        if staying:
            whose = f" of {entity}" if entity else ""
            raise _refusal(f"{staying[0]}{whose} stays in {home}, and {place} is in {region}.", staying[0])

    def keeps(self, legal_entity: str | None) -> bool:
        """Return whether records of a legal entity may be stored here.

        One that belongs to no region is none of ours, and is not refused for this.
        """
        home = self._live_catalogue.current.region_of(legal_entity or "")
        return home in (None, self.region)

    def check(self, legal_entity: str) -> None:
        """Raise `ProblemError` (403) for a legal entity whose records are stored elsewhere."""
        if not self.keeps(legal_entity):
            home = self._live_catalogue.current.region_of(legal_entity)
            raise _refusal(f"Records of {legal_entity} are kept in {home}, and this is {self.region}.", "legal_entity")


def _refusal(detail: str, field: str) -> ProblemError:
    return ProblemError(OUTSIDE_REGION, detail, (FieldError(field, "it stays in its region"),))
