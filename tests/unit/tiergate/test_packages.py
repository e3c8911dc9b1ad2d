"""What the wheel installs."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest

from tiergate.cli.common import SANDBOX
from tiergate.settings import Process, Settings
from tiergate.sqlite_version import sqlite_is_too_old

ROOT = Path(__file__).parents[3]
SITES = [sysconfig.get_path(each) for each in ("stdlib", "platstdlib", "purelib", "platlib")]
SITES.append(f"{sysconfig.get_path('stdlib')}/lib-dynload")
"""Where Python and the packages are, without this repository."""
WITHOUT_SANDBOX = """
import sys

sys.modules.update(dict.fromkeys({wanted}))
import tiergate.cli.main
{what}
"""


def without_sandbox(what: str) -> subprocess.CompletedProcess[str]:
    """Run code where the packages of the extra `sandbox` are not installed."""
    code = WITHOUT_SANDBOX.format(wanted=SANDBOX, what=what)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)


def test_the_layers_and_the_doctor_need_none_of_the_sandboxs_packages() -> None:
    modules = "tiergate.dev.layers, tiergate.server.server, tiergate.doctor, tiergate.setup"

    done = without_sandbox(f"import {modules}")

    assert done.returncode == 0, done.stderr


def test_the_sandbox_without_its_packages_says_how_to_install_them(tmp_path: Path) -> None:
    argv = ["tiergate", "sandbox", "--folder", str(tmp_path)]

    done = without_sandbox(f"sys.argv = {argv!r}; tiergate.cli.main.main()")

    assert done.returncode == 3
    assert done.stderr == "tiergate: this needs the packages of the sandbox: pip install 'tiergate[sandbox]'\n"


def test_help_lists_no_command_that_needs_the_sandboxs_packages_where_they_are_missing() -> None:
    what = "sys.argv = ['tiergate', '--help']; tiergate.cli.main.main()"

    done = without_sandbox(what)

    assert done.returncode == 0, done.stderr
    assert [each for each in ("sandbox", "demo", "sell") if f"  {each} " in done.stdout] == []
    assert "  up " in done.stdout


def test_every_package_of_the_wheel_says_that_it_is_typed() -> None:
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    packages = build["targets"]["wheel"]["packages"]

    assert len(packages) > 1
    assert [each for each in packages if not (ROOT / each / "py.typed").is_file()] == []


def test_the_wheel_has_the_examples_that_messages_name(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT, timeout=60)
    (wheel,) = tmp_path.glob("*.whl")
    installed = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as opened:
        opened.extractall(installed)

    code = f"""
import sys; sys.path = {[str(installed), *SITES]!r}
from policies.catalogue.model import EXAMPLES
from tiergate.settings import MAKE_ONE
print(EXAMPLES, MAKE_ONE, sep="\\n")
"""
    done = subprocess.run([sys.executable, "-Sc", code], check=True, capture_output=True, text=True, cwd=tmp_path)

    examples, message = done.stdout.splitlines()
    assert Path(examples).is_relative_to(installed)
    assert f"copy {examples}/tiergate.example.toml" in message
    named = [ROOT / "deploy/tiergate.example.toml", *(ROOT / "deploy/mappings").iterdir()]
    shipped = {each.relative_to(ROOT / "deploy") for each in named}
    assert {each.relative_to(examples) for each in Path(examples).rglob("*") if each.is_file()} == shipped


@pytest.mark.parametrize(
    ("python", "sqlite", "database", "fits"),
    [
        ((3, 11), (3, 40, 1), "", True),
        ((3, 12), (3, 41, 2), "", False),
        ((3, 13), (3, 42, 0), "", True),
        ((3, 13), (3, 40, 1), "postgresql://db.internal/tiergate", True),
    ],
)
def test_an_sqlite_that_the_workflow_engine_cannot_use_is_named(
    python: tuple[int, ...], sqlite: tuple[int, ...], database: str, *, fits: bool
) -> None:
    settings = Settings(folder="state", process=Process(database_url=database))

    assert (sqlite_is_too_old(settings, python, sqlite) == "") is fits
