"""A connector is a folder, its settings and its entry in the catalogue: nothing else of the tree changes."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from policies.catalogue.check import read
from policies.catalogue.model import SHIPPED
from tests.support.connector_kit.kit import behaviours
from tests.support.connector_kit.provisioning import ProvisioningKit
from tests.unit.tiergate.test_settings import GOOD, SECRETS

ROOT = Path(__file__).parents[3]
SOURCES = (
    "canonical",
    "policies",
    "system_apis",
    "process_apis",
    "experience_apis",
    "sandbox",
    "tiergate",
    "tests",
    "openapi",
)
TEMPLATES = ROOT / "docs/guides/templates"
GUIDE = ROOT / "docs/guides/adding-a-connector.md"
TOML = re.compile(r"^   ```toml\n(.*?)^   ```$", re.MULTILINE | re.DOTALL)
CONNECTOR = "system_apis/provisioning/toy"
TEST = "tests/integration/connectors/test_toy.py"
LEFT_OUT = shutil.ignore_patterns("node_modules", "*.sqlite")


def digests(tree: Path) -> dict[str, str]:
    return {
        str(path.relative_to(tree)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in tree.rglob("*")
        if path.is_file() and not {"__pycache__", ".pytest_cache"} & set(path.parts)
    }


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the code, as somebody has it who adds a connector."""
    for name in SOURCES:
        shutil.copytree(ROOT / name, tmp_path / "tree" / name, ignore=LEFT_OUT)
    return tmp_path / "tree"


def run(tree: Path, *arguments: str, **variables: str) -> str:
    environment = os.environ | {"PYTHONPATH": str(tree)} | variables
    done = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=tree, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_template_is_no_connector_that_is_shipped() -> None:
    assert [path for path in (ROOT / "system_apis").rglob("*") if "template" in path.name] == []
    assert not any((ROOT / "system_apis").glob("*/toy"))


def test_the_entry_of_the_guide_passes_the_check() -> None:
    entry, kept = (textwrap.dedent(each) for each in TOML.findall(GUIDE.read_text())[:2])
    catalogue = SHIPPED.read_text()
    assert kept.splitlines()[0] in catalogue.splitlines()

    with_both = catalogue.replace(kept.splitlines()[0], kept.strip()) + entry

    assert read(catalogue.encode() + entry.encode())[1] != []
    assert read(with_both.encode())[1] == []


@pytest.mark.extended
def test_a_connector_is_added_without_touching_an_existing_file(tree: Path, tmp_path: Path) -> None:
    before = digests(tree)

    shutil.copytree(TEMPLATES / "connector", tree / CONNECTOR, ignore=LEFT_OUT)
    written = (TEMPLATES / "test_connector.py").read_text()
    imported = "from docs.guides.templates import connector"
    assert imported in written
    (tree / TEST).write_text(written.replace(imported, "from system_apis.provisioning import toy as connector"))
    catalogue, settings = tmp_path / "catalogue.toml", tmp_path / "tiergate.toml"
    shipped = '[platforms.provisioner]\ndomain = "provisioning"\nconnector = "webhook"'
    assert shipped in SHIPPED.read_text()
    entry = '[platforms.toy]\ndomain = "provisioning"\nconnector = "toy"'
    catalogue.write_text(SHIPPED.read_text().replace(shipped, entry))
    platforms = GOOD.replace("[platforms.provisioner]", "[platforms.toy]").replace(
        "http://target", "http://127.0.0.1:9"
    )
    settings.write_text(f'[governance]\ncatalogue = "{catalogue}"\n{platforms}')

    own = {"TIERGATE_PLATFORMS_TOY_API_KEY": "s6", "TIERGATE_PLATFORMS_TOY_WEBHOOK_SECRET": "whsec_czc="}
    others = {name: value for name, value in SECRETS.items() if "PROVISIONER" not in name}
    asked = run(tree, "tests.unit.extending.ask_routes", str(settings), **own, **others)
    answers = json.loads(asked.splitlines()[-1])
    options = ("-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(tree))
    kit = run(tree, "pytest", *options, TEST, PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")

    assert answers["removed"].get("platform") == "provisioning", answers["removed"]
    assert (answers["put"], answers["webhook"]) == (200, 401)
    assert "toy" in answers["ready"]
    assert f"{len(behaviours(ProvisioningKit))} passed" in kit
    after = digests(tree)
    assert {name: after.get(name) for name in before} == before, "existing files were touched"
    assert {name for name in after if name not in before and not name.startswith(f"{CONNECTOR}/")} == {TEST}
