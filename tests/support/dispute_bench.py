"""Disputes over a system layer whose billing has them as a test says, and whose ERP books what it is asked to."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import UTC, date, datetime
from typing import Any

import msgspec
from msgspec.structs import replace

from canonical.billing import Posting
from canonical.cases import Case, CaseState
from canonical.disputes import Dispute, DisputeAct, DisputeAction, DisputeFee, DisputeRecord, Evidence
from canonical.events import DISPUTE_OPENED, Event
from canonical.money import Money
from canonical.states import BilledDisputeState
from process_apis import disputes
from process_apis.disputes.decisions import DisputeDecisions
from process_apis.disputes.workflow import Disputing
from process_apis.events.dispatch import Dispatcher
from process_apis.fees import Fees
from process_apis.records.cases import Wanted
from process_apis.records.disputes import OVER, Disputes
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.engine import Engine, EngineSettings
from tests.support.answering_layer import no_workflows
from tests.support.process_context import SOMEBODY

WORTH = Money(11900, "EUR")
FEE = Money(2000, "EUR")
BEGAN = datetime(2026, 3, 1, 9, tzinfo=UTC)
UNTIL = datetime(2026, 3, 20, 23, 59, tzinfo=UTC)
OF = {"contract": "con_1", "customer": "cus_1", "legal_entity": "DE01", "invoice": "in_1"}
SHOWN = Evidence("they use it every day", "Seats")


class Bank:
    """A system layer with disputes: billing shows them as they are, and does what it is asked for as Stripe does."""

    def __init__(self) -> None:
        self.disputes: dict[str, Dispute] = {}
        self.done: list[str] = []
        """What billing was asked for and has done."""
        self.booked: list[str] = []
        """The fees that the ERP was asked to book."""
        self.fault: tuple[int, str] | None = None
        """The problem with which billing answers everything."""
        self.lacks_account = False

    def open(self, key: str = "du_1", state: BilledDisputeState = "open", until: datetime | None = UNTIL) -> Dispute:
        """Let a payment be disputed. What the bank takes costs a fee."""
        fees = () if state in ("inquired", "closed") else (self.fee(key),)
        about = ("in_1", "pay_1", "cus_1", "con_1", "DE01", state, WORTH, "fraudulent", BEGAN, until)
        self.disputes[key] = Dispute(key, *about, answered=state == "answered", fees=fees)
        return self.disputes[key]

    def decide(self, key: str, state: BilledDisputeState, until: datetime | None = UNTIL) -> None:
        """Let a dispute go on. A won one gives the fee back, one that follows an inquiry takes it."""
        found = self.disputes[key]
        if state == "won" and len(found.fees) == 1:
            found = replace(found, fees=(*found.fees, self.fee(key, back=True)))
        elif state in ("open", "lost") and not found.fees:
            found = replace(found, fees=(self.fee(key),))
        self.disputes[key] = replace(found, state=state, respond_by=until, answered=state == "answered")

    @staticmethod
    def fee(key: str, *, back: bool = False) -> DisputeFee:
        return DisputeFee(f"txn_{key}{'_back' * back}", key, "DE01", -FEE if back else FEE, date(2026, 3, 1))

    def answer(self, method: str, path: str) -> tuple[int, bytes]:
        segments = path.partition("?")[0].split("/")
        if segments[1] == "erp":
            return self._book(segments[-1])
        if self.fault is not None:
            return self._refused(*self.fault)
        key = segments[4]
        act: Any = segments[5] if method == "POST" else ""
        found = self.disputes[key]
        if act == "acceptance" and found.state != "lost":
            if found.state != "open":
                return self._refused(422, "platform-rejected", "state")
            self.decide(key, "lost")
            self.done.append(f"accept {key}")
        elif act == "answer" and found.state != "answered":
            if found.state not in ("inquired", "open"):
                return self._refused(422, "platform-rejected", "state")
            self.decide(key, "answered", found.respond_by)
            self.done.append(f"answer {key}")
        return 200, msgspec.json.encode(self.disputes[key])

    def _book(self, key: str) -> tuple[int, bytes]:
        if self.lacks_account:
            return self._refused(422, "platform-rejected", "payment_fees", "erp")
        self.booked.append(key)
        zero = Money(0, "EUR")
        return 200, msgspec.json.encode(Posting("7", FEE, zero, zero, date(2026, 3, 1), key))

    @staticmethod
    def _refused(status: int, kind: str, field: str = "", platform: str = "billing") -> tuple[int, bytes]:
        problem = {"type": f"/problems/{kind}", "detail": "not now", "platform": platform, "field": field}
        return status, msgspec.json.encode(problem)


class DisputeBench:
    """The disputes capability, and what support and finance see of it."""

    def __init__(self, stack: ExitStack, context: WorkflowContext, bank: Bank) -> None:
        self.context, self.bank = context, bank
        self.records = Disputes(context.database, context.clock)
        self.decisions = DisputeDecisions(context, self.records, lambda: None)
        stack.enter_context(no_workflows())
        engine = Engine(EngineSettings("sqlite://", "test"), context.database, context.clock)
        made = disputes.capability(context, engine)
        self.capability = made
        self.dispatcher = Dispatcher(context, {made.name: made.reactions})
        stack.enter_context(no_workflows())
        self.disputing = Disputing(context, self.records, lambda: None)
        self.fees = Fees(context)
        self._events = iter(range(10_000))

    def report(self, kind: str = DISPUTE_OPENED, key: str = "du_1", subject: str = "", **data: str) -> None:
        """Let billing tell of a dispute, or of its money."""
        event = Event(
            id=f"evt_{next(self._events)}",
            source="billing/stripe",
            type=kind,
            subject=subject or key,
            time=self.context.clock(),
            data=OF | {"dispute": key} | data,
        )
        self.dispatcher.take(event, "cor_1")

    def look(self, key: str = "du_1") -> DisputeRecord:
        """Look at a dispute as its run does, and return the record."""
        self.disputing.look(key)
        return self.record(key)

    def reported(self, kind: str = DISPUTE_OPENED, key: str = "du_1") -> DisputeRecord:
        """Let billing tell of a dispute, and look."""
        self.report(kind, key)
        return self.look(key)

    def record(self, key: str = "du_1") -> DisputeRecord:
        found = self.records.visible(key, SOMEBODY)
        assert found is not None
        return found

    def act(self, action: DisputeAct, key: str = "du_1", evidence: Evidence | None = SHOWN) -> DisputeRecord:
        """Ask for something as support does."""
        wanted = DisputeAction(action, "we have looked", evidence if action == "answer" else None)
        return self.decisions.act(key, wanted, SOMEBODY)

    def cases(self, state: CaseState | None = None) -> list[Case]:
        found = [*self.context.cases.page(SOMEBODY, Wanted(state), None, 100).items]
        return sorted(found, key=lambda case: case.field)

    def is_over(self, key: str = "du_1") -> bool:
        return self.bank.disputes[key].state in OVER
