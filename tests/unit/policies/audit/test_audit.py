"""The audit log: what is changed, missing or moved is found, however many processes write."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from time import monotonic, sleep

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policies.audit.files import LogFiles
from policies.audit.log import AuditLog
from policies.audit.records import LARGEST, AuditEntry, line_of, seal_of, sealing_key
from policies.audit.verify import FORGED, NO_HEAD, export, verify

KEY = b"a key of thirty-two bytes or so."
START = datetime(2026, 3, 1, 12, tzinfo=UTC)
NOT_A_RECORD = "it is not a record"


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


def files_in(folder: Path, name: str = "audit") -> LogFiles:
    return LogFiles(folder / f"{name}.jsonl", folder / "heads" / f"{name}.head")


def written(folder: Path, count: int = 8) -> LogFiles:
    files = files_in(folder)
    with closing(AuditLog(files, KEY)) as log:
        for number in range(count):
            log.write(entry(number))
    return files


def reasons(files: LogFiles) -> list[str]:
    return [each.reason for each in verify(files, KEY)[1]]


def test_a_log_as_it_was_written_is_whole(tmp_path: Path) -> None:
    assert verify(written(tmp_path), KEY) == (8, [])


def test_a_log_goes_on_where_it_was_when_it_is_opened_again(tmp_path: Path) -> None:
    files = written(tmp_path)
    written(tmp_path)

    assert verify(files, KEY) == (16, [])


def write_many(files: LogFiles, count: int) -> None:
    with closing(AuditLog(files, KEY)) as log:
        for number in range(count):
            log.write(msgspec.structs.replace(entry(number), at=START + timedelta(hours=number // 4)))


def test_processes_that_write_at_once_make_one_chain_over_many_days(tmp_path: Path) -> None:
    files = files_in(tmp_path)

    with ProcessPoolExecutor(3, get_context("spawn")) as pool:
        list(pool.map(write_many, [files] * 3, [200] * 3))

    assert verify(files, KEY) == (600, [])
    assert [each.name for each in files.closed()] == ["audit.2026-03-01.jsonl", "audit.2026-03-02.jsonl"]


def write_until_killed(files: LogFiles) -> None:
    log = AuditLog(files, KEY)
    number = 0
    while True:
        log.write(msgspec.structs.replace(entry(number), at=START + timedelta(minutes=number)))
        number += 1


def test_processes_that_are_killed_in_the_middle_leave_a_chain_that_is_whole(tmp_path: Path) -> None:
    files = files_in(tmp_path)
    spawn = get_context("spawn")
    running = [spawn.Process(target=write_until_killed, args=(files,)) for _ in range(3)]
    for each in running:
        each.start()
    for wanted, each in enumerate(running, 1):
        until = monotonic() + 30
        while (
            not (head := files.head.exists() and files.read_head(files.head.read_bytes())) or head.number < wanted * 99
        ):
            assert monotonic() < until
            sleep(0.01)
        each.kill()
        each.join()

    number = verify(files, KEY)[0]
    written(tmp_path, 1)
    assert verify(files, KEY) == (number + 1, [])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(place=st.integers(0, 7), at=st.integers(0, 10_000), by=st.integers(1, 255))
def test_any_changed_byte_is_found(tmp_path: Path, place: int, at: int, by: int) -> None:
    files = files_in(tmp_path)
    for each in (files.log, files.head):
        each.unlink(missing_ok=True)
    lines = written(tmp_path).log.read_bytes().splitlines()
    changed = bytearray(lines[place])
    changed[at % len(changed)] = (changed[at % len(changed)] + by) % 256
    lines[place] = bytes(changed)
    files.log.write_bytes(b"\n".join(lines) + b"\n")

    assert reasons(files)


TAMPERED: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "one taken away": lambda lines: [*lines[:3], *lines[4:]],
    "the first taken away": lambda lines: lines[1:],
    "the end cut off": lambda lines: lines[:-2],
    "all taken away": lambda _: [],
    "two exchanged": lambda lines: [*lines[:3], lines[4], lines[3], *lines[5:]],
    "one repeated": lambda lines: [*lines[:4], lines[3], *lines[4:]],
    "one of another log": lambda lines: [*lines[:3], lines[3].replace(b"alice", b"mallory"), *lines[4:]],
    "one cut short": lambda lines: [*lines[:3], lines[3][:40], *lines[4:]],
    "an empty line at the end": lambda lines: [*lines, b""],
}


@pytest.mark.parametrize("how", TAMPERED)
def test_what_was_done_to_a_log_is_found_and_stays_found_when_it_goes_on(tmp_path: Path, how: str) -> None:
    files = written(tmp_path)
    lines = files.log.read_bytes().splitlines()
    files.log.write_bytes(b"".join(line + b"\n" for line in TAMPERED[how](lines)))

    assert reasons(files), how
    written(tmp_path, 2)
    number, broken = verify(files, KEY)
    assert number == 10
    assert broken, how


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    files = written(tmp_path)
    lines = files.log.read_bytes().splitlines(keepends=True)

    files.log.write_bytes(b"".join([*lines[:2], *lines[4:6]]))

    assert reasons(files) == ["the records 3 to 4 are missing before it", "the records 7 to 8 are missing at the end"]


# ---- the head


def test_an_end_that_was_cut_off_with_a_head_that_was_made_for_it_is_found(tmp_path: Path) -> None:
    files = written(tmp_path)
    lines = files.log.read_bytes().splitlines(keepends=True)
    files.log.write_bytes(b"".join(lines[:5]))
    raw = files.head.read_bytes()

    files.head.write_bytes(raw.replace(b"%020d" % 8, b"%020d" % 5))

    assert FORGED in reasons(files)


@pytest.mark.parametrize("name", ["audit.head", "audit.key", "other.head"])
def test_a_head_that_is_laid_beside_the_log_decides_nothing(tmp_path: Path, name: str) -> None:
    """The head of an earlier version, a key of the forger's own, the head of another layer."""
    files = written(tmp_path)
    seal = json.loads(files.log.read_bytes().splitlines()[4])["seal"]
    files.log.write_bytes(b"".join(files.log.read_bytes().splitlines(keepends=True)[:5]))

    files.log.with_name(name).write_bytes(f"{5:020} {seal}\n".encode())

    assert reasons(files) == ["the records 6 to 8 are missing at the end"]
    written(tmp_path, 1)
    assert reasons(files) == ["the records 6 to 8 are missing before it"]


