"""The result of one HTTP exchange: a response, or what its failure means."""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

import msgspec

from canonical.faults import PlatformFault, Unavailable, UnknownOutcome

CONNECTING = 3.0
"""Seconds that making a connection may take: a request that fails then was never sent."""
LONGEST = 16 * 1024 * 1024
"""Bytes that an answer may have."""
RESERVED = "/?&=%:@!$'()*+,;~"
"""The characters that stay as they are in the path of a request (RFC 3986, 2.2); all else is percent-encoded."""


class HttpResponse:
    """A response with its whole body. Names of headers are in lower case."""

    __slots__ = ("content", "headers", "status")

    def __init__(self, status: int, headers: Mapping[bytes, bytes], content: bytes) -> None:
        self.status = status
        self.headers = headers
        self.content = content

    @property
    def retry_after(self) -> float | None:
        """Return the seconds that the server asks to wait (RFC 9110, section 10.2.3), or None.

        A date is counted from the answer's own `Date`, whatever the clocks say here.
        """
        asked = self._header(b"retry-after")
        if not asked:
            return None
        if asked.isascii() and asked.isdigit():
            return float(asked)
        try:
            wait = parsedate_to_datetime(asked) - parsedate_to_datetime(self._header(b"date"))
        except (ValueError, TypeError):  # no date, or one of the two with no time zone
            return None
        return max(wait.total_seconds(), 0.0)

    def json(self, platform: str, *, safe: bool) -> Any:
        """Return the body, decoded.

        Raises `Unavailable` for a body that is no JSON, such as a maintenance page, whatever its status;
        `UnknownOutcome` when the request is not `safe` and may have done something.
        """
        try:
            return msgspec.json.decode(self.content)
        except msgspec.DecodeError as error:
            reason = f"it answered {self.status} with something that is no JSON"
            raise (Unavailable(platform, reason) if safe else UnknownOutcome(platform, reason)) from error

    def _header(self, name: bytes) -> str:
        return self.headers.get(name, b"").decode("latin-1")

    @property
    def is_success(self) -> bool:
        return HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES

    @property
    def is_page(self) -> bool:
        """Return whether the body is HTML, which is for people."""
        return self._header(b"content-type").lower().startswith("text/html")

    @property
    def is_server_error(self) -> bool:
        return self.status >= HTTPStatus.INTERNAL_SERVER_ERROR


class TransportFailure(Exception):
    """There is no answer. `request_sent` says whether the request may have arrived."""

    def __init__(self, reason: str, *, request_sent: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.request_sent = request_sent

    def fault(self, platform: str, *, safe: bool) -> PlatformFault:
        """Return the fault that this is for `platform`.

        A `safe` request changes nothing, so its outcome is never in doubt: it is `Unavailable`.
        """
        if safe or not self.request_sent:
            return Unavailable(platform, f"no answer ({self.reason})")
        return UnknownOutcome(platform, f"no answer after the request was sent ({self.reason})")
