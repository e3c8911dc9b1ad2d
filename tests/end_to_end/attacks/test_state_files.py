"""What running layers write is theirs alone, on a machine that has other users."""

from __future__ import annotations

from tests.support.environment import Environment
from tiergate.private_state import too_open


def test_no_other_user_reads_what_the_layers_have_written(environment: Environment) -> None:
    state = environment.settings.state

    assert {path.name: oct(mode) for path, mode in too_open(state)} == {}
    assert {each.name for each in state.glob("*.sqlite")} >= {"process.sqlite", "system-shared.sqlite"}