def test_the_head_of_another_log_is_none(tmp_path: Path) -> None:
    files = written(tmp_path, 3)
    other = files_in(tmp_path, "other")
    shutil.copy(files.log, other.log)
    shutil.copy(files.head, other.head)

    assert reasons(other) == [FORGED]


def test_a_log_without_its_head_says_so(tmp_path: Path) -> None:
    files = written(tmp_path, 3)
    files.head.unlink()

    assert reasons(files) == [NO_HEAD]


def test_who_lacks_the_key_cannot_write_a_log_of_his_own(tmp_path: Path) -> None:
    files = files_in(tmp_path)
    with closing(AuditLog(files, b"another key")) as forged:
        forged.write(entry(1))

    assert reasons(files) == [FORGED, "record 1 was changed"]


def test_a_crash_between_the_record_and_its_head_is_no_flaw(tmp_path: Path) -> None:
    files = written(tmp_path, 3)
    before = files.head.read_bytes()
    written(tmp_path, 1)
    files.head.write_bytes(before)

    assert verify(files, KEY) == (4, [])
    written(tmp_path, 1)
    assert verify(files, KEY) == (5, [])


def test_a_head_that_cannot_be_read_does_not_end_the_chain(tmp_path: Path) -> None:
    files = written(tmp_path, 3)
    for raw in (b"\0" * 300, b"x", b""):
        files.head.write_bytes(raw)
        written(tmp_path, 1)

    assert verify(files, KEY) == (6, [])


# ---- the end from which a chain goes on

GARBAGE = b"\x01" * 200_000


