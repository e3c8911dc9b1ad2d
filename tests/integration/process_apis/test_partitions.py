"""Work in one partition is done one at a time, in its order, by whichever process; on SQLite and on PostgreSQL."""

from __future__ import annotations

import subprocess
import sys
import threading
from itertools import pairwise
from pathlib import Path

from process_apis.runtime.engine import Engine, Work
from tests.support.environment import wait_until
from tests.support.partition_worker import JOBS, engine_over, job


def worker(
    url: str, executor_id: str, path: Path, seconds: float, *names: str, partition: str = "con_1"
) -> subprocess.Popen[bytes]:
    """Return a process of its own that starts jobs of a partition, or of none, and writes to `path` when each begins
    and ends."""
    arguments = [url, executor_id, str(path), partition, str(seconds), *names]
    return subprocess.Popen([sys.executable, "-m", "tests.support.partition_worker", *arguments], stdin=subprocess.PIPE)


def written(path: Path) -> list[list[str]]:
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def test_jobs_of_one_contract_never_overlap_while_those_of_others_run_beside_them(engine: Engine) -> None:
    may_end = threading.Event()
    JOBS.work = lambda name: name == "first" and may_end.wait(20)

    for partition, name in (("con_1", "first"), ("con_1", "second"), ("con_2", "other"), ("con_3", "another")):
        engine.start(Work(name, job, (name,), partition))
    wait_until(lambda: len(JOBS.done) == 2, 10, "the jobs of the other contracts are done")
    begun_meanwhile = set(JOBS.begun)
    may_end.set()
    wait_until(lambda: len(JOBS.done) == 4, 10, "all jobs are done")

    assert begun_meanwhile == {"first", "other", "another"}
    names = [name for name, _, _ in JOBS.done]
    assert names[2:] == ["first", "second"]


def test_many_jobs_of_one_contract_keep_the_order_in_which_they_were_started(engine: Engine) -> None:
    wanted = [f"job-{number:02}" for number in range(12, 0, -1)]

    for name in wanted:
        engine.start(Work(name, job, (name,), "con_1"))
    wait_until(lambda: len(JOBS.done) == len(wanted), 20, "all jobs are done")

    assert [name for name, _, _ in JOBS.done] == wanted
    assert all(ended <= began for (_, _, ended), (_, began, _) in pairwise(JOBS.done))


def test_a_job_that_is_started_twice_under_its_identity_is_done_once(engine: Engine) -> None:
    for _ in range(3):
        engine.start(Work("only", job, ("only",), "con_1"))
    engine.start(Work("last", job, ("last",), "con_1"))
    wait_until(lambda: len(JOBS.done) == 2, 10, "both jobs are done")

    assert [name for name, _, _ in JOBS.done] == ["only", "last"]


def test_jobs_that_two_processes_start_for_one_contract_never_overlap(url: str, tmp_path: Path) -> None:
    path = tmp_path / "events"
    workers = [worker(url, each, path, 0.03, *(f"{each}-{number}" for number in range(3))) for each in ("a", "b")]
    try:
        wait_until(lambda: len(written(path)) == 12, 90, "all jobs of both have ended")
    finally:
        for each in workers:
            each.communicate(timeout=20)

    events = written(path)
    assert [each[0] for each in events] == ["begun", "ended"] * 6
    assert all(begun[1] == ended[1] for begun, ended in zip(events[::2], events[1::2], strict=True))
    for process in ("a", "b"):
        assert [name for event, name in events if event == "begun" and name.startswith(process)] == [
            f"{process}-{number}" for number in range(3)
        ]


def test_what_a_killed_process_was_at_without_a_partition_is_done_once_by_one_of_two_others(
    url: str, tmp_path: Path
) -> None:
    path = tmp_path / "events"
    killed = worker(url, "killed", path, 60, "alone", partition="")
    try:
        wait_until(lambda: written(path) == [["begun", "alone"]], 60, "the job has begun")
    finally:
        killed.kill()
        killed.communicate()

    beside = worker(url, "beside", path, 0)
    engine = engine_over(url, "successor")
    wait_until(lambda: JOBS.done or ["ended", "alone"] in written(path), 60, "the job is done")
    wait_until(lambda: not engine.is_running("alone"), 10, "its end is known")
    again = engine.take_over()
    engine.close()
    beside.communicate(b"")

    assert again == []
    assert len(JOBS.done) + written(path).count(["ended", "alone"]) == 1


def test_the_partition_of_a_killed_process_goes_on_with_the_job_that_it_was_at(url: str, tmp_path: Path) -> None:
    path = tmp_path / "events"
    killed = worker(url, "killed", path, 60, "first", "second")
    try:
        wait_until(lambda: written(path) == [["begun", "first"]], 60, "the first job has begun")
    finally:
        killed.kill()
        killed.communicate()

    engine = engine_over(url, "successor")
    engine.start(Work("third", job, ("third",), "con_1"))
    wait_until(lambda: len(JOBS.done) == 3, 60, "all jobs are done")
    engine.close()

    assert [name for name, _, _ in JOBS.done] == ["first", "second", "third"]
    assert all(ended <= began for (_, _, ended), (_, began, _) in pairwise(JOBS.done))
