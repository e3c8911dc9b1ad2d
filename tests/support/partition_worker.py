"""A process that works in partitions of the engine: started by tests that let several of them work on one database, or
kill one.

It starts jobs and writes to a file when each begins and ends.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from dbos import DBOS

from canonical.ids import utc_now
from process_apis.records.database import open_database
from process_apis.runtime.engine import Engine, EngineSettings, Work
from process_apis.runtime.interruptions import resumable


class Jobs:
    """What the jobs of this process do, and what they did: (name, when it began, when it ended), in seconds."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        self.done: list[tuple[str, float, float]] = []
        self.begun: set[str] = set()
        self.work: Callable[[str], object] = lambda _: None

    @resumable
    def run(self, name: str) -> None:
        began = time.time()
        self.begun.add(name)
        self.work(name)
        self.done.append((name, began, time.time()))


JOBS = Jobs()


@DBOS.workflow(name="tests.partition_job")
def job(name: str) -> None:
    JOBS.run(name)


def engine_over(
    url: str, executor_id: str, dead_after: float = 4.0, waiting: Callable[[], Work | None] = lambda: None
) -> Engine:
    """Return an engine that takes over soon from a process that died."""
    settings = EngineSettings(url, executor_id, heartbeat=0.1, poll=0.2, dead_after=dead_after, queue_poll=0.1)
    engine = Engine(settings, open_database(url), utc_now)
    engine.launch((), waiting)
    return engine


def main() -> None:
    """Start the jobs `names` in `partition`. Each lasts `seconds`; the process goes on until its input ends."""
    url, executor_id, path, partition, seconds, *names = sys.argv[1:]

    def work(name: str) -> None:
        for event in ("begun", "ended"):
            with Path(path).open("a") as events:
                events.write(f"{event} {name}\n")
            if event == "begun":
                threading.Event().wait(float(seconds))

    JOBS.work = work
    engine = engine_over(url, executor_id)
    for name in names:
        engine.start(Work(name, job, (name,), partition))
    sys.stdin.read()
    engine.close()


if __name__ == "__main__":
    main()
