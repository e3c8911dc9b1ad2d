"""One id from the first call to the platform's own record."""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar, Token

HEADER = "x-correlation-id"
STATE = "correlation_id"
"""Where a request keeps its id, for answers that are made outside of its work."""
ACCEPTED = re.compile(r"[A-Za-z0-9._-]{8,64}")
_current: ContextVar[str] = ContextVar("correlation_id", default="")


def current() -> str:
    """The correlation id of the work at hand, or an empty string outside any."""
    return _current.get()


def enter(correlation_id: str) -> Token[str]:
    """From here on everything belongs to `correlation_id`, until `leave` gets the token."""
    return _current.set(correlation_id)


def leave(token: Token[str]) -> None:
    _current.reset(token)


@contextmanager
def correlated(correlation_id: str) -> Generator[None]:
    """Everything inside belongs to `correlation_id`."""
    token = enter(correlation_id)
    try:
        yield
    finally:
        leave(token)


def accepted(candidate: str) -> bool:
    """Whether an id from outside may be taken over: short and free of anything that could break a log or a header."""
    return ACCEPTED.fullmatch(candidate) is not None
