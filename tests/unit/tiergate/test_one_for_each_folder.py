"""A folder of state belongs to the demo or the sandbox that runs in it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from tiergate.cli.main import cli
from tiergate.dev.sandbox import lock_folder


@pytest.mark.parametrize("command", ["demo", "sandbox"])
def test_a_second_one_in_a_folder_is_refused_and_leaves_the_state_of_the_first(tmp_path: Path, command: str) -> None:
    state = tmp_path / "demo" / "process.sqlite"
    state.parent.mkdir()
    state.touch()

    with lock_folder(tmp_path, command):
        refused = CliRunner().invoke(cli, [command, "--folder", str(tmp_path)], catch_exceptions=False)

    assert refused.exit_code == 3
    assert refused.stderr == (
        f"tiergate: a {command} runs in {tmp_path} (pid {os.getpid()}): stop it, or use another --folder\n"
    )
    assert state.exists()


def test_a_folder_is_free_again_when_the_one_in_it_has_ended(tmp_path: Path) -> None:
    for _ in range(2):
        with lock_folder(tmp_path, "demo"):
            pass
