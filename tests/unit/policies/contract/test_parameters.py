"""Parameters: what a type alone does not refuse."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from policies.contract.parameters import moment
from policies.problems import ProblemError


def test_a_moment_that_is_in_no_calendar_is_refused_with_its_parameter() -> None:
    assert moment("as_of", "2026-03-01T12:00:05Z") == datetime(2026, 3, 1, 12, 0, 5, tzinfo=UTC)
    assert moment("as_of", None) is None

    with pytest.raises(ProblemError) as refused:
        moment("as_of", "2026-02-30T12:00:05Z")

    assert [each.path for each in refused.value.errors] == ["$.as_of"]
