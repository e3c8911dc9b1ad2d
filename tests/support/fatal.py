"""What ends a job: each kind of fault that Python, the system or a mistake of ours may raise in it."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable

import msgspec

FATAL: dict[str, Callable[[], BaseException]] = {
    "a mistake of ours": lambda: KeyError("key"),
    "what cannot be read": lambda: msgspec.DecodeError("no JSON"),
    "a full disk": lambda: OSError(errno.ENOSPC, "No space left on device"),
    "no more memory": MemoryError,
    "no more stack": RecursionError,
    "no more threads": lambda: RuntimeError("can't start new thread"),
    "a cancellation that nobody asked for": asyncio.CancelledError,
    "SystemExit": lambda: SystemExit(1),
    "KeyboardInterrupt": KeyboardInterrupt,
    "GeneratorExit": GeneratorExit,
}
