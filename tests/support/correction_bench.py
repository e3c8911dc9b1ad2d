"""An invoice on a stand-in of Stripe behind the real connector, and books of one customer: what tests of corrections
begin with. What billing reports reaches accounting when a test says so."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import unquote

import msgspec
import sqlalchemy as sa

from canonical.billing import (
    Invoice,
    InvoiceBatch,
    Payment,
    Posting,
    PostingResults,
    result_of,
)
from canonical.cases import Action, Case
from canonical.corrections import Correction, CorrectionPreview, CreditOrder, InvoiceEnd, NewCorrection, RefundOrder
from canonical.credits import CreditNote, PaymentReversal
from canonical.events import Event
from canonical.faults import Conflict, NotFound, PlatformFault, Rejected
from canonical.money import Money
from policies.identity.authentication import Principal
from policies.problems import as_answer
from process_apis import accounting
from process_apis.batch_sizes import BatchSizes
from process_apis.corrections.runs import CorrectionRuns
from process_apis.credits import Credits
from process_apis.invoicing import Invoicing
from process_apis.payments import Payments
from process_apis.records.cases import Wanted
from process_apis.records.database import postings
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.engine import Engine, EngineSettings, Work
from system_apis.billing.port import Billing
from tests.support.answering_layer import answering, no_workflows
from tests.support.connector_kit import samples
from tests.support.connector_kit.subject import Bench, KitIntake, bench
from tests.support.process_context import TestClock, context_over
from tests.support.stripe_account import StripeAccount

SEATS = 4
SEAT = Money(10_000, "EUR")
CLERK = Principal(
    "clerk@example.com", "finance-app", frozenset({"corrections:request"}), frozenset({"*"}), "jti", 0.0, 0.0
)
ROUNDS = 12
"""So often what waits is attempted until all of it is booked."""


class QuietEngine(Engine):
    """An engine that starts nothing: a test runs the steps itself."""

    def start(self, work: Work) -> None:
        """Remember nothing: the work is in its table."""

    def is_running(self, *workflow_ids: str) -> bool:
        del workflow_ids
        return False


class Books:
    """What an ERP has due of each invoice and credit note of one customer, by the words of its port."""

    def __init__(self) -> None:
        self.due: dict[str, int] = {}
        self.currency = "EUR"
        self.written_off: dict[str, int] = {}
        self.counted: dict[str, int] = {}
        """What each credit note has taken off its invoice."""
        self.booked: list[str] = []
        """The keys of payments and of what went back, each once."""
        self.reopened: dict[str, int] = {}
        """What of each refund has left its invoice due."""
        self.tax_more = 0
        """What the books would book more of tax than billing charges."""
        self.trouble: PlatformFault | None = None
        """With what the books answer what is previewed."""

    @property
    def receivable(self) -> int:
        return sum(self.due.values())

    def posting(self, key: str) -> Posting:
        if key not in self.due:
            raise NotFound("erp", f"{key} is not posted")
        zero = Money(0, self.currency)
        return Posting(f"R-{key}", zero, zero, Money(self.due[key], self.currency), datetime.now(UTC).date(), key)

    def invoice(self, invoice: Invoice) -> Posting:
        self.due.setdefault(invoice.id, invoice.total.amount)
        return self.posting(invoice.id)

    def preview(self, invoice: Invoice) -> Posting:
        if self.trouble is not None:
            raise self.trouble
        more = Money(self.tax_more, self.currency)
        return Posting("", invoice.total + more, invoice.tax + more, invoice.total, invoice.issued_on, invoice.id)

    def cancel(self, invoice: Invoice) -> Posting:
        self.posting(invoice.id)
        if invoice.state == "void":
            self.due[invoice.id] += self.written_off.pop(invoice.id, 0)
            if self.due[invoice.id] not in (0, invoice.total.amount):
                raise Rejected("erp", f"{invoice.id} is paid in part", field="payments")
        else:
            self.written_off[invoice.id] = self.written_off.get(invoice.id, 0) + self.due[invoice.id]
        self.due[invoice.id] = 0
        return self.posting(invoice.id)

    def payment(self, payment: Payment) -> Posting:
        self._read(payment.invoice_id)
        if payment.id not in self.booked:
            if payment.recovered:
                self.due[payment.invoice_id] += self.written_off.pop(payment.invoice_id, 0)
            self.booked.append(payment.id)
            self.due[payment.invoice_id] -= payment.amount.amount
        return self.posting(payment.invoice_id)

    def credit(self, note: CreditNote) -> Posting:
        self._read(note.invoice_id)
        is_new = note.id not in self.due and note.state != "void"
        if note.given_up and is_new and self.due[note.invoice_id] < note.off_due.amount:
            self.due[note.invoice_id] += self.written_off.pop(note.invoice_id, 0)
        if note.state == "void":
            self.posting(note.id)
            self.due[note.invoice_id] += self.counted.pop(note.id, 0)
            self.due[note.id] = 0
            return self.posting(note.id)
        before = sum(each.amount.amount for each in note.refunds if each.id in self.reopened)
        off = note.off_due.amount + before
        if note.id not in self.due:
            self._take_off(note, off)
            self.due[note.id] = off - note.total.amount
        elif off > self.counted.get(note.id, 0):
            more = off - self.counted.get(note.id, 0)
            self._take_off(note, more)
            self.due[note.id] += more
        return self.posting(note.id)

    def _take_off(self, note: CreditNote, off: int) -> None:
        if off > max(self.due[note.invoice_id], 0):  # more than the whole may have come in
            reason = f"{note.id} takes {off} off {note.invoice_id}, of which {self.due[note.invoice_id]} is due"
            raise Rejected("erp", reason, field="off_due")
        self.due[note.invoice_id] -= off
        self.counted[note.id] = self.counted.get(note.id, 0) + off

    def reversal(self, back: PaymentReversal) -> Posting:
        self._read(back.invoice_id)
        for part in back.credited:
            self._read(part.credit_note_id)
            key = back.key_for(part.credit_note_id)
            if key not in self.booked and back.id not in self.reopened:
                self.booked.append(key)
                self.due[part.credit_note_id] += part.amount.amount
        if back.id not in self.reopened and (open_again := back.unexplained.amount):
            self.reopened[back.id] = open_again
            self.due[back.invoice_id] += open_again
        return self.posting(back.invoice_id)

    def _read(self, key: str) -> None:
        if key not in self.due:
            raise Conflict("erp", f"{key} is not posted yet", field="invoice_id")


class Corrected:
    """One invoice of four seats, and all that is asked of it."""

    def __init__(self, context: WorkflowContext, clock: TestClock, account: StripeAccount) -> None:
        self.context, self.clock, self.account = context, clock, account
        engine = QuietEngine(EngineSettings("sqlite://", "test"), context.database, clock)
        self.runs = CorrectionRuns(context, engine)
        with no_workflows():  # what books is made by `ready`, and is there once
            self._reactions = accounting.capability(context, engine).reactions
        self.books = Books()
        self.writes: list[str] = []
        self.invoice = ""
        self.look: Callable[[], list[Event]] = list
        """Returns what billing has reported since it was asked last."""
        self.before: Callable[[], object] = lambda: None
        """What happens before billing does what it is asked for: what raises is its answer."""
        self.meanwhile: Callable[[], object] = lambda: None
        """What happens when billing has done what it was asked for, before anybody knows."""

    # ---- what people do here

    def ask(self, key: str, *, proposed: bool = False, **wanted: Any) -> Correction:
        return self.runs.request(self.invoice, self.wanted(key, **wanted), CLERK, "cor_1", proposed=proposed)

    def wanted(self, key: str, **wanted: Any) -> NewCorrection:
        return msgspec.convert({"text": "Too much", "key": key} | wanted, NewCorrection)

    def preview(self, **wanted: Any) -> CorrectionPreview:
        return self.runs.preview(self.invoice, self.wanted("preview", **wanted), CLERK)

    def run(self, key: str) -> Correction:
        """Run the steps of a correction, as its workflow does."""
        for step in self.runs.correcting.steps:
            if step(key) == "stopped":
                break
        return self.of(key)

    def of(self, key: str) -> Correction:
        return self.runs.records.shown(self.runs.records.row(key))

    def case(self, key: str) -> Case | None:
        page = self.context.cases.page(CLERK, Wanted("open"), None, 100)
        return next((each for each in page.items if each.subject == key), None)

    def act(self, key: str, action: Action) -> None:
        """Act on the open case of a correction, and close it."""
        case = self.case(key)
        assert case is not None
        self.runs.act(case, action, "lead@example.com", "")
        self.context.cases.close(case, action)

    # ---- what accounting makes of it

    def report(self, events: list[Event]) -> None:
        """Let accounting have these events of billing."""
        for each in events:
            if each.type in self._reactions:
                self._reactions[each.type](each, "cor_1")

    def settle(self) -> None:
        """Let accounting have all that billing has reported, and book it."""
        self.report(self.look())
        self.book()

    def book(self) -> None:
        """Book all that waits, and end the corrections that waited for it."""
        payments = self._payments
        for _ in range(ROUNDS):
            rows = self.waiting()
            if not rows:
                break
            for row in rows:
                match row.kind:
                    case "invoice":
                        self._invoicing.post_invoices([row.id], {})
                    case "payment":
                        payments.post_payments(row.id)
                    case "credit":
                        self._credits.post_credit_note(row.id)
                    case _:
                        self._credits.post_reversal(row.id)
        for each in self.runs.records.page(CLERK, "carried_out", None, None, None, None, 100).items:
            self.run(each.id)

    def waiting(self) -> list[sa.Row[Any]]:
        with self.context.database.connect() as connection:
            query = sa.select(postings).where(postings.c.state == "waiting").order_by(postings.c.seq)
            return list(connection.execute(query))

    def failed(self) -> list[str]:
        with self.context.database.connect() as connection:
            query = sa.select(postings.c.id, postings.c.blocked_reason).where(postings.c.state == "failed")
            return [f"{row.id}: {row.blocked_reason}" for row in connection.execute(query)]

    def ready(self) -> None:
        """Make what books, once for the test."""
        self._payments = Payments(self.context)
        self._credits = Credits(self.context)
        self._invoicing = Invoicing(self.context, self._payments, BatchSizes(self.context.live_catalogue))

    # ---- what billing has

    @property
    def made(self) -> tuple[int, int]:
        """Return how many credit notes and refunds there are."""
        account = self.account.account
        return len(list(account.all("credit_note"))), len(list(account.all("refund")))

    def stripe(self) -> Any:
        return self.account.account.get("invoice", self.invoice)

    def owed_in_billing(self) -> int:
        """Return what billing has open with the customer's balance, with what was refunded without a credit note, and
        without what went back past it: that is in credit in the books until people book it. In minor units."""
        invoice, account = self.stripe(), self.account.account
        open_now = invoice["amount_remaining"] if invoice["status"] == "open" else 0
        balance = account.get("customer", invoice["customer"])["balance"]
        notes = [each for each in account.all("credit_note") if each["status"] == "issued"]
        outside = sum(each["out_of_band_amount"] or 0 for each in notes)
        named = sum(part["amount_refunded"] for each in notes for part in each["refunds"])
        refunded = sum(each["amount"] for each in account.all("refund"))
        return open_now + balance + (refunded - named) - outside


@contextmanager
def corrected(
    folder: Path, tables: Path, price: Money = SEAT, method: str | None = "pm_card_visa"
) -> Generator[Corrected]:
    """Yield an invoice of four seats that is posted, with its payment where it was charged."""
    loop = asyncio.new_event_loop()
    Thread(target=loop.run_forever, daemon=True).start()

    def run(what: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(what, loop).result(60)

    account, clock = StripeAccount(folder), TestClock()
    clock.now = datetime.now(UTC)
    opened = bench(account, folder)
    made: Bench[Billing] = run(opened.__aenter__())
    layer = SystemLayer(made, run)
    try:
        with no_workflows(), answering(layer.answer) as system:
            shutil.copy(tables, folder / "process.sqlite")
            with context_over(f"sqlite:///{folder / 'process.sqlite'}", clock, system) as context:
                subject = Corrected(context, clock, account)
                subject.ready()
                subject.books.currency = price.currency
                layer.subject = subject
                subject.look = layer.events
                subject.invoice = run(_sold(made, price, method))
                subject.settle()
                yield subject
    finally:
        run(opened.__aexit__(None, None, None))
        loop.call_soon_threadsafe(loop.stop)


async def _sold(made: Bench[Billing], price: Money, method: str | None) -> str:
    reference = await made.call(lambda: made.connector.put_customer(samples.customer("cus_1", payment_method=method)))
    line = samples.priced_line("lin_1", "SEAT", price, quantity=SEATS)
    wanted = samples.contract("con_1", "cus_1", reference, (line,), made.clock().date())
    prepared = await made.call(lambda: made.connector.put_contract(wanted, "correlation-1"))
    started = await made.call(lambda: made.connector.start(prepared))
    return started.references["invoice"]


class SystemLayer:
    """Answers for billing with the connector, and for the ERP with the books."""

    subject: Corrected

    def __init__(self, made: Bench[Billing], run: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
        self._made = made
        self._run = run
        self._intake = KitIntake()
        self._known = 0

    def events(self) -> list[Event]:
        """Return what billing has reported since the last time."""

        async def look() -> None:
            await self._made.connector.begin()
            await self._made.call(lambda: self._made.connector.look(self._intake))

        self._run(look())
        found = self._intake.events[self._known :]
        self._known += len(found)
        return found

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        place, _, _ = path.partition("?")
        try:
            found = self._answer(method, [unquote(each) for each in place.split("/")[1:]], body)
        except PlatformFault as fault:
            status, _, content = as_answer(fault, "cor_1")
            return status, content
        return 200, msgspec.json.encode(found)

    def _answer(self, method: str, place: list[str], body: bytes) -> Any:
        if place[0] == "erp":
            return self._of_erp(method, place[2:], body)
        if method == "POST":
            self.subject.writes.append("/".join(place[2:]))
        return self._of_billing(method, place[2:], body)

    def _of_billing(self, method: str, place: list[str], body: bytes) -> Any:
        billing = self._made.connector
        key = place[1] if len(place) > 1 else ""
        reads: dict[tuple[str, ...], Callable[[], Any]] = {
            ("invoices",): lambda: billing.invoice(key),
            ("invoices", "correctable"): lambda: billing.correctable(key),
            ("credit-notes",): lambda: billing.credit_note(key),
            ("payment-reversals",): lambda: billing.reversal(key),
        }
        if method == "GET":
            return self._run(self._made.call(reads[place[0], *place[2:]]))
        read = msgspec.json.decode
        if place == ["credit-notes", "preview"]:
            return self._run(self._made.call(lambda: billing.preview_credit_note(read(body, type=CreditOrder))))
        writes: dict[str, Callable[[], Any]] = {
            "credit-notes": lambda: billing.issue_credit_note(read(body, type=CreditOrder)),
            "refunds": lambda: billing.refund_payment(read(body, type=RefundOrder)),
            "void": lambda: billing.void_invoice(read(body, type=InvoiceEnd)),
            "write-off": lambda: billing.write_off_invoice(read(body, type=InvoiceEnd)),
        }
        self.subject.before()
        found = self._run(self._made.call(writes[place[-1]]))
        self.subject.meanwhile()
        return found

    def _of_erp(self, method: str, place: list[str], body: bytes) -> Any:
        books, read = self.subject.books, msgspec.json.decode
        if method == "GET":
            return books.posting(place[1])
        if place == ["invoices", "batch"]:
            batch = read(body, type=InvoiceBatch)
            found = [result_of(each.invoice.id, books.invoice(each.invoice)) for each in batch.items]
            return PostingResults(tuple(found))
        writes: dict[tuple[str, ...], Callable[[], Any]] = {
            ("invoices", "preview"): lambda: books.preview(read(body, type=Invoice)),
            ("invoices", "cancellation"): lambda: books.cancel(read(body, type=Invoice)),
            ("payments",): lambda: books.payment(read(body, type=Payment)),
            ("credit-notes",): lambda: books.credit(read(body, type=CreditNote)),
            ("payment-reversals",): lambda: books.reversal(read(body, type=PaymentReversal)),
        }
        return writes[place[0], *place[2:]]()
