"""A contract that runs, over a system layer that answers for all platforms: what tests of amendments begin with."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import unquote

import msgspec

from canonical.amendments import (
    Action,
    AddLine,
    Amendment,
    BillingPreview,
    ChangeQuantity,
    ChargedPart,
    ContractChange,
    Handover,
    InvoicePreview,
    NewAmendment,
    Pause,
    changed_by_use,
)
from canonical.billing import Contract, Invoice, InvoiceLine, Posting
from canonical.cases import Action as CaseAction
from canonical.cases import Case
from canonical.deals import Deal, DealStatus, Holder, PricedLine, ProvisioningRequest, RenewalDeal, Suspension
from canonical.events import LINE_PROVISIONED, Event
from canonical.money import Money
from canonical.orders import Plan
from canonical.parties import (
    Account,
    Address,
    Credit,
    Customer,
    CustomerMatches,
    KnownProducts,
    LegalEntity,
    PlatformId,
)
from canonical.proration import Period, share
from canonical.tax import Tax, TaxRule
from process_apis.amendments.contract import running
from process_apis.amendments.request import check
from process_apis.amendments.runs import AmendmentRuns
from process_apis.amendments.withdrawal import KINDS
from process_apis.records import cross_references, customers
from process_apis.records.amendments import amendment
from process_apis.records.cases import Wanted
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.engine import Engine, EngineSettings
from tests.support.process_context import DELIVERED, SOMEBODY, TestClock, contract_of

SEAT = PricedLine("seat", "SEAT", "Seat", 10, Money(2000, "EUR"), "month")
SUPPORT = PricedLine("support", "SUPPORT", "Support", 1, Money(9950, "EUR"), "month")
MONTH = Period(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC))
BUYER = Customer("cus_1", "Buyer", Address(country="DE"), crm="salesforce", references={"salesforce": "001"})
OTHER = Customer(
    "cus_2",
    "Other",
    Address(country="AT"),
    tax_number="ATU13585627",
    tax_treatment="reverse_charge",
    partner="reseller-nord",
    legal_entity="DE01",
    crm="salesforce",
    references={"salesforce": "002", "stripe": "cus_S2", "tryton": "2"},
)
VAT = Decimal("0.19")
NO = (422, b'{"type": "/problems/platform-rejected", "title": "No", "status": 422, "detail": "no"}')
GONE = (404, b'{"type": "/problems/platform-not-found", "title": "No", "status": 404, "detail": "gone", "field": "id"}')
EARLY = (422, NO[1].replace(b'"no"', b'"not yet", "field": "effective_at"'))
AWAY = (503, b'{"type": "/problems/platform-unavailable", "title": "Away", "status": 503, "detail": "away"}')


class Everybody:
    """A system layer of which billing prorates by the second, and the ERP books what billing charges, until a test says
    otherwise."""

    def __init__(self) -> None:
        self.cent = 0
        """What billing charges more than its rule."""
        self.tax = 0
        """What the ERP books more of tax."""
        self.status = 200
        """What billing answers a change."""
        self.target = "works"
        """Whether the target works, is `away`, or `refuses`."""
        self.withdrawn: tuple[str, ...] = ()
        """The products that the ERP has out of use."""
        self.away = False
        """Whether billing is, when it is asked for a preview."""
        self.period: Period | None = None
        """The period of billing that runs, where it is not the calendar month."""
        self.refused_end: date | None = None
        """The end of a term with which billing has no period that ends."""
        self.last_period = False
        """Whether the last period of the term runs, so that billing says what a renewal would bill."""
        self.changes: list[ContractChange] = []
        self.left: list[str] = []
        """The transfers that were not completed, each time that billing was to leave a contract to who has it."""
        self.requests: list[ProvisioningRequest] = []
        self.holders: list[str] = []
        """Who has the service, each time that the target heard of it."""
        self.accounts = {"001": Account("001", "Buyer", Address(country="DE"))}
        """The accounts of the CRM by their ids."""
        self.collected: list[Contract] = []
        """The contracts of which billing was to collect what is open."""
        self.owed = 0
        """What a customer owes, in cents, of a limit of 1000 euros."""
        self.suspensions: list[bool] = []
        """Whether the service was to be suspended, each time that the target heard of it."""
        self.removed = 0
        self.shown: list[str] = []
        self.states: list[DealStatus] = []
        self.deal: Deal | None = None
        """What the CRM has of any deal."""
        self.offers: dict[str, RenewalDeal] = {}
        """What the CRM was asked to offer again, by its key."""
        self.crm = "works"
        """Whether the CRM works when it is to offer something, is `away`, or `refuses`."""
        self.now: Callable[[], datetime] = lambda: MONTH.start
        """The moment that it is for billing."""
        self.meanwhile: Callable[[], object] = lambda: None
        """What happens while billing works a preview out."""

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        place = path.partition("?")[0].split("/")[1:]
        if (refused := self._refused(place, body)) is not None:
            return refused
        found = self._known(place) if method == "GET" else self._done(method, place, body)
        return 200, msgspec.json.encode(found)

    def _refused(self, place: list[str], body: bytes) -> tuple[int, bytes] | None:
        """Return the answer of a platform that is away, or refuses what it is asked; None for one that does it."""
        if self.target != "works" and place[0] == "provisioning":
            return NO if self.target == "refuses" else AWAY
        if self.crm != "works" and "renewal-deals" in place:
            return NO if self.crm == "refuses" else AWAY
        is_preview, change = place[-2:] == ["change", "preview"], place[-1] == "change"
        if place[:3] == ["crm", "v1", "accounts"] and place[-1] not in self.accounts:
            return GONE
        if self.away and place[-1] == "preview":
            self.meanwhile()
            return AWAY
        is_refused = self.refused_end is not None and is_preview and f'"{self.refused_end}"'.encode() in body
        if is_refused or (change and (self.status != 200 or self._is_late(_change(body)))):
            return NO
        return EARLY if is_preview and (self._is_early(_change(body)) or self._is_over(_change(body))) else None

    def _known(self, place: list[str]) -> Any:
        match place:
            case ["crm", "v1", "deals", _] if self.deal:
                return self.deal
            case ["crm", "v1", "accounts", key]:
                return self.accounts[key]
            case ["erp", "v1", "customers", _, "credit"]:
                return Credit(Money(self.owed, "EUR"), Money(100_000, "EUR"))
            case ["erp", "v1", "legal-entities", code]:
                taxes = (
                    Tax("standard", "standard", Decimal(19)),
                    Tax("reverse", "reverse_charge", Decimal(0)),
                )
                rules = (TaxRule(tax="reverse", buyer="union", registered=True), TaxRule(tax="standard"))
                return LegalEntity(code, "Seller", "DE", "EUR", {}, taxes, rules)
            case ["erp", "v1", "products"]:
                return KnownProducts(("SEAT", "SUPPORT", "EXTRA"), withdrawn=self.withdrawn)
            case _:
                raise AssertionError(f"{place} is not expected")

    def _done(self, method: str, place: list[str], body: bytes) -> Any:
        match method, place:
            case "POST", ["billing", "v1", "contracts", _, "change", "preview"]:
                self.meanwhile()
                return self._preview(msgspec.json.decode(body, type=ContractChange))
            case "POST", ["billing", "v1", "contracts", _, "change"]:
                return self._change(msgspec.json.decode(body, type=ContractChange))
            case "POST", ["erp", "v1", "invoices", key, "preview"]:
                draft = msgspec.json.decode(body, type=Invoice)
                more = Money(self.tax, "EUR")
                return Posting("", draft.total + more, draft.tax + more, draft.total + more, draft.issued_on, key)
            case _, ["provisioning", "v1", "orders", _, *what]:
                return self._delivered(method, what, body)
            case _:
                return self._crm(place, body)

    def _crm(self, place: list[str], body: bytes) -> Any:
        if place[-1] == "collection":
            self.collected.append(msgspec.json.decode(body, type=Contract))
            return self.collected[-1]
        if "customers" in place:
            return CustomerMatches(()) if place[-1] == "matches" else PlatformId(f"{place[0]}-{place[-1]}")
        if "renewal-deals" in place:
            self.offers.setdefault(unquote(place[-1]), msgspec.json.decode(body, type=RenewalDeal))
            return {"id": f"006R{len(self.offers)}"}
        shown = msgspec.json.decode(body, type=DealStatus)
        self.shown.append(shown.detail)
        self.states.append(shown)
        return shown

    def _delivered(self, method: str, what: list[str], body: bytes) -> Any:
        if method == "DELETE":
            self.removed += 1
            return {"id": "ord"}
        if what == ["holder"]:
            holder = msgspec.json.decode(body, type=Holder)
            self.holders.append(holder.customer_id)
            return holder
        if what:
            wanted = msgspec.json.decode(body, type=Suspension)
            self.suspensions.append(wanted.suspended)
            return wanted
        self.requests.append(msgspec.json.decode(body, type=ProvisioningRequest))
        return self.requests[-1]

    def _is_over(self, change: ContractChange) -> bool:
        """Return whether the period is over after which what is charged by use was to change, and the next one, too."""
        is_by_use = bool(changed_by_use(change.contract.lines, change.lines))
        return is_by_use and change.effective_at < self._period().start

    def _is_early(self, change: ContractChange) -> bool:
        """Return whether a change counts from a moment outside of the period that runs."""
        is_of_period = change.at_period_end or change.term is not None
        month = self._period()
        return not is_of_period and not month.start <= change.effective_at <= month.end

    def _is_late(self, change: ContractChange) -> bool:
        """Return whether the period is over with which a contract was to rest, to go on, or to go to another."""
        is_done = any(each.id == change.id for each in self.changes)
        is_of_period = change.pause is not None or (change.handover is not None and not change.handover.taken_back)
        return is_of_period and not is_done and change.effective_at != self._period().end

    def period_end(self) -> datetime:
        """Return when the period of billing ends that runs."""
        return self._period().end

    def _period(self) -> Period:
        """Return the period that runs."""
        if self.period:
            return self.period
        start = self.now().replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        return Period(start, (start + timedelta(days=31)).replace(day=1))

    def _preview(self, change: ContractChange) -> BillingPreview:
        if change.term is not None:
            day = change.term.ends_on
            return BillingPreview(change.effective_at, (), day and datetime.combine(day, time(12), UTC))
        if change.pause is not None:
            day = change.pause.until if isinstance(change.pause, Pause) else None
            return BillingPreview(self._period().end, (), resumes_at=day and datetime.combine(day, time(), UTC))
        if change.handover is not None:
            return self._preview_transfer(change.handover)
        if change.at_period_end and not (change.renewal and self.last_period):
            is_billed = changed_by_use(change.contract.lines, change.lines)
            is_billed = is_billed and change.effective_at == self._period().start
            at = change.effective_at if is_billed or change.renewal else self._period().end
            return BillingPreview(at, ())
        if change.paused:
            return BillingPreview(change.effective_at, ())
        month = (self.period or MONTH) if change.renewal else self._period()
        since = month.start if change.renewal else change.effective_at
        counted = share("seconds", month, since, month.end)
        before, after = (sum(each.net.amount for each in lines) for lines in (change.contract.lines, change.lines))
        before = 0 if change.renewal else before
        lines: list[InvoiceLine] = []
        parts: list[ChargedPart] = []
        for sign, amount in ((-1, before), (1, after)):
            price = Money(sign * amount, "EUR")
            if not price.amount:
                continue
            net = counted.of_price(price) + Money(self.cent if sign > 0 else 0, "EUR")
            tax = net.times(VAT)
            lines.append(InvoiceLine("SEAT", "Seats", 1, net, tax, date(2026, 3, 10), date(2026, 3, 31)))
            parts.append(ChargedPart(("seat",), since, month.end, True, price, month.start, month.end, month.months))
        tax = sum((each.tax for each in lines[1:]), lines[0].tax)
        total = sum((each.net for each in lines[1:]), lines[0].net) + tax
        draft = Invoice(
            f"{change.id}:preview",
            "",
            "cus_1",
            change.contract.id,
            "DE01",
            "draft",
            date(2026, 3, 10),
            total,
            tax,
            total,
            "standard",
            tuple(lines),
        )
        return BillingPreview(change.effective_at, (InvoicePreview(draft, tuple(parts)),))

    def _preview_transfer(self, handover: Handover) -> BillingPreview:
        """Return the first invoice of a customer that billing knows: a month of all lines, with the contract's tax."""
        month, contract = self._period(), handover.contract
        if handover.taken_back or "customer" not in contract.references:
            return BillingPreview(month.end, ())
        net, day = contract.net, month.end.date()
        gross = sum(
            (each.net.times(1 + Decimal(contract.tax_of(each)[1]) / 100) for each in contract.lines), Money(0, "EUR")
        )
        line = InvoiceLine("SEAT", "Seats", 1, net, gross - net, day, day)
        following = Period(month.end, (month.end + timedelta(days=31)).replace(day=1))
        ids = tuple(each.id for each in contract.lines)
        part = ChargedPart(ids, following.start, following.end, False, net, following.start, following.end, 1)
        about = (contract.customer_id, contract.id, "DE01", "draft", day)
        draft = Invoice("preview", "", *about, gross, gross - net, gross, contract.tax, (line,))
        return BillingPreview(month.end, (InvoicePreview(draft, (part,)),))

    def _change(self, change: ContractChange) -> Contract:
        if change.handover is not None and change.handover.taken_back == change.id:
            self.left.append(change.id)
            return change.contract
        self.changes.append(change)
        if change.handover is not None and not change.handover.taken_back:
            return msgspec.structs.replace(change.handover.contract, state="active")
        names = change.contract.references | {"invoice": f"in_{change.id[-4:]}"}
        return msgspec.structs.replace(change.contract, lines=change.lines, references=names)


