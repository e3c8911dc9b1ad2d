"""Files that several processes share: a secret that is created on first use, a document that is updated atomically."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700


def is_full(error: OSError) -> bool:
    """Return whether an error is that of a disk without room, or of a user's quota."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def read_or_create(path: Path, make: Callable[[], bytes]) -> bytes:
    """Return what the file holds, after writing what `make` returns if there is no file (mode 0600).

    Of several processes that start at once, all get the same content.
    """
    if not path.exists():
        draft = _draft(path, make())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)  # whole or not at all: no process reads a half of it
        draft.unlink()
    return path.read_bytes()


def update_atomically(path: Path, act: Callable[[bytes], bytes]) -> None:
    """Replace what the file holds (nothing, if there is none) by what `act` makes of it (mode 0600).

    Concurrent updates are done one after the other, and a reader gets one of them whole. Nobody else can hold them up:
    who cannot open a file cannot lock it.
    """
    with open_lock(path.with_suffix(".lock")) as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        write_atomically(path, act(path.read_bytes() if path.exists() else b""))


def open_lock(path: Path) -> TextIO:
    """Return a file to lock, which is created if there is none (mode 0600, in a folder that nobody else may open)."""
    make_private(path.parent)
    _hand_over(path, os.open(path, os.O_RDWR | os.O_CREAT, PRIVATE_FILE))
    return path.open("w")


def stamp(path: Path) -> tuple[int, int, int]:
    """Return what differs once a file was written again, or replaced."""
    found = path.stat()
    return found.st_mtime_ns, found.st_size, found.st_ino


def write_atomically(path: Path, content: bytes) -> None:
    """Replace what the file holds (mode 0600). A reader gets the old content or the new, whole."""
    _draft(path, content).replace(path)


def make_private(folder: Path) -> None:
    """Create a folder that nobody else may open (mode 0700), unless there is one."""
    folder.mkdir(PRIVATE_FOLDER, parents=True, exist_ok=True)


def _draft(path: Path, content: bytes) -> Path:
    make_private(path.parent)
    draft = path.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
    draft.unlink(missing_ok=True)  # of a process that had the same number and was killed
    opened = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
    _hand_over(draft, opened)
    draft.write_bytes(content)
    return draft


def _hand_over(path: Path, opened: int) -> None:
    """Give a new file to whom its folder belongs: what an administrator changes, the layers still read."""
    if os.geteuid() == 0:
        owner = path.parent.stat()
        os.fchown(opened, owner.st_uid, owner.st_gid)
    os.close(opened)
