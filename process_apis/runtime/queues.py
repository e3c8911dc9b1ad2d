"""The engine's queues: of work that must not overlap, and of work that a dead process left behind.

Each is polled as the engine does it, by a thread of our own that does not wait for its next poll when there is news,
and does not poll when nothing waits.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from typing import Any

import sqlalchemy as sa
import structlog
from dbos import DBOS, SetEnqueueOptions
from dbos._queue import Queue, queue_worker_thread
from dbos._utils import INTERNAL_QUEUE_NAME
from sqlalchemy.exc import SQLAlchemyError

from policies.background import KeptThread, note_rest

PARTITIONS = "partitions"
RESUMED_POLL = 5.0
"""Seconds between two checks whether work that another process resumed waits: that one is to do it itself."""
ENQUEUED: sa.ColumnElement[str] = sa.literal_column("'ENQUEUED'")
PENDING: sa.ColumnElement[str] = sa.literal_column("'PENDING'")
log = structlog.get_logger("tiergate.engine")


def workflows(database: sa.Engine) -> sa.TableClause:
    """Return the engine's own table of workflows, as far as it is asked here."""
    names = (
        "workflow_uuid",
        "queue_name",
        "queue_partition_key",
        "status",
        "priority",
        "executor_id",
        "created_at",
        "completed_at",
    )
    schema = None if database.dialect.name == "sqlite" else "dbos"
    return sa.table("workflow_status", *map(sa.column, names), schema=schema)


class WakeableStop(threading.Event):
    """Stops the thread that polls a queue, as any event does, and lets it poll only when something waits in the queue:
    to look for that costs a tenth of a poll."""

    def __init__(self, is_waiting: Callable[[], bool], poll: float) -> None:
        """`poll` is in seconds."""
        super().__init__()
        self._news = threading.Event()
        self._is_waiting = is_waiting
        self._poll = poll

    def wake(self) -> None:
        self._news.set()

    def set(self) -> None:
        super().set()
        self._news.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until something waits in the queue: look at once when there is news, and at each poll. Return whether it
        is time to stop. A `timeout` that is longer is that of an engine that backs off."""
        while not self.is_set():
            note_rest(pause := max(self._poll, timeout or 0))
            self._news.wait(pause)
            self._news.clear()
            if self._is_waiting():
                break
        return self.is_set()


class WatchedQueue:
    """One process's share of a queue of the engine."""

    def __init__(self, database: sa.Engine, name: str, poll: float) -> None:
        """`poll` is in seconds: how soon work is found that another process has put into the queue."""
        self._database = database
        self._name = name
        self._jobs = workflows(database).c
        # in the words of its index
        self._here = sa.and_(self._jobs.queue_name == name, self._jobs.status.in_([ENQUEUED, PENDING]))
        self._any_waiting = sa.select(sa.exists().where(self._here, self._jobs.status == ENQUEUED))
        self._stop = WakeableStop(self._is_waiting, poll)
        self.thread: KeptThread | None = None
        """What polls, once it does."""

    def watch(self, dbos: DBOS, queue: Queue) -> None:
        """Begin to poll, in a thread."""
        self.thread = KeptThread(f"queue {self._name}", queue_worker_thread, self._stop, dbos, queue)

    def wake(self) -> None:
        """Look at once whether something waits."""
        self._stop.wake()

    def close(self) -> None:
        self._stop.set()
        if self.thread is not None:
            self.thread.join()

    def _is_waiting(self) -> bool:
        try:
            with self._database.connect() as connection:
                return bool(connection.scalar(self._any_waiting))
        except SQLAlchemyError as error:
            log.warning("the queue cannot be checked, the next time it may be", reason=type(error).__name__)
            return False


class PartitionQueue(WatchedQueue):
    """The queue of work that must not overlap.

    Of a partition's workflows one runs at a time, in the order in which they were started, whichever processes started
    them.
    """

    def __init__(self, database: sa.Engine, poll: float) -> None:
        super().__init__(database, PARTITIONS, poll)
        self._poll = poll
        of_one = self._here & (self._jobs.queue_partition_key == sa.bindparam("partition"))
        self._last_place = sa.select(sa.func.max(self._jobs.priority)).where(of_one)

    def launch(self, dbos: DBOS) -> None:
        """Begin to poll, once the engine is launched."""
        self.watch(dbos, DBOS.register_queue(PARTITIONS, partition_concurrency=1, polling_interval_sec=self._poll))

    def enqueue(self, partition: str, workflow: Callable[..., Any], *arguments: object) -> None:
        """Start a workflow when all that was started before it in its partition has ended."""
        with SetEnqueueOptions(queue_partition_key=partition, priority=self._place(partition)):
            DBOS.enqueue_workflow(PARTITIONS, workflow, *arguments)
        self.wake()

    def _place(self, partition: str) -> int:
        """Return the place of what comes last in `partition`. The engine goes by the time at which a workflow was put
        into its queue, which it knows by the millisecond on PostgreSQL, and on SQLite by the second only."""
        with self._database.connect() as connection:
            return 1 + (connection.scalar(self._last_place, {"partition": partition}) or 0)


class ResumedQueue(WatchedQueue):
    """The queue of work that was left behind, by a dead process or a dead thread, and that had no partition: the
    engine's internal one."""

    def __init__(self, database: sa.Engine) -> None:
        super().__init__(database, INTERNAL_QUEUE_NAME, RESUMED_POLL)
        self._dbos: DBOS | None = None

    def launch(self, dbos: DBOS) -> None:
        """Begin to poll, once the engine is launched."""
        self._dbos = dbos
        self.watch(dbos, dbos._registry.get_internal_queue())  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]

    def take_over(self, dead: Collection[str]) -> None:
        """Put back what processes were at: into this queue, or into that of partitions where it came from there. A
        workflow that is no longer theirs is left alone: another process has just taken it over."""
        DBOS._recover_pending_workflows(sorted(dead))  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        self.wake()

    def resume(self, workflow_ids: Collection[str], executor_id: str) -> None:
        """Put back single workflows of a process that lives. A thread that is at one all the same ends at its next
        write: it has lost its lease."""
        if self._dbos is None:
            return
        records = self._dbos._sys_db  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        for each in workflow_ids:
            records.reenqueue_for_recovery(each, [executor_id], INTERNAL_QUEUE_NAME)
        self.wake()


def stop_polling(dbos: DBOS) -> None:
    """Stop what the engine does for what nothing of ours uses (schedules, and once a second delays and deadlines), and
    its polling of the queues, which are watched here."""
    dbos._background_jobs_stop_event.set()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    for each in dbos.background_thread_stop_events:
        each.set()
