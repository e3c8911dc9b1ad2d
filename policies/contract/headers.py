"""The headers of a request: what may be there once is there once, or the request is refused.

Of two values one reader would take the first, and the next one the last (RFC 9110, section 5.3).
"""

from __future__ import annotations

from collections.abc import Iterable

from policies.context import correlation
from policies.problems import REQUEST, ProblemError

HOST = b"host"
SINGLE = frozenset((HOST, b"authorization", b"content-type", b"idempotency-key", correlation.MARK))
"""Headers of which a request has one at most."""
Pairs = Iterable[tuple[bytes, bytes]]


def fault_of(headers: Pairs, http_version: str) -> str:
    """Return what is wrong with the headers of a request: one that is there again, or no host in a request of HTTP/1.1
    (RFC 9112, section 3.2). Empty when nothing is."""
    seen: set[bytes] = set()
    for name, _ in headers:
        if name in SINGLE:
            if name in seen:
                return f"The header {name.decode()} is there twice: send it once."
            seen.add(name)
    return "The header host is missing: send it." if HOST not in seen and http_version == "1.1" else ""


def single(headers: Pairs, http_version: str) -> dict[bytes, bytes]:
    """Return the headers by name. Raises `ProblemError` (400) for what `fault_of` finds."""
    if fault := fault_of(headers, http_version):
        raise ProblemError(REQUEST, fault)
    return dict(headers)
