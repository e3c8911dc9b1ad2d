"""What becomes of a workflow that cannot use the database in the middle of a step: it is resumed, and never fails."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from sqlalchemy import exc

Step = TypeVar("Step", bound=Callable[..., Any])
AWAY = (exc.OperationalError, exc.InterfaceError, exc.TimeoutError)
"""It restarts, its disk is full, it has ended one of two transactions that waited for each other."""


class Interrupted(BaseException):
    """The database could not be used. No `Exception`: the engine writes nothing about it into the workflow, which stays
    pending without a thread, and is resumed when the database is back."""


def resumable(step: Step) -> Step:
    """Let a step of a workflow raise `Interrupted` when it cannot use the database."""

    @wraps(step)
    def taken(*args: Any, **kwargs: Any) -> Any:
        try:
            return step(*args, **kwargs)
        except AWAY as error:
            raise Interrupted(type(error).__name__) from error

    return cast("Step", taken)
