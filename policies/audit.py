"""An append-only line for every write: who did what to which object, on whose behalf, with what result."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

import msgspec


class Entry(msgspec.Struct, frozen=True):
    """One line. Never a body, a token or a query string: those may hold secrets and personal fields."""

    at: datetime
    layer: str
    operation: str
    client: str
    on_behalf_of: str
    object: str
    status: int
    correlation_id: str


class AuditLog:
    """Appends JSON lines to one file, opened once; each line is one atomic write."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def write(self, entry: Entry) -> None:
        os.write(self._file, msgspec.json.encode(entry) + b"\n")

    def close(self) -> None:
        os.close(self._file)
