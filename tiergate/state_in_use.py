"""Who uses a state folder: the layers that run on it, all at once, or a restore, alone."""

from __future__ import annotations

import fcntl
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from policies.store.files import open_lock
from tiergate.settings import NotReady

RESTORING = "restoring"
"""The folder, in the state folder, of what a restore has not put in its place yet."""
LOCK = "layers.lock"


@contextmanager
def used_by_layer(folder: Path) -> Generator[None]:
    """Use a state folder beside other layers. Raises `NotReady` while a restore does, and after one that was cut
    short."""
    with open_lock(folder / LOCK) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise NotReady(f"a backup is being restored to {folder}: start the layer when that is done") from error
        if (folder / RESTORING).exists():
            raise NotReady(f"a restore to {folder} was cut short: run `tiergate restore` again")
        yield


@contextmanager
def used_alone(folder: Path) -> Generator[None]:
    """Use a state folder alone. Raises `NotReady` while a layer runs on it."""
    with open_lock(folder / LOCK) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise NotReady(f"a layer runs on {folder}: stop all layers that use it, and run this again") from error
        yield
