"""What the wheel installs."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_every_package_of_the_wheel_says_that_it_is_typed() -> None:
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    packages = build["targets"]["wheel"]["packages"]

    assert len(packages) > 1
    assert [each for each in packages if not (ROOT / each / "py.typed").is_file()] == []
