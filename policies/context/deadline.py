"""How long the present call may still take. Every layer knows it, and begins nothing that cannot end in time.

A layer sends the next one how many milliseconds are left, not a time of day: clocks differ. The service tier's time-out
is the most that a call has; a caller may ask for less.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar, Token

import msgspec

from policies.policy import Call, Policy, Rules

HEADER = "x-request-timeout"
"""The header with the milliseconds that the caller still waits."""
MARK = HEADER.encode()
DIGITS = 9
"""Digits that the header may have: more than 11 days are no limit."""


class Deadline(msgspec.Struct, frozen=True):
    """A call that is being answered. `ends_at` is on the monotonic clock, in seconds."""

    operation_id: str
    ends_at: float


_current: ContextVar[Deadline | None] = ContextVar("call", default=None)


def enter(operation_id: str, timeout: float, asked: bytes) -> Token[Deadline | None]:
    """Begin a call that ends after `timeout` seconds, until `leave` is called with the returned token.

    `asked` is the value of the header (milliseconds, empty for none); a smaller one replaces `timeout`.
    """
    if asked and asked.isdigit() and len(asked) <= DIGITS:
        timeout = min(timeout, int(asked) / 1000)
    return _current.set(Deadline(operation_id, time.monotonic() + timeout))


def leave(token: Token[Deadline | None]) -> None:
    _current.reset(token)


@contextmanager
def within(operation_id: str, seconds: float) -> Generator[None]:
    """Let everything inside belong to one call that has `seconds`."""
    token = enter(operation_id, seconds, b"")
    try:
        yield
    finally:
        leave(token)


def operation() -> str:
    """Return the operation of the present call, or an empty string outside any: in a change feed, a poll, a
    workflow.
    """
    call = _current.get()
    return call.operation_id if call else ""


def left(most: float) -> float:
    """Return the seconds that what begins now may take: `most`, or less when the present call ends sooner.

    The result is negative when the call is over.
    """
    call = _current.get()
    return min(most, call.ends_at - time.monotonic()) if call else most


class TimeLimit(Policy):
    """A call has the time that its service tier gives it, or less if its caller waits less."""

    def __init__(self, rules: Rules) -> None:
        self._operation_id = rules.operation_id
        self._timeout = rules.service_tier.timeout

    def enter(self, call: Call) -> None:
        call.deadline = enter(self._operation_id, self._timeout, call.headers.get(MARK, b""))

    def leave(self, call: Call) -> None:
        if call.deadline is not None:
            _current.reset(call.deadline)
