"""A named write is done once, and answered the same ever after."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Generator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from canonical.ids import utc_now
from policies.problems import FORBIDDEN, MISSING, ProblemError, ProblemType
from policies.store.shared_redis import SharedRedisStore
from policies.store.shared_store import Owner, SharedFileStore, StoreFull
from policies.traffic.idempotency import KEPT, LEASE, LONGEST_ANSWER, IdempotencyRecord
from tests.support.governed_app import CATALOGUE, WRITER, Door
from tests.support.redis_server import RedisServer


@pytest.fixture
def door(tmp_path: Path) -> Generator[Door]:
    made = Door(tmp_path)
    with made.client:
        yield made


def order(door: Door, key: str | None, note: str = "", client: str = "someone") -> tuple[int, str, bool]:
    """Return (status, the body or the problem's name, whether it was replayed)."""
    headers = door.headers(WRITER, on_behalf_of=client) | ({"idempotency-key": key} if key is not None else {})
    answer = door.client.post("/shop/v1/order", headers=headers, json={"items": [], "note": note})
    body: Any = answer.json()
    said = str(body.get("act") or body["type"]).removeprefix("/problems/")
    return answer.status_code, said, "idempotency-replayed" in answer.headers


def test_the_same_key_again_is_answered_as_the_first_time_and_nothing_is_done(door: Door) -> None:
    status, act, replayed = order(door, "one")

    assert (status, replayed) == (201, False)
    assert order(door, "one") == (201, act, True)
    assert order(door, '"one"') == (201, act, True), "as a structured field, it is the same key"
    assert door.acts == [act]


def test_another_key_is_another_act(door: Door) -> None:
    assert order(door, "one")[1] != order(door, "two")[1]
    assert len(door.acts) == 2


def test_another_body_under_the_same_key_is_refused(door: Door) -> None:
    order(door, "one")

    assert order(door, "one", note="another") == (422, "idempotency-key-reused", False)


@pytest.mark.parametrize("key", ["", "x" * 256, "a\x01b"])
def test_a_missing_or_malformed_key_is_refused_where_one_is_needed(door: Door, key: str) -> None:
    assert order(door, key or None)[0] == 400
    assert door.acts == []


def test_neither_a_refusal_of_the_request_nor_a_fault_is_kept(door: Door) -> None:
    assert order(door, "one", note="refuse")[:2] == (422, "invalid-request")
    assert order(door, "one", note="refuse") == (422, "invalid-request", False)
    assert order(door, "one")[::2] == (201, False), "the corrected request, under the same key"
    door.fails = 2
    assert order(door, "two")[0] == 503
    assert order(door, "two")[0] == 503
    assert order(door, "two")[::2] == (201, False)


@pytest.mark.parametrize("refusal", [FORBIDDEN, MISSING], ids=["not allowed", "not there"])
def test_a_refusal_whose_cause_is_gone_is_run_again_under_the_same_key(door: Door, refusal: ProblemType) -> None:
    door.refusals["first"] = ProblemError(refusal, "not yet")

    assert order(door, "one", note="first")[::2] == (refusal.status, False)
    assert door.acts == []
    status, act, replayed = order(door, "one", note="first")
    assert (status, replayed) == (201, False)
    assert order(door, "one", note="first") == (201, act, True)
    assert door.acts == [act]


def test_an_answer_with_a_secret_is_kept_nowhere_and_the_same_request_is_the_same_act(door: Door) -> None:
    headers = door.headers(WRITER) | {"idempotency-key": "one"}
    first, second = (door.client.post("/shop/v1/sealed", headers=headers).json() for _ in range(2))

    assert first == second
    assert door.acts == [first["act"]] * 2
    for each in door.shared.parent.iterdir():
        assert not each.is_file() or b"secret of" not in each.read_bytes()


def stored_bytes(door: Door) -> int:
    with closing(sqlite3.connect(door.shared)) as connection:
        return connection.execute("SELECT COALESCE(SUM(LENGTH(value)), 0) FROM kept").fetchone()[0]


def test_a_large_request_that_is_refused_leaves_nothing_behind(door: Door) -> None:
    headers = door.headers(WRITER) | {"idempotency-key": "large"}
    body = {"items": [{"sku": 1} for _ in range(20_000)]}

    answer = door.client.post("/shop/v1/order", headers=headers, json=body)

    assert answer.status_code == 422
    assert len(answer.content) < 20_000
    assert stored_bytes(door) == 0


def test_an_answer_that_is_too_long_is_not_kept_and_the_act_is_found_by_its_name(door: Door) -> None:
    note = f"long {LONGEST_ANSWER}"

    assert order(door, "one", note=note)[::2] == (201, False)
    assert stored_bytes(door) == 0
    assert order(door, "one", note=note)[::2] == (201, False)
    assert len(set(door.acts)) == 1


def test_a_client_has_so_many_keys_at_a_time_and_is_told_when_there_is_room(tmp_path: Path) -> None:
    door = Door(tmp_path, catalogue=CATALOGUE.replace("concurrent = 50", "concurrent = 50\nkept_answers = 3"))
    with door.client:
        first = [order(door, str(each)) for each in range(3)]
        door.now += timedelta(hours=1)
        headers = door.headers(WRITER) | {"idempotency-key": "one-more"}
        refused = door.client.post("/shop/v1/order", headers=headers, json={"items": []})

        assert (refused.status_code, refused.json()["type"]) == (429, "/problems/idempotency-keys-used-up")
        assert refused.headers["retry-after"] == str(23 * 3600)
        assert order(door, "0") == (201, first[0][1], True), "what is kept is still answered"
        assert len(door.acts) == 3
        door.now += timedelta(hours=23, seconds=1)
        assert order(door, "one-more")[0] == 201


def test_a_refusal_uses_up_no_key(tmp_path: Path) -> None:
    door = Door(tmp_path, catalogue=CATALOGUE.replace("concurrent = 50", "concurrent = 50\nkept_answers = 1"))
    with door.client:
        assert [order(door, str(each), note="refuse")[0] for each in range(3)] == [422, 422, 422]
        assert order(door, "good")[0] == 201


def test_the_key_is_free_again_after_a_day(door: Door) -> None:
    order(door, "one")
    door.now += timedelta(seconds=KEPT + 1)

    assert order(door, "one") == (201, door.acts[0], False), "and the act has the same name, so that it is found"


def test_a_request_that_still_runs_is_a_conflict_until_its_lease_ends(door: Door) -> None:
    order(door, "one")
    name, first = door.kept()
    door.keep(name, msgspec.structs.replace(first, status=0), LEASE)

    assert order(door, "one") == (409, "request-in-progress", False)
    door.now += timedelta(seconds=LEASE + 1)
    assert order(door, "one")[::2] == (201, False)
    assert len(set(door.acts)) == 1, "the process that takes over acts under the same name"


def test_a_write_that_needs_no_key_takes_one(door: Door) -> None:
    headers = door.headers(WRITER) | {"idempotency-key": "one"}
    answers = [door.client.post("/shop/v1/write", headers=headers, json={"items": []}) for _ in range(2)]

    assert [each.headers.get("idempotency-replayed") for each in answers] == [None, "true"]


def both(tmp_path: Path, server: RedisServer) -> list[SharedFileStore | SharedRedisStore]:
    return [SharedFileStore(tmp_path / "shared.sqlite", utc_now), SharedRedisStore(server.url, 1.0)]


@pytest.mark.parametrize("place", [0, 1], ids=["file", "redis"])
def test_both_stores_keep_what_was_first_and_replace_only_what_they_were_shown(
    tmp_path: Path, redis_server: RedisServer, place: int
) -> None:
    async def run() -> None:
        store = both(tmp_path, redis_server)[place]
        assert await store.put_if_absent("a", b"1", 60) is None
        assert await store.put_if_absent("a", b"2", 60) == b"1"
        assert not await store.compare_and_swap("a", b"2", b"3", 60)
        assert await store.compare_and_swap("a", b"1", b"3", 60)
        await store.compare_and_delete("a", b"1")
        assert await store.put_if_absent("a", b"4", 60) == b"3"
        await store.compare_and_delete("a", b"3")
        assert await store.put_if_absent("a", b"4", 0.05) is None
        await asyncio.sleep(0.1)
        assert await store.put_if_absent("a", b"5", 60) is None, "what has run out is gone"
        owner = Owner("someone", 2)
        assert [await store.put_if_absent(each, b"1", 60, owner) for each in "xy"] == [None, None]
        with pytest.raises(StoreFull) as full:
            await store.put_if_absent("z", b"1", 60, owner)
        assert 0 < full.value.seconds <= 60
        assert await store.put_if_absent("x", b"2", 60, owner) == b"1"
        assert await store.put_if_absent("z", b"1", 60, Owner("another", 2)) is None
        assert await store.compare_and_swap("x", b"1", b"2", 90, owner)
        await store.compare_and_delete("y", b"1", owner)
        assert await store.put_if_absent("v", b"1", 0.05, owner) is None
        await asyncio.sleep(0.1)
        assert await store.put_if_absent("w", b"1", 60, owner) is None, "what has run out leaves room"
        await asyncio.gather(*(store.add("n", {"x": 1, "y": 2}) for _ in range(20)))
        assert await store.counts("n") == {"x": 20, "y": 40}

    asyncio.run(run())


def test_a_store_of_an_older_version_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "shared.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE kept (name TEXT PRIMARY KEY, value BLOB NOT NULL, until REAL NOT NULL)")
        connection.execute("INSERT INTO kept VALUES ('a', x'31', ?)", (utc_now().timestamp() + 60,))
        connection.commit()

    stores = [SharedFileStore(path, utc_now) for _ in range(2)]

    assert [asyncio.run(each.put_if_absent("a", b"2", 60, Owner("someone", 1))) for each in stores] == [b"1", b"1"]


def test_a_kept_answer_is_coded_and_read_back() -> None:
    kept = IdempotencyRecord(b"print", "act_1", 201, ((b"content-type", b"application/json"),), b"{}")

    assert msgspec.msgpack.decode(msgspec.msgpack.encode(kept), type=IdempotencyRecord) == kept
