"""The process layer as one deployable: the durable engine, the capabilities, and their governed routes."""

from __future__ import annotations

import asyncio

import sqlalchemy as sa
from litestar import Litestar
from litestar.openapi.config import OpenAPIConfig
from sqlalchemy.exc import OperationalError

from canonical.faults import PlatformFault
from policies.chain.gate import Gate, governed
from process_apis import api
from process_apis.activation import Activation
from process_apis.case_actions import CaseActions
from process_apis.customer_sync import CustomerSync
from process_apis.events.dispatch import Capabilities, Dispatcher
from process_apis.invoicing import Invoicing
from process_apis.order_intake import OrderIntake
from process_apis.payments import Payments
from process_apis.quote_to_cash import QuoteToCash
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.engine import Engine, EngineSettings
from process_apis.runtime.steps import write_status_to_crm


def create_app(
    gate: Gate, context: WorkflowContext, settings: EngineSettings, openapi: OpenAPIConfig | None = None
) -> Litestar:
    """The app. The engine works from its start to its end."""
    engine = Engine(settings, context.database, context.clock)
    payments = Payments(context)
    capabilities = Capabilities(
        QuoteToCash(context), Activation(context), Invoicing(context, payments), payments, CustomerSync(context)
    )
    dispatcher = Dispatcher(context, engine, capabilities)

    def show_what_the_crm_lacks() -> None:
        for row in context.orders.status_not_in_crm():
            write_status_to_crm(context, row.id)

    async def start() -> None:
        periodic_jobs = (
            dispatcher.poll_orders,
            dispatcher.poll_customers,
            show_what_the_crm_lacks,
        )
        await asyncio.to_thread(engine.launch, periodic_jobs, dispatcher.next_posting)

    async def stop() -> None:
        await asyncio.to_thread(engine.close)

    def readiness() -> dict[str, str]:
        return {"database": _database(context), "system": _system(context)}

    return governed(
        gate,
        [api.router],
        readiness=readiness,
        provided={
            "context": context,
            "dispatcher": dispatcher,
            "case_actions": CaseActions(context, dispatcher),
            "order_intake": OrderIntake(context, dispatcher),
            "live_catalogue": gate.live_catalogue,
        },
        on_startup=[start],
        on_shutdown=[stop],
        openapi=openapi,
    )


def _database(context: WorkflowContext) -> str:
    try:
        with context.database.connect() as connection:
            connection.execute(sa.select(1))
    except OperationalError as error:
        return str(error.orig)
    return "ok"


def _system(context: WorkflowContext) -> str:
    try:
        context.platforms.alive()
    except PlatformFault as fault:
        return fault.reason
    return "ok"
