"""A partner with a customer and a server for webhooks, over a database of the test's own and a clock that the test
moves."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import sleep
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from canonical.orders import Page
from canonical.parties import Address, Customer
from canonical.states import OrderState
from canonical.webhooks import NewWebhook, Webhook, WebhookDelivery
from policies.identity.authentication import Principal
from process_apis.records import customers
from process_apis.records.database import orders, webhook_attempts, webhook_deliveries
from process_apis.records.webhook_deliveries import WebhookDeliveries
from process_apis.records.webhooks import Webhooks
from process_apis.runtime.context import WorkflowContext
from process_apis.webhooks.delivering import Delivering
from process_apis.webhooks.secrets import WebhookSecrets
from tests.support.process_context import TestClock

NORD = "reseller-nord"
PARTNER = Principal(
    NORD,
    "experience-layer",
    frozenset({"orders:read", "postings:read", "webhooks:read", "webhooks:manage"}),
    frozenset({"DE01"}),
    "jti",
    0.0,
    0.0,
    NORD,
)
CUSTOMER = f"cus_{'1' * 32}"
EVENTS = ("order.held.v1", "order.received.v1")


class Sent(NamedTuple):
    """A request that came in. Names of headers are in lower case."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        return msgspec.json.decode(self.body)


class PartnerServer:
    """Answers webhooks with the statuses that it is given, and 204 after those. A path that begins with /slow is
    answered when the test lets it."""

    def __init__(self) -> None:
        self.got: list[Sent] = []
        self.statuses: list[int] = []
        self.headers: dict[str, str] = {}
        self.may_go_on = threading.Event()
        own = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                own.got.append(Sent(self.path, {name.lower(): value for name, value in self.headers.items()}, body))
                if self.path.startswith("/slow"):
                    own.may_go_on.wait(20)
                self.send_response(own.statuses.pop(0) if own.statuses else 204)
                for name, value in own.headers.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the library's name)
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@contextmanager
def partner_server() -> Generator[PartnerServer]:
    """Yield a server that runs until the block ends."""
    made = PartnerServer()
    thread = threading.Thread(target=made.server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.may_go_on.set()
        made.server.shutdown()
        made.server.server_close()
        thread.join()


class WebhookBench:
    """The webhooks of a partner, without the layers around them."""

    def __init__(self, context: WorkflowContext, clock: TestClock, server: PartnerServer) -> None:
        self.context, self.clock, self.server = context, clock, server
        self.records = Webhooks(context.database, clock, context.webhooks.salt)
        self.deliveries = WebhookDeliveries(context.database, clock)
        self.secrets = WebhookSecrets(context.webhooks.key)
        self.delivering = self.restarted()
        self.customer(CUSTOMER, NORD)
        self._deals = 0

    def restarted(self) -> Delivering:
        """Return what another process, or this one after its end, delivers with."""
        return Delivering(self.context, self.deliveries, self.secrets)

    def customer(self, customer_id: str, partner: str) -> None:
        known = Customer(customer_id, "Buyer", Address(country="DE"), partner=partner)
        customers.keep(self.context.database, known)

    def webhook(
        self,
        path: str = "/hooks",
        key: str = "key",
        events: tuple[str, ...] = EVENTS,
        customer_ids: tuple[str, ...] = (),
    ) -> Webhook:
        """Make a webhook of the partner."""
        wanted = NewWebhook(f"{self.server.url}{path}", events, customer_ids=customer_ids, key=key)
        return self.records.shown(self.records.create(wanted, PARTNER, "cor_1"))

    def happen(self, customer_id: str = CUSTOMER, partner: str = NORD, legal_entity: str = "DE01") -> str:
        """Let an order of a customer be received, which is an event. Return its id."""
        self._deals += 1
        self.clock.move(1)
        about: dict[str, str | int] = {
            "customer_id": customer_id,
            "partner": partner,
            "legal_entity": legal_entity,
        }
        order, _ = self.context.orders.receive("salesforce", f"006{self._deals}", 1, "cor_1", self.clock(), **about)
        return order

    def hold(self, order: str) -> None:
        """Let an order wait for a person, which is another event."""
        states: tuple[OrderState, ...] = ("validating", "on_hold")
        for state in states:
            self.clock.move(1)
            self.context.orders.advance(order, state, next_attempt_at=None)

    def give(self, order: str, partner: str) -> None:
        """Let another partner have an order."""
        with self.context.database.begin() as connection:
            connection.execute(orders.update().where(orders.c.id == order).values(partner=partner))

    def deliver(self) -> int:
        """Send what is due, and wait for the answers. Return how many were sent."""
        return asyncio.run(deliver_due(self.delivering))

    def log(self, webhook_id: str) -> Sequence[WebhookDelivery]:
        """Return what was sent to a webhook, the newest first."""
        page: Page[WebhookDelivery] = self.deliveries.page(webhook_id, None, None, None, 100)
        return page.items

    def now(self, webhook_id: str) -> Webhook:
        return self.records.shown(self.records.row(webhook_id, PARTNER))

    def rows(self) -> tuple[int, int]:
        """Return how many deliveries and attempts there are."""
        with self.context.database.connect() as connection:
            counts = [
                connection.scalar(sa.select(sa.func.count()).select_from(each))
                for each in (webhook_deliveries, webhook_attempts)
            ]
        return counts[0] or 0, counts[1] or 0


async def deliver_due(delivering: Delivering) -> int:
    """Send what is due until nothing is."""
    sent = 0
    while True:
        async with asyncio.TaskGroup() as sending:
            begun = await delivering.begin_due(sending)
        sent += begun
        if not begun:
            return sent


def eventually(holds: Any, seconds: float = 10.0) -> None:
    """Wait until something holds."""
    for _ in range(int(seconds / 0.02)):
        if holds():
            return
        sleep(0.02)
    raise AssertionError("it never came")
