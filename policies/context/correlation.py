"""The correlation id: one id from the first call to the platform's own record."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar, Token

from policies.policy import Call, Policy

HEADER = "x-correlation-id"
MARK = HEADER.encode()
STATE = "correlation_id"
"""The key of a request's state that holds its id, for answers that are made outside of its work."""
ACCEPTED = re.compile(r"[A-Za-z0-9._-]{8,64}")
_current: ContextVar[str] = ContextVar("correlation_id", default="")


def current() -> str:
    """Return the correlation id of the present work, or an empty string outside any."""
    return _current.get()


def enter(correlation_id: str) -> Token[str]:
    """Begin work that belongs to `correlation_id`, until `leave` is called with the returned token."""
    return _current.set(correlation_id)


def leave(token: Token[str]) -> None:
    _current.reset(token)


Around = Callable[[str], AbstractContextManager[object]]
"""Stands around work, by what it is."""
_around: Around | None = None


def observe(around: Around | None) -> None:
    """Let `around` stand around all work that is `correlated` from now on; nothing if None."""
    global _around  # noqa: PLW0603 - a process is observed or not
    _around = around


@contextmanager
def correlated(correlation_id: str, doing: str = "work") -> Generator[None]:
    """Let everything inside belong to `correlation_id`. `doing` is what it is, in a word or two and without ids."""
    token = enter(correlation_id)
    try:
        if _around is None:
            yield
        else:
            with _around(doing):
                yield
    finally:
        leave(token)


def accepted(candidate: str) -> bool:
    """Return whether an id from outside is used as it is: 8 to 64 characters, all safe in a log and a header."""
    return ACCEPTED.fullmatch(candidate) is not None


class Correlation(Policy):
    """All that is done for a call belongs to its correlation id."""

    def enter(self, call: Call) -> None:
        call.correlation = _current.set(call.correlation_id)

    def leave(self, call: Call) -> None:
        if call.correlation is not None:
            _current.reset(call.correlation)
