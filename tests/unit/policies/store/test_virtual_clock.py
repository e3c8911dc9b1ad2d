"""The time of a sandbox is the machine's, and as much later as a file says."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from canonical.ids import utc_now
from policies.store.virtual_clock import VirtualClock
from sandbox.store import SandboxClock
from tiergate.settings import SettingsError, load
from tiergate.shared import SharedState

SOON = timedelta(seconds=60)


def test_the_layers_have_the_time_of_the_stand_ins(tmp_path: Path) -> None:
    config = tmp_path / "tiergate.toml"
    config.write_text(f'[governance]\nclock_file = "{tmp_path / "clock"}"\n')
    ours, theirs = SharedState(load(config, {})).clock, SandboxClock(tmp_path / "clock")
    assert abs(ours() - utc_now()) < SOON

    theirs.advance(timedelta(days=150).total_seconds())
    theirs.advance(timedelta(days=217).total_seconds())

    assert abs(ours() - utc_now() - timedelta(days=367)) < SOON
    assert abs(ours() - theirs.now()) < SOON
    assert abs(SandboxClock(tmp_path / "clock").now() - theirs.now()) < SOON


def test_time_does_not_go_back(tmp_path: Path) -> None:
    clock = SandboxClock(tmp_path / "clock")

    with pytest.raises(ValueError, match="go back"):
        clock.advance(-1)


def test_a_file_that_holds_no_number_stops_all(tmp_path: Path) -> None:
    (tmp_path / "clock").write_text("tomorrow")

    with pytest.raises(ValueError, match="tomorrow"):
        VirtualClock(tmp_path / "clock")()


def test_a_shared_database_has_a_time_of_its_own(tmp_path: Path) -> None:
    config = tmp_path / "tiergate.toml"
    config.write_text('[governance]\nclock_file = "clock"\ndatabase_url = "postgresql://127.0.0.1:9/x"\n')

    with pytest.raises(SettingsError, match="clock_file"):
        SharedState(load(config, {}))
