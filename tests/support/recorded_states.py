"""The state of an earlier version as files that can be read and reviewed: SQL, one row a line, with the platforms'
state.

Times are recorded as they were. They are moved by whole days when a state is restored, as if it had been recorded
within the last 24 hours, and dates as if it had been today: contracts begin, and invoices fall, in periods that the ERP
has open.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import date, datetime, timedelta
from pathlib import Path

STATES = Path(__file__).parents[1] / "data"
PROCESS, CURSOR, RECORDED_AT = "process.sql", "crm-cursor.txt", "recorded-at.txt"
PLATFORMS = ("crm", "billing", "provisioning")
SYSTEM = "http://system.invalid"
"""Stands for the address of the system layer, which is another one at each start."""
LEFT_OUT = ("token", "webhook_endpoint", "secret", "delivery", "event", "idempotency")
"""Documents of stand-ins that belong to one running sandbox, and what a platform forgets within a day."""
TIMES = re.compile(r"\b(20\d\d-\d\d-\d\d)(T?)|\b(1[789]\d{8})(\d{3})?\b")
"""A day, alone or with its time; seconds, or milliseconds, since 1970."""
DAY = 24 * 3600


def record(folder: Path, into: Path, at: datetime, system_url: str, host: str) -> None:
    """Write the state that an environment left in `folder`, recorded at `at` (UTC) on the machine `host`."""
    into.mkdir(parents=True, exist_ok=True)
    (into / RECORDED_AT).write_text(f"{at.isoformat()}\n")
    (into / CURSOR).write_text((folder / "cursors" / "crm").read_text() + "\n")
    sources = {PROCESS: folder / "process.sqlite"} | {f"{each}.sql": stand_in(folder, each) for each in PLATFORMS}
    for name, path in sources.items():
        text = "".join(f"{each}\n" for each in _statements(path))
        (into / name).write_text(text.replace(system_url, SYSTEM).replace(host, "recorder"))


def restore(state: Path, folder: Path, now: datetime, system_url: str) -> None:
    """Write a recorded state to `folder`, as an environment that starts there expects it."""

    def text(name: str) -> str:
        return moved((state / name).read_text(), recorded_at(state), now)

    (folder / "cursors").mkdir(parents=True)
    (folder / "cursors" / "crm").write_text(text(CURSOR).strip())
    for each in PLATFORMS:
        load(text(f"{each}.sql").replace(SYSTEM, system_url), stand_in(folder, each))
    load(text(PROCESS), folder / "process.sqlite")


def recorded_at(state: Path) -> datetime:
    return datetime.fromisoformat((state / RECORDED_AT).read_text().strip())


def stand_in(folder: Path, platform: str) -> Path:
    return folder / "sandbox" / f"{platform}.sqlite"


def load(script: str, path: Path) -> None:
    """Create the SQLite file `path` from a recorded script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(f"BEGIN; {script} COMMIT;")


def moved(text: str, recorded: datetime, now: datetime) -> str:
    """Return what was recorded, as if it had been within the last 24 hours; dates without a time as if today."""
    times, dates = (now - recorded) // timedelta(days=1), (now.date() - recorded.date()).days

    def move(found: re.Match[str]) -> str:
        day, timed, seconds, milliseconds = found.groups()
        if day:
            return f"{date.fromisoformat(day) + timedelta(days=times if timed else dates)}{timed}"
        return f"{int(seconds) + times * DAY}{milliseconds or ''}"

    return TIMES.sub(move, text)


def _statements(path: Path) -> Iterator[str]:
    """Yield everything in a SQLite file: tables, rows, then indexes and triggers."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        made = connection.execute("SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'").fetchall()
        tables = [(name, sql) for kind, name, sql in made if kind == "table"]
        for _, sql in tables:
            yield f"{sql};"
        for name, _ in tables:
            rows = connection.execute(f"SELECT * FROM {name} ORDER BY rowid")
            for row in rows:
                if name != "documents" or row[0] not in LEFT_OUT:
                    yield f"INSERT INTO {name} VALUES ({', '.join(_literal(connection, each) for each in row)});"
        for kind, _, sql in made:
            if kind != "table" and sql:
                yield f"{sql};"


def _literal(connection: sqlite3.Connection, value: object) -> str:
    """Return a value as SQL. Bytes are JSON, and written so that they can be read."""
    if isinstance(value, bytes):
        return f"CAST({_literal(connection, value.decode())} AS BLOB)"
    (literal,) = connection.execute("SELECT quote(?)", (value,)).fetchone()
    return str(literal)
