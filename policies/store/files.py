"""Files that several processes share: a secret that is created on first use, a document that is updated atomically."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable
from pathlib import Path


def read_or_create(path: Path, make: Callable[[], bytes]) -> bytes:
    """Return what the file holds, after writing what `make` returns if there is no file (mode 0600).

    Of several processes that start at once, all get the same content.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(f".{os.getpid()}")
        draft.touch(mode=0o600)
        draft.write_bytes(make())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)  # whole or not at all: no process reads a half of it
        draft.unlink()
    return path.read_bytes()


def update_atomically(path: Path, act: Callable[[bytes], bytes], mode: int) -> None:
    """Replace what the file holds (nothing, if there is none) by what `act` makes of it.

    Concurrent updates are done one after the other, and a reader gets one of them whole. `mode` is that of a new file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        write_atomically(path, act(path.read_bytes() if path.exists() else b""), mode)


def write_atomically(path: Path, content: bytes, mode: int) -> None:
    """Replace what the file holds. A reader gets the old content or the new, whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(f".{os.getpid()}")
    draft.touch(mode=mode)
    draft.write_bytes(content)
    draft.replace(path)
