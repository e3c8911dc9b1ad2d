"""What replicas on several machines share in PostgreSQL: documents that lose no change, leases of one holder."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta
from time import monotonic, sleep

import pytest
import sqlalchemy as sa

from canonical.faults import Conflict
from canonical.ids import utc_now
from policies.identity.revocation import RevocationDocument, Revocations
from policies.store import databases
from policies.store.documents import StoreAway
from policies.store.secret import NO_SECRET, Secret
from policies.store.shared_clock import SharedClock
from policies.store.shared_database import SCHEMA, DatabaseDocument, DatabaseLease, SharedDatabase
from system_apis.feed_position import FeedPosition
from tests.support.postgresql_server import PostgresqlServer

AT_ONCE = 4


@pytest.fixture
def url(postgresql_server: PostgresqlServer) -> str:
    return postgresql_server.new_database()


@pytest.fixture
def replicas(url: str) -> Generator[list[SharedDatabase]]:
    """Four replicas, none of which has prepared anything."""
    with ExitStack() as stack:
        made = [SharedDatabase(url, NO_SECRET, f"replica-{number}") for number in range(AT_ONCE)]
        for each in made:
            stack.callback(each.close)
        yield made


@pytest.fixture
def prepared(replicas: list[SharedDatabase]) -> list[SharedDatabase]:
    replicas[0].prepare()
    return replicas


def test_of_replicas_that_start_at_once_one_makes_what_is_missing(replicas: list[SharedDatabase]) -> None:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(SharedDatabase.prepare, replicas))

    assert DatabaseDocument(replicas[-1], "any").read() == b""


def test_no_change_of_a_document_is_lost_however_many_replicas_change_it(prepared: list[SharedDatabase]) -> None:
    def change(database: SharedDatabase) -> None:
        for _ in range(10):
            DatabaseDocument(database, "counted").change(lambda found: found + b"+")

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(change, prepared))

    assert DatabaseDocument(prepared[0], "counted").read() == b"+" * 10 * AT_ONCE


def test_what_one_replica_revokes_another_refuses(prepared: list[SharedDatabase]) -> None:
    first, second = (
        Revocations(RevocationDocument(DatabaseDocument(each, "revoked")), utc_now) for each in prepared[:2]
    )

    async def revoke() -> bool:
        await second.look()
        await first.revoke(token="stolen")
        await second.look()
        return second.current.covers("stolen", "anybody", utc_now().timestamp() + 1)

    assert asyncio.run(revoke())


def test_of_replicas_that_want_a_lease_at_once_one_gets_it(prepared: list[SharedDatabase]) -> None:
    wanted = [DatabaseLease(each, "feed") for each in prepared]

    with ThreadPoolExecutor(AT_ONCE) as pool:
        got = list(pool.map(DatabaseLease.renew, wanted))

    assert sorted(got) == [False] * (AT_ONCE - 1) + [True]


def test_a_lease_that_is_not_renewed_goes_to_another_replica_and_one_that_is_released_at_once(
    prepared: list[SharedDatabase],
) -> None:
    first, second = (DatabaseLease(each, "feed", seconds=0.3) for each in prepared[:2])
    assert first.renew()
    assert not second.renew()
    until = monotonic() + 5
    while not second.renew():
        assert monotonic() < until, "the lease of a replica that is gone has not ended"
        sleep(0.05)
    assert not first.renew(), "who comes back waits"

    second.release()

    assert first.renew()


def test_who_has_lost_the_lease_of_a_feed_does_not_move_its_position(prepared: list[SharedDatabase]) -> None:
    first, second = (DatabaseLease(each, "feed", seconds=0.1) for each in prepared[:2])
    positions = [FeedPosition(DatabaseDocument(prepared[at], "feed", of)) for at, of in enumerate((first, second))]
    assert first.renew()
    asyncio.run(positions[0].write("1"))
    sleep(0.15)
    assert second.renew()
    asyncio.run(positions[1].write("2"))

    with pytest.raises(Conflict, match="another replica"):
        asyncio.run(positions[0].write("0"))

    assert asyncio.run(positions[0].read("")) == "2"


def test_a_user_that_may_create_nothing_is_enough_once_the_tables_are_there(
    url: str, postgresql_server: PostgresqlServer, prepared: list[SharedDatabase]
) -> None:
    postgresql_server.ask_for_password("limited", "secret")
    with prepared[0].transaction() as connection:
        for each in (
            "ALTER ROLE limited NOSUPERUSER",
            f"GRANT USAGE ON SCHEMA {SCHEMA} TO limited",
            f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {SCHEMA} TO limited",
        ):
            connection.execute(sa.text(each))
    limited = SharedDatabase(url.replace("postgres@", "limited@"), Secret("secret"), "replica")

    limited.prepare()

    assert DatabaseLease(limited, "feed").renew()
    limited.close()


def test_who_is_cut_off_in_the_middle_of_a_change_locks_out_nobody(
    prepared: list[SharedDatabase], url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(databases, "IDLE_SECONDS", 1)
    cut_off, other = SharedDatabase(url, NO_SECRET, "cut-off"), prepared[0]
    DatabaseDocument(other, "counted").change(lambda found: found + b"1")

    def change_while_cut_off() -> None:
        with cut_off.transaction() as held:
            held.execute(sa.text(f"UPDATE {SCHEMA}.documents SET content = 'half'"))
            DatabaseDocument(other, "counted").change(lambda found: found + b"2")
            held.execute(sa.select(1))

    with pytest.raises(StoreAway):
        change_while_cut_off()
    cut_off.close()

    assert DatabaseDocument(other, "counted").read() == b"12"


def test_a_database_that_does_not_answer_is_said_without_its_password(url: str) -> None:
    away = SharedDatabase(url.replace("?host=", "?host=/nowhere"), Secret("hunter2"), "replica")

    with pytest.raises(StoreAway) as said:
        DatabaseDocument(away, "any").read()

    assert "hunter2" not in str(said.value)


def test_replicas_agree_about_the_time_whatever_their_own_clocks_say(prepared: list[SharedDatabase]) -> None:
    clocks = [SharedClock(each.now) for each in prepared]

    moments = [each() for each in clocks]

    assert max(moments) - min(moments) < timedelta(seconds=2)
    assert all(each.utcoffset() == timedelta(0) for each in moments)
