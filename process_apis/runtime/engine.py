"""The durable engine (DBOS): starts workflows under business identities, and takes over from processes that died.

It finds what to run by the names that are written at the workflows, steps, classes and instances: they are in
databases, and stay when code is renamed. It recovers by itself only what ran under the same executor id, so each process
has an id of its own, shows by a heartbeat that it lives, and looks again and again, for as long as it runs, for work
whose owner does not.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from time import monotonic, sleep
from typing import Any, ParamSpec

import msgspec
import sqlalchemy as sa
import structlog
from dbos import DBOS, DBOSConfig, SetWorkflowID
from sqlalchemy.exc import SQLAlchemyError

from canonical.ids import Clock
from process_apis.records.database import executors

P = ParamSpec("P")
VERSION = "1"
"""Pinned by us: by default it is a hash of the code, and an upgrade would strand every running workflow."""
FORGOTTEN_AFTER = 3600.0
CLOSING = 5
"""Seconds that running work has to come to an end; after that, another process takes it over."""
HEARTBEAT = executors.update().where(executors.c.id == sa.bindparam("of"))
HEARTBEATS = sa.select(executors)
log = structlog.get_logger("tiergate.engine")


class EngineSettings(msgspec.Struct, frozen=True):
    """`heartbeat`, `poll` and `dead_after` are in seconds. `worker_slots` bounds how much of the work that can wait runs at once."""

    url: str
    executor_id: str
    heartbeat: float = 1.0
    poll: float = 2.0
    dead_after: float = 5.0
    worker_slots: int = 4


class Work(msgspec.Struct, frozen=True):
    """A workflow under its identity, ready to be run."""

    workflow_id: str
    run: Callable[[], object]


class Engine:
    """One process's share of the durable work."""

    def __init__(self, settings: EngineSettings, database: sa.Engine, clock: Clock) -> None:
        self._settings = settings
        self._database = database
        self._clock = clock
        self._woken = threading.Event()
        self._closing = False
        self._running: set[str] = set()
        self._workers: set[threading.Thread] = set()
        """Each has one of the places for work that can wait."""
        self._next: Callable[[], Work | None] = lambda: None
        self._poller: threading.Thread | None = None
        config: DBOSConfig = {
            "name": "tiergate-process",
            "system_database_url": settings.url,
            "system_database_engine": database,  # one pool for both: a connection's pages are read again when another writes
            "executor_id": settings.executor_id,
            "application_version": VERSION,
            "log_level": "WARNING",
            "notification_listener_polling_interval_sec": 2.0,  # nothing of ours waits for messages; the end waits for it
        }
        DBOS(config=config)

    def launch(self, periodic_jobs: Sequence[Callable[[], None]], waiting: Callable[[], Work | None]) -> None:
        """Begin to work. `periodic_jobs` are done at each sweep: looking at what is due. `waiting` gives the next piece of the
        work that can wait, and claims it; it is asked by several threads at once, and by several processes."""
        self._next = waiting
        self._heartbeat()
        DBOS.launch()
        self._poller = threading.Thread(target=self._poll, args=(periodic_jobs,), name="poller", daemon=True)
        self._poller.start()

    def close(self) -> None:
        self._closing = True
        self._woken.set()
        if self._poller is not None:
            self._poller.join()
        until = monotonic() + CLOSING
        while self._workers and monotonic() < until:
            sleep(0.05)
        DBOS.destroy(workflow_completion_timeout_sec=CLOSING)
        with self._database.begin() as connection:
            connection.execute(executors.delete().where(executors.c.id == self._settings.executor_id))

    # ---- starting

    def start(self, workflow_id: str, workflow: Callable[P, Any], *args: P.args, **kwargs: P.kwargs) -> None:
        """Start `workflow` now. A second start under the same identity is the first one."""
        with SetWorkflowID(workflow_id):
            DBOS.start_workflow(workflow, *args, **kwargs)

    def wake(self) -> None:
        """Work that can wait may have come."""
        self._woken.set()

    def _fill_worker_slots(self) -> None:
        """Work that can wait runs in places of its own, apart from what customers wait for."""
        while len(self._workers) < self._settings.worker_slots and (work := self._next()) is not None:
            worker = threading.Thread(target=self._work, args=(work,), name="worker", daemon=True)
            self._workers.add(worker)
            worker.start()

    def _work(self, work: Work | None) -> None:
        """Run `work`, and then what waits, until nothing does."""
        try:
            while work is not None:
                self._running.add(work.workflow_id)
                try:
                    with SetWorkflowID(work.workflow_id):
                        work.run()
                finally:
                    self._running.discard(work.workflow_id)
                work = None if self._closing else self._next()
        except SQLAlchemyError as error:
            log.warning("work interrupted, it is looked for again", reason=type(error).__name__)
        finally:
            self._workers.discard(threading.current_thread())  # what came in this very moment is found by the sweeper

    def is_running(self, workflow_id: str) -> bool:
        if workflow_id in self._running:
            return True
        found = DBOS.list_workflows(workflow_ids=[workflow_id], load_input=False, load_output=False)
        return any(each.status in ("PENDING", "ENQUEUED") for each in found)

    # ---- leases and take-over

    def _heartbeat(self) -> None:
        now, own = self._clock().timestamp(), self._settings.executor_id
        with self._database.begin() as connection:
            changed = connection.execute(HEARTBEAT, {"of": own, "beat_at": now})
            if not changed.rowcount:
                connection.execute(executors.insert().values(id=own, beat_at=now))

    def _poll(self, periodic_jobs: Sequence[Callable[[], None]]) -> None:
        heartbeat = poll = monotonic()
        while True:
            self._woken.wait(max(0.0, heartbeat - monotonic()))
            self._woken.clear()
            if self._closing:
                return
            try:
                if (now := monotonic()) >= heartbeat:
                    heartbeat = now + self._settings.heartbeat
                    self._heartbeat()
                if now >= poll:
                    poll = now + self._settings.poll
                    self.take_over()
                    for job in periodic_jobs:
                        job()
                self._fill_worker_slots()
            except SQLAlchemyError as error:
                log.warning("sweep interrupted, the next one goes on", reason=type(error).__name__)

    def take_over(self) -> list[str]:
        """Resume every workflow that is pending without a live owner. Gives their ids."""
        alive_since = self._clock().timestamp() - self._settings.dead_after
        with self._database.connect() as connection:
            beats = {row.id: row.beat_at for row in connection.execute(HEARTBEATS)}
        alive = {each for each, beat_at in beats.items() if beat_at >= alive_since}
        pending = DBOS.list_workflows(status="PENDING", load_input=False, load_output=False)
        orphans = [each.workflow_id for each in pending if each.executor_id not in alive]
        if orphans:
            log.warning("taking over from a dead process", workflows=orphans)
            DBOS.resume_workflows(orphans)
        if forgotten := [each for each, beat_at in beats.items() if beat_at < alive_since - FORGOTTEN_AFTER]:
            with self._database.begin() as connection:
                connection.execute(executors.delete().where(executors.c.id.in_(forgotten)))
        return orphans
