"""What `tiergate setup` looks after on a platform: how each thing is, what would be done about it, and what does it.

A connector that can prepare its platform returns a `Setup` from `prepare(settings, context, administrator)`, which it
exports beside its `connect`. A setup marks what it makes, finds what exists before it creates, and takes away nothing
that it did not make.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal, Protocol

import msgspec

from policies.store.secret import NO_SECRET, Secret

MARK = "Made by `tiergate setup`."
"""The note on what setup made, on platforms that have a place for one."""
State = Literal["there", "missing", "wrong", "ours", "kept"]
"""Whether a thing is there as it is needed; when things are taken away, whether setup made it and it can go."""


class Made(msgspec.Struct, frozen=True):
    """What people have to know of what was done, often nothing.

    `secret` is one that the platform shows this once, for the setting that `setting` names.
    """

    note: str = ""
    setting: str = ""
    secret: Secret = NO_SECRET


Act = Callable[[], Awaitable[Made]]


class Step(msgspec.Struct, frozen=True):
    """One thing. `act` does what `plan` says; without it there is nothing to do, or a person has to."""

    what: str
    state: State
    plan: str = ""
    act: Act | None = None


class Setup(Protocol):
    """The preparation of one platform. Its methods, and what its steps do, raise leaves of `PlatformFault`."""

    async def steps(self) -> list[Step]:
        """Return everything that is needed and can be looked after, in the order in which it is made. Only reads."""
        ...

    async def removal(self) -> list[Step]:
        """Return everything that is there of it, in the order in which it is taken away. Only reads."""
        ...
