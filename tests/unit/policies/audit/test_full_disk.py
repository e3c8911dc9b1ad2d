"""A disk that is full: a record is written whole or not at all, what is under way gets its own, and the log goes on."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing, suppress
from pathlib import Path

import msgspec
import pytest

from policies.audit.files import LogFiles
from policies.audit.log import RESERVE, AuditLog
from policies.audit.verify import export, verify
from tests.support.file_size_limit import no_file_above
from tests.unit.policies.audit.test_audit import KEY, entry, files_in

HALF = 100
"""Bytes for which there is room: less than a record has."""


@pytest.fixture
def log(tmp_path: Path) -> Generator[AuditLog]:
    """Yield a log that is larger than its reserve, which the limit leaves alone then."""
    with closing(AuditLog(files_in(tmp_path), KEY)) as made:
        number = 0
        while made.files.log.stat().st_size <= RESERVE:
            number += 1
            made.write(msgspec.structs.replace(entry(number), object="/" + "x" * 250))
        yield made


def size(files: LogFiles) -> int:
    return files.log.stat().st_size


def test_a_record_that_does_not_fit_leaves_no_half_and_waits_in_the_reserve(log: AuditLog) -> None:
    before, last = size(log.files), verify(log.files, KEY)[0]

    with no_file_above(before + HALF):
        log.write(entry(1))
        log.write(entry(2))
        assert log.trouble() == "it cannot be written"
        assert size(log.files) == before
        assert verify(log.files, KEY) == (last + 2, [])
        assert len(list(export([log.files], None, None, None))) == last + 2

    log.resume()
    assert log.trouble() == ""
    assert size(log.files) > before
    assert verify(log.files, KEY) == (last + 2, [])
    log.write(entry(3))
    assert verify(log.files, KEY) == (last + 3, [])


def test_trouble_that_lasts_stays_and_what_waits_stays_in_order(log: AuditLog) -> None:
    last = verify(log.files, KEY)[0]
    with no_file_above(size(log.files) + HALF):
        log.write(entry(1))
        log.resume()
        assert log.trouble()
        log.write(entry(2))
    log.write(entry(3))  # there is room again, which the next record finds too

    assert not log.trouble()
    assert verify(log.files, KEY) == (last + 3, [])


def test_what_waits_in_the_reserve_is_appended_by_the_next_process(log: AuditLog) -> None:
    last = verify(log.files, KEY)[0]
    with no_file_above(size(log.files) + HALF):
        log.write(entry(1))

    with closing(AuditLog(log.files, KEY)) as other:
        other.write(entry(2))
        log.write(entry(3))

    assert verify(log.files, KEY) == (last + 3, [])


def test_a_crash_while_what_waited_is_appended_doubles_nothing(log: AuditLog) -> None:
    last = verify(log.files, KEY)[0]
    with no_file_above(size(log.files) + HALF):
        log.write(entry(1))
        log.write(entry(2))
    waiting = log.files.reserve.read_bytes().split(b"\0")[0]
    for written in (waiting, waiting[:-20]):
        with log.files.log.open("ab") as file:
            file.write(written)  # as the drain does, before its head
        head = log.files.head.read_bytes()
        with closing(AuditLog(log.files, KEY)):
            assert verify(log.files, KEY) == (last + 2, [])
        with log.files.log.open("r+b") as file:
            file.truncate(size(log.files) - len(waiting))
        log.files.head.write_bytes(head)

    log.write(entry(3))
    assert verify(log.files, KEY) == (last + 3, [])


def test_when_the_reserve_is_full_too_nothing_is_said_to_be_written(log: AuditLog) -> None:
    last = verify(log.files, KEY)[0]
    large = msgspec.structs.replace(entry(1), object="/" + "x" * 250)
    written = 0
    with no_file_above(size(log.files) + HALF), suppress(OSError):
        while True:
            log.write(large)
            written += 1

    assert written > 300
    log.resume()
    assert verify(log.files, KEY) == (last + written, [])


def test_a_reserve_that_somebody_has_emptied_is_found(log: AuditLog) -> None:
    last = verify(log.files, KEY)[0]
    with no_file_above(size(log.files) + HALF):
        log.write(entry(1))
    log.files.reserve.unlink()

    with closing(AuditLog(log.files, KEY)) as other:
        other.write(entry(2))

    assert [each.reason for each in verify(log.files, KEY)[1]] == [f"record {last + 1} is missing before it"]


def test_a_log_opens_without_room_for_its_reserve_and_takes_no_writes_until_there_is(tmp_path: Path) -> None:
    files = files_in(tmp_path)
    with no_file_above(RESERVE // 2):
        log = AuditLog(files, KEY)
        assert log.trouble()
    with closing(log):
        log.resume()
        assert not log.trouble()
        log.write(entry(1))

    assert verify(files, KEY) == (1, [])
