"""Finds the line of the TOML that a part of the catalogue is written in."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from policies.catalogue.model import Path, Report, Violation


def lines_of(text: str) -> dict[Path, int]:
    """Return the line (from 1) of each table and key that is written out; keys inside inline tables share their
    line."""
    found: dict[Path, int] = {}
    counted: Counter[Path] = Counter()
    table: Path = ()
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*(\[\[?)([^\[\]]+)\]\]?\s*(#.*)?$", line):
            table = _keys(header[2])
            if header[1] == "[[":
                counted[table] += 1
                table = (*table, str(counted[table] - 1))
            path = table
        elif key := re.match(r"\s*([\w.\-]+|\"[^\"]+\")\s*=", line):
            path = (*table, *_keys(key[1]))
        else:
            continue
        for depth in range(1, len(path) + 1):
            found.setdefault(path[:depth], number)
    return found


def line_of(lines: dict[Path, int], path: Path) -> int:
    """Return the line of a path, or of the nearest part of it that is written out."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)


def located(text: str, reports: Iterable[Report]) -> list[Violation]:
    """Return what was reported with its lines, in their order."""
    flaws = list(reports)
    lines = lines_of(text) if flaws else {}
    found = [
        Violation(line_of(lines, path), ".".join(path) or "(file)", reason, remedy) for path, reason, remedy in flaws
    ]
    return sorted(found, key=lambda each: (each.line, each.key))


def _keys(text: str) -> Path:
    return tuple(each.strip().strip('"') for each in re.findall(r'"[^"]+"|[^.\s]+', text.strip()))
