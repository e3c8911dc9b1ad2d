"""A contract that owes, over a system layer that has what billing, the target and the ERP say of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import msgspec

from canonical.billing import Invoice, Posting
from canonical.cases import Case
from canonical.credits import PaymentReversal
from canonical.deals import Suspension
from canonical.dunning import Dunning, DunningAction, OpenInvoice, OpenInvoices
from canonical.events import PAYMENT_FAILED, PAYMENT_REVERSED, Event
from canonical.money import Money
from policies.catalogue.live import LiveCatalogue
from policies.catalogue.model import SHIPPED
from policies.identity.authentication import Principal
from process_apis.amendments.contract import RunningContract, running
from process_apis.dunning import reactions
from process_apis.dunning.runs import DunningRuns
from process_apis.events.dispatch import Dispatcher
from process_apis.records.dunnings import dunning_id
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.engine import Engine, EngineSettings
from tests.support.amendment_bench import AWAY, BUYER, GONE, NO, Bench, Everybody
from tests.support.process_context import SOMEBODY

CANCEL = "suspend_after_days = 14\nfinal_after_days = 30\nlast_step = 'cancel'\nminimum = { EUR = 500 }\n"
WRITE_OFF = CANCEL.replace("cancel", "write_off")
KEEP = CANCEL.replace("cancel", "keep")
SUSPENDED = "suspend_after_days = 14\n"
NOT_SUSPENDED = (NO[0], NO[1].replace(b'"no"', b'"no", "platform": "provisioning"'))
DAY = timedelta(days=1)
EUROS = Money(11_900, "EUR")


class Debts(Everybody):
    """A system layer of which billing has what is open of one contract, and the target hears each message once."""

    def __init__(self) -> None:
        super().__init__()
        self.open: dict[str, OpenInvoice] = {}
        self.ended: dict[str, str] = {}
        """What became of the invoices that are open no more, by their ids."""
        self.written_off: list[str] = []
        self.went: dict[str, PaymentReversal] = {}
        self.books: dict[str, Money] = {}
        """What the ERP has open of invoices."""
        self.heard: list[str] = []
        self.is_suspended = False
        self.is_over = False
        """Whether billing has ended the contract by itself."""
        self.not_given_up: set[str] = set()
        """The invoices that billing refuses to give up."""
        self._then: tuple[str, Callable[[], object]] | None = None
        self.breaks = 0
        """Before which of the next calls a platform is away: 1 is the very next, 0 is none."""

    def before_next(self, what: str, act: Callable[[], object]) -> None:
        """Let something happen while the next call of a path that ends so is answered."""
        self._then = (what, act)

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        if self._then and path.partition("?")[0].endswith(self._then[0]):
            act, self._then = self._then[1], None
            act()
        if self.breaks:
            self.breaks -= 1
            if not self.breaks:
                return AWAY
        return super().answer(method, path, body)

    def _known(self, place: list[str]) -> Any:
        match place:
            case ["billing", "v1", "invoices", key]:
                return self.invoice(key)
            case ["billing", "v1", "payment-reversals", key]:
                return self.went[key]
            case ["erp", "v1", "invoices", key]:
                left = self.books[key]
                return Posting("R-1", EUROS, Money(1_900, "EUR"), left, date(2026, 3, 1), key)
            case _:
                return super()._known(place)

    def _refused(self, place: list[str], body: bytes) -> tuple[int, bytes] | None:
        if place[:3] == ["billing", "v1", "invoices"] and place[3] not in {*self.open, *self.ended}:
            return GONE
        if place[-1] == "write-off" and place[3] in self.not_given_up:
            return NO
        if place[-1] == "suspension" and self.target == "refuses":
            return NOT_SUSPENDED
        return super()._refused(place, body)

    def _done(self, method: str, place: list[str], body: bytes) -> Any:
        match place:
            case ["billing", "v1", "contracts", _, "open-invoices"]:
                return OpenInvoices(tuple(sorted(self.open.values(), key=lambda each: each.since)), self.is_over)
            case ["billing", "v1", "invoices", key, "write-off"]:
                if key in self.open:
                    self.written_off.append(key)
                    self.end(key, "uncollectible")
                return self.invoice(key)
            case ["provisioning", "v1", "orders", _, "suspension"]:
                wanted = msgspec.json.decode(body, type=Suspension)
                message = f"{wanted.change_id}:{wanted.suspended}"
                if message not in self.heard:
                    self.heard.append(message)
                    self.is_suspended = wanted.suspended
                return super()._done(method, place, body)
            case _:
                return super()._done(method, place, body)

    def end(self, key: str, state: str) -> None:
        """Let an invoice be open no more."""
        self.open.pop(key, None)
        self.ended[key] = state

    def invoice(self, key: str) -> Invoice:
        state: Any = "open" if key in self.open else self.ended[key]
        day, none = date(2026, 3, 1), Money(0, "EUR")
        return Invoice(key, key, BUYER.id, "con", "DE01", state, day, EUROS, none, none, "standard", ())


class DunningBench:
    """The contract of the bench of amendments, and what follows when it owes. Looks are made when a test says so."""

    def __init__(self, bench: Bench, everybody: Debts) -> None:
        self.bench, self.everybody = bench, everybody
        self.context, self.clock = bench.context, bench.clock
        engine = Engine(EngineSettings("sqlite://", "test"), self.context.database, bench.clock)
        self.runs = DunningRuns(self.context, engine)
        self.dispatcher = Dispatcher(self.context, {"dunning": reactions(self.runs)})
        self.reports = 0

    # ---- what billing has, and reports

    def owe(self, key: str = "in_1", cents: int = 11_900, **facts: Any) -> OpenInvoice:
        """Let a payment of an invoice fail, without a word of it."""
        known = self.everybody.open.get(key)
        since = known.since if known else self.clock()
        made = OpenInvoice(key, key, Money(cents, "EUR"), since, is_overdue=True, attempts=1)
        self.everybody.open[key] = msgspec.structs.replace(made, **({"next_attempt_at": self.clock() + DAY} | facts))
        return self.everybody.open[key]

    def report(self, kind: str, subject: str = "in_1", **data: str) -> None:
        """Let billing report something of the contract, as a new event."""
        self.dispatcher.take(self.event(kind, subject, **data), "cor_1")

    def event(self, kind: str, subject: str = "in_1", **data: str) -> Event:
        """Return a new event of billing about the contract."""
        self.reports += 1
        about = {"contract": self.bench.contract_id, "customer": BUYER.id, "legal_entity": "DE01"}
        source = "billing/stripe"
        return Event(
            id=f"evt_{self.reports}", source=source, type=kind, subject=subject, time=self.clock(), data=about | data
        )

    def fail(self, key: str = "in_1", cents: int = 11_900, **facts: Any) -> Dunning:
        self.owe(key, cents, **facts)
        self.report(PAYMENT_FAILED, key)
        return self.look()

    def give_back(self, key: str = "du_1", invoice: str = "in_9", *, reason: str = "insufficient funds") -> None:
        """Let a direct debit of a paid invoice come back, which the ERP has booked."""
        customer, day = BUYER.id, self.clock().date()
        self.everybody.went[key] = PaymentReversal(key, "return", invoice, "pi_9", customer, "DE01", EUROS, day)
        self.everybody.books[invoice] = EUROS
        self.everybody.ended[invoice] = "paid"
        about = {"contract_id": self.bench.contract_id, "customer_id": customer, "legal_entity": "DE01"}
        self.context.postings.expect(
            "reversal", "stripe", key, "cor_1", self.context.stalled_at(), invoice_id=invoice, **about
        )
        self.context.postings.change("reversal", key, state="posted", next_attempt_at=None)
        self.report(PAYMENT_REVERSED, key, reason=reason, invoice=invoice)

    # ---- what is done

    def look(self) -> Dunning:
        """Do whatever is due, until nothing is. Return the contract's dunning."""
        for _ in range(20):
            due = self.runs.agenda.due(10)
            for row in due:
                self.runs.agenda.claim(row)
                self.runs.looks.look(row.id)
            amendments = self.bench.runs.agenda.due(10)
            for row in amendments:
                self.bench.run(row.id)
            if not (due or amendments):
                break
        return self.found()

    def look_at_amendments(self) -> None:
        """Do what is due of changes of the contract."""
        for row in self.bench.runs.agenda.due(10):
            self.bench.run(row.id)

    def later(self, days: float) -> Dunning:
        """Let days pass, one at a time, and do what is due on each. Return the contract's dunning."""
        until = self.clock.now + days * DAY
        while self.clock.now < until:
            self.clock.now = min(until, self.clock.now + DAY)
            self.look()
        return self.found()

    def decide(self, action: Any, until: date | None = None, by: Principal = SOMEBODY) -> Dunning:
        self.runs.decide(self.id, DunningAction(action, "agreed by phone", until), by)
        return self.look()

    # ---- what is seen

    @property
    def id(self) -> str:
        return dunning_id(self.bench.contract_id, BUYER.id)

    def found(self) -> Dunning:
        return self.runs.find(self.id, SOMEBODY)

    def contract(self) -> RunningContract:
        return running(self.context, self.bench.records, self.context.orders.get(self.bench.order_id))

    def cases(self) -> dict[str, Case]:
        """Return the open cases of the dunning, by kind and field."""
        found = [each for each in self.bench.cases(self.id) if each.state == "open"]
        return {f"{each.kind}:{each.field}": each for each in found}

    def shown(self) -> tuple[str, str]:
        """Return the state and the detail that the CRM shows by now."""
        status = self.everybody.states[-1]
        return status.state, status.detail


def under(context: WorkflowContext, folder: Path, policy: str) -> WorkflowContext:
    """Return a context under the shipped catalogue with a policy of DE01, or without one."""
    path = folder / "catalogue.toml"
    path.write_text(SHIPPED.read_text() + (f"\n[dunning.DE01]\n{policy}" if policy else ""))
    return msgspec.structs.replace(context, live_catalogue=LiveCatalogue(path))


Make = Callable[[str], DunningBench]
