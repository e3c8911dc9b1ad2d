"""Audit records go when the catalogue says so, by their kind; what stays is proved as before, and so is the gap."""

from __future__ import annotations

import fcntl
import os
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from policies.audit.files import LogFiles
from policies.audit.log import AuditLog
from policies.audit.retention import due, remove_due
from policies.audit.verify import export, verify
from policies.catalogue.check import load
from policies.catalogue.model import Catalogue
from tests.unit.policies.audit.test_audit import KEY, START, entry, files_in, written

LONG, SHORT = "act_on_case", "sales_get_order"
DAY = "2026-03-01"


@pytest.fixture
def catalogue() -> Catalogue:
    """Records of the process API are kept for ten days, of sales for one."""
    shipped = load()
    process = msgspec.structs.replace(shipped.apis["process"], audit_days=10)
    sales = msgspec.structs.replace(shipped.apis["sales"], audit_days=1)
    return msgspec.structs.replace(shipped, apis=shipped.apis | {"process": process, "sales": sales})


def mixed(folder: Path, *operations: str) -> AuditLog:
    """Return a log with a record of each operation, a second apart."""
    log = AuditLog(files_in(folder), KEY)
    for number, operation in enumerate(operations):
        log.write(msgspec.structs.replace(entry(number), operation=operation))
    return log


def objects(files: LogFiles) -> list[str]:
    return [msgspec.json.decode(raw)["object"].rpartition("/")[2] for raw in export([files], None, None, None)]


def test_nothing_goes_before_its_time(tmp_path: Path, catalogue: Catalogue) -> None:
    with closing(mixed(tmp_path, LONG, SHORT)) as log:
        before = log.files.log.read_bytes()

        assert remove_due(log, catalogue, START + timedelta(hours=20)) == 0
        assert log.files.of_day(DAY).read_bytes() == before


def test_each_kind_is_kept_for_its_own_time_and_the_chain_stays_whole(tmp_path: Path, catalogue: Catalogue) -> None:
    with closing(mixed(tmp_path, SHORT, LONG, SHORT, SHORT, LONG)) as log:
        files = log.files
        assert due(files, KEY, catalogue, START + timedelta(days=2)) == 3
        assert remove_due(log, catalogue, START + timedelta(days=2)) == 3

        assert objects(files) == ["1", "4"]
        assert verify(files, KEY) == (5, [])
        assert b"/cases/2" not in files.of_day(DAY).read_bytes()
        assert remove_due(log, catalogue, START + timedelta(days=11)) == 2
        assert objects(files) == []
        assert verify(files, KEY) == (5, [])
        assert len(files.of_day(DAY).read_bytes().splitlines()) == 1


def test_a_log_goes_on_after_its_records_were_removed(tmp_path: Path, catalogue: Catalogue) -> None:
    with (
        closing(mixed(tmp_path, SHORT, SHORT)) as open_all_the_time,
        closing(AuditLog(files_in(tmp_path), KEY)) as other,
    ):
        remove_due(other, catalogue, START + timedelta(days=2))
        open_all_the_time.write(entry(2))
    files = written(tmp_path, 1)

    assert verify(files, KEY) == (4, [])
    assert objects(files) == ["2", "0"]


def over_days(folder: Path, *operations: str) -> AuditLog:
    """Return a log with a record of each operation, a day apart."""
    log = AuditLog(files_in(folder), KEY)
    for number, operation in enumerate(operations):
        log.write(msgspec.structs.replace(entry(0), at=START + timedelta(days=number), operation=operation))
    return log


def test_of_days_of_which_nothing_is_left_one_file_says_so(tmp_path: Path, catalogue: Catalogue) -> None:
    with closing(over_days(tmp_path, SHORT, SHORT, SHORT, LONG, SHORT, SHORT, LONG)) as log:
        assert remove_due(log, catalogue, START + timedelta(days=8)) == 5
        assert [each.name[-8:-6] for each in log.files.closed()] == ["03", "04", "06", "07"]
        assert verify(log.files, KEY) == (7, [])

        assert remove_due(log, catalogue, START + timedelta(days=30)) == 2
        assert [each.name[-8:-6] for each in log.files.closed()] == ["07"]
        assert verify(log.files, KEY) == (7, [])
        log.write(entry(1))
        assert verify(log.files, KEY) == (8, [])


