"""`make` sets up an environment that is whole, whatever a first try has left behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PYTHON = """#!{executable}
import pathlib, shutil, sys

sys.version_info, sys.version = {version}, "{written} (main)"
match sys.argv[1:]:
    case ["-c", code]:
        exec(code)
    case ["-m", "venv", folder]:
        made = pathlib.Path(folder, "bin")
        made.mkdir(parents=True)
        shutil.copy(__file__, made / "python")
        shutil.copy("/bin/true", made / "uv")
"""
"""An interpreter that says of itself to be of another version, and installs nothing."""


def python(folder: Path, version: tuple[int, ...]) -> Path:
    file = folder / f"python{version[0]}.{version[1]}"
    file.write_text(
        PYTHON.format(executable=sys.executable, version=version, written=".".join(map(str, version))),
    )
    file.chmod(0o755)
    return file


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    folder.mkdir()
    shutil.copy(ROOT / "Makefile", folder)
    for each in ("requirements/build.txt", "requirements/core.txt", "requirements/sandbox.txt", "pyproject.toml"):
        (folder / each).parent.mkdir(exist_ok=True)
        (folder / each).touch()
    return folder


def make(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run make as from a shell: a make that runs these tests would have it write what folder it enters."""
    environment = {
        name: value for name, value in os.environ.items() if name not in {"MAKELEVEL", "MAKEFLAGS", "MFLAGS"}
    }
    command = ["make", *arguments]
    return subprocess.run(
        command, cwd=checkout, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def made(checkout: Path, interpreter: Path) -> subprocess.CompletedProcess[str]:
    return make(checkout, ".venv/run", f"PYTHON={interpreter}")


def test_an_interpreter_that_is_too_old_is_named_and_leaves_nothing(checkout: Path, tmp_path: Path) -> None:
    old = python(tmp_path, (3, 10, 13))

    done = made(checkout, old)

    assert done.returncode != 0
    assert f"Tiergate needs Python 3.11 or later, and {old} is 3.10.13: try make PYTHON=python3.11" in done.stderr
    assert not (checkout / ".venv").exists()


@pytest.mark.parametrize("left", ["an older Python", "no pip", "no interpreter"])
def test_an_environment_that_is_not_whole_is_made_again(checkout: Path, tmp_path: Path, left: str) -> None:
    inside = checkout / ".venv" / "bin" / "python"
    inside.parent.mkdir(parents=True)
    if left == "an older Python":
        shutil.copy(python(tmp_path, (3, 10, 13)), inside)
    elif left == "no pip":
        inside.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
        inside.chmod(0o755)

    done = made(checkout, python(tmp_path, (3, 12, 1)))

    assert done.returncode == 0, done.stderr
    assert "it is made again" in done.stdout
    assert "(3, 12, 1)" in inside.read_text()


def test_an_environment_that_is_whole_stays(checkout: Path, tmp_path: Path) -> None:
    assert made(checkout, python(tmp_path, (3, 13, 0))).returncode == 0
    (checkout / ".venv" / "run").unlink()

    again = made(checkout, python(tmp_path, (3, 12, 1)))

    assert again.returncode == 0
    assert "made again" not in again.stdout
    assert "(3, 13, 0)" in (checkout / ".venv" / "bin" / "python").read_text()


@pytest.mark.parametrize(("wrong", "code"), [("ruff", 2), ("tiergate", 2), ("", 0)])
def test_the_check_goes_on_after_the_first_tool_that_finds_something(checkout: Path, wrong: str, code: int) -> None:
    tools = ("ruff", "basedpyright", "lint-imports", "vulture", "python", "deptry", "tiergate", "pytest")
    (checkout / "bin").mkdir()
    for each in tools:
        tool = checkout / "bin" / each
        tool.write_text(f"#!/bin/sh\necho {each}\n{'exit 1' if each == wrong else ''}\n")
        tool.chmod(0o755)
    (checkout / ".venv").mkdir()
    (checkout / ".venv" / "ready").touch()

    done = make(checkout, "check", "BIN=bin", "NODE=Makefile", "--assume-old=.venv/ready")

    assert done.returncode == code, done.stderr
    assert set(done.stdout.split()) == set(tools)
