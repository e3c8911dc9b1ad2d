"""Contracts with products that are charged by use, and all that takes and reads records."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa

from canonical.amendments import Action, AmendmentPreview, NewAmendment
from canonical.deals import PricedLine
from canonical.money import Money
from canonical.orders import Plan
from canonical.parties import Address, Customer
from canonical.usage import ContractUsage, UsageReceipt
from policies.catalogue.live import LiveCatalogue
from policies.catalogue.model import SHIPPED
from policies.identity.authentication import Principal
from process_apis.records import cross_references, customers
from process_apis.records.amendments import wake
from process_apis.records.database import amendments
from process_apis.records.usage import UsageRecords
from process_apis.records.usage_periods import UsagePeriods
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.engine import Engine, EngineSettings
from process_apis.usage.contracts import RECENT, MeteredContracts
from process_apis.usage.handover import UsageHandovers
from process_apis.usage.intake import Intake
from process_apis.usage.late import LateUsage
from process_apis.usage.reading import MeterReader
from tests.support.process_context import DELIVERED, TestClock, contract_of

AGGREGATIONS = ("sum", "max", "last", "unique", "weighted")
METERS = "".join(
    f'\n[meters.by_{each}]\nsku = "{each.upper()}"\nunit = "unit"\naggregation = "{each}"\n' for each in AGGREGATIONS
)
"""A meter for each way to make one quantity of many records, each of a product of its own."""
LINES = tuple(
    PricedLine(each, each.upper(), each, 1, Money(100, "EUR"), "month") for each in (*AGGREGATIONS, "unmetered")
)
SENDER = Principal("metering", "sales-app", frozenset({"usage:write"}), frozenset({"*"}), "jti", 0.0, 0.0)


def with_meters(context: WorkflowContext, folder: Path, meters: str = METERS) -> WorkflowContext:
    """Return a context whose catalogue has meters."""
    path = folder / "metered.toml"
    path.write_text(SHIPPED.read_text() + meters)
    return msgspec.structs.replace(context, live_catalogue=LiveCatalogue(path))


class UsageBench:
    """What takes records and reads them, over the tables of a context."""

    def __init__(self, context: WorkflowContext, clock: TestClock) -> None:
        self.context = context
        self.clock = clock
        self.contracts = MeteredContracts(context)
        self.records = UsageRecords(context.database)
        self.periods = UsagePeriods(context.database, clock)
        engine = Engine(EngineSettings("sqlite://", "test"), context.database, clock)
        self.late = LateUsage(context, self.records, self.periods)
        self.handovers = UsageHandovers(context, engine, self.records, self.periods, self.late)
        self.intake = Intake(context, self.contracts, self.records, self.periods, self.late.came)
        self.reading = MeterReader(context, self.contracts, self.records, self.periods)

    def sell(self, deal: str = "deal", partner: str = "", legal_entity: str = "DE01") -> str:
        """Bring a contract of all metered products into force, now. Return its id."""
        orders, database = self.context.orders, self.context.database
        order_id, _ = orders.receive("salesforce", deal, 1, "cor_1", self.context.stalled_at())
        contract_id = cross_references.canonical_id(database, "con", "order", order_id)
        buyer = Customer(f"cus_{deal}", "Buyer", Address(country="DE"), crm="salesforce", partner=partner)
        contract = msgspec.structs.replace(
            contract_of(contract_id, order_id, buyer.id, LINES, state="active"), legal_entity=legal_entity
        )
        orders.accept(order_id, "Deal", "seller", Plan(buyer, contract, "001"))
        customers.keep(database, buyer)
        for state in DELIVERED:
            orders.advance(order_id, state, next_attempt_at=None)
        orders.request_lines(order_id)
        for line in LINES:
            orders.report_line(order_id, line.id, "provisioned", "")
        orders.set_billed(order_id, [line.id for line in LINES])
        orders.advance(order_id, "active", next_attempt_at=None)
        return contract_id

    def amend(self, contract_id: str, since: datetime, *after: PricedLine, action: Action, **said: Any) -> None:
        """Let a contract have been changed, from a moment on, to have the recurring lines `after`."""
        with self.context.database.begin() as connection:
            earlier = sa.select(amendments.c.id).where(amendments.c.contract_id == contract_id)
            version = 1 + len(connection.execute(earlier).all())
            preview = AmendmentPreview(contract_id, since, LINES, after, said.pop("deltas", ()), **said)
            row: dict[str, Any] = {
                "id": f"amd_{contract_id}_{version}",
                "contract_id": contract_id,
                "order_id": "order",
                "customer_id": "customer",
                "legal_entity": "DE01",
                "state": "applied",
                "requested_by": "somebody",
                "request": msgspec.json.encode(NewAmendment(key=f"key-{version}", actions=(action,))),
                "preview": msgspec.json.encode(preview),
                "effective_at": since.isoformat(),
                "version": version,
                "correlation_id": "cor_1",
                "requested_at": since.isoformat(),
                "updated_at": since.isoformat(),
            }
            connection.execute(amendments.insert().values(row))
        wake(self.context.database, contract_id, self.clock())
        self.clock.move(RECENT.total_seconds())

    def send(self, *records: dict[str, Any] | bytes, principal: Principal = SENDER) -> UsageReceipt:
        """Send records, or lines as they are."""
        lines = (each if isinstance(each, bytes) else msgspec.json.encode(each) for each in records)
        return self.intake.take(b"\n".join(lines), 1, principal)

    def read(self, contract_id: str, as_of: datetime | None = None, principal: Principal = SENDER) -> ContractUsage:
        return self.reading.of(contract_id, principal, as_of)

    def quantity(self, contract_id: str, aggregation: str) -> str:
        """Return what one meter of a contract says now."""
        (found,) = (each for each in self.read(contract_id).items if each.aggregation == aggregation)
        return f"{found.quantity:f}"

    def after(self, seconds: float) -> str:
        """Return the moment so many seconds after the first of the contract, as it is sent."""
        return (BEGAN + timedelta(seconds=seconds)).isoformat()


BEGAN = TestClock().now
"""The moment at which contracts of the bench begin."""


def record(contract_id: str, key: str, at: str, quantity: str | None = "1", **more: Any) -> dict[str, Any]:
    """Return a record of the meter that adds up, but for what is said otherwise."""
    usual = {"id": key, "contract_id": contract_id, "meter": "by_sum", "at": at, "quantity": quantity} | more
    return {name: value for name, value in usual.items() if value is not None}
