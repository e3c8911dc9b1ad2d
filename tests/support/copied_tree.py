"""A copy of the source tree, to add something to it and see how many of its files have to be touched."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

ROOT = Path(__file__).parents[2]
COPIED = ("canonical", "policies", "system_apis", "process_apis", "experience_apis", "tiergate", "openapi")
GENERATED = "openapi"
SCRIPT = Path(__file__).with_name("serve_copy.py")


class Asked(msgspec.Struct, frozen=True):
    """A request to the experience layer, as a client of the catalogue; as nobody without one."""

    path: str
    client: str = ""
    method: str = "GET"
    body: Any = None


class Answered(msgspec.Struct, frozen=True):
    """An answer. `body` is the text of what is no JSON."""

    status: int
    headers: dict[str, str]
    body: Any


class Served(msgspec.Struct, frozen=True):
    """What the copy answered, and in what its contracts break those that were released."""

    answers: list[Answered]
    breaks: list[str]
    style: list[str]


class CopiedTree:
    """The copy."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        ignored = shutil.ignore_patterns("node_modules")
        for name in COPIED:
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
        (folder / "openapi/rules/node_modules").symlink_to(ROOT / "openapi/rules/node_modules")
        self._before = self._files()

    def edit(self, path: str, old: str, new: str) -> None:
        """Replace `old`, which a file contains once."""
        text = (self.folder / path).read_text()
        assert text.count(old) == 1, f"{path} says {old!r} {text.count(old)} times"
        (self.folder / path).write_text(text.replace(old, new))

    def add(self, path: str, text: str) -> None:
        """Write a new file."""
        assert not (self.folder / path).exists()
        (self.folder / path).parent.mkdir(exist_ok=True)
        (self.folder / path).write_text(text)

    def touched(self) -> list[str]:
        """Return the files of before that are not as they were, without those that a command writes."""
        now = self._files()
        return sorted(path for path, content in self._before.items() if now.get(path) != content)

    def serve(self, requests: Sequence[Asked]) -> Served:
        """Write the copy's contracts, and answer requests with its experience layer, which has no process layer."""
        command, environment = [sys.executable, "-P", str(SCRIPT)], os.environ | {"PYTHONPATH": str(self.folder)}
        given = msgspec.json.encode(requests)
        done = subprocess.run(command, input=given, capture_output=True, check=False, cwd=self.folder, env=environment)
        assert done.returncode == 0, done.stderr.decode()
        return msgspec.json.decode((self.folder / "served.json").read_bytes(), type=Served)

    def contract(self, name: str) -> dict[str, Any]:
        """Return a contract as the copy wrote it."""
        return msgspec.json.decode((self.folder / GENERATED / f"{name}.json").read_bytes())

    def _files(self) -> dict[str, bytes]:
        return {
            str(path.relative_to(self.folder)): path.read_bytes()
            for name in COPIED
            if name != GENERATED
            for path in (self.folder / name).rglob("*")
            if path.is_file() and path.suffix != ".pyc"
        }
