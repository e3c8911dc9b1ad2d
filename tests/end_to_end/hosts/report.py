"""What each fault cost: how long the deals took that were closed while it lasted, and right after it."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from statistics import median

import msgspec

HEAD = """# Three hosts, and what happened to them

Written by the tests in `tests/end_to_end/hosts/`: three hosts with all layers on each, in network namespaces of one
machine with two cores, behind nginx, with PostgreSQL, Redis and the platforms beside them. Nothing was copied to a host
but settings and the platforms' secrets. The clock of the second is two hours ahead, that of the third two hours behind.
{seeds} seeds, {deals} deals: each became exactly one contract, customer, schedule, subscription, invoice, charge,
posted invoice and booked payment, and no workflow and no posting was left. To write it again:
`TIERGATE_HOSTS_REPORT=docs/three-hosts.md make test-long T=three_hosts`.

Seconds from the close of a deal until it is active. Closed before the first fault of a seed: {usual:.1f} (median),
{slowest:.1f} (slowest: what is under way meets the fault).

What makes a deal wait longer than its fault lasts: a call that is under way to a host that is cut off gets no answer,
and is given up after `process.call_timeout` (30 s); the replica that reads the changes of the CRM is followed by
another after twelve seconds; and layers that were killed start again beside eight others, on two cores.

| fault | times | lasted | deals closed while it lasted: median, slowest | right after it: median, slowest |
|---|---|---|---|---|
"""


class Sold(msgspec.Struct, frozen=True):
    """A deal: of which seed, during what, whether right `after` that. Both durations are in seconds."""

    seed: int
    during: str
    after: bool
    lasted: float
    took: float


def write_report(path: Path, sold: list[Sold]) -> None:
    usual = [each.took for each in sold if not each.during]
    rows: defaultdict[str, list[Sold]] = defaultdict(list)
    for each in sold:
        if each.during:
            rows[each.during].append(each)
    text = HEAD.format(
        seeds=len({each.seed for each in sold}), deals=len(sold), usual=median(usual), slowest=max(usual)
    )
    for name, those in sorted(rows.items()):
        lasted = [each.lasted for each in those if each.after]
        pace = " | ".join(
            f"{median(took):.1f}, {max(took):.1f}"
            for after in (False, True)
            if (took := [each.took for each in those if each.after is after])
        )
        text += f"| {name} | {len(lasted)} | {min(lasted):.0f} to {max(lasted):.0f} | {pace} |\n"
    path.write_text(text)
