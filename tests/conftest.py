"""The servers that tests share: one environment for each worker, started when the first test asks for it."""

from __future__ import annotations

import gc
import os
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

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


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return an empty database, of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'process.sqlite'}"
    server: PostgresqlServer = request.getfixturevalue("postgresql_server")
    return server.new_database()
