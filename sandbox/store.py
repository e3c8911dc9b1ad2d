"""The state of a stand-in: documents in one SQLite file, and one clock that everything reads."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

Document = dict[str, Any]


class Store:
    """Store documents by kind and id, in the order they were made. Every write is on disk before it returns.

    Used from one event loop; reads come from memory, so that a stand-in is never what is measured.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.execute("CREATE TABLE IF NOT EXISTS documents (kind TEXT, id TEXT, body BLOB, PRIMARY KEY (kind, id))")
        self._kinds: dict[str, dict[str, Document]] = {}
        for kind, key, body in self._db.execute("SELECT kind, id, body FROM documents ORDER BY rowid"):
            self._kinds.setdefault(kind, {})[key] = msgspec.json.decode(body)

    def get(self, kind: str, key: str) -> Document | None:
        return self._kinds.get(kind, {}).get(key)

    def put(self, kind: str, key: str, document: Document) -> Document:
        self._kinds.setdefault(kind, {})[key] = document
        self._db.execute(
            "INSERT INTO documents VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET body = excluded.body",
            (kind, key, msgspec.json.encode(document)),
        )
        return document

    def delete(self, kind: str, key: str) -> None:
        self._kinds.get(kind, {}).pop(key, None)
        self._db.execute("DELETE FROM documents WHERE kind = ? AND id = ?", (kind, key))

    def all(self, kind: str) -> Iterator[Document]:
        """Return all documents of a kind, in the order they were made."""
        return iter(tuple(self._kinds.get(kind, {}).values()))

    def keys(self, kind: str) -> list[str]:
        """Return the ids of all documents of a kind, in the order they were made."""
        return list(self._kinds.get(kind, {}))

    def count(self, kind: str) -> int:
        return len(self._kinds.get(kind, {}))

    def clear(self) -> None:
        self._kinds.clear()
        self._db.execute("DELETE FROM documents")

    def close(self) -> None:
        self._db.close()


class Overlay(Store):
    """A store as it is now, of which a copy can be changed: what is put here is neither on disk nor in the other."""

    def __init__(self, below: Store) -> None:
        self._below = below
        self._changed: dict[str, dict[str, Document | None]] = {}

    def get(self, kind: str, key: str) -> Document | None:
        changed = self._changed.setdefault(kind, {})
        if key not in changed and (found := self._below.get(kind, key)) is not None:
            changed[key] = msgspec.json.decode(msgspec.json.encode(found))
        return changed.get(key)

    def put(self, kind: str, key: str, document: Document) -> Document:
        self._changed.setdefault(kind, {})[key] = document
        return document

    def delete(self, kind: str, key: str) -> None:
        self._changed.setdefault(kind, {})[key] = None

    def keys(self, kind: str) -> list[str]:
        below, changed = dict.fromkeys(self._below.keys(kind)), self._changed.get(kind, {})
        every = [*below, *(key for key in changed if key not in below)]
        return [key for key in every if changed.get(key, self) is not None]

    def all(self, kind: str) -> Iterator[Document]:
        found = (self.get(kind, key) for key in self.keys(kind))
        return iter([each for each in found if each is not None])

    def count(self, kind: str) -> int:
        return len(self.keys(kind))

    def clear(self) -> None:
        self._changed.clear()

    def close(self) -> None:
        self._changed.clear()


class SandboxClock:
    """The wall clock, which the control port can set forward for all stand-ins at once.

    `path` is the file that says by how many seconds it is ahead, for layers that are to have the same time; None for a
    clock that nobody else reads.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self.offset = float(path.read_text()) if path and path.exists() else 0.0

    def advance(self, seconds: float) -> None:
        """Set the clock forward. Raises `ValueError` for a way back."""
        if seconds < 0:
            raise ValueError("time does not go back")
        self.offset += seconds
        if self._path:
            written = self._path.with_suffix(".new")
            written.write_text(repr(self.offset))
            written.replace(self._path)

    def now(self) -> datetime:
        return datetime.fromtimestamp(time.time() + self.offset, UTC)

    def seconds(self) -> int:
        return int(time.time() + self.offset)
