"""Past participles of English verbs. No library that knows them is light: each brings a corpus or a tagger."""

from __future__ import annotations

from functools import cache
from pathlib import Path

LISTED = Path(__file__).with_name("participles.txt")
"""The irregular ones, with their source."""


@cache
def irregular() -> frozenset[str]:
    """Return the past participles that do not end in -ed."""
    lines = LISTED.read_text().splitlines()
    return frozenset(word for line in lines if not line.startswith("#") for word in line.split())


def is_past_participle(word: str) -> bool:
    """Return whether the last part of `word`, as in `partially_paid`, is a past participle."""
    last = word.rpartition("_")[2]
    return last.endswith("ed") or last in irregular()
