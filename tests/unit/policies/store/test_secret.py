"""Secrets are read again when they change, and never show."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from policies.store.secret import FromCommand, FromFile, Secret


def test_a_file_that_changes_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("first\n")
    secret = FromFile(path)
    assert secret.reveal() == "first"

    draft = tmp_path / "draft"
    draft.write_text("the second\n")
    draft.replace(path)

    assert secret.reveal() == "the second"


def test_a_byte_order_mark_is_no_part_of_a_secret(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("first\n", encoding="utf-8-sig")

    assert FromFile(tmp_path / "password").reveal() == "first"


def test_a_file_that_is_gone_leaves_the_last_secret(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "password"
    path.write_text("hunter2")
    secret = FromFile(path)

    path.unlink()

    assert secret.reveal() == "hunter2"
    shown = capsys.readouterr()
    assert "hunter2" not in shown.out + shown.err


def test_a_command_is_run_again_when_what_it_said_is_old_and_nobody_waits_for_it(tmp_path: Path) -> None:
    path, now = tmp_path / "password", 0.0
    path.write_text("first")
    secret = FromCommand(["sh", "-c", f"sleep 0.3; cat {path}"], 60, lambda: now)
    path.write_text("second")
    assert secret.reveal() == "first"

    now = 61.0
    assert secret.reveal() == "first"
    deadline = time.monotonic() + 5
    while secret.reveal() != "second":
        assert time.monotonic() < deadline

    path.unlink()
    now = 200.0
    secret.reveal()
    for each in threading.enumerate():
        if each.name == "secret":
            each.join()  # what it logs belongs to this test
    assert secret.reveal() == "second"


@pytest.mark.parametrize("form", ["{}", "{!r}", "{!s}", "{0!a}"])
def test_a_secret_does_not_show(form: str) -> None:
    assert "hunter2" not in form.format(Secret("hunter2"))
    assert "hunter2" not in form.format([Secret("hunter2")])


def test_an_empty_secret_is_none() -> None:
    assert not Secret("")
    assert Secret("x")
