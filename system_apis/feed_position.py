"""How far each change feed has been read, on disk, so that a restart continues where it stopped."""

from __future__ import annotations

from pathlib import Path

from policies.store.files import make_private, write_atomically


class FeedPosition:
    """One position, replaced as a whole."""

    def __init__(self, path: Path, former: Path | None = None) -> None:
        """Open the position at `path`. `former` is the path at which an earlier version stored it."""
        make_private(path.parent)
        if former is not None and former.exists() and not path.exists():
            former.rename(path)
        self._path = path

    def read(self, default: str) -> str:
        return self._path.read_text() if self._path.exists() else default

    def write(self, position: str) -> None:
        write_atomically(self._path, position.encode())
