"""Paths on a platform, of segments that each stay what they are: an id leads to no other path, and to no query."""

from __future__ import annotations

from typing import NewType
from urllib.parse import quote

from canonical.faults import Rejected

PlatformPath = NewType("PlatformPath", str)
"""A path that `path_of` has made. Clients of platforms take no other."""
STEPS = frozenset({"", ".", ".."})
"""Segments that are no names (RFC 3986, section 5.2.4): they would lead to what is above."""


def path_of(domain: str, *segments: str) -> PlatformPath:
    """Return the path of some segments, without a slash in front: names of a platform's API, and ids from anywhere.

    Raises `Rejected`, by the platform's domain, for a segment that is no name.
    """
    for each in segments:
        if each in STEPS:
            raise Rejected(domain, f"{each!r} is no id of a record")
    return PlatformPath("/".join(quote(each, safe=":") for each in segments))