def test_a_crash_while_days_are_joined_is_no_flaw_and_is_cleared_away(tmp_path: Path, catalogue: Catalogue) -> None:
    with closing(over_days(tmp_path, SHORT, SHORT, LONG)) as log:
        remove_due(log, catalogue, START + timedelta(days=1, hours=1))
        first = log.files.of_day(DAY)
        before = first.read_bytes()
        remove_due(log, catalogue, START + timedelta(days=4))
        first.write_bytes(before)

        assert verify(log.files, KEY) == (3, [])
        remove_due(log, catalogue, START + timedelta(days=4))
        assert not first.exists()
        assert verify(log.files, KEY) == (3, [])


def test_a_day_that_was_taken_away_whole_is_missing(tmp_path: Path, catalogue: Catalogue) -> None:
    with closing(over_days(tmp_path, SHORT, SHORT, LONG, SHORT)) as log:
        log.files.of_day("2026-03-02").unlink()
        remove_due(log, catalogue, START + timedelta(days=8))

        assert [each.reason for each in verify(log.files, KEY)[1]] == ["record 2 is missing before it"]


def test_no_writer_waits_while_records_are_removed(tmp_path: Path, catalogue: Catalogue) -> None:
    with closing(mixed(tmp_path, SHORT, SHORT)) as log:
        held = os.open(log.files.log.parent, os.O_RDONLY)  # as one who removes records holds it all the time
        fcntl.flock(held, fcntl.LOCK_EX)
        log.write(msgspec.structs.replace(entry(1), at=START + timedelta(days=2)))
        os.close(held)

        assert remove_due(log, catalogue, START + timedelta(days=2)) == 2
        assert verify(log.files, KEY) == (3, [])


def test_a_gap_that_was_made_larger_is_found(tmp_path: Path, catalogue: Catalogue) -> None:
    with closing(mixed(tmp_path, SHORT, SHORT, LONG, LONG)) as log:
        remove_due(log, catalogue, START + timedelta(days=2))
        files = log.files

    gap, _, last = files.of_day(DAY).read_bytes().splitlines(keepends=True)
    files.of_day(DAY).write_bytes(gap.replace(b'"removed_to":2', b'"removed_to":3') + last)

    assert verify(files, KEY)[1] != []


@pytest.mark.parametrize(
    "change",
    [
        (b'{"at"', b'{"at'),
        (f'"operation":"{LONG}"'.encode(), f'"operation":"{SHORT}"'.encode()),
        (b'"at":"2026', b'"at":"2016'),
    ],
    ids=["not a record", "another kind", "an older one"],
)
def test_a_record_that_was_changed_is_not_removed_with_those_that_are_due(
    tmp_path: Path, catalogue: Catalogue, change: tuple[bytes, bytes]
) -> None:
    with closing(mixed(tmp_path, LONG, SHORT, SHORT)) as log:
        log.close_day("2026-03-02")
        closed = log.files.of_day(DAY)
        closed.write_bytes(closed.read_bytes().replace(*change, 1))

        assert remove_due(log, catalogue, START + timedelta(days=2)) == 2
        assert verify(log.files, KEY)[1] != []


def test_a_record_that_is_missing_is_not_called_removed(tmp_path: Path, catalogue: Catalogue) -> None:
    with closing(mixed(tmp_path, SHORT, SHORT, SHORT)) as log:
        log.close_day("2026-03-02")
        first, _, last = log.files.of_day(DAY).read_bytes().splitlines(keepends=True)
        log.files.of_day(DAY).write_bytes(first + last)

        assert remove_due(log, catalogue, START + timedelta(days=2)) == 2
        assert [each.reason for each in verify(log.files, KEY)[1]] == ["record 2 is missing before it"]
