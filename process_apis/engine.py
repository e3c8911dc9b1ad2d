"""The durable engine (DBOS): starts workflows under business identities, and takes over from processes that died.

It recovers by itself only what ran under the same executor id, so each process has an id of its own, shows by a
heartbeat that it lives, and looks again and again, for as long as it runs, for work whose owner does not.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec

import msgspec
import sqlalchemy as sa
import structlog
from dbos import DBOS, DBOSConfig, SetEnqueueOptions, SetWorkflowID
from sqlalchemy.exc import OperationalError

from canonical.ids import Clock
from process_apis.records.database import executors

P = ParamSpec("P")
POSTINGS = "postings"
VERSION = "1"
"""Pinned by us: by default it is a hash of the code, and an upgrade would strand every running workflow."""
FORGOTTEN_AFTER = 3600.0
BEAT = executors.update().where(executors.c.id == sa.bindparam("of"))
BEATS = sa.select(executors)
log = structlog.get_logger("tiergate.engine")


class EngineSettings(msgspec.Struct, frozen=True):
    """`beat`, `sweep`, `dead_after` and `queue_pace` are in seconds. `posting_workers` bounds how many postings run at once."""

    url: str
    executor_id: str
    beat: float = 1.0
    sweep: float = 2.0
    dead_after: float = 5.0
    queue_pace: float = 1.0
    posting_workers: int = 4


class Engine:
    """One process's share of the durable work."""

    def __init__(self, settings: EngineSettings, database: sa.Engine, clock: Clock) -> None:
        self._settings = settings
        self._database = database
        self._clock = clock
        self._stop = threading.Event()
        self._sweeper = threading.Thread(target=self._sweep_until_stopped, name="sweeper", daemon=True)
        self._chores: Sequence[Callable[[], None]] = ()
        config: DBOSConfig = {
            "name": "tiergate-process",
            "system_database_url": settings.url,
            "executor_id": settings.executor_id,
            "application_version": VERSION,
            "log_level": "WARNING",
            "notification_listener_polling_interval_sec": 2.0,  # nothing of ours waits for messages; the end waits for it
        }
        DBOS(config=config)

    def launch(self, chores: Sequence[Callable[[], None]]) -> None:
        """Begin to work. `chores` are done at each sweep: looking at what is due."""
        self._chores = chores
        self._beat()
        DBOS.launch()
        DBOS.register_queue(
            POSTINGS,
            worker_concurrency=self._settings.posting_workers,
            partition_concurrency=1,
            polling_interval_sec=self._settings.queue_pace,
        )
        self._sweeper.start()

    def close(self) -> None:
        self._stop.set()
        if self._sweeper.is_alive():
            self._sweeper.join()
        DBOS.destroy(workflow_completion_timeout_sec=5)
        with self._database.begin() as connection:
            connection.execute(executors.delete().where(executors.c.id == self._settings.executor_id))

    # ---- starting

    def start(self, workflow_id: str, workflow: Callable[P, Any], *args: P.args, **kwargs: P.kwargs) -> None:
        """Start `workflow` now. A second start under the same identity is the first one."""
        with SetWorkflowID(workflow_id):
            DBOS.start_workflow(workflow, *args, **kwargs)

    def enqueue(
        self, partition: str, workflow_id: str, workflow: Callable[P, Any], *args: P.args, **kwargs: P.kwargs
    ) -> None:
        """Start `workflow` when its turn comes: one at a time for each `partition`, apart from customer-facing work."""
        with SetWorkflowID(workflow_id), SetEnqueueOptions(queue_partition_key=partition):
            DBOS.enqueue_workflow(POSTINGS, workflow, *args, **kwargs)

    def is_running(self, workflow_id: str) -> bool:
        found = DBOS.list_workflows(workflow_ids=[workflow_id], load_input=False, load_output=False)
        return any(each.status in ("PENDING", "ENQUEUED") for each in found)

    # ---- living and dying

    def _beat(self) -> None:
        now, own = self._clock().timestamp(), self._settings.executor_id
        with self._database.begin() as connection:
            changed = connection.execute(BEAT, {"of": own, "beat_at": now})
            if not changed.rowcount:
                connection.execute(executors.insert().values(id=own, beat_at=now))

    def _sweep_until_stopped(self) -> None:
        due = 0.0
        while not self._stop.wait(self._settings.beat):
            try:
                self._beat()
                if self._clock().timestamp() >= due:
                    due = self._clock().timestamp() + self._settings.sweep
                    self.take_over()
                    for chore in self._chores:
                        chore()
            except OperationalError as error:
                log.warning("sweep interrupted, the next one goes on", reason=type(error.orig).__name__)

    def take_over(self) -> list[str]:
        """Resume every workflow that is pending without a living owner. Gives their ids."""
        alive_since = self._clock().timestamp() - self._settings.dead_after
        with self._database.connect() as connection:
            beats = {row.id: row.beat_at for row in connection.execute(BEATS)}
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