class Bench:
    """A contract of ten seats and support, in force since 1 March 2026 at noon, and a clock that stands at the 10th."""

    def __init__(self, context: WorkflowContext, clock: TestClock, everybody: Everybody) -> None:
        self.context = context
        self.clock = clock
        self.everybody = everybody
        everybody.now = clock
        self.runs = AmendmentRuns(context, Engine(EngineSettings("sqlite://", "test"), context.database, clock))
        self.records, self.amending = self.runs.records, self.runs.amending
        orders = context.orders
        self.order_id, _ = orders.receive("salesforce", "deal", 1, "cor_1", context.stalled_at())
        self.contract_id = cross_references.canonical_id(context.database, "con", "order", self.order_id)
        contract = contract_of(self.contract_id, self.order_id, BUYER.id, (SEAT, SUPPORT), state="active")
        orders.accept(self.order_id, "Deal", "seller", Plan(BUYER, contract, "001"))
        customers.keep(context.database, BUYER)
        for state in ("validating", "credit_review", "onboarding", "subscribing", "provisioning"):
            orders.advance(self.order_id, state, next_attempt_at=None)
        orders.request_lines(self.order_id)
        for line in (SEAT, SUPPORT):
            orders.report_line(self.order_id, line.id, "provisioned", "")
        orders.set_billed(self.order_id, [SEAT.id, SUPPORT.id])
        clock.now = datetime(2026, 3, 1, 12, tzinfo=UTC)
        orders.advance(self.order_id, "active", next_attempt_at=None)
        clock.now = datetime(2026, 3, 10, 12, tzinfo=UTC)

    def ask(self, *actions: Action, key: str = "", **more: Any) -> str:
        wanted = NewAmendment(actions, key=key or f"key-{len(self.records.undecided(self.contract_id))}", **more)
        found = running(self.context, self.records, self.context.orders.get(self.order_id))
        check(found, wanted)
        row, _ = self.records.receive(found.contract, wanted, "seller@example.com", "cor_2", self.context.stalled_at())
        return row.id

    def run(self, amendment_id: str) -> Amendment:
        for step in self.amending.steps:
            if step(amendment_id) == "stopped":
                break
        return self.of(amendment_id)

    def of(self, amendment_id: str) -> Amendment:
        return amendment(self.records.row(amendment_id))

    def deliver(self, amendment_id: str) -> Amendment:
        row = self.records.row(amendment_id)
        for line in row.undelivered.split():
            self.records.report_line(amendment_id, row.delivery_attempt, line)
        return self.run(amendment_id)

    def not_delivered(self, amendment_id: str, line: str) -> None:
        row = self.records.row(amendment_id)
        data = {"attempt": str(row.delivery_attempt), "line": line, "succeeded": "false", "reason": "no room"}
        event = Event(
            id=line, source="provisioning", type=LINE_PROVISIONED, subject=row.order_id, time=self.clock.now, data=data
        )
        self.runs.line_reported(event, "cor_3")

    def act(self, case: Case, action: CaseAction) -> None:
        """Act on a case, without the run that follows."""
        self.runs.act(case, action)
        self.context.cases.close(case, action, KINDS)

    def lines(self) -> tuple[PricedLine, ...]:
        return running(self.context, self.records, self.context.orders.get(self.order_id)).contract.lines

    def cases(self, subject: str) -> list[Case]:
        found = self.context.cases.page(SOMEBODY, Wanted("open"), None, 25).items
        return [each for each in found if each.subject == subject]


