"""What a deployable logs of its own faults: which one and where, and nothing of what it was about."""

from __future__ import annotations

import subprocess
import sys

import pytest

IN_A_LIBRARY = "logging.getLogger('dbos').error('a workflow ended: %s', 'x', exc_info=fault())"
IN_A_THREAD = "thread = threading.Thread(target=work); thread.start(); thread.join()"
PROGRAM = """
import logging, threading
from tiergate.serving import log_as_json

def fault():
    try:
        work()
    except ValueError as error:
        return error

def work():
    raise ValueError("Erika Mustermann")

log_as_json()
"""


@pytest.mark.parametrize(
    ("broken", "said"), [(IN_A_LIBRARY, "a workflow ended: x ValueError at"), (IN_A_THREAD, "a thread ended")]
)
def test_a_fault_of_ours_is_logged_without_its_message(broken: str, said: str) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM + broken], capture_output=True, text=True, check=True)

    assert said in done.stderr
    assert "ValueError" in done.stderr
    assert " work" in done.stderr
    assert "Mustermann" not in done.stderr
