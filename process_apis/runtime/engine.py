"""The durable engine (DBOS): starts workflows under business identities, and takes over from processes that died.

It finds what to run by the names that are written at the workflows, steps, classes and instances: they are in
databases, and stay when code is renamed. It recovers by itself only what ran under the same executor id, so each
process has an id of its own, shows by a heartbeat that it lives, and looks again and again, for as long as it runs, for
work whose owner does not, and for its own that no thread is at: one ends with what the database or the disk do to it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from time import monotonic, sleep
from typing import Any

import msgspec
import sqlalchemy as sa
import structlog
from dbos import DBOS, DBOSConfig, SetWorkflowID
from sqlalchemy.exc import SQLAlchemyError

from canonical.ids import Clock
from policies.background import LOOK_EVERY, Course, KeptThread, Routine, note_rest, rest
from process_apis.records.database import executors
from process_apis.runtime.interruptions import Interrupted
from process_apis.runtime.queues import PENDING, PartitionQueue, ResumedQueue, stop_polling, workflows

VERSION = "1"
"""Pinned by us: by default it is a hash of the code, and an upgrade would strand every running workflow."""
FORGOTTEN_AFTER = 3600.0
CLOSING = 5
"""Seconds that running work has to come to an end; after that, another process takes it over."""
HEARTBEAT = executors.update().where(executors.c.id == sa.bindparam("of"))
HEARTBEATS = sa.select(executors)
log = structlog.get_logger("tiergate.engine")


class EngineSettings(msgspec.Struct, frozen=True):
    """`heartbeat`, `poll`, `dead_after` and `queue_poll` are in seconds. `worker_slots` bounds how much of the work
    that can wait runs at once. `queue_poll` bounds how long a workflow waits after the one before it in its partition
    has ended."""

    url: str
    executor_id: str
    heartbeat: float = 1.0
    poll: float = 2.0
    dead_after: float = 5.0
    queue_poll: float = 1.0
    worker_slots: int = 4


class Work(msgspec.Struct, frozen=True):
    """A workflow under its identity, ready to be run. Of the work in one `partition` one is done at a time."""

    workflow_id: str
    workflow: Callable[..., Any]
    arguments: tuple[Any, ...]
    partition: str = ""


class Engine:
    """One process's share of the durable work."""

    def __init__(self, settings: EngineSettings, database: sa.Engine, clock: Clock) -> None:
        self._settings = settings
        self._database = database
        self._clock = clock
        self._woken = threading.Event()
        self._closing = threading.Event()
        self._running: set[str] = set()
        self._workers: set[threading.Thread] = set()
        """Each has one of the places for work that can wait."""
        self._next: Callable[[], Work | None] = lambda: None
        self._look: Callable[[str], None] = lambda _: None
        self._news: set[str] = set()
        """The agendas of which something is due now."""
        self._at_news = Routine(self._look_at_news, SQLAlchemyError)
        self._poller: KeptThread | None = None
        self._beater: KeptThread | None = None
        self._sweep: list[Routine] = []
        """What is done at each poll."""
        self._slots = Routine(self._fill_worker_slots, SQLAlchemyError)
        self._beat_at = monotonic()
        """The last heartbeat that was written."""
        self._beating_since = 0.0
        """The first one after those that could not be."""
        self._unattended: set[str] = set()
        """Workflows of this process that no thread was at when they were last looked for."""
        self._config: DBOSConfig = {
            "name": "tiergate-process",
            "system_database_url": settings.url,
            # one pool for both: a connection's pages are read again when another writes
            "system_database_engine": database,
            "executor_id": settings.executor_id,
            "application_version": VERSION,
            "log_level": "WARNING",
            # nothing of ours waits for messages, so that to look for them costs nothing: the end waits for this one
            "notification_listener_polling_interval_sec": 0.2,
        }
        self._partitions = PartitionQueue(database, settings.queue_poll)
        self._resumed = ResumedQueue(database)
        jobs = workflows(database).c
        own = jobs.executor_id == settings.executor_id
        self._own_pending = sa.select(sa.exists().where(jobs.status == PENDING, own))
        self._dbos: DBOS | None = None

    def launch(
        self,
        periodic_jobs: Sequence[Callable[[], None]],
        waiting: Callable[[], Work | None],
        look: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Begin to work. `periodic_jobs` are done at each sweep: looking at what is due. `waiting` returns the next
        piece of the work that can wait, and claims it; it is asked by several threads at once, and by several
        processes. `look` starts what is due of the agenda that is named."""
        self._next, self._look = waiting, look
        self._heartbeat()
        self._beater = KeptThread("heartbeat", self._beat)
        dbos = self._dbos = DBOS(config=self._config)  # a process has one: an app made to be described takes no part
        DBOS.listen_queues([])
        DBOS.launch()
        stop_polling(dbos)
        self._partitions.launch(dbos)
        self._resumed.launch(dbos)
        passing = SQLAlchemyError  # of the database, which all of them need
        self._sweep = [Routine(each, passing) for each in (self.take_over, *periodic_jobs)]
        self._poller = KeptThread("poller", self._poll)

    def close(self) -> None:
        self._closing.set()
        self._woken.set()
        for thread in (self._poller, self._beater):
            if thread is not None:
                thread.join()
        self._partitions.close()
        self._resumed.close()
        until = monotonic() + CLOSING
        while (self._workers or self._is_at_work()) and monotonic() < until:
            sleep(0.05)
        DBOS.destroy(workflow_completion_timeout_sec=0)  # it would sleep for a second before it looks itself
        try:
            with self._database.begin() as connection:
                connection.execute(executors.delete().where(executors.c.id == self._settings.executor_id))
        except SQLAlchemyError as error:  # the others see soon that this one shows no life
            log.warning("this process cannot be taken off the list", reason=type(error).__name__)

    # ---- starting

    def start(self, work: Work) -> None:
        """Start `work` now, or when all that was started before it in its partition has ended. A second start under the
        same identity is the first one."""
        with SetWorkflowID(work.workflow_id):
            if not work.partition:
                DBOS.start_workflow(work.workflow, *work.arguments)
                return
            self._partitions.enqueue(work.partition, work.workflow, *work.arguments)

    def wake(self) -> None:
        """Work that can wait may have come."""
        self._woken.set()

    def look_at(self, agenda: str) -> None:
        """Something of an agenda is due now: it is looked for at once, and not with the next sweep."""
        self._news.add(agenda)
        self._woken.set()

    def rest(self, seconds: float) -> bool:
        """Wait, in work that keeps a pace. Return whether it goes on: not in a process that ends."""
        return not self._closing.wait(seconds)

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
                        work.workflow(*work.arguments)
                except Interrupted as interrupted:
                    log.warning("work interrupted, it is resumed", workflow=work.workflow_id, reason=str(interrupted))
                finally:
                    self._running.discard(work.workflow_id)
                work = None if self._closing.is_set() else self._next()
        except SQLAlchemyError as error:
            log.warning("work interrupted, it is looked for again", reason=type(error).__name__)
        finally:
            self._workers.discard(threading.current_thread())  # what came in this very moment is found by the sweeper

    def is_running(self, *workflow_ids: str) -> bool:
        """Return whether one of the workflows runs, or waits for its turn, in any process."""
        if not self._running.isdisjoint(workflow_ids):
            return True
        found = DBOS.list_workflows(workflow_ids=list(workflow_ids), load_input=False, load_output=False)
        return any(each.status in ("PENDING", "ENQUEUED") for each in found)

    def _is_at_work(self) -> bool:
        """Return whether a workflow that this process began has not ended. Without the database none can end. The
        engine would wait for it, for as long as it is away."""
        try:
            with self._database.connect() as connection:
                return bool(connection.scalar(self._own_pending))
        except SQLAlchemyError:
            return False

    # ---- leases and take-over

    def _heartbeat(self) -> None:
        now, own = self._clock().timestamp(), self._settings.executor_id
        with self._database.begin() as connection:
            changed = connection.execute(HEARTBEAT, {"of": own, "beat_at": now})
            if not changed.rowcount:
                connection.execute(executors.insert().values(id=own, beat_at=now))
        written, before = monotonic(), self._beat_at
        self._beat_at = written
        if written - before > self._settings.dead_after:
            self._beating_since = written

    def _beat(self) -> None:
        """Show that this process lives. A thread does nothing else: a periodic job may wait long for a platform, and
        another process would take over what this one is at."""
        while True:
            note_rest(self._settings.heartbeat)
            if self._closing.wait(self._settings.heartbeat):
                return
            try:
                self._heartbeat()
            except SQLAlchemyError as error:
                log.warning("no heartbeat, the next one may come", reason=type(error).__name__)

    def is_working(self) -> bool:
        """Return whether what is due is looked for. A fault of ours may have ended that, until it is begun again."""
        return self._poller is not None and all(each.is_alive() for each in self._threads())

    def heartbeat_age(self) -> float:
        """Return the seconds since the last heartbeat that was written."""
        return monotonic() - self._beat_at

    def _threads(self) -> list[KeptThread]:
        threads = (self._poller, self._beater, self._partitions.thread, self._resumed.thread)
        return [each for each in threads if each is not None]

    def courses(self) -> list[Course]:
        """Return how each thread, and each thing that is done at a sweep, goes on."""
        return [each.course for each in (*self._threads(), *self._sweep, self._at_news, self._slots)]

    async def keep_threads(self) -> None:
        """Begin each thread again that has ended, for as long as the layer runs. This is no thread itself: those that
        look after one another can all end in one moment."""
        while True:
            for each in self._threads():
                each.keep()
            await rest(LOOK_EVERY)

    def _poll(self) -> None:
        poll = monotonic()
        while True:
            note_rest(self._settings.heartbeat)
            self._woken.wait(self._settings.heartbeat)
            self._woken.clear()
            if self._closing.is_set():
                return
            try:
                self._at_news.do()
                if (now := monotonic()) >= poll:
                    poll = now + self._settings.poll
                    for each in self._sweep:
                        each.do()
                self._slots.do()
            except SQLAlchemyError as error:
                log.warning("sweep interrupted, the next one goes on", reason=type(error).__name__)

    def _look_at_news(self) -> None:
        """Start what is due of the agendas that somebody has news of."""
        while self._news:
            self._look(self._news.pop())

    def seconds_without_heartbeat(self) -> float:
        """Return for how many seconds nothing could be written, 0 when that is as it should be."""
        age = self.heartbeat_age()
        return age if age > self._settings.dead_after else 0.0

    def take_over(self) -> list[str]:
        """Resume every workflow that is pending without a live owner, or without a thread here. Return the ids of the
        former.

        When the database was away, nobody could show that it lives: nobody is taken for dead before all had the time
        to.
        """
        alive_since = self._clock().timestamp() - self._settings.dead_after
        with self._database.connect() as connection:
            beats = {row.id: row.beat_at for row in connection.execute(HEARTBEATS)}
        pending = DBOS.list_workflows(status="PENDING", load_input=False, load_output=False)
        own = self._settings.executor_id
        self._resume_unattended({each.workflow_id for each in pending if each.executor_id == own})
        if self.seconds_without_heartbeat() or monotonic() - self._beating_since < self._settings.dead_after:
            return []
        alive = {each for each, beat_at in beats.items() if beat_at >= alive_since} | {own}
        orphaned = [each for each in pending if each.executor_id not in alive]
        orphans = [each.workflow_id for each in orphaned]
        if orphans:
            log.warning("taking over from a dead process", workflows=orphans)
            self._resumed.take_over({str(each.executor_id) for each in orphaned})
            self._partitions.wake()
        if forgotten := [each for each, beat_at in beats.items() if beat_at < alive_since - FORGOTTEN_AFTER]:
            with self._database.begin() as connection:
                connection.execute(executors.delete().where(executors.c.id.in_(forgotten)))
        return orphans

    def _resume_unattended(self, own: set[str]) -> None:
        """Resume those of the `own` workflows that no thread is at, nor was when this was last done: one that has just
        begun has no thread for a moment."""
        if self._dbos is None:
            return
        threads = self._dbos._active_workflows_set.activeList()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        unattended = own.difference(threads, self._running)
        lost = sorted(unattended & self._unattended)
        self._unattended = unattended
        if lost:
            log.warning("resuming what no thread is at", workflows=lost)
            self._resumed.resume(lost, self._settings.executor_id)
            self._partitions.wake()
