"""The tour of the README: its commands, and what it shows of their answers."""

from __future__ import annotations

import re
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

BLOCK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
ONCE = ("tiergate sell", " -d ", "=$(")
"""What stands in a command that is not for looking: it changes something, or keeps what it found."""


class Step(NamedTuple):
    """A command as it is written, and the answer that is shown under it."""

    command: str
    shown: str

    @property
    def looks(self) -> bool:
        """Return whether the command may be run again until its answer is there."""
        return bool(self.shown) and not any(each in self.command for each in ONCE)


def steps(readme: Path) -> list[Step]:
    """Return the steps of the tour in order."""
    text = readme.read_text()
    tour = text[text.index("## A tour") : text.index("## Use it on your own systems")]
    return [step for block in BLOCK.findall(tour) for step in _steps(block)]


def _steps(block: str) -> list[Step]:
    lines = block.splitlines()
    begins = [place for place, line in enumerate(lines) if line.startswith("$ ")]
    found: list[Step] = []
    for begin, end in pairwise([*begins, len(lines)]):
        length = next(length for length in range(1, end - begin + 1) if _is_whole(lines[begin : begin + length]))
        command = "\n".join(lines[begin : begin + length])[2:]
        found.append(Step(command, "\n".join(lines[begin + length : end])))
    return found


def _is_whole(lines: list[str]) -> bool:
    """Return whether these lines are a command that the shell does not wait for more of."""
    if lines[-1].endswith("\\"):
        return False
    return subprocess.run(["bash", "-n", "-c", "\n".join(lines)[2:]], capture_output=True, check=False).returncode == 0


def is_in(shown: str, answer: str) -> bool:
    """Return whether an answer is as it is shown: its parts between ellipses in this order, whatever the ids, the
    numbers and the spaces are."""
    rest = _fixed(answer)
    for part in filter(None, map(_fixed, shown.split("…"))):
        _, there, rest = rest.partition(part)
        if not there:
            return False
    return True


def _fixed(text: str) -> str:
    return re.sub(r"\d+", "#", re.sub(r"[0-9a-f]{12,}", "#", "".join(text.split())))
