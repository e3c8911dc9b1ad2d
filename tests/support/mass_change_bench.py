"""Many contracts over a system layer that answers for all platforms, and a mass change of them."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from canonical.deals import PricedLine
from canonical.ids import Clock
from canonical.mass_changes import MassChange, MassItemState, NewMassChange, PricePercentage
from canonical.money import Money
from canonical.orders import Plan
from canonical.parties import Address, Customer
from process_apis.mass_change.runs import MassChangeRuns
from process_apis.records import cross_references, customers
from process_apis.runtime.engine import Engine, EngineSettings
from tests.support.amendment_bench import Bench
from tests.support.process_context import DELIVERED, SOMEBODY, contract_of

CHEAP = PricedLine("seat", "SEAT", "Seat", 5, Money(1000, "EUR"), "month")


class UnhurriedEngine(Engine):
    """Lets time stand still: what keeps a pace does not wait. It `rested` for so many seconds each time, `looked` at
    these agendas, and `ends` once a test says so."""

    def __init__(self, settings: EngineSettings, database: sa.Engine, clock: Clock) -> None:
        super().__init__(settings, database, clock)
        self.rested: list[float] = []
        self.looked: list[str] = []
        self.ends = False

    def look_at(self, agenda: str) -> None:
        self.looked.append(agenda)

    def rest(self, seconds: float) -> bool:
        self.rested.append(seconds)
        return not self.ends


class MassBench:
    """The contract of the bench, more of them, and the runs of mass changes."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.context = bench.context
        self.engine = UnhurriedEngine(EngineSettings("sqlite://", "test"), self.context.database, bench.clock)
        self.runs = MassChangeRuns(self.context, self.engine)
        self.records = self.runs.records

    def sell(self, number: int, line: PricedLine = CHEAP, first: int = 0) -> list[str]:
        """Bring contracts of one line into force. Return their ids, in the order of their sale."""
        return [self._sold(f"deal-{each}", line) for each in range(first, first + number)]

    def _sold(self, deal: str, line: PricedLine) -> str:
        orders, database = self.context.orders, self.context.database
        order_id, _ = orders.receive("salesforce", deal, 1, "cor_1", self.context.stalled_at())
        contract_id = cross_references.canonical_id(database, "con", "order", order_id)
        buyer = Customer(
            f"cus_{deal}", "Buyer", Address(country="DE"), crm="salesforce", references={"salesforce": "001"}
        )
        contract = contract_of(contract_id, order_id, buyer.id, (line,), state="active")
        orders.accept(order_id, "Deal", "seller", Plan(buyer, contract, "001"))
        customers.keep(database, buyer)
        for state in DELIVERED:
            orders.advance(order_id, state, next_attempt_at=None)
        orders.request_lines(order_id)
        orders.report_line(order_id, line.id, "provisioned", "")
        orders.set_billed(order_id, [line.id])
        orders.advance(order_id, "active", next_attempt_at=None)
        return contract_id

    def plan(self, percent: int = 5, key: str = "prices", **more: Any) -> MassChange:
        """Ask for a mass change of seats, and let its contracts be selected."""
        usual: dict[str, Any] = {"sku": "SEAT", "legal_entity": "DE01", "price": PricePercentage(100 * percent)}
        wanted = NewMassChange(**(usual | more), key=key)
        asked = self.runs.plan(wanted, SOMEBODY, "cor_3")
        return self.go_on(asked.id)

    def go_on(self, mass_change_id: str) -> MassChange:
        """Let one run do its part."""
        self.runs.changing.go_on(mass_change_id)
        return self.runs.find(mass_change_id, SOMEBODY)

    def approved(self, mass_change_id: str) -> None:
        """Submit a mass change, and let somebody else approve it."""
        self.runs.do(mass_change_id, "submit", SOMEBODY)
        self.decide(mass_change_id, "approve")

    def decide(self, mass_change_id: str, action: Any) -> None:
        (case,) = self.bench.cases(mass_change_id)
        self.runs.act(case, action)
        self.context.cases.close(case, action)

    def amend(self) -> None:
        """Carry out every amendment that is on its way."""
        for each in self.bench.records.page(SOMEBODY, None, None, None, 100).items:
            if each.state in ("requested", "checking", "provisioning", "applying"):
                self.bench.run(each.id)

    def to_its_end(self, mass_change_id: str) -> MassChange:
        """Let runs and amendments take turns, until nothing is on its way."""
        for _ in range(200):
            found = self.go_on(mass_change_id)
            if found.state != "running":
                return found
            self.amend()
            self.bench.clock.move(20)
        raise AssertionError(f"{mass_change_id} does not end: {self.records.counts(mass_change_id)}")

    def counts(self, mass_change_id: str) -> dict[MassItemState, int]:
        return self.records.counts(mass_change_id)
