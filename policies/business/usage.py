"""Meters: what is charged by use, how its records become a quantity, and how many are taken at a time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated

import msgspec

from canonical.ids import Key
from canonical.usage import Aggregation
from policies.catalogue.model import Catalogue, Fact, Name, Report
from policies.catalogue.sections import section
from policies.problems import problem_type

METER = re.compile(r"[a-z][a-z0-9_]{0,39}")
MOST_LINES = 100_000
"""Records that one call takes."""
LONGEST_LINE = 2048
"""Bytes of one line; those of a record are some 150."""
TOO_LONG = f"a line has at most {LONGEST_LINE:,} bytes"
MOST_AHEAD = 300
"""Seconds that a record may be ahead of our time, as clocks differ (Stripe, Create a meter event: five minutes)."""
USAGE_TOO_LONG = problem_type(
    "usage-too-long",
    413,
    "Too many records in one call",
    "Send the lines after those that the detail names in another call. Sending all of them again doubles nothing.",
    f"A call takes {MOST_LINES:,} records. What came before the first line too many was taken, and stays taken.",
)
NOT_LINES = problem_type(
    "usage-not-lines",
    415,
    "The body is not lines of JSON",
    "Send one record on each line, with `Content-Type: application/x-ndjson`.",
    "Records are read while they come, line by line, so a body of another type is not read at all. Nothing was done.",
)

USAGE_CORRECTION_CHANGED = problem_type(
    "usage-correction-changed",
    409,
    "More records came since it was read",
    "Read the usage correction again: it has the quantity and the amount of now, under another `revision`.",
    "A decision counts for what was seen. The records of the period come to another quantity by now. Nothing was done.",
)


class Meter(Fact, frozen=True):
    """What is charged by use: of the product `sku`, in `unit`s, of which the records of a period become one quantity
    by its `aggregation`. A record of more than `late_days` ago is refused."""

    sku: Key
    unit: Name
    aggregation: Aggregation
    late_days: Annotated[int, msgspec.Meta(ge=1, le=35)] = 35


def meters_by_product(catalogue: Catalogue) -> dict[str, str]:
    """Return the names of the meters by which products are charged, by the product's number."""
    return {meter.sku: name for name, meter in METERS.of(catalogue).items()}


def _check(catalogue: Catalogue) -> Iterator[Report]:
    measured: dict[str, str] = {}
    for name, meter in METERS.of(catalogue).items():
        path = ("meters", name)
        if not METER.fullmatch(name):
            reason = f"{name!r} is no name of a meter"
            yield path, reason, "write at most 40 small letters, digits and underscores, as in api_calls"
        if other := measured.get(meter.sku):
            reason = f"{meter.sku} is charged by the meter {other} already"
            yield (*path, "sku"), reason, "let each product have one meter, or sell a product for each"
        measured.setdefault(meter.sku, name)


METERS = section("meters", dict[str, Meter], check=_check, title="Meter")
