"""Whether this Python's SQLite can hold the process layer's database."""

from __future__ import annotations

import sqlite3
import sys

from tiergate.settings import NotReady, Settings

SQLITE = (3, 42, 0)


def check_sqlite(settings: Settings) -> None:
    """Raise `NotReady` when the process layer cannot keep its records here."""
    if reason := sqlite_is_too_old(settings):
        raise NotReady(f"SQLite {sqlite3.sqlite_version} is too old: {reason}")


def sqlite_is_too_old(
    settings: Settings,
    python: tuple[int, ...] = sys.version_info[:2],
    sqlite: tuple[int, ...] = sqlite3.sqlite_version_info,
) -> str:
    """Return what to do about an SQLite that the workflow engine cannot use, empty where it can or is not asked to.

    On Python 3.12 and later it writes times of less than a second, which SQLite has since 3.42 (SQLite: Release
    History, 3.42.0).
    """
    fits = python < (3, 12) or sqlite >= SQLITE
    if fits or not settings.process_database().startswith("sqlite"):
        return ""
    return "Python 3.12 and later need SQLite 3.42: use a Python that has it, or set process.database_url to PostgreSQL"
