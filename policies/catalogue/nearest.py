"""The name that somebody meant who wrote one that is not there."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches


def hint(name: str, known: Collection[str], ending: str = "") -> str:
    """Return the question whether the nearest of the known names was meant, in parentheses; empty when none is near.

    An `ending` that many names share makes none nearer.
    """
    stems = {each.removesuffix(ending): each for each in known}
    near = get_close_matches(name.removesuffix(ending), stems, 1)
    return f" (did you mean {stems[near[0]]}?)" if near else ""
