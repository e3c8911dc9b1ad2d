"""docs/guides/adding-a-policy.md is followed in a copy of the tree: one new file, and few that are touched."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
GUIDE = ROOT / "docs/guides/adding-a-policy.md"
COPIED = ("canonical", "policies", "experience_apis", "tests")
MOST = 3
"""Existing files that a new policy may touch."""
PROOFS = """
from pathlib import Path
from policies.catalogue.check import load, read
from policies.catalogue.diff import diff
from policies.catalogue.model import SHIPPED
from policies.chain.pipeline import explain
from experience_apis.portal import pages
from tests.support.governed_app import CATALOGUE, NOW, Door
import datetime

CLOSED = CATALOGUE + '[maintenance.shop]\\nuntil = 2026-03-01T12:01:00Z\\nreason = "we move"\\n'
door = Door(Path(FOLDER))
door.catalogue.write_text(CLOSED)
door.live_catalogue.look()
assert not door.live_catalogue.refused, door.live_catalogue.refused
catalogue, text = door.live_catalogue.latest

# it governs
closed = door.client.get("/shop/v1/read", headers=door.headers())
assert (closed.status_code, closed.json()["type"]) == (503, "/problems/under-maintenance"), closed.text
assert closed.headers["retry-after"] == "60"
door.now = NOW + datetime.timedelta(minutes=2)
assert door.client.get("/shop/v1/read", headers=door.headers()).status_code == 200

# it is checked, with the line
_, violations = read(CLOSED.replace("[maintenance.shop]", "[maintenance.ship]").encode())
assert [(each.key, each.line) for each in violations] == [("maintenance.ship", CLOSED.count("\\n") - 2)], violations
_, violations = read(CLOSED.replace("reason", "colour").encode())
assert {each.key for each in violations} == {"maintenance.shop.colour", "maintenance.shop.reason"}, violations

# it is explained in its place
explanation = explain(catalogue, text, "someone", "read", NOW.date())
assert not explanation.allowed
assert [each.policy for each in explanation.decisions] == ["version", "authentication", "maintenance"], explanation
assert text.splitlines()[explanation.decisions[-1].line - 1] == "[maintenance.shop]"

# when it is over, it says so
over = explain(catalogue, text, "someone", "read", NOW.date() + datetime.timedelta(days=1))
assert over.allowed
assert "it was closed until" in next(each.outcome for each in over.decisions if each.policy == "maintenance")

# its changes are reported
before = Path(FOLDER, "before.toml")
before.write_text(CATALOGUE)
assert "Maintenance of shop: reason none becomes we move." in diff(load(before), catalogue)

# its problem has a page
assert "The API is under maintenance" in pages.problem("under-maintenance")
assert "under-maintenance" in pages.problems()

# the shipped catalogue has its section
assert load(SHIPPED).maintenance["support"].reason == "the support desk moves"
"""


def recorded() -> str:
    found = re.search(r"```diff\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert found
    return found[1]


@pytest.fixture
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the tree, with the policy added."""
    folder = tmp_path_factory.mktemp("tree")
    for each in COPIED:
        shutil.copytree(ROOT / each, folder / each, ignore=shutil.ignore_patterns("node_modules", "data"))
    (folder / "openapi").symlink_to(ROOT / "openapi")
    apart = os.environ | {"GIT_CEILING_DIRECTORIES": str(folder.parent)}
    subprocess.run(["git", "apply", "-"], input=recorded(), text=True, cwd=folder, env=apart, check=True)
    return folder


def test_a_policy_is_one_new_file_and_touches_few() -> None:
    files = re.findall(r"^diff --git a/(\S+) ", recorded(), re.MULTILINE)
    existing = [each for each in files if (ROOT / each).exists()]

    assert len(existing) <= MOST
    assert len(files) - len(existing) == 1


def test_the_added_policy_governs_and_is_checked_explained_compared_and_documented(tree: Path, tmp_path: Path) -> None:
    program = f"FOLDER = {str(tmp_path)!r}\n{PROOFS}"
    environment = os.environ | {"PYTHONPATH": str(tree)}

    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tree, env=environment, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
