"""The engine's queue of work that must not overlap.

Of a partition's workflows one runs at a time, in the order in which they were started, whichever processes started
them.

The queue is polled as the engine does it, by a thread of our own that does not wait for its next poll when there is
news, and does not poll when nothing waits.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
import structlog
from dbos import DBOS, SetEnqueueOptions
from dbos._queue import queue_worker_thread
from sqlalchemy.exc import SQLAlchemyError

NAME = "partitions"
ENQUEUED: sa.ColumnElement[str] = sa.literal_column("'ENQUEUED'")
PENDING: sa.ColumnElement[str] = sa.literal_column("'PENDING'")
log = structlog.get_logger("tiergate.engine")


class WakeableStop(threading.Event):
    """Stops the thread that polls a queue, as any event does, and lets it poll only when something waits in the queue:
    to look for that costs a tenth of a poll."""

    def __init__(self, is_waiting: Callable[[], bool]) -> None:
        super().__init__()
        self._news = threading.Event()
        self._is_waiting = is_waiting

    def wake(self) -> None:
        self._news.set()

    def set(self) -> None:
        super().set()
        self._news.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until something waits in the queue: look at once when there is news, and every `timeout` seconds. Return
        whether it is time to stop."""
        while not self.is_set():
            self._news.wait(timeout)
            self._news.clear()
            if self._is_waiting():
                break
        return self.is_set()


class PartitionQueue:
    """One process's share of the queue."""

    def __init__(self, database: sa.Engine, poll: float) -> None:
        """`poll` is in seconds: how soon work is found that another process has left behind."""
        self._database = database
        self._poll = poll
        on_sqlite = database.dialect.name == "sqlite"
        columns = map(sa.column, ("queue_name", "queue_partition_key", "status", "priority"))
        jobs = sa.table("workflow_status", *columns, schema=None if on_sqlite else "dbos").c  # the engine's own table
        here = sa.and_(jobs.queue_name == NAME, jobs.status.in_([ENQUEUED, PENDING]))  # in the words of its index
        self._any_waiting = sa.select(sa.exists().where(here, jobs.status == ENQUEUED))
        of_one = here & (jobs.queue_partition_key == sa.bindparam("partition"))
        self._last_place = sa.select(sa.func.max(jobs.priority)).where(of_one) if on_sqlite else None
        self._stop = WakeableStop(self._is_waiting)
        self._thread: threading.Thread | None = None

    def launch(self, dbos: DBOS) -> None:
        """Begin to poll, once the engine is launched."""
        queue = DBOS.register_queue(NAME, partition_concurrency=1, polling_interval_sec=self._poll)
        self._thread = threading.Thread(
            target=queue_worker_thread, args=(self._stop, dbos, queue), name=NAME, daemon=True
        )
        self._thread.start()

    def enqueue(self, partition: str, workflow: Callable[..., Any], *arguments: object) -> None:
        """Start a workflow when all that was started before it in its partition has ended."""
        with SetEnqueueOptions(queue_partition_key=partition, priority=self._place(partition)):
            DBOS.enqueue_workflow(NAME, workflow, *arguments)
        self.wake()

    def wake(self) -> None:
        """Look at once whether something waits."""
        self._stop.wake()

    def is_polled(self) -> bool:
        """Return whether the thread is at work."""
        return self._thread is not None and self._thread.is_alive()

    def close(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _place(self, partition: str) -> int | None:
        """Return the place of what comes last in `partition`. The engine goes by the time at which a workflow was put
        into its queue, which on SQLite it knows by the second only."""
        if self._last_place is None:
            return None
        with self._database.connect() as connection:
            return 1 + (connection.scalar(self._last_place, {"partition": partition}) or 0)

    def _is_waiting(self) -> bool:
        try:
            with self._database.connect() as connection:
                return bool(connection.scalar(self._any_waiting))
        except SQLAlchemyError as error:
            log.warning("the queue cannot be checked, the next time it may be", reason=type(error).__name__)
            return False
