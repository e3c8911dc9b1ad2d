"""A contract of a year whose term ends, under a policy of its selling company, and what renews it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec

from canonical.amendments import Amendment
from canonical.cases import Action, Case
from canonical.deals import Deal, DealLine
from canonical.events import CONTRACT, DEAL_CLOSED, DEAL_LOST, Event
from canonical.orders import Plan
from canonical.parties import Account, Address
from canonical.renewals import Renewal
from policies.catalogue.live import LiveCatalogue
from policies.catalogue.model import SHIPPED
from process_apis.amendments.contract import RunningContract, running
from process_apis.amendments.deals import DealAmendments
from process_apis.records import cross_references
from process_apis.records.renewals import Renewals
from process_apis.renewals.runs import RenewalRuns
from process_apis.renewals.sweep import RenewalSweep
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.engine import Engine, EngineSettings
from tests.support.amendment_bench import BUYER, SEAT, Bench
from tests.support.process_context import DELIVERED, SOMEBODY, contract_of

TERM_ENDS = datetime(2027, 2, 28, 23, tzinfo=UTC)
"""Midnight of the last day of the term in Berlin."""
QUOTED = "mode = 'quoted'\nnotice_days = 60\nuplift_percent = 5\ngrace_days = 14\n"
AUTOMATIC = "mode = 'automatic'\nnotice_days = 60\nuplift_percent = 5\n"
LAPSE = "mode = 'lapse'\nnotice_days = 60\ngrace_days = 14\n"


class RenewalBench:
    """A contract of ten seats and support up to 1 March 2027, and what renews it. Work that is started is done when a
    test says so."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.context, self.clock, self.everybody = bench.context, bench.clock, bench.everybody
        engine = Engine(EngineSettings("sqlite://", "test"), self.context.database, bench.clock)
        self.runs = RenewalRuns(self.context, engine)
        self.records: Renewals = self.runs.records
        self.deals = DealAmendments(self.context, bench.records, lambda work: work.arguments[0], lambda _: False)

    def sell_another(self, months: int) -> None:
        """Let the customer have another contract, of so many months from 1 March 2026 on."""
        orders, database = self.context.orders, self.context.database
        order_id, _ = orders.receive("salesforce", "another", 1, "cor_1", self.context.stalled_at())
        contract_id = cross_references.canonical_id(database, "con", "order", order_id)
        contract = contract_of(contract_id, order_id, BUYER.id, (SEAT,), state="active")
        contract = msgspec.structs.replace(contract, term_months=months)
        orders.accept(order_id, "Another", "seller", Plan(BUYER, contract, "001"))
        for state in DELIVERED:
            orders.advance(order_id, state, next_attempt_at=None)
        orders.request_lines(order_id)
        orders.report_line(order_id, SEAT.id, "provisioned", "")
        orders.set_billed(order_id, [SEAT.id])
        orders.advance(order_id, "active", next_attempt_at=None)

    def find(self) -> list[Renewal]:
        """Let the sweep come by, and return all that was found."""
        RenewalSweep(self.context, self.records).go_on()
        return list(self.records.page(SOMEBODY, {}, None, None, 100).items)

    def at(self, moment: datetime) -> Renewal:
        """Go to a moment, let the sweep come by, and do whatever is due. Return the one renewal."""
        self.clock.now = moment
        assert len(self.find()) == 1
        return self.look()

    def look(self) -> Renewal:
        """Do whatever is due, until nothing is. Return the one renewal."""
        for _ in range(20):
            due = self.runs.agenda.due(10)
            for row in due:
                assert self.runs.agenda.claim(row) is not None
                self.runs.renewing.look(row.id)
            amendments = self.bench.runs.agenda.due(10)
            for row in amendments:
                self.bench.run(row.id)
            if not (due or amendments):
                break
        (found,) = self.records.page(SOMEBODY, {}, None, None, 100).items
        return found

    def offered(self, renewal: Renewal, **fields: object) -> Deal:
        """Return the deal that was offered, as the CRM has it then."""
        (offer,) = self.everybody.offers.values()
        lines = self.bench.lines()
        sold = [
            msgspec.convert(
                {
                    "id": f"00k{place}",
                    "sku": each.sku,
                    "name": lines[place].name,
                    "quantity": each.quantity,
                    "unit_price": each.unit_price,
                    "interval": each.interval,
                    "listed": True,
                },
                DealLine,
            )
            for place, each in enumerate(offer.lines)
        ]
        deal = Deal(
            id=renewal.deal_id,
            name=offer.name,
            revision=1,
            account=Account("001", "Buyer", Address(country="DE")),
            currency=offer.currency,
            legal_entity=offer.legal_entity,
            starts_on=offer.starts_on,
            term_months=offer.term_months,
            lines=tuple(sold),
            won=True,
            placed_by="sam@example.com",
            contract_id=offer.contract_id,
            change="renewal",
        )
        return msgspec.structs.replace(deal, **fields)

    def win(self, renewal: Renewal, **fields: object) -> None:
        """Close the deal of a renewal as won, and let it be read."""
        deal = self.everybody.deal = self.offered(renewal, **fields)
        event = self.event(deal.id, DEAL_CLOSED, deal.contract_id)
        self.deals.deal_closed(event, "cor_3")
        self.runs.deal_closed(event, "cor_3")
        row = self.deals.records.of("salesforce", deal.id)
        assert row
        self.deals._reading.read(row.id)  # pyright: ignore[reportPrivateUsage] - as the engine does

    def lose(self, renewal: Renewal) -> None:
        event = self.event(renewal.deal_id, DEAL_LOST, renewal.contract_id)
        self.deals.deal_lost(event, "cor_3")
        self.runs.deal_lost(event, "cor_3")

    def event(self, deal_id: str, kind: str, contract: str) -> Event:
        data = {"revision": "1", "digest": kind, CONTRACT: contract}
        return Event(id=kind, source="crm/salesforce", type=kind, subject=deal_id, time=self.clock(), data=data)

    def contract(self) -> RunningContract:
        return running(self.context, self.bench.records, self.context.orders.get(self.bench.order_id))

    def amendment(self, renewal: Renewal) -> Amendment:
        return self.bench.of(renewal.amendment_id)

    def cases(self, renewal: Renewal) -> list[Case]:
        return self.bench.cases(renewal.id)

    def act(self, case: Case, action: Action) -> None:
        self.runs.act(case, action)
        self.context.cases.close(case, action)


def under(context: WorkflowContext, folder: Path, policy: str) -> WorkflowContext:
    """Return a context under the shipped catalogue with a policy of DE01, or without one."""
    path = folder / "catalogue.toml"
    path.write_text(f"{SHIPPED.read_text()}\n[renewals.DE01]\n{policy}" if policy else SHIPPED.read_text())
    return msgspec.structs.replace(context, live_catalogue=LiveCatalogue(path))