def is_customer(bench: Bench, customer: Customer, currency: str = "EUR", seller: str = "DE01") -> Contract:
    """Let somebody be a customer of ours, with a contract of its own, which is returned."""
    orders = bench.context.orders
    order_id, _ = orders.receive("salesforce", f"deal-{customer.id}", 1, "cor_9", bench.context.stalled_at())
    line = msgspec.structs.replace(SEAT, unit_price=Money(2000, currency))
    contract = contract_of(f"con_of_{customer.id}", order_id, customer.id, (line,), references={"customer": "cus_S2"})
    contract = msgspec.structs.replace(contract, currency=currency, legal_entity=seller)
    orders.accept(order_id, "Deal", "seller", Plan(customer, contract, "002"))
    for state in (*DELIVERED, "active"):
        orders.advance(order_id, state, next_attempt_at=None)
    customers.keep(bench.context.database, customer)
    bench.everybody.accounts["002"] = Account(
        "002", "Other", customer.address, customer.tax_number, partner=customer.partner
    )
    return contract


def seats(quantity: int) -> ChangeQuantity:
    return ChangeQuantity("seat", Decimal(quantity))


def a_line(key: str, sku: str = "SUPPORT") -> AddLine:
    return AddLine(key, sku, "More", Decimal(1), Decimal(5), "month")


def _change(body: bytes) -> ContractChange:
    return msgspec.json.decode(body, type=ContractChange)
