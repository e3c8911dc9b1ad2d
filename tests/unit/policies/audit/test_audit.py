"""The audit log: what is changed, missing or moved is found, however many processes write."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policies.audit.log import AuditEntry, AuditLog, export, head_of, sealing_key, verify

KEY = b"a key of thirty-two bytes or so."
START = datetime(2026, 3, 1, 12, tzinfo=UTC)


def entry(number: int, client: str = "finance-app") -> AuditEntry:
    return AuditEntry(
        at=START + timedelta(seconds=number),
        layer="experience",
        operation="act_on_case",
        version="v1",
        client=client,
        on_behalf_of="alice",
        object=f"/finance/v1/cases/{number}",
        status=200,
        correlation_id="cor_1",
    )


def written(folder: Path, count: int = 8) -> Path:
    path = folder / "audit.jsonl"
    log = AuditLog(path, KEY)
    for number in range(count):
        log.write(entry(number))
    log.close()
    return path


def test_a_log_as_it_was_written_is_whole(tmp_path: Path) -> None:
    assert verify(written(tmp_path), KEY) == (8, [])


def test_a_log_goes_on_where_it_was_when_it_is_opened_again(tmp_path: Path) -> None:
    path = written(tmp_path)
    written(tmp_path)

    assert verify(path, KEY) == (16, [])


def write_many(path: Path, count: int) -> None:
    log = AuditLog(path, KEY)
    for number in range(count):
        log.write(entry(number))


def test_processes_that_write_at_once_make_one_chain(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"

    with ProcessPoolExecutor(3, get_context("spawn")) as pool:
        list(pool.map(write_many, [path] * 3, [200] * 3))

    assert verify(path, KEY) == (600, [])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(place=st.integers(0, 7), at=st.integers(0, 10_000), by=st.integers(1, 255))
def test_any_changed_byte_is_found(tmp_path: Path, place: int, at: int, by: int) -> None:
    path = tmp_path / "audit.jsonl"
    path.unlink(missing_ok=True)
    head_of(path).unlink(missing_ok=True)
    lines = written(tmp_path).read_bytes().splitlines()
    changed = bytearray(lines[place])
    changed[at % len(changed)] = (changed[at % len(changed)] + by) % 256
    lines[place] = bytes(changed)
    path.write_bytes(b"\n".join(lines) + b"\n")

    assert verify(path, KEY)[1]


TAMPERED: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "one taken away": lambda lines: [*lines[:3], *lines[4:]],
    "the first taken away": lambda lines: lines[1:],
    "the end cut off": lambda lines: lines[:-2],
    "all taken away": lambda _: [],
    "two exchanged": lambda lines: [*lines[:3], lines[4], lines[3], *lines[5:]],
    "one repeated": lambda lines: [*lines[:4], lines[3], *lines[4:]],
    "one of another log": lambda lines: [*lines[:3], lines[3].replace(b"alice", b"mallory"), *lines[4:]],
    "one cut short": lambda lines: [*lines[:3], lines[3][:40], *lines[4:]],
}


@pytest.mark.parametrize("how", TAMPERED)
def test_what_was_done_to_a_log_is_found(tmp_path: Path, how: str) -> None:
    path = written(tmp_path)
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"".join(line + b"\n" for line in TAMPERED[how](lines)))

    _, broken = verify(path, KEY)

    assert broken, how


def test_whoever_lacks_the_key_cannot_write_a_log_anew(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    forged = AuditLog(path, b"another key")
    forged.write(entry(1))

    assert [each.reason for each in verify(path, KEY)[1]] == ["record 1 was changed"]


def test_a_record_that_a_crash_cut_off_is_found_and_the_next_ones_are_kept(tmp_path: Path) -> None:
    path = written(tmp_path)
    with path.open("ab") as file:
        file.write(b'{"at":"2026')
    written(tmp_path, 2)

    count, broken = verify(path, KEY)

    assert (count, [each.reason for each in broken]) == (10, ["it is not a record"])


def test_a_crash_between_the_record_and_its_head_is_no_flaw(tmp_path: Path) -> None:
    path = written(tmp_path, 3)
    before = head_of(path).read_bytes()
    written(tmp_path, 1)
    head_of(path).write_bytes(before)

    assert verify(path, KEY) == (4, [])


def test_the_key_is_made_once_and_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "state" / "audit.key"

    assert sealing_key(path) == sealing_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(sealing_key(path)) == 32


def test_all_who_make_the_key_at_once_get_the_same(tmp_path: Path) -> None:
    path = tmp_path / "audit.key"

    with ProcessPoolExecutor(4, get_context("spawn")) as pool:
        keys = set(pool.map(sealing_key, [path] * 40))

    assert keys == {path.read_bytes()}
    assert [each.name for each in tmp_path.iterdir()] == ["audit.key"]


def test_records_are_exported_in_the_order_of_their_time(tmp_path: Path) -> None:
    first, second = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    for path, numbers, client in ((first, (1, 4), "finance-app"), (second, (2, 3), "support-desk")):
        log = AuditLog(path, KEY)
        for number in numbers:
            log.write(entry(number, client))

    def found(**only: object) -> list[str]:
        chosen = {"since": None, "until": None, "client": None} | only
        lines = export([first, second, tmp_path / "none.jsonl"], **chosen)  # pyright: ignore[reportArgumentType]
        return [json.loads(line)["object"][-1] for line in lines]

    assert found() == ["1", "2", "3", "4"]
    assert found(client="support-desk") == ["2", "3"]
    after = (START + timedelta(seconds=2)).replace(tzinfo=None)
    assert found(since=after, until=after + timedelta(seconds=2)) == ["2", "3"]
