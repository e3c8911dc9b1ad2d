"""The result of one HTTP exchange: a response, or what its failure means."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, TypeVar, cast, overload

import msgspec

from canonical.faults import PlatformFault, Unavailable, UnknownOutcome

CONNECTING = 3.0
"""Seconds that making a connection may take: a request that fails then was never sent."""
LONGEST = 16 * 1024 * 1024
"""Bytes that an answer may have."""
EXCHANGE = "x-exchange"
"""The header that names one request to a layer: the answer to it has the same. An answer to another, or one that nobody
asked for, is none."""
EXCHANGE_MARK = EXCHANGE.encode()
REPLACEMENT = "\ufffd"
"""What stands for a character that no text can hold (Unicode: REPLACEMENT CHARACTER)."""
LONGEST_PAUSE = 86_400.0
"""Seconds: nobody asks for more than a day in earnest."""
UNSTORABLE = re.compile(r"[\x00\ud800-\udfff]")
SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
T = TypeVar("T")
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
        asked = self._header(b"retry-after").strip()
        if not asked:
            return None
        if SECONDS.fullmatch(asked):  # some send a fraction, which the standard has not
            return min(float(asked), LONGEST_PAUSE)
        try:
            wait = parsedate_to_datetime(asked) - parsedate_to_datetime(self._header(b"date"))
        except (ValueError, TypeError, OverflowError):  # no date, one with no time zone, or a year of 20 digits
            return None
        return min(max(wait.total_seconds(), 0.0), LONGEST_PAUSE)

    @overload
    def json(self, platform: str, *, safe: bool) -> Any: ...

    @overload
    def json(self, platform: str, *, safe: bool, shape: type[T]) -> T: ...

    def json(self, platform: str, *, safe: bool, shape: type[T] | None = None) -> T | Any:
        """Return the body, decoded, as `shape` when one is given. What no text can hold in it becomes `REPLACEMENT`.

        Raises `Unavailable` for a body that is no JSON, such as a maintenance page, or of another shape, whatever its
        status; `UnknownOutcome` when the request is not `safe` and may have done something.
        """
        try:
            found = decoded(self.content)
        except (ValueError, RecursionError) as error:
            reason = f"it answered {self.status} with something that is no JSON"
            raise _not_asked_for(platform, reason, safe=safe) from error
        try:
            return found if shape is None else msgspec.convert(found, shape)
        except msgspec.ValidationError as error:
            reason = f"it answered {self.status} with JSON that is not what was asked for ({error})"
            raise _not_asked_for(platform, reason, safe=safe) from error

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


def _not_asked_for(platform: str, reason: str, *, safe: bool) -> PlatformFault:
    return Unavailable(platform, reason) if safe else UnknownOutcome(platform, reason)


def decoded(content: bytes) -> Any:
    """Return decoded JSON that a platform sent. Raises `ValueError` for what is none, `RecursionError` for what is too
    deep.

    Half of a surrogate pair, which platforms send when they cut a text in the middle of a character, is not JSON to
    everybody, and neither that nor NUL can be stored: such an answer is read whole, with another character for it. One
    bad record must not keep all others of a page from being read.
    """
    if b"\\u0000" not in content:
        try:
            return msgspec.json.decode(content)
        except (msgspec.DecodeError, UnicodeDecodeError):
            pass
    return storable(json.loads(content.decode(errors="replace"), parse_constant=_refused))


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def storable(value: Any) -> Any:
    """Return a JSON value with `REPLACEMENT` for each character that cannot be stored."""
    match value:
        case str():
            return UNSTORABLE.sub(REPLACEMENT, value)
        case list():
            return [storable(each) for each in cast("list[Any]", value)]
        case dict():
            return {storable(key): storable(each) for key, each in cast("dict[str, Any]", value).items()}
        case _:
            return value