@pytest.mark.parametrize(
    ("tail", "found"),
    [
        (b'{"at":"2026', []),
        (GARBAGE, []),
        (b"\n", [NOT_A_RECORD]),
        (b"\n" * 70_000, [NOT_A_RECORD] * 70_000),
        (GARBAGE + b"\n", [NOT_A_RECORD]),
        (b'{"at":"2026\n{"at"', [NOT_A_RECORD]),
    ],
    ids=["half a record", "a long half", "an empty line", "many", "a line longer than any", "a line and a half"],
)
def test_the_chain_goes_on_from_any_end(tmp_path: Path, tail: bytes, found: list[str]) -> None:
    files = written(tmp_path)
    with files.log.open("ab") as file:
        file.write(tail)

    written(tmp_path, 2)

    number, broken = verify(files, KEY)
    assert (number, [each.reason for each in broken]) == (10, found)


@pytest.mark.parametrize("content", [b"", b"\n", b"\n\n", b'{"at"'])
def test_a_log_begins_on_a_file_that_holds_no_record(tmp_path: Path, content: bytes) -> None:
    files = files_in(tmp_path)
    files.log.write_bytes(content)

    written(tmp_path, 2)

    assert verify(files, KEY) == (2, verify(files, KEY)[1])
    assert set(reasons(files)) <= {NOT_A_RECORD}


def test_a_log_that_is_open_goes_on_when_its_file_is_moved_away_or_cut(tmp_path: Path) -> None:
    files = files_in(tmp_path)
    with closing(AuditLog(files, KEY)) as log:
        log.write(entry(0))
        files.log.rename(tmp_path / "elsewhere")
        log.write(entry(1))
        files.log.write_bytes(files.log.read_bytes()[:10])
        log.write(entry(2))

    assert reasons(files) == ["the records 1 to 2 are missing before it"]


def test_a_record_that_was_written_before_is_not_taken_for_the_last(tmp_path: Path) -> None:
    files = written(tmp_path)
    with files.log.open("ab") as file:
        file.write(files.log.read_bytes().splitlines(keepends=True)[2])

    written(tmp_path, 1)

    assert verify(files, KEY)[0] == 9
    assert len(reasons(files)) == 2


# ---- what a caller sends


@pytest.mark.parametrize("sent", ["\x01", "\U0001f4a9", '"\\', "\ud800", "\u2028"])
def test_nothing_that_a_caller_sends_makes_a_long_record(sent: str) -> None:
    sent *= 32_768
    names = [name for name, value in msgspec.structs.asdict(entry(1)).items() if isinstance(value, str)]
    line, _ = line_of(msgspec.structs.replace(entry(1), **dict.fromkeys(names, sent)), 1, "0" * 64, KEY)

    assert len(line) <= LARGEST
    assert line.count(b"\n") == 1
    assert json.loads(line)["object"].endswith(f"… of {len(sent)} characters")
    assert json.loads(line)["object"].isprintable()


def test_what_is_usual_is_recorded_as_it_is_and_what_is_escaped_is_not_ambiguous() -> None:
    def shown(text: str) -> str:
        line, _ = line_of(msgspec.structs.replace(entry(1), object=text), 1, "0" * 64, KEY)
        return str(json.loads(line)["object"])

    for usual in ("/finance/v1/cases/cas_1", "/kunden/Jörg Müller/订单"):
        assert shown(usual) == usual
    assert shown("a\nb") == r"a\nb"
    assert shown(r"a\nb") == r"a\\nb"
    assert shown("\x1b[2J") == r"\x1b[2J"


# ---- logs of version 0.1


def old_log(files: LogFiles, *objects: str) -> None:
    """Write a log as version 0.1 did: one file without bounds, its head beside it, without a signature."""
    seal, number = "0" * 64, 0
    with files.log.open("wb") as file:
        for number, name in enumerate(objects, 1):
            fields = msgspec.structs.asdict(entry(number)) | {"object": name, "number": number, "previous": seal}
            del fields["times"]
            record = msgspec.json.encode(fields)
            seal = seal_of(KEY, record)
            file.write(record[:-1] + b',"seal":"' + seal.encode() + b'"}\n')
    files.former_head.write_bytes(f"{number:020} {seal}\n".encode())


@pytest.mark.parametrize("last", ["/short", "\x01" * 32_768], ids=["short", "longer than the block that was read"])
def test_a_log_of_an_earlier_version_is_whole_before_and_after_it_goes_on(tmp_path: Path, last: str) -> None:
    files = files_in(tmp_path)
    old_log(files, "/a", "/b", last)

    assert verify(files, KEY) == (3, [])
    with closing(AuditLog(files, KEY)) as log:
        log.write(msgspec.structs.replace(entry(1), at=START + timedelta(days=1)))

    assert verify(files, KEY) == (4, [])
    assert not files.former_head.exists()
    assert [each.name for each in files.closed()] == ["audit.2026-03-01.jsonl"]


