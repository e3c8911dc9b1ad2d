"""One exchange over HTTP: what came back, and what it means when nothing did."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from canonical.faults import PlatformFault, Unavailable, UnknownOutcome

CONNECTING = 3.0
"""Seconds that a connection may take to be made: what failed then was never sent."""
LONGEST = 16 * 1024 * 1024
"""Bytes that an answer has at the most."""
RESERVED = "/?&=%:@!$'()*+,;~"
"""What stays as it is in the path of a request (RFC 3986, 2.2); all else is percent-encoded."""


class HttpResponse:
    """What came back, with its body whole. Names of headers are in lower case."""

    __slots__ = ("content", "headers", "status")

    def __init__(self, status: int, headers: Mapping[bytes, bytes], content: bytes) -> None:
        self.status = status
        self.headers = headers
        self.content = content

    @property
    def retry_after(self) -> str:
        """The header of that name, as it was sent."""
        return self.headers.get(b"retry-after", b"").decode("latin-1")

    @property
    def is_success(self) -> bool:
        return HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES

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
        """What it means. `safe` requests change nothing, so their outcome is never in doubt."""
        if safe or not self.request_sent:
            return Unavailable(platform, f"no answer ({self.reason})")
        return UnknownOutcome(platform, f"no answer after the request was sent ({self.reason})")
