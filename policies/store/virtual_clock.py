"""The time of a sandbox, in which months pass within a minute: for the stand-ins and the layers it is the same."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from canonical.ids import utc_now


class VirtualClock:
    """Tell the time that a file says to be ahead of the machine's. A file that is not there says that it is not."""

    def __init__(self, path: Path) -> None:
        """`path` is of a file with a number of seconds, which is replaced as a whole when time is set forward."""
        self._path = path

    def __call__(self) -> datetime:
        """Return the moment, UTC. Raises `ValueError` for a file that holds no number."""
        try:
            ahead = float(self._path.read_text())
        except FileNotFoundError:
            ahead = 0.0
        return utc_now() + timedelta(seconds=ahead)
