"""The passwords of PostgreSQL and Redis are not in their URLs, and are exchanged while a layer runs."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import redis
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from policies.store.documents import StoreAway
from policies.store.secret import NO_SECRET, FromFile, Secret
from policies.store.shared_redis import SharedRedisStore
from policies.traffic.rate_limit import shared_storage
from process_apis.records.database import open_database
from tests.support.postgresql_server import PostgresqlServer
from tests.support.redis_server import RedisServer


@pytest.fixture
def password(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text("first p@ss/word\n")
    return path


def test_a_new_connection_to_postgresql_logs_in_with_the_password_as_it_is_then(
    postgresql_server: PostgresqlServer, password: Path
) -> None:
    url = postgresql_server.new_database().replace("postgres@", "guarded@")
    postgresql_server.ask_for_password("guarded", "first p@ss/word")
    engine = open_database(url, FromFile(password))
    with engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT current_user")) == "guarded"

    postgresql_server.ask_for_password("guarded", "the second")
    password.write_text("the second\n")
    engine.dispose()

    with engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT current_user")) == "guarded"
    engine.dispose()
    with pytest.raises(OperationalError) as refused, open_database(url, Secret("hunter2")).connect():
        pass
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("user", ["", "default@"])
def test_a_new_connection_to_redis_logs_in_with_the_password_as_it_is_then(
    redis_server: RedisServer, password: Path, user: str
) -> None:
    url = f"{redis_server.url.replace('//', f'//{user}')}/0"
    administrator: Any = redis.Redis.from_url(redis_server.url)  # pyright: ignore[reportUnknownMemberType]

    async def act() -> None:
        administrator.config_set("requirepass", "first p@ss/word")
        secret = FromFile(password)
        assert await SharedRedisStore(url, 1.0, secret).put_if_absent("a", b"1", 60) is None
        assert await shared_storage(url, 1.0, secret).incr("b", 60) == 1

        administrator.config_set("requirepass", "the second")
        await asyncio.to_thread(password.write_text, "the second\n")

        assert await SharedRedisStore(url, 1.0, secret).put_if_absent("a", b"2", 60) == b"1"
        assert await shared_storage(url, 1.0, secret).incr("b", 60) == 2
        for wrong in (Secret("hunter2"), NO_SECRET):
            with pytest.raises(StoreAway) as refused:
                await SharedRedisStore(url, 1.0, wrong).counts("b")
            assert str(refused.value) == "AuthenticationError"

    asyncio.run(act())


@pytest.mark.parametrize("user", ["", "default@"])
def test_a_redis_at_a_socket_counts_and_stores_with_a_password_and_without(password: Path, user: str) -> None:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:  # the path of a socket is short
        server = RedisServer(Path(folder), "--unixsocket", f"{folder}/redis")
        stack.callback(server.kill)
        server.start()
        administrator: Any = redis.Redis.from_url(server.url)  # pyright: ignore[reportUnknownMemberType]
        url = f"unix://{user}{folder}/redis"

        async def act() -> None:
            assert await shared_storage(f"unix://{folder}/redis", 1.0).incr("b", 60) == 1
            administrator.config_set("requirepass", "first p@ss/word")
            assert await shared_storage(url, 1.0, FromFile(password)).incr("b", 60) == 2
            assert await SharedRedisStore(url, 1.0, FromFile(password)).put_if_absent("a", b"1", 60) is None

        asyncio.run(act())
