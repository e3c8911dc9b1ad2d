"""Processes of ours end with the one that started them, however that is asked to end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.platforms import wait_until

STARTER = """
import sys
from pathlib import Path
from tiergate.dev.layers import wait_for_the_end
from tiergate.dev.processes import Child, stopped_at_the_end

with stopped_at_the_end() as children:
    children.append(Child("child", ["sleep", "600"], Path(sys.argv[1])))
    print(children[0].process.pid, flush=True)
    if sys.argv[2] == "is up":
        wait_for_the_end(children)
    else:
        children[0].process.wait()
"""

WAITER = """
import os, signal
from tiergate.dev.layers import wait_for_the_end

signal.signal(signal.SIGTERM, lambda *_: None)
signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
for microseconds in range(2000):
    signal.setitimer(signal.ITIMER_REAL, (5 + microseconds % 100) / 1e6, 0.001)
    wait_for_the_end([])
    signal.setitimer(signal.ITIMER_REAL, 0)
"""
"""Waits again and again, and is asked to end at another moment of each wait."""
IN_A_TERMINAL = ("env", "--default-signal=HUP,INT")
"""Start it as from a terminal, however these tests were started."""
IN_THE_BACKGROUND = ("env", "--ignore-signal=INT")


@contextmanager
def started(log: Path, how_far: str, *before: str) -> Generator[tuple[subprocess.Popen[str], int]]:
    """Start a process with a child. Yield it, and the id of the child."""
    command = [*before, sys.executable, "-c", STARTER, str(log), how_far]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as starter:
        assert starter.stdout is not None
        yield starter, int(starter.stdout.readline())


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("how_far", ["starts", "is up"])
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
def test_children_are_stopped_when_their_parent_is_asked_to_end(
    tmp_path: Path, how_far: str, number: signal.Signals
) -> None:
    with started(tmp_path / "log", how_far, *IN_A_TERMINAL) as (starter, child):
        starter.send_signal(number)
        starter.wait(20)

    wait_until(lambda: not runs(child), 5, "the end of the child")


@pytest.mark.parametrize("how_far", ["starts", "is up"])
def test_what_was_started_in_the_background_of_a_shell_ends_by_an_interrupt(tmp_path: Path, how_far: str) -> None:
    with started(tmp_path / "log", how_far, *IN_THE_BACKGROUND) as (starter, child):
        starter.send_signal(signal.SIGINT)
        starter.wait(20)

    wait_until(lambda: not runs(child), 5, "the end of the child")


@pytest.mark.parametrize("how_far", ["starts", "is up"])
def test_the_end_of_a_terminal_is_ignored_under_nohup(tmp_path: Path, how_far: str) -> None:
    with started(tmp_path / "log", how_far, "nohup") as (starter, child):
        starter.send_signal(signal.SIGHUP)
        starter.send_signal(signal.SIGUSR1)  # what comes after it ends the parent alone
        starter.wait(20)

        assert starter.returncode == -signal.SIGUSR1
        assert runs(child)
        os.kill(child, signal.SIGKILL)


def test_a_wait_ends_at_whatever_moment_of_it_the_end_is_asked_for() -> None:
    subprocess.run([sys.executable, "-c", WAITER], check=True, timeout=30)
