"""Parameters: what a type alone does not refuse."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from policies.contract.parameters import with_offset
from policies.problems import ProblemError


def test_a_moment_of_an_unknown_zone_is_refused_with_its_parameter() -> None:
    moment = datetime(2026, 3, 1, tzinfo=UTC)
    assert (with_offset(moment, "as_of"), with_offset(None, "as_of")) == (moment, None)

    with pytest.raises(ProblemError) as refused:
        with_offset(moment.replace(tzinfo=None), "as_of")

    assert [each.path for each in refused.value.errors] == ["$.as_of"]