def test_an_end_of_a_log_of_an_earlier_version_that_was_cut_off_stays_found(tmp_path: Path) -> None:
    files = files_in(tmp_path)
    old_log(files, "/a", "/b", "/c")
    files.log.write_bytes(b"".join(files.log.read_bytes().splitlines(keepends=True)[:1]))

    assert reasons(files) == ["the records 2 to 3 are missing at the end"]
    written(tmp_path, 1)
    assert reasons(files) == ["the records 2 to 3 are missing before it"]


# ---- days


def test_a_day_that_is_over_gets_a_file_of_its_own_and_a_clock_that_goes_back_none(tmp_path: Path) -> None:
    files = files_in(tmp_path)
    with closing(AuditLog(files, KEY)) as log:
        for days in (0, 1, 0, 1, 3):
            log.write(msgspec.structs.replace(entry(1), at=START + timedelta(days=days)))

    assert [each.name for each in files.closed()] == ["audit.2026-03-01.jsonl", "audit.2026-03-02.jsonl"]
    assert verify(files, KEY) == (5, [])


def test_a_file_that_has_the_name_of_a_day_already_is_not_written_over(tmp_path: Path) -> None:
    files = written(tmp_path, 1)
    files.of_day("2026-03-01").write_bytes(b"there\n")
    with closing(AuditLog(files, KEY)) as log:
        log.write(msgspec.structs.replace(entry(1), at=START + timedelta(days=1)))

    assert files.of_day("2026-03-01").read_bytes() == b"there\n"
    assert verify(files, KEY)[0] == 2


def test_a_log_goes_on_after_a_day_was_closed_and_its_head_lost(tmp_path: Path) -> None:
    files = written(tmp_path, 2)
    with closing(AuditLog(files, KEY)) as log:
        log.close_day("2026-03-02")
    files.head.unlink()

    written(tmp_path, 1)

    assert verify(files, KEY) == (3, [])


def test_a_log_goes_on_after_its_head_was_put_back_to_that_of_a_day_before(tmp_path: Path) -> None:
    files = written(tmp_path, 2)
    before = files.head.read_bytes()
    with closing(AuditLog(files, KEY)) as log:
        log.write(msgspec.structs.replace(entry(1), at=START + timedelta(days=1)))
        log.close_day("2026-03-03")
    files.head.write_bytes(before)

    assert verify(files, KEY) == (3, [])
    written(tmp_path, 1)
    assert verify(files, KEY) == (4, [])


def test_a_log_opens_while_another_process_holds_it_and_goes_on_afterwards(tmp_path: Path) -> None:
    files = written(tmp_path, 2)
    held = os.open(files.head, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)

    with closing(AuditLog(files, KEY)) as log:
        os.close(held)
        log.write(entry(3))

    assert verify(files, KEY) == (3, [])


def test_a_log_is_verified_while_it_is_locked_by_one_who_reads(tmp_path: Path) -> None:
    files = written(tmp_path, 2)
    held = os.open(files.head, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_SH)

    assert verify(files, KEY) == (2, [])
    os.close(held)


# ---- the key, and the export


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
    first, second = files_in(tmp_path, "a"), files_in(tmp_path, "b")
    for files, numbers, client in ((first, (1, 4), "finance-app"), (second, (2, 3), "support-desk")):
        with closing(AuditLog(files, KEY)) as log:
            for number in numbers:
                log.write(entry(number, client))

    def found(**only: object) -> list[str]:
        chosen = {"since": None, "until": None, "client": None} | only
        lines = export([first, second, files_in(tmp_path, "none")], **chosen)  # pyright: ignore[reportArgumentType]
        return [json.loads(line)["object"][-1] for line in lines]

    assert found() == ["1", "2", "3", "4"]
    assert found(client="support-desk") == ["2", "3"]
    after = (START + timedelta(seconds=2)).replace(tzinfo=None)
    assert found(since=after, until=after + timedelta(seconds=2)) == ["2", "3"]
