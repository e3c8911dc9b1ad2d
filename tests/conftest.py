"""The servers that tests share: one environment for each worker, started when the first test asks for it."""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, make_url
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from process_apis.records.database import open_database
from process_apis.records.revisions import upgrade
from tests.support.environment import Environment
from tests.support.postgresql_server import PostgresqlServer
from tests.support.redis_server import RedisServer

# All that tests ask is on loopback: each HTTP client reads the world's authorities for a twentieth of a second.
os.environ.pop("SSL_CERT_FILE", None)
os.environ["SSL_CERT_DIR"] = os.devnull
gc.disable()  # while all is imported: nothing of it is garbage
MEMORY = Path("/dev/shm")  # noqa: S108 - in it are folders of our own, as in the usual place
ROOM = 2 << 30
"""Bytes that are free in memory before tests write there: several times what all of them leave."""
if MEMORY.is_mount() and os.statvfs(MEMORY).f_bavail * os.statvfs(MEMORY).f_frsize > ROOM:
    # Each commit waits for the disk, for the case of a loss of power, which no test has: its processes are killed, its
    # machine is not.
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))
    tempfile.tempdir = os.environ["TMPDIR"] = os.environ["PYTEST_DEBUG_TEMPROOT"]

DATABASES = ("sqlite", pytest.param("postgresql", marks=pytest.mark.extended))
"""The kinds of database over which the same tests run."""


def _is_same_dialect(dialect: object, other: object) -> bool:
    """Return that one SQLite is as good as another where a statement is looked for that was compiled before."""
    return type(dialect) is type(other)


def _hash_of_dialect(dialect: object) -> int:
    return hash(type(dialect))


_COMPILED: dict[Any, Any] = {}
"""Statements as text, for all databases of a process: a layer has one and compiles each of its statements once, a test
has its own and would compile them all again, which takes longer than to run them."""
setattr(SQLiteDialect_pysqlite, "__eq__", _is_same_dialect)  # noqa: B010 - its stubs know none
setattr(SQLiteDialect_pysqlite, "__hash__", _hash_of_dialect)  # noqa: B010


@event.listens_for(Engine, "engine_connect")
def _compile_once(connection: Connection) -> None:
    if connection.dialect.name == "sqlite":
        connection.execution_options(compiled_cache=_COMPILED)


def pytest_collection_finish() -> None:
    """Leave all that was imported out of every later garbage collection: it stays."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def templates() -> Path:
    return Path(os.environ.get("TIERGATE_TEMPLATES", ".tiergate/templates")).resolve()


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory, templates: Path) -> Generator[Environment]:
    environment = Environment(tmp_path_factory.mktemp("environment"), templates)
    yield environment
    environment.stop()


@pytest.fixture
def environment(running: Environment) -> Generator[Environment]:
    """The running environment, with no fault left behind by any test."""
    running.calm()
    yield running
    running.calm()


@pytest.fixture
def redis_server(tmp_path: Path) -> Generator[RedisServer]:
    """A Redis of the test's own."""
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def postgresql_server() -> Generator[PostgresqlServer]:
    """Return a PostgreSQL that the tests of a worker share, with a database for each that asks."""
    with tempfile.TemporaryDirectory() as folder:  # any user can be let into it, unlike pytest's own
        server = PostgresqlServer(Path(folder))
        yield server
        server.stop()


@pytest.fixture(params=DATABASES)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return an empty database, of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'process.sqlite'}"
    server: PostgresqlServer = request.getfixturevalue("postgresql_server")
    return server.new_database()


@pytest.fixture(scope="session")
def empty_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the tables as a first start does, once: to copy them is fifty times faster."""
    path = tmp_path_factory.mktemp("tables") / "process.sqlite"
    _make_tables(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def empty_tables_on_postgresql(postgresql_server: PostgresqlServer) -> str:
    """Make them on the server that tests share. Return the name of the database, to which nobody may be connected
    when it is copied."""
    url = postgresql_server.new_database()
    _make_tables(url)
    return make_url(url).database or ""


@pytest.fixture(params=DATABASES)
def tables_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return a database of either kind with our tables, which are empty."""
    if request.param == "sqlite":
        path = shutil.copy(request.getfixturevalue("empty_tables"), tmp_path)
        return f"sqlite:///{path}"
    server: PostgresqlServer = request.getfixturevalue("postgresql_server")
    return server.new_database(request.getfixturevalue("empty_tables_on_postgresql"))


def _make_tables(url: str) -> None:
    database = open_database(url)
    upgrade(database)
    database.dispose()
