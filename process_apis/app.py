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
from process_apis.case_actions import Exceptions
from process_apis.customer_sync import CustomerChanges
from process_apis.events.dispatch import Capabilities, Subscribers
from process_apis.invoicing import Invoicing
from process_apis.order_intake import Ordering
from process_apis.payments import Collections
from process_apis.quote_to_cash import QuoteToCash
from process_apis.runtime.context import Desk
from process_apis.runtime.engine import Engine, EngineSettings
from process_apis.runtime.steps import show


def create_app(gate: Gate, desk: Desk, settings: EngineSettings, openapi: OpenAPIConfig | None = None) -> Litestar:
    """The app. The engine works from its start to its end."""
    engine = Engine(settings, desk.database, desk.clock)
    collections = Collections(desk)
    capabilities = Capabilities(
        QuoteToCash(desk), Activation(desk), Invoicing(desk, collections), collections, CustomerChanges(desk)
    )
    subscribers = Subscribers(desk, engine, capabilities)

    def show_what_the_crm_lacks() -> None:
        for row in desk.orders.unshown():
            show(desk, row.id)

    async def start() -> None:
        chores = (
            subscribers.look_at_orders,
            subscribers.look_at_customers,
            show_what_the_crm_lacks,
        )
        await asyncio.to_thread(engine.launch, chores, subscribers.next_posting)

    async def stop() -> None:
        await asyncio.to_thread(engine.close)

    def readiness() -> dict[str, str]:
        return {"database": _database(desk), "system": _system(desk)}

    return governed(
        gate,
        [api.router],
        readiness=readiness,
        state={
            "desk": desk,
            "subscribers": subscribers,
            "exceptions": Exceptions(desk, subscribers),
            "ordering": Ordering(desk, subscribers),
            "living": gate.living,
        },
        on_startup=[start],
        on_shutdown=[stop],
        openapi=openapi,
    )


def _database(desk: Desk) -> str:
    try:
        with desk.database.connect() as connection:
            connection.execute(sa.select(1))
    except OperationalError as error:
        return str(error.orig)
    return "ok"


def _system(desk: Desk) -> str:
    try:
        desk.platforms.alive()
    except PlatformFault as fault:
        return fault.reason
    return "ok"
