"""The durable engine without Tiergate: workflows of no-op steps, begun and advanced as standard input says."""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from pathlib import Path

from dbos import DBOS

may_go_on = threading.Semaphore(0)
"""Holds one permit for each step that may be taken now."""


@DBOS.step()
def nothing(number: int) -> str:
    return f"done {number}"


@DBOS.workflow()
def workflow(steps: int) -> str:
    for number in range(steps):
        may_go_on.acquire()
        nothing(number)
    return "done"


def main() -> None:
    """Read the number of steps of a workflow and print `ready`; then follow the lines of standard input.

    A line of two numbers starts so many workflows and lets so many steps be taken; a line "whole" runs one workflow
    from beginning to end. After an empty line, print the milliseconds of CPU that a workflow took since the first of
    these lines, waiting included.
    """
    steps = int(sys.stdin.readline())
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'engine.sqlite'}"
        DBOS(config={"name": "bench", "system_database_url": url, "application_version": "1", "log_level": "WARNING"})
        DBOS.launch()
        may_go_on.release(steps)
        workflow(steps)
        print("ready", flush=True)
        began, whole, running = 0.0, 0, list[threading.Thread]()
        while line := sys.stdin.readline().strip():
            began = began or time.process_time()
            if line == "whole":
                may_go_on.release(steps)
                workflow(steps)
                whole += 1
                continue
            begun, taken = map(int, line.split())
            for _ in range(begun):
                running.append(threading.Thread(target=workflow, args=(steps,)))
                running[-1].start()
            if taken:
                may_go_on.release(taken)
        for each in running:
            each.join()
        used = time.process_time() - began
        print(round(1000 * used / (whole + len(running)), 1))
        DBOS.destroy()


if __name__ == "__main__":
    main()
