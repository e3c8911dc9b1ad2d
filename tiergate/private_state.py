"""State belongs to the user that the layers run as: nobody else reads it, or holds its locks.

It has customers, secrets, and who may no longer call. What is new is private by the umask of each command; what an
older version or a copy left open is closed at the next start.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import structlog

OTHERS = 0o077
"""The rights of all users but the owner."""
OWN = (
    "*.sqlite",
    "*.sqlite-wal",
    "*.sqlite-shm",
    "*.sqlite-journal",
    "*.lock",
    "revoked.json",
    "client-secrets.json",
    "issuer.pem",
    "signing-keys.json",
    "audit.key",
    "webhook.key",
    "audit",
    "audit/*",
    "cursors",
    "cursors/*",
)
"""What the layers write into the state folder."""
log = structlog.get_logger("tiergate.state")


def too_open(folder: Path) -> Iterator[tuple[Path, int]]:
    """Yield what of the state others than its owner may use, with its mode: the folder itself, and what is in it."""
    if not folder.is_dir():
        return
    for path in (folder, *sorted(each for pattern in OWN for each in folder.glob(pattern))):
        try:
            found = path.lstat()
        except FileNotFoundError:  # a journal, or a draft, of a layer that runs
            continue
        mode = stat.S_IMODE(found.st_mode)
        if mode & OTHERS and not stat.S_ISLNK(found.st_mode):
            yield path, mode


def close_to_others(folder: Path) -> None:
    """Take from others what they may do with the state. What belongs to another user is left, and the doctor says so.

    A folder that somebody works in keeps its own mode: it was there for something else before.
    """
    for path, mode in too_open(folder):
        if path == folder and Path.cwd().is_relative_to(folder.resolve()):
            continue
        try:
            path.chmod(mode & ~OTHERS)
        except OSError as error:
            log.warning("state stays open to other users", file=path.name, reason=type(error).__name__)
