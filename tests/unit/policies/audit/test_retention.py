"""Audit records go when the catalogue says so, by their kind; what stays is proved as before, and so is the gap."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from policies.audit.log import AuditLog, export, verify
from policies.audit.retention import due, remove_due
from policies.catalogue.check import load
from policies.catalogue.model import Catalogue
from tests.unit.policies.audit.test_audit import KEY, START, entry, written

LONG, SHORT = "act_on_case", "sales_get_order"


@pytest.fixture
def catalogue() -> Catalogue:
    """Records of the process API are kept for ten days, of sales for one."""
    shipped = load()
    process = msgspec.structs.replace(shipped.apis["process"], audit_days=10)
    sales = msgspec.structs.replace(shipped.apis["sales"], audit_days=1)
    return msgspec.structs.replace(shipped, apis=shipped.apis | {"process": process, "sales": sales})


def mixed(folder: Path, *operations: str) -> Path:
    """Return a log with a record of each operation, a second apart."""
    log = AuditLog(folder / "audit.jsonl", KEY)
    for number, operation in enumerate(operations):
        log.write(msgspec.structs.replace(entry(number), operation=operation))
    log.close()
    return log.path


def objects(path: Path) -> list[str]:
    return [msgspec.json.decode(raw)["object"].rpartition("/")[2] for raw in export([path], None, None, None)]


def test_nothing_goes_before_its_time(tmp_path: Path, catalogue: Catalogue) -> None:
    path = mixed(tmp_path, LONG, SHORT)
    before = path.read_bytes()

    assert remove_due(path, KEY, catalogue, START + timedelta(hours=20)) == 0
    assert path.read_bytes() == before


def test_each_kind_is_kept_for_its_own_time_and_the_chain_stays_whole(tmp_path: Path, catalogue: Catalogue) -> None:
    path = mixed(tmp_path, SHORT, LONG, SHORT, SHORT, LONG)

    assert due(path, catalogue, START + timedelta(days=2)) == 3
    assert remove_due(path, KEY, catalogue, START + timedelta(days=2)) == 3

    assert objects(path) == ["1", "4"]
    assert verify(path, KEY) == (5, [])
    assert b"/cases/2" not in path.read_bytes()
    assert remove_due(path, KEY, catalogue, START + timedelta(days=11)) == 2
    assert objects(path) == []
    assert verify(path, KEY) == (5, [])
    assert len(path.read_bytes().splitlines()) == 1


def test_a_log_goes_on_after_its_records_were_removed(tmp_path: Path, catalogue: Catalogue) -> None:
    path = mixed(tmp_path, SHORT, SHORT)
    open_all_the_time = AuditLog(path, KEY)

    remove_due(path, KEY, catalogue, START + timedelta(days=2))
    open_all_the_time.write(entry(2))
    written(tmp_path, 1)

    assert verify(path, KEY) == (4, [])
    assert objects(path) == ["2", "0"]


def test_a_gap_that_was_made_larger_is_found(tmp_path: Path, catalogue: Catalogue) -> None:
    path = mixed(tmp_path, SHORT, SHORT, LONG, LONG)
    remove_due(path, KEY, catalogue, START + timedelta(days=2))

    gap, _, last = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(gap.replace(b'"removed_to":2', b'"removed_to":3') + last)

    assert verify(path, KEY)[1] != []


def test_what_is_no_record_is_left_for_the_one_who_verifies(tmp_path: Path, catalogue: Catalogue) -> None:
    path = mixed(tmp_path, SHORT, SHORT)
    path.write_bytes(path.read_bytes().replace(b'{"at"', b'{"at', 1))

    assert remove_due(path, KEY, catalogue, START + timedelta(days=2)) == 1
    assert verify(path, KEY)[1][0].reason == "it is not a record"
