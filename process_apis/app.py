"""The process layer as one deployable: the durable engine, the capabilities, and their governed routes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import sqlalchemy as sa
from litestar import Litestar
from litestar.openapi.config import OpenAPIConfig
from prometheus_client.core import Metric
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from canonical.faults import PlatformFault, Unavailable
from canonical.jobs import JobsReport
from policies.background import Background
from policies.chain.gate import Gate, governed
from policies.chain.readiness import Answers
from policies.observe.metrics import gauge
from policies.store.documents import StoreAway
from process_apis import (
    accounting,
    amendments,
    api,
    catalogue_sync,
    change_feeds,
    collection,
    corrections,
    customer_merge,
    customer_sync,
    disputes,
    drift,
    dunning,
    fulfilment,
    incidents,
    jobs,
    lineage,
    mass_change,
    overview,
    renewals,
    usage,
    usage_corrections,
    webhooks,
)
from process_apis.case_actions import CaseActions
from process_apis.events.api import OWN as EVENT_ROUTES
from process_apis.events.dispatch import Dispatcher
from process_apis.events.event_log import EventLog
from process_apis.measures import WorkInDatabase
from process_apis.retention import Retention, RetentionDays
from process_apis.runtime.agenda import Poll
from process_apis.runtime.capability import owners
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.engine import Engine, EngineSettings

CAPABILITIES = (
    fulfilment.capability,
    amendments.capability,
    mass_change.capability,
    renewals.capability,
    usage.capability,
    usage_corrections.capability,
    accounting.capability,
    dunning.capability,
    collection.capability,
    disputes.capability,
    corrections.capability,
    customer_merge.capability,
    customer_sync.capability,
    drift.capability,
    catalogue_sync.capability,
    change_feeds.capability,
    incidents.capability,
    jobs.capability,
    lineage.capability,
    overview.capability,
    webhooks.capability,
)
"""All that the layer does for the business."""


def create_app(
    gate: Gate,
    context: WorkflowContext,
    settings: EngineSettings,
    days: RetentionDays,
    openapi: OpenAPIConfig | None = None,
) -> Litestar:
    """Return the app. The engine works from its start to its end, and what has ended is kept for `days`."""
    engine = Engine(settings, context.database, context.clock)
    capabilities = [capability(context, engine) for capability in CAPABILITIES]
    dispatcher = Dispatcher(context, {each.name: each.reactions for each in capabilities})
    event_log = EventLog(context.database, context.clock, capabilities, days.events)
    capabilities += [dispatcher.capability()]
    poll = Poll(engine, [due for each in capabilities for due in each.due])
    periodic_jobs = [poll.start_due, *(job for each in capabilities for job in each.periodic_jobs)]
    background = [job for each in capabilities for job in each.background]

    retention = Retention(context.database, days, context.clock, settings.executor_id)

    async def start() -> None:
        await asyncio.to_thread(engine.launch, periodic_jobs, poll.next_waiting, poll.start_due_of)

    async def stop() -> None:
        await asyncio.to_thread(engine.close)

    async def report(jobs_report: JobsReport, correlation_id: str) -> None:
        try:
            await asyncio.to_thread(jobs.take, context, jobs.OWN_NAME, jobs_report, correlation_id)
        except SQLAlchemyError as error:
            raise Unavailable("process", f"the database does not take it ({type(error).__name__})") from error

    def of_engine() -> Iterator[Metric]:
        age = {(): engine.heartbeat_age()}
        yield gauge("engine_heartbeat_age_seconds", "Since this process has last shown that it lives.", (), age)

    gate.metrics.find(of_engine)
    for find in (find for each in capabilities for find in each.measures):
        gate.metrics.find(find)
    agendas = {due.agenda.name: due.agenda for each in capabilities for due in each.due}
    work = WorkInDatabase(context.database, agendas, context.clock)
    answers = Answers("database", "system")

    def readiness() -> dict[str, str]:
        silent = engine.seconds_without_heartbeat()
        working = "ok" if engine.is_working() else "stopped by a fault of ours, and begun again"
        if silent:
            working = f"nothing could be written for {silent:.0f} s: see to the database and its disk"
        return {"database": _database(context, answers), "system": _system(context, answers), "engine": working}

    return governed(
        gate,
        [api.router([*EVENT_ROUTES, *(route for each in capabilities for route in each.routes)])],
        readiness=readiness,
        provided={
            "context": context,
            "dispatcher": dispatcher,
            "event_log": event_log,
            "case_actions": CaseActions(context, owners(capabilities)),
            "live_catalogue": gate.live_catalogue,
        },
        background=[Background(retention.watch, engine.keep_threads, *background)],
        also=engine.courses,
        report=report,
        away={
            OperationalError: Unavailable("process", "the database cannot be used now"),
            StoreAway: Unavailable("process", "what its replicas share cannot be read now"),
        },
        measures=[work.latest],
        on_startup=[start],
        on_shutdown=[stop],
        openapi=openapi,
    )


def _database(context: WorkflowContext, answers: Answers) -> str:
    try:
        with context.database.connect() as connection:
            connection.execute(sa.select(1))
    except OperationalError as error:
        return answers.away("database", str(error.orig))
    return answers.ok("database")


def _system(context: WorkflowContext, answers: Answers) -> str:
    try:
        context.platforms.alive()
    except PlatformFault as fault:
        return answers.away("system", fault.reason)
    return answers.ok("system")
