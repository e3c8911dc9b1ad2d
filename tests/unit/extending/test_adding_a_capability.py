"""The guide to adding a capability is followed with a copy of the code: it works, and touches few files."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from process_apis.records.revisions import REVISIONS

ROOT = Path(__file__).parents[3]
GUIDE = ROOT / "docs" / "guides" / "adding-a-capability.md"
BLOCK = re.compile(r"^```\w+ (\S+)(?: (at its end)| below (.+?))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COPIED = ("canonical", "policies", "process_apis", "system_apis", "experience_apis", "tiergate", "sandbox", "tests")
SAID = ["reacted", "routed", "asked again", "left"]
AT_MOST = 4
"""Existing files that a capability may touch."""


def follow(guide: str, folder: Path) -> set[str]:
    """Do what the guide says in `folder`. Return the existing files that were changed."""
    changed: set[str] = set()
    for name, at_its_end, anchor, text in BLOCK.findall(guide):
        path = folder / name.replace("NEXT", "9999")
        if at_its_end:
            changed.add(name)
            path.write_text(path.read_text() + text)
            continue
        if not anchor:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text.replace("NEXT", "9999").replace("LAST", REVISIONS[-1]))
            continue
        changed.add(name)
        before = path.read_text()
        assert f"{anchor}\n" in before, anchor
        path.write_text(before.replace(f"{anchor}\n", f"{anchor}\n{text}", 1))
    return changed


@pytest.mark.extended
def test_a_capability_that_the_guide_adds_works_and_touches_at_most_four_existing_files(tmp_path: Path) -> None:
    for each in COPIED:
        shutil.copytree(ROOT / each, tmp_path / each, ignore=shutil.ignore_patterns("node_modules"))

    changed = follow(GUIDE.read_text(), tmp_path)

    assert len(changed) <= AT_MOST, changed
    command = [sys.executable, "-m", "tests.unit.extending.use_the_capability", str(tmp_path / "state")]
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    ran = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=180
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    said = ran.stdout.splitlines()
    assert [line for line in said if line in SAID] == SAID
    assert said[-1].startswith("1 passed")
