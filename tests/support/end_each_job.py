"""Ends each job of a layer by each kind of fault, where it rests, and waits until it goes on.

Run as `python -m tests.support.end_each_job LAYER FOLDER`. The layer is whole, in this process; its neighbours and
platforms are away. Prints, as JSON, the names of its jobs, tasks and threads, and fails when a job does not go on.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any, cast, get_args

from dbos._workflow_commands import BACKGROUND_JOBS_THREAD_NAME
from litestar import Litestar
from litestar.testing import TestClient

from policies import background
from policies.catalogue.model import Layer
from tests.integration.tiergate.test_database_command import EXAMPLE, SECRETS
from tests.support.fatal import FATAL
from tests.support.platforms import wait_until
from tiergate import composition
from tiergate.platforms import load_platforms
from tiergate.server.logs import log_as_json
from tiergate.settings import load

PLATFORMS = ("SALESFORCE", "TRYTON", "STRIPE", "PROVISIONER")
NOWHERE = "http://127.0.0.1:9"
SHORT = 0.02
"""Seconds that a job rests here, and after which it is begun again, but for the first time."""
REAL_SLEEP, REAL_WAIT, REAL_TIMEOUT = asyncio.sleep, threading.Event.wait, asyncio.timeout


class Rests:
    """Where jobs rest: for a moment, or by a fault."""

    def __init__(self) -> None:
        self.rounds: Counter[str] = Counter()
        self._faults: dict[str, BaseException] = {}
        asyncio.sleep = self._sleep
        asyncio.timeout = self._timeout

        rests = self

        def wait(self: threading.Event, timeout: float | None = None) -> bool:
            return rests._wait(self, timeout)

        threading.Event.wait = wait

    async def _sleep(self, seconds: float, result: Any = None) -> Any:
        task = asyncio.current_task()
        self._note(task.get_name() if task else "")
        return await REAL_SLEEP(min(seconds, SHORT), result)

    def _timeout(self, delay: float | None) -> asyncio.Timeout:
        task = asyncio.current_task()
        job = task.get_name() if task else ""
        self._note(job)
        return REAL_TIMEOUT(SHORT if job in self.rounds else delay)

    def _wait(self, event: threading.Event, timeout: float | None) -> bool:
        thread = threading.current_thread().name
        self._note(thread)
        return REAL_WAIT(event, SHORT if thread in self.rounds else timeout)

    def _note(self, job: str) -> None:
        if (fault := self._faults.pop(job, None)) is not None:
            raise fault
        if job in self.rounds:
            self.rounds[job] += 1

    def watch(self, job: str) -> None:
        self.rounds[job] += 0

    def end(self, job: str, fault: BaseException) -> None:
        self._faults[job] = fault

    def all_go_on(self) -> None:
        """Wait until each job has met its fault, and done more rounds."""
        before = self.rounds.copy()
        wait_until(
            lambda: not self._faults and all(self.rounds[job] > before[job] + 2 for job in before),
            20,
            "all jobs go on",
        )


def app_of(layer: Layer, folder: Path) -> Litestar:
    variables = SECRETS | {f"TIERGATE_PLATFORMS_{each}_URL": NOWHERE for each in PLATFORMS}
    variables |= {f"TIERGATE_SERVER_{each}_URL": NOWHERE for each in ("SYSTEM", "PROCESS")}
    settings = load(EXAMPLE, variables | {"TIERGATE_FOLDER": str(folder)})
    if layer == "process":
        return composition.process_app(settings, composition.records(settings))
    if layer == "experience":
        return composition.experience_app(settings)
    catalogue = composition.open_catalogue(settings).current
    return composition.system_app(settings, load_platforms(settings, catalogue, variables))


async def names_of_tasks() -> list[str]:
    return sorted(name_of(each) for each in asyncio.all_tasks())


def name_of(task: asyncio.Task[Any]) -> str:
    """Return the name that a task was given, or that of what it runs."""
    given = task.get_name()
    return getattr(task.get_coro(), "__qualname__", given) if given.startswith("Task-") else given


def lasting_threads() -> list[str]:
    """Return the names of the threads that go on. One that the engine began, and was asked to stop, ends when it sees
    that: its wait between two rounds ends at once."""
    for each in threading.enumerate():
        if each.name == BACKGROUND_JOBS_THREAD_NAME:
            each.join(20)
    return sorted(each.name for each in threading.enumerate())


def main(layer: Layer, folder: Path, jobs: list[str]) -> dict[str, list[str]]:
    log_as_json()
    rests = Rests()
    background.LONGEST_PAUSE = SHORT
    with TestClient(app_of(layer, folder)) as client, client.portal() as portal:
        tasks = portal.call(names_of_tasks)
        threads = lasting_threads()
        for job in jobs:
            rests.watch(job)
        for make in FATAL.values():
            for job in jobs:
                rests.end(job, make())
            rests.all_go_on()
        live = client.get("/health/live").status_code
    return {"tasks": tasks, "threads": threads, "live": [str(live)]}


if __name__ == "__main__":
    named = cast("Layer", sys.argv[1])
    assert named in get_args(Layer)
    sys.stdout.write("\n" + json.dumps(main(named, Path(sys.argv[2]), sys.argv[3:])))
