"""Jobs: what a layer does beside its requests, for as long as it runs."""

from __future__ import annotations

import msgspec


class JobsReport(msgspec.Struct, frozen=True):
    """How the jobs of one process of a layer go on: by its name why each stands still, empty for one that runs."""

    host: str
    jobs: dict[str, str]


class JobsReceipt(msgspec.Struct, frozen=True):
    """The answer to a report: how many of its jobs have an open case now."""

    open_cases: int
