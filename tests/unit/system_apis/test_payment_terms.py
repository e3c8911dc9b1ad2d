"""Which payment terms of Tryton say nothing but after how many days all is due."""

from __future__ import annotations

from typing import Any

import pytest

from system_apis.erp.tryton.mapping import DELTA, days_of_term


def line(kind: str, *deltas: dict[str, int]) -> dict[str, Any]:
    nothing = dict.fromkeys(DELTA, None) | {"days": 0, "weeks": 0, "months": 0}
    return {"type": kind, "relativedeltas.": [nothing | each for each in deltas]}


@pytest.mark.parametrize(
    ("lines", "days"),
    [
        ([line("remainder", {"days": 30})], 30),
        ([line("remainder")], 0),
        ([line("remainder", {"days": 10}, {"days": 4})], 14),
        ([line("remainder", {"weeks": 2})], None),
        ([line("remainder", {"days": 30, "day": 31})], None),
        ([line("remainder", {"days": 30}, {"month": 2})], None),
        ([line("remainder", {"weekday": 5})], None),
        ([line("percent", {"days": 30}), line("remainder", {"days": 30})], None),
        ([], None),
    ],
)
def test_a_term_of_one_remainder_after_days_has_these_days(lines: list[dict[str, Any]], days: int | None) -> None:
    assert days_of_term({"lines.": lines}) == days
