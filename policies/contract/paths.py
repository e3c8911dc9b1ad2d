"""The path of a request: one path has one spelling, or a rule that a proxy in front has for it can be passed by.

The web framework takes empty segments, encoded letters and encoded slashes for the path that they stand for, and a
slash at the end for none (RFC 3986, section 6.2.2, leaves it to the server).
"""

from __future__ import annotations

import re

from policies.problems import NO_SUCH_PATH, ProblemError

OTHER_SPELLING = re.compile(rb"//|%(2[fF]|3[0-9]|[46][1-9a-fA-F]|[57][0-9aA])")
"""An empty segment, an encoded slash, an encoded digit or letter."""


def refuse_other_spelling(raw_path: bytes, *, of_api: bool) -> None:
    """Raise `ProblemError` (404) for a path that is another spelling of one that there is. Pages and probes may have a
    slash at their end. `raw_path` is as it was sent, with or without its query."""
    path = raw_path.partition(b"?")[0]
    if OTHER_SPELLING.search(path) or (of_api and path.endswith(b"/")):
        detail = "Write the path without empty segments, a slash at its end, and encoded slashes, letters or digits."
        raise ProblemError(NO_SUCH_PATH, detail)
