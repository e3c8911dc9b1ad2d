"""A period of a meter that billing has charged, billing that credits and charges, and what is proposed between them."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any, Literal

import msgspec
import sqlalchemy as sa

from canonical.billing import Invoice, InvoiceLine, Posting
from canonical.cases import Action, Case
from canonical.corrections import Correctable, CreditedLine, CreditOrder, LineLeft
from canonical.credits import CreditNote
from canonical.deals import is_whole
from canonical.faults import PlatformFault, Rejected
from canonical.money import Money
from canonical.usage import UsageCharge, UsageOfPeriod, UsageOrder
from canonical.usage_corrections import UsageCorrection, UsageDecision
from policies.identity.authentication import Principal
from policies.problems import as_answer
from process_apis.corrections.runs import CorrectionRuns
from process_apis.records.cases import Wanted
from process_apis.records.database import corrections, events, postings, usage_corrections
from process_apis.records.usage_corrections import UsageCorrections
from process_apis.runtime.agenda import Agenda
from process_apis.runtime.engine import EngineSettings
from process_apis.usage_corrections.decisions import UsageCorrectionDecisions
from process_apis.usage_corrections.workflow import UsageCorrecting
from tests.support.answering_layer import answering, no_workflows
from tests.support.correction_bench import QuietEngine
from tests.support.process_context import SOMEBODY, TestClock, context_over
from tests.support.usage_bench import BEGAN, UsageBench, record, with_meters

CENTS = 3
MONTH = timedelta(days=31)
CHIEF = Principal("chief@example.com", "finance-app", frozenset({"approvals:grant"}), frozenset({"*"}), "jti", 0.0, 0.0)
EUR = "EUR"


class ChargingBilling:
    """Charges a period at three cents for each unit, and more or less of it once for each id."""

    def __init__(self) -> None:
        self.handed_over: UsageOfPeriod | None = None
        self.is_issued = True
        self.more: dict[str, Decimal] = {}
        self.credited: dict[str, Decimal] = {}
        self.refusal: PlatformFault | None = None
        """With what billing answers what is to be priced, charged or credited."""
        self.meanwhile: Callable[[], object] = lambda: None
        """What happens when it has, before anybody knows."""

    @property
    def charged(self) -> Decimal:
        """Return how much of the period is charged by now."""
        first = self.handed_over.quantity if self.handed_over else Decimal(0)
        return first + sum(self.more.values()) - sum(self.credited.values())

    def __call__(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        place = path.partition("?")[0].split("/")[1:]
        try:
            found = self._answer(method, place[0], place[2:], body)
        except PlatformFault as fault:
            status, _, content = as_answer(fault, "cor_1")
            return status, content
        return 200, msgspec.json.encode(found)

    def _answer(self, method: str, domain: str, place: list[str], body: bytes) -> Any:
        read = msgspec.json.decode
        if domain == "erp":
            invoice = read(body, type=Invoice)
            return Posting("", invoice.total, invoice.tax, invoice.total, invoice.issued_on, invoice.id)
        if place[0] == "usage" and len(place) == 2:
            self.handed_over = read(body, type=UsageOfPeriod)
            return self.handed_over
        if method == "GET":
            return self._correctable()
        if self.refusal is not None and place[1] not in self.more:  # what it has done, it finds first
            raise self.refusal
        if place[0] == "credit-notes":
            order = read(body, type=CreditOrder)
            if place[-1] != "preview":
                self._once(self.credited, order.id, _credited(order))
            return self._note(order)
        more = read(body, type=UsageOrder)
        if place[-1] == "charge":
            self._once(self.more, more.id, more.more)
            return self._charge(more, f"ii_{more.id}")
        return self._charge(more, "") if self.is_issued else UsageCharge("")

    def _once(self, done: dict[str, Any], key: str, quantity: object) -> None:
        done.setdefault(key, quantity)
        self.meanwhile()

    def _charge(self, order: UsageOrder, reference: str) -> UsageCharge:
        net = _net(order.more) if order.more > 0 else None
        return UsageCharge("in_1", "il_1", net, reference)

    def _line(self, quantity: Decimal) -> InvoiceLine:
        day, zero = BEGAN.date(), Money(0, EUR)
        pieces = int(quantity) if is_whole(quantity) else 1
        return InvoiceLine("SUM", "Calls", pieces, _net(quantity), zero, day, day, id="il_1")

    def _correctable(self) -> Correctable:
        assert self.handed_over is not None
        whole = self.handed_over.quantity
        left, total, zero = whole - sum(self.credited.values()), _net(whole), Money(0, EUR)
        invoice = Invoice(
            "in_1",
            "A-1",
            "cus_deal",
            self.handed_over.contract.id,
            "DE01",
            "open",
            (BEGAN + MONTH).date(),
            total,
            zero,
            _net(left),
            "standard",
            (self._line(whole),),
        )
        pieces = int(left) if all(map(is_whole, (whole, *self.credited.values()))) else None
        lines = (LineLeft(self._line(whole), pieces, _net(left), zero),)
        return Correctable(invoice, lines, total - invoice.balance, (), zero, made=tuple(self.credited))

    def _note(self, order: CreditOrder) -> CreditNote:
        quantity, zero = _credited(order), Money(0, EUR)
        worth = _net(quantity)
        if order.id not in self.credited and worth.amount > self._correctable().lines[0].net.amount:
            raise Rejected("billing", "more than is left of the line", field="lines")
        line = self._line(quantity)
        amounts = (worth, zero, worth, zero, zero, zero)
        day = (BEGAN + MONTH).date()
        of = ("cn_1", "N-1", "in_1", "cus_deal", None, "DE01", "issued", day)
        return CreditNote(*of, *amounts, "standard", (line,))  # pyright: ignore[reportArgumentType]


def _net(quantity: Decimal) -> Money:
    return Money(int((quantity * CENTS).quantize(Decimal(1), ROUND_HALF_UP)), EUR)


def _credited(order: CreditOrder) -> Decimal:
    """Return how much a credit note credits, by pieces or by their amount."""
    line = order.lines[0]
    return Decimal(line.quantity) if line.amount is None else Decimal(line.amount.amount) / CENTS  # pyright: ignore[reportArgumentType]


class UsageCorrectionBench:
    """A contract of which a period is charged, with all that is proposed, decided and done of it."""

    def __init__(self, bench: UsageBench, billing: ChargingBilling) -> None:
        self.bench, self.billing, self.context = bench, billing, bench.context
        self.records = UsageCorrections(self.context.database, bench.clock)
        engine = QuietEngine(EngineSettings("sqlite://", "test"), self.context.database, bench.clock)
        self.correcting = UsageCorrecting(self.context, self.records, bench.periods, bench.late)
        self.decisions = UsageCorrectionDecisions(bench.clock, self.records, lambda: None)
        self.credits = CorrectionRuns(self.context, engine)
        self.agenda = Agenda(self.context, usage_corrections)
        self.contract = bench.sell()
        bench.clock.move(10 * 24 * 3600)

    def charge(self, quantity: str) -> None:
        """Let a quantity have been used in the first period, and billing have charged it, with its invoice reported."""
        self.send("first", quantity)
        self.bench.clock.now = BEGAN + MONTH + timedelta(minutes=16)
        self.hand_over()
        row: dict[str, Any] = {"kind": "invoice", "billing": "stripe", "id": "in_1", "invoice_id": "in_1"}
        row |= {"customer_id": "cus_deal", "contract_id": self.contract, "legal_entity": "DE01", "state": "posted"}
        row |= {"correlation_id": "cor_1", "updated_at": self.bench.clock().isoformat()}
        with self.context.database.begin() as connection:
            connection.execute(postings.insert().values(row))

    def hand_over(self) -> None:
        for row in self.bench.handovers.agenda.due(10):
            self.bench.handovers.handover.hand_over(row.id)

    def send(self, key: str, quantity: str, *, seconds: float = 3600) -> None:
        """Send a record of so many seconds after the beginning of the period."""
        self.bench.send(record(self.contract, key, self.bench.after(seconds), quantity))

    def void(self, key: str) -> None:
        self.bench.send({"contract_id": self.contract, "meter": "by_sum", "void": True, "id": key})

    def look(self, rounds: int = 6) -> None:
        """Do what is due of usage corrections and of corrections of invoices, until nothing is."""
        for _ in range(rounds):
            self.bench.clock.move(400)
            for row in self.agenda.due(10):
                self.correcting.go_on(row.id)
            for row in self.credits.agenda.due(10):
                for step in self.credits.correcting.steps[:2]:
                    if step(row.id) == "stopped":
                        break

    def all(self) -> list[UsageCorrection]:
        """Return all, the oldest first."""
        return list(reversed(self.records.page(CHIEF, None, None, None, None, 100).items))

    @property
    def last(self) -> UsageCorrection:
        return self.all()[-1]

    def last_is_held_after_approval(self) -> bool:
        """Return whether billing has refused the newest one when it was to be carried out."""
        found = self.all()
        return bool(found) and found[-1].state == "on_hold" and self.records.row(found[-1].id).held_in == "approved"

    def states(self) -> list[str]:
        return [each.state for each in self.all()]

    def decide(
        self,
        decision: Literal["approve", "reject"],
        by: Principal = CHIEF,
        revision: int | None = None,
        reason: str = "seen",
    ) -> UsageCorrection:
        """Decide about the newest one, as it is now if no other revision is named."""
        said = UsageDecision(decision, self.last.revision if revision is None else revision, reason)
        return self.decisions.decide(self.last.id, said, by)

    def cases(self) -> list[Case]:
        return list(self.context.cases.page(SOMEBODY, Wanted("open"), None, 100).items)

    def act(self, action: Action) -> None:
        (case,) = (each for each in self.cases() if each.kind == "usage_correction_refused")
        self.decisions.act(case, action, "clerk@example.com", "by hand")
        self.context.cases.close(case, action)

    def credit_orders(self) -> list[str]:
        """Return the states of the corrections of invoices."""
        with self.context.database.connect() as connection:
            return list(connection.scalars(sa.select(corrections.c.state)))

    def credited_lines(self) -> list[CreditedLine]:
        """Return what corrections of invoices credit."""
        with self.context.database.connect() as connection:
            found = connection.scalars(sa.select(corrections.c.wanted))
            return [line for each in found for line in msgspec.json.decode(each, type=CreditOrder).lines]

    def reported(self) -> list[str]:
        """Return what became of usage corrections, as the event log has it."""
        with self.context.database.connect() as connection:
            found = connection.scalars(sa.select(events.c.type))
            return [each.split(".")[4] for each in found if ".usage_correction." in each]


@contextmanager
def usage_correction_bench(folder: Path, tables_url: str, clock: TestClock) -> Generator[UsageCorrectionBench]:
    """Yield a contract of metered products whose first period runs."""
    billing = ChargingBilling()
    with no_workflows(), answering(billing) as system, context_over(tables_url, clock, system) as context:
        yield UsageCorrectionBench(UsageBench(with_meters(context, folder), clock), billing)
