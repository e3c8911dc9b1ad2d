"""How long the call at hand may still take: from the edge to the platform everybody knows, and begins nothing that cannot end.

A layer tells the next one how many milliseconds are left, not a time of day: clocks differ. The service tier's time-out
is the most that a call has; a caller may ask for less.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar, Token

import msgspec

HEADER = "x-request-timeout"
"""Milliseconds that the caller still waits."""
MARK = HEADER.encode()
DIGITS = 9
"""A caller that says more than 11 days says nothing."""


class Deadline(msgspec.Struct, frozen=True):
    """A call that is being answered. `ends_at` is on the monotonic clock, in seconds."""

    operation_id: str
    ends_at: float


_current: ContextVar[Deadline | None] = ContextVar("call", default=None)


def enter(operation_id: str, timeout: float, asked: bytes) -> Token[Deadline | None]:
    """From here on all belongs to this call, until `leave` gets the token. `timeout` is in seconds, `asked` the header's value."""
    if asked and asked.isdigit() and len(asked) <= DIGITS:
        timeout = min(timeout, int(asked) / 1000)
    return _current.set(Deadline(operation_id, time.monotonic() + timeout))


def leave(token: Token[Deadline | None]) -> None:
    _current.reset(token)


@contextmanager
def within(operation_id: str, seconds: float) -> Generator[None]:
    """Everything inside belongs to one call that has so long."""
    token = enter(operation_id, seconds, b"")
    try:
        yield
    finally:
        leave(token)


def operation() -> str:
    """The operation at hand, or an empty string outside any: in a change feed, a sweep, a workflow."""
    call = _current.get()
    return call.operation_id if call else ""


def left(most: float) -> float:
    """Seconds that what begins now may take: `most`, or less when the call at hand ends sooner. May be below zero."""
    call = _current.get()
    return min(most, call.ends_at - time.monotonic()) if call else most
