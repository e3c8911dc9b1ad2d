"""When the books of a legal entity take postings, and what becomes of what belongs to a closed period."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from canonical.billing import ClosedPeriod
from policies.catalogue.model import Catalogue, Fact, Name, Report
from policies.catalogue.sections import section


class PostingWindow(Fact, frozen=True):
    """When a legal entity's books take postings: from `opens` to `closes` each day (past midnight if it closes before
    it opens; always without them), in `timezone` (IANA), and what becomes of what belongs to a closed period."""

    closed_period: ClosedPeriod
    timezone: Name = "UTC"
    opens: time | None = None
    closes: time | None = None

    def next_opening(self, now: datetime) -> datetime | None:
        """Return when the window opens next, in UTC; None when it is open at `now`."""
        if self.opens is None or self.closes is None:
            return None
        local = now.astimezone(ZoneInfo(self.timezone))
        clock = local.time()
        if self.opens < self.closes:
            is_open = self.opens <= clock < self.closes
        else:
            is_open = clock >= self.opens or clock < self.closes
        if is_open:
            return None
        day = local.date() if clock < self.opens else local.date() + timedelta(days=1)
        return datetime.combine(day, self.opens, local.tzinfo).astimezone(UTC)


zones = cache(available_timezones)  # every catalogue that is read asks, and it walks through a thousand files
ALWAYS = PostingWindow("wait")


def window_of(catalogue: Catalogue, legal_entity: str) -> PostingWindow:
    """Return when the books of a legal entity take postings; always, for one of which nothing is said."""
    return POSTING_WINDOWS.of(catalogue).get(legal_entity, ALWAYS)


def _check(catalogue: Catalogue) -> Iterator[Report]:
    homes = catalogue.homes()
    for name, window in POSTING_WINDOWS.of(catalogue).items():
        path = ("posting_windows", name)
        if name not in homes:
            yield path, f"{name} belongs to no region", "use the code of a legal entity that has one"
        if (window.opens is None) != (window.closes is None):
            yield path, "it opens and never closes, or the other way round", "give both times, or neither"
        elif window.opens is not None and window.opens == window.closes:
            yield path, "it closes when it opens", "make the times differ, or leave them out"
        if window.timezone not in zones():
            yield (*path, "timezone"), f"there is no time zone {window.timezone!r}", "write it as in Europe/Berlin"


POSTING_WINDOWS = section("posting_windows", dict[str, PostingWindow], check=_check, title="Posting window of")
