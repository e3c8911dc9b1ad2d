"""Nothing that was released is broken by the contracts as they are."""

from __future__ import annotations

from pathlib import Path

from tiergate.contracts import checks


def test_the_committed_contracts_break_nothing_that_was_released() -> None:
    assert checks.breaks(Path("openapi")) == []
