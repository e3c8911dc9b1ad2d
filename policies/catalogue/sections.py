"""The sections of the catalogue that one policy alone owns: each is declared in the policy's own file.

The catalogue stands below all policies and imports none. It loads the module that lists them by its name before it
reads a file, so that a section is known to every reader; one that no policy has declared is refused as an unknown key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from importlib import import_module
from typing import Any, Generic, TypeVar, cast, get_origin

import msgspec

from policies.catalogue.model import Catalogue, Report

T = TypeVar("T")
POLICIES = "policies.chain.pipeline"
"""The module that lists all policies."""
Check = Callable[[Catalogue], Iterable[Report]]
Diff = Callable[[Catalogue, Catalogue], Iterable[str]]
_declared: dict[str, Section[Any]] = {}


class Section(Generic[T]):
    """A part of the catalogue that one policy owns.

    `kind` is its type: a table of tables (`dict[str, …]`), a list of tables, or one table.
    """

    def __init__(
        self, name: str, kind: type[T], check: Check, title: str, diff: Diff | None, *, required: bool
    ) -> None:
        self.name = name
        self.check = check
        self.title = title
        self.diff = diff
        self.field = (name, kind) if required else (name, kind, msgspec.field(default_factory=get_origin(kind) or kind))

    def of(self, catalogue: Catalogue) -> T:
        """Return the section of a catalogue that was read; empty where nothing is written."""
        return cast("T", getattr(catalogue, self.name))


def _nothing(catalogue: Catalogue) -> Iterable[Report]:
    del catalogue
    return ()


def section(
    name: str,
    kind: type[T],
    *,
    check: Check = _nothing,
    title: str = "",
    diff: Diff | None = None,
    required: bool = False,
) -> Section[T]:
    """Declare a section.

    `check` reports what is wrong beyond its shape; `diff` tells of changes in sentences, by default value by value
    under `title`. Raises `ValueError` when the name is taken.
    """
    if name in _declared or name in Catalogue.__struct_fields__:
        raise ValueError(f"the catalogue has a section {name!r} already")
    _declared[name] = made = Section(name, kind, check, title or name, diff, required=required)
    return made


def sections() -> tuple[Section[Any], ...]:
    """Return every section that a policy has declared, by name."""
    import_module(POLICIES)
    return tuple(_declared[name] for name in sorted(_declared))


def catalogue_type() -> type[Catalogue]:
    """Return the catalogue with all its sections, as it is read and as its schema says."""
    return _with(sections())


@cache
def _with(declared: tuple[Section[Any], ...]) -> type[Catalogue]:
    fields = [each.field for each in declared]
    about = {"__doc__": "The facts that the platform team governs."}
    made = msgspec.defstruct(
        "Catalogue", fields, bases=(Catalogue,), namespace=about, module=__name__, frozen=True, kw_only=True
    )
    return cast("type[Catalogue]", made)
