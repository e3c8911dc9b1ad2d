"""Documents that replicas share: what one of them changes, all of them read.

Replicas on one machine share files of the state folder; replicas on several share `shared_database`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from policies.store.files import stamp, update_atomically


class StoreAway(OSError):
    """What replicas share cannot be reached now. The message says why, to those who run the gateway."""


def why_away(error: OSError) -> str:
    """Return why something stored cannot be read or written, without a path: the words of a `StoreAway`, the kind of
    any other error."""
    return str(error) if isinstance(error, StoreAway) else type(error).__name__


class Document(Protocol):
    """One document. It is read and replaced as a whole."""

    def read(self) -> bytes:
        """Return what the document says; empty when there is none. Raises `OSError`, a `StoreAway` among them."""
        ...

    def change(self, act: Callable[[bytes], bytes]) -> None:
        """Replace the document by what `act` makes of it. Concurrent changes are done one after the other, in whichever
        process they are. Raises as `read` does."""
        ...


class FileDocument:
    """A document that is a file, for replicas on one machine."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._content = b""

    def read(self) -> bytes:
        try:
            found = stamp(self._path)
        except FileNotFoundError:
            return b""
        if found != self._stamp:
            self._content, self._stamp = self._path.read_bytes(), found
        return self._content

    def change(self, act: Callable[[bytes], bytes]) -> None:
        update_atomically(self._path, act)
