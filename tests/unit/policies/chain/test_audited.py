"""What a layer does when its audit log is under attack, is held by others, or cannot be written."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from litestar import post
from litestar.params import FromPath
from msgspec.structs import replace

from policies.audit.log import RESERVE, AuditLog
from policies.audit.samples import FEW, WINDOW
from policies.audit.verify import verify
from tests.support.file_size_limit import no_file_above
from tests.support.governed_app import CATALOGUE, GOVERNOR, HANDLERS, WRITER, Door
from tests.unit.policies.audit.test_audit import entry

KEY = b"key"
ITEM = 'item = { scope = "shop:write", tier = "t", idempotency = "natural" }\n'


@post("/shop/v1/item/{name:str}", operation_id="item", sync_to_thread=False)
def item(name: FromPath[str]) -> None:
    """Do nothing, with a part of the path that the caller chooses."""
    del name


@pytest.fixture
def door(tmp_path: Path) -> Generator[Door]:
    made = Door(tmp_path, catalogue=CATALOGUE.replace("write = {", f"{ITEM}write = {{", 1), handlers=[*HANDLERS, item])
    with made.client:
        yield made


def write(door: Door, **headers: str) -> Any:
    return door.client.post("/shop/v1/write", headers=door.headers(WRITER) | headers, json={"items": []})


def readiness(door: Door) -> dict[str, str]:
    """Return what the platform team sees of the layer."""
    found: dict[str, str] = door.client.get("/health/ready", headers=door.headers(GOVERNOR)).json()
    return found


def until(found: Any, *, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < end
        time.sleep(0.05)


@contextmanager
def held(door: Door) -> Generator[None]:
    """Hold the log as another process may that was stopped in the middle of its writing."""
    file = os.open(door.audit_files.head, os.O_RDONLY)
    fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(file)


# ---- what a caller sends


@pytest.mark.parametrize("path", ["%01" * 10_000, "%f0%9f%92%a9" * 2_700, "%0a%22" * 3_000, "%ff" * 10_000])
def test_a_path_of_a_caller_without_a_token_does_not_break_the_chain(door: Door, path: str) -> None:
    door.client.post(f"/shop/v1/item/{path}", json={})
    write(door)
    with closing(AuditLog(door.audit_files, KEY)):
        write(door)

    assert verify(door.audit_files, KEY) == (3, [])
    assert len(door.audited()[0]["object"]) < 300


@pytest.mark.parametrize("subject", ["\x1b[2J\n" * 500, "\ud800", "x" * 100_000])
def test_a_subject_that_an_issuer_vouches_for_does_not_break_the_chain(door: Door, subject: str) -> None:
    headers = door.headers(WRITER, on_behalf_of=subject)
    if len(headers["authorization"]) < 8_000:
        door.client.post("/shop/v1/write", headers=headers, json={"items": []})
    write(door)

    assert verify(door.audit_files, KEY)[1] == []
    assert all(each["on_behalf_of"].isprintable() for each in door.audited())


# ---- a flood


def test_refusals_of_callers_without_a_token_are_counted_after_the_first_few(door: Door) -> None:
    for number in range(40):
        assert door.client.post(f"/shop/v1/item/{number}", json={}).status_code == 401
    assert len(door.audited()) == FEW

    write(door)
    door.now += WINDOW + timedelta(seconds=1)
    until(lambda: len(door.audited()) == FEW + 2)

    counted = door.audited()[-1]
    assert (counted["operation"], counted["status"], counted["times"]) == ("item", 401, 40 - FEW)
    assert (counted["object"], counted["correlation_id"]) == ("", "")
    assert verify(door.audit_files, KEY) == (FEW + 2, [])


def test_nothing_that_a_client_with_a_token_does_is_only_counted(door: Door) -> None:
    for _ in range(20):
        write(door)
        door.client.post("/shop/v1/write", headers=door.headers(), json={"items": []})

    assert [each["status"] for each in door.audited()] == [201, 403] * 20


def test_what_was_counted_is_recorded_when_the_layer_stops(tmp_path: Path) -> None:
    door = Door(tmp_path)
    with door.client:
        for _ in range(10):
            door.client.post("/shop/v1/write", json={})

    assert [each.get("times", 1) for each in door.audited()] == [1] * FEW + [10 - FEW]


def test_the_log_of_refused_reads_is_sampled_too(door: Door, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(40):
        door.client.get("/shop/v1/read")
    door.now += WINDOW + timedelta(seconds=1)
    door.client.get("/shop/v1/read")

    logged = "".join(capsys.readouterr())
    assert logged.count("refused") == FEW + 2
    assert f"times={40 - FEW}" in logged


# ---- a log that others hold


def test_reads_and_health_answer_while_the_log_is_held_and_a_write_waits_for_its_record(door: Door) -> None:
    with ThreadPoolExecutor(1) as pool:
        with held(door):
            writing = pool.submit(write, door)
            for _ in range(10):
                began = time.monotonic()
                assert door.client.get("/health/live").status_code == 200
                assert door.client.get("/shop/v1/read", headers=door.headers()).status_code == 200
                assert time.monotonic() - began < 1.0
            assert not writing.done()
        assert writing.result(10).status_code == 201

    assert [each["status"] for each in door.audited()] == [201]


def test_nothing_is_begun_when_the_log_is_held_for_long_and_all_goes_on_when_it_is_free(door: Door) -> None:
    with ThreadPoolExecutor(1) as pool:
        with held(door):
            writing = pool.submit(write, door)
            until(lambda: "audit" in readiness(door))
            refused = write(door)
        writing.result(10)

    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert "another process holds it" in refused.json()["detail"]
    assert write(door).status_code == 201
    assert [each["status"] for each in door.audited()] == [201, 201]


# ---- a full disk


def fill(door: Door) -> int:
    """Let the log grow beyond its reserve, which the limit leaves alone then. Return how many records it has."""
    number = 0
    with closing(AuditLog(door.audit_files, KEY)) as log:
        while door.log.stat().st_size <= RESERVE:
            log.write(replace(entry(number), at=door.now))
            number += 1
    return number


def test_a_full_disk_refuses_what_is_not_begun_and_has_a_record_of_what_is(door: Door) -> None:
    there = fill(door)

    with no_file_above(door.log.stat().st_size + 100):
        assert write(door).status_code == 201  # begun when nobody knew
        answers = [write(door) for _ in range(5)]
        assert door.client.get("/shop/v1/read", headers=door.headers()).status_code == 200
        assert readiness(door)["audit"] == "writes are refused: it cannot be written"
        assert door.client.post("/shop/v1/write", json={}).status_code == 401

    assert {(each.status_code, each.json()["type"]) for each in answers} == {(503, "/problems/overloaded")}
    assert all("Nothing was done" in each.json()["detail"] for each in answers)
    until(lambda: write(door).status_code == 201)
    number, broken = verify(door.audit_files, KEY)
    assert (number, broken) == (there + 2, [])


def test_the_refusals_of_a_full_disk_are_counted_and_recorded_when_there_is_room(door: Door) -> None:
    there = fill(door)
    with no_file_above(door.log.stat().st_size + 100):
        assert [write(door).status_code for _ in range(4)] == [201, 503, 503, 503]

    until(lambda: "audit" not in readiness(door))
    door.now += WINDOW
    until(lambda: len(door.audited()) == there + 2)

    counted = door.audited()[-1]
    assert (counted["client"], counted["status"], counted["times"]) == ("someone", 503, 3)


@pytest.mark.parametrize("path", ["write", "order"])
def test_a_write_whose_record_has_no_place_at_all_is_answered_as_one_that_may_have_been_done(
    door: Door, path: str
) -> None:
    there = fill(door)
    spilled = 0
    with no_file_above(door.log.stat().st_size + 100):
        with closing(AuditLog(door.audit_files, KEY)) as other, suppress(OSError):
            while True:
                other.write(replace(entry(spilled), at=door.now))
                spilled += 1
        headers = door.headers(WRITER) | {"idempotency-key": "one"}
        answer = door.client.post(f"/shop/v1/{path}", headers=headers, json={"items": []})

    assert (answer.status_code, answer.json()["type"]) == (504, "/problems/outcome-unknown")
    assert answer.headers["x-correlation-id"] == answer.json()["correlation_id"]
    until(lambda: door.client.post(f"/shop/v1/{path}", headers=headers, json={"items": []}).status_code == 201)
    assert len(door.acts) == (path == "order")  # done once, and the repeat has its record
    assert verify(door.audit_files, KEY) == (there + spilled + 1, [])
