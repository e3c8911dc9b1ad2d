"""Files of our own that several processes share: a secret that is made on first use, a document that is update_atomically as a whole."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable
from pathlib import Path


def read_or_create(path: Path, make: Callable[[], bytes]) -> bytes:
    """What the file holds; what `make` gives if there was none. Of several who start at once, all get the first one's."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(f".{os.getpid()}")
        draft.touch(mode=0o600)
        draft.write_bytes(make())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)  # whole or not at all: nobody reads a half of it
        draft.unlink()
    return path.read_bytes()


def update_atomically(path: Path, act: Callable[[bytes], bytes], mode: int) -> None:
    """Put in the place of what the file holds (nothing, if there is none) what `act` makes of it. Of two at once, one works
    on the other's; who reads gets one of them whole. `mode` is who may read a new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        draft = path.with_suffix(f".{os.getpid()}")
        draft.touch(mode=mode)
        draft.write_bytes(act(path.read_bytes() if path.exists() else b""))
        draft.replace(path)
