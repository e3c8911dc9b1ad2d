"""Reads the mapping of an instance: a TOML file that says which of a platform's own records and fields is what here.

It is the company's own file (the examples are in `deploy/mappings/`), checked at start as the catalogue is: each
mistake with its line, its key and the remedy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from policies.catalogue import document
from policies.catalogue.locate import located
from policies.catalogue.model import EXAMPLES, Report, Violation

T = TypeVar("T")


class MappingError(ValueError):
    """A mapping that cannot be used; `violations` say why."""

    def __init__(self, name: str, violations: list[Violation]) -> None:
        super().__init__("\n    ".join(f"{name}: {each}" for each in violations))
        self.violations = violations


@cache
def load(path: Path, kind: type[T], check: Callable[[Any], Iterable[Report]]) -> T:
    """Return the mapping in a file, which is read once.

    Raises `MappingError` with everything that is wrong with it, or that it cannot be read.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        reason = f"it cannot be read: {error.strerror}"
        raise MappingError(str(path), [Violation(1, "(file)", reason, "name a file that is there")]) from error
    mapping, text, violations = document.read(raw, kind, f"the examples in {EXAMPLES}/mappings, and {kind.__name__}")
    if mapping is not None:
        violations = located(text, check(mapping))
    if mapping is None or violations:
        raise MappingError(path.name, violations)
    return mapping
