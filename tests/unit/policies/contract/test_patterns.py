"""A pattern ends where the text ends: `$` takes a line end after it, which the contracts do not allow."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from canonical.ids import Key
from policies.contract.conformance import unfit

ROOT = Path(__file__).parents[4]
PACKAGES = ("canonical", "policies", "system_apis", "process_apis", "experience_apis", "tiergate")


def patterns(path: Path) -> Iterator[str]:
    """Yield the end of each pattern that a file gives to msgspec or to the web framework."""
    for node in ast.walk(ast.parse(path.read_text())):
        for keyword in node.keywords if isinstance(node, ast.Call) else ():
            if keyword.arg == "pattern":
                parts = keyword.value.values if isinstance(keyword.value, ast.JoinedStr) else [keyword.value]
                if isinstance(parts[-1], ast.Constant):
                    yield str(parts[-1].value)


def test_no_pattern_of_ours_takes_a_line_end_after_the_text() -> None:
    found = {
        str(path.relative_to(ROOT)): ends
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if (ends := [each for each in patterns(path) if each.endswith("$")])
    }

    assert found == {}


def test_an_id_with_a_line_end_is_none_and_the_reason_shows_the_pattern_of_the_contract() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert("cus_1\n", Key)

    (wrong,) = unfit(Key, "cus_1\n")
    assert wrong.reason == "it does not match the pattern ^[A-Za-z0-9][A-Za-z0-9_.:-]{0,119}$"
