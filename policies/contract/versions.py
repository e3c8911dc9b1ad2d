"""Major versions and their lives: what a deprecated one says of itself, and how one that has ended answers."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from email.utils import format_datetime

from policies.catalogue.model import Version
from policies.problems import ENDED, MISSING, Headers, ProblemError


def named_in(path: str) -> str:
    """Return the version that a path names: `/<api>/<version>/…`; nothing in a path that belongs to no API."""
    return path.split("/", 3)[2] if path.count("/") > 1 else ""


def check(api: str, version: str, life: Version, today: date) -> Headers:
    """Return the headers that a call of this version is answered with (RFC 9745, RFC 8594, RFC 8288).

    Raises `ProblemError`: 410 from the day of the sunset on, 404 for a version that is still a draft.
    """
    if life.state == "draft":
        raise ProblemError(MISSING, f"There is no version {version} of this API.")
    if life.sunset_on and life.sunset_on <= today:
        raise ProblemError(ENDED, f"{version} of this API ended on {life.sunset_on}; move to {life.successor}.")
    if life.deprecated_on is None:
        return []
    headers: Headers = [(b"deprecation", f"@{int(_midnight(life.deprecated_on).timestamp())}".encode())]
    if life.sunset_on:
        headers.append((b"sunset", format_datetime(_midnight(life.sunset_on), usegmt=True).encode()))
    links = [f'</{api}/{life.successor}>; rel="successor-version"']
    if life.guide:
        links.append(f'<{life.guide}>; rel="deprecation"; type="text/html"')
    headers.append((b"link", ", ".join(links).encode()))
    return headers


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
