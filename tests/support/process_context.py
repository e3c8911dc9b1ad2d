"""What capabilities work with, over a database of the test's own and a clock that the test moves. No platform can be
reached."""

from __future__ import annotations

from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from itertools import count
from threading import Barrier
from typing import Any

from canonical.billing import Contract
from canonical.deals import PricedLine
from canonical.ids import identifiers
from canonical.money import Money
from canonical.orders import Plan
from canonical.parties import Address, Customer
from canonical.states import OrderState
from policies.catalogue.live import LiveCatalogue
from policies.identity.authentication import Principal
from policies.outbound.layer_client import LayerClient
from policies.outbound.public_address import OutboundAddresses, networks_of
from policies.outbound.residency import Residency
from policies.outbound.webhook_sender import WebhookSender
from process_apis.records import customers
from process_apis.records.cases import Cases
from process_apis.records.database import open_database
from process_apis.records.orders import Orders
from process_apis.records.postings import Postings
from process_apis.records.revisions import upgrade
from process_apis.runtime.context import RetryPolicy, WebhookMeans, WorkflowContext
from process_apis.system_client import Platforms

LOOPBACK = OutboundAddresses(networks=networks_of("127.0.0.0/8"))
"""Where the webhooks of tests go."""
NOWHERE = "http://127.0.0.1:9"
"""The discard port: nobody listens there."""
ANSWER_WITHIN = 20.0
"""Seconds for a call of the system layer: what is tested is never how fast the machine is."""
SOMEBODY = Principal("somebody", "support-desk", frozenset({"cases:act"}), frozenset({"*"}), "jti", 0.0, 0.0)
DELIVERED: tuple[OrderState, ...] = ("validating", "credit_review", "onboarding", "subscribing", "provisioning")
"""The states of an order on its way to its target."""
LINES = tuple(PricedLine(str(each), "SEAT", "Seat", 1, Money(100, "EUR"), "month") for each in range(2))


class TestClock:
    """Stands still until it is moved."""

    __test__ = False

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def move(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class MemoryDocument:
    """A document that is not kept."""

    def __init__(self) -> None:
        self._content = b""

    def read(self) -> bytes:
        return self._content

    def change(self, act: Callable[[bytes], bytes]) -> None:
        self._content = act(self._content)


@contextmanager
def context_over(url: str, clock: TestClock, system: str = NOWHERE) -> Generator[WorkflowContext]:
    """Return the context, over tables that are ready, with the system layer at an address."""
    database = open_database(url)
    upgrade(database)
    live_catalogue = LiveCatalogue()
    yield WorkflowContext(
        database,
        Platforms(LayerClient(system, "system", lambda: "token", ANSWER_WITHIN)),
        Orders(database, clock),
        Postings(database, clock),
        Cases(database, live_catalogue, clock, identifiers()),
        clock,
        Residency(live_catalogue, "eu"),
        live_catalogue,
        WebhookMeans(WebhookSender(LOOPBACK), MemoryDocument(), lambda: 0.5, map(str, count()).__next__),
        RetryPolicy(tries=1, first=0.001),
    )
    database.dispose()


def at_once(*acts: Callable[[], object]) -> list[object]:
    """Let each act in a thread of its own, all from the same moment. Return what they returned."""
    barrier = Barrier(len(acts))

    def act(one: Callable[[], object]) -> object:
        barrier.wait(10)
        return one()

    with ThreadPoolExecutor(len(acts)) as threads:
        return [each.result(30) for each in [threads.submit(act, one) for one in acts]]


def contract_of(
    contract_id: str, order_id: str, customer_id: str, lines: tuple[PricedLine, ...], **more: Any
) -> Contract:
    """Return a contract of a year from 1 March 2026 on."""
    return Contract(
        id=contract_id,
        order_id=order_id,
        customer_id=customer_id,
        legal_entity="DE01",
        currency="EUR",
        starts_on=date(2026, 3, 1),
        term_months=12,
        lines=lines,
        tax="standard",
        tax_percent="19",
        **more,
    )


def accepted_order(context: WorkflowContext, deal: str, *states: OrderState) -> str:
    """Make an order with two lines that went through `states`. Return its id."""
    order_id, _ = context.orders.receive("crm-eu", deal, 1, "cor_1", context.stalled_at())
    customer = Customer(f"cus_{deal}", "Buyer", Address(country="DE"))
    contract = contract_of(f"con_{deal}", order_id, customer.id, LINES)
    context.orders.accept(order_id, "Deal", "seller", Plan(customer, contract, "001"))
    for state in states:
        context.orders.advance(order_id, state, next_attempt_at=None)
    return order_id


def waiting_customer(context: WorkflowContext, deal: str, platform: str, attempts: int) -> str:
    """Make a customer with a change that cannot be followed, since `platform` is away. Return its id."""
    order = context.orders.get(accepted_order(context, deal))
    assert order.plan
    customers.keep(context.database, order.plan.customer)
    customers.expect_change(context.database, order.customer_id, "cor_1", context.clock())
    expected = customers.expected_change(context.database, order.customer_id)
    assert expected
    waits = {"blocked_by": platform, "blocked_since": context.clock().isoformat()}
    customers.settle_change(context.database, expected, context.later(60), attempts, waits)
    return order.customer_id
