"""What becomes of the posting of an invoice that billing cancels, in whatever order it is heard of."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from canonical.billing import Invoice, InvoiceState, Posting
from canonical.money import Money
from process_apis.invoicing import Invoicing
from process_apis.payments import Payments
from process_apis.runtime.context import WorkflowContext
from tests.support.process_context import TestClock, context_over

DUE = Money(11900, "EUR")
TAX = Money(1900, "EUR")
TODAY = date(2026, 3, 1)


class Books:
    """A system layer with one invoice: billing shows the `state`, the ERP books what it is asked to."""

    def __init__(self) -> None:
        self.begin("in_0", "open")

    def begin(self, invoice_id: str, state: InvoiceState) -> None:
        self.invoice_id = invoice_id
        self.state: InvoiceState = state
        self.asked: list[str] = []
        self.meanwhile: Callable[[], object] = lambda: None
        """What happens between the reading of the invoice and its posting."""

    def answer(self, method: str, path: str) -> bytes:
        of, state = self.invoice_id, self.state
        if method == "GET":
            invoice = Invoice(of, "R-1", "cus_1", "con_1", "DE01", state, TODAY, DUE, TAX, DUE, "standard", ())
            return msgspec.json.encode(invoice)
        meanwhile, self.meanwhile = self.meanwhile, lambda: None
        meanwhile()
        self.asked.append("cancel" if "/cancellation" in path else "post")
        return msgspec.json.encode(Posting("1", DUE, TAX, DUE, TODAY, of))


class Accounts:
    """The accounting of one invoice after the other: there is one instance of a workflow in a process."""

    def __init__(self, context: WorkflowContext, books: Books) -> None:
        self.context = context
        self.books = books
        self._invoicing = Invoicing(context, Payments(context))

    def expect(self, invoice_id: str, state: InvoiceState) -> None:
        """Begin with an invoice that waits to be posted."""
        self.books.begin(invoice_id, state)
        self.context.postings.expect(
            "invoice",
            "billing-eu",
            invoice_id,
            "cor_1",
            self.context.stalled_at(),
            contract_id="con_1",
            customer_id="cus_1",
            legal_entity="DE01",
        )

    def cancel(self, state: InvoiceState) -> None:
        self.context.postings.cancel(self.books.invoice_id, state)

    def post(self) -> sa.Row[Any]:
        """Attempt the posting, and return its row."""
        self._invoicing.post_invoice(self.books.invoice_id, [])
        row = self.context.postings.find("invoice", self.books.invoice_id)
        assert row is not None
        return row


@pytest.fixture(scope="module")
def accounts(tmp_path_factory: pytest.TempPathFactory, empty_tables: Path) -> Generator[Accounts]:
    books = Books()

    class Answer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("content-length") or 0))
            body = books.answer(self.command, self.path)
            self.send_response_only(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_PUT(self) -> None:
            self.do_GET()

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        url = f"sqlite:///{shutil.copy(empty_tables, tmp_path_factory.mktemp('cancelled'))}"
        with context_over(url, TestClock(), f"http://127.0.0.1:{server.server_port}") as context:
            yield Accounts(context, books)
        server.shutdown()


def test_an_invoice_that_is_voided_while_it_is_written_off_is_taken_back_once_more(accounts: Accounts) -> None:
    accounts.expect("in_1", "uncollectible")
    accounts.cancel("uncollectible")

    def void() -> None:
        accounts.books.state = "void"
        accounts.cancel("void")

    accounts.books.meanwhile = void

    assert accounts.post().state == "waiting"
    assert (accounts.post().state, accounts.books.asked) == ("posted", ["post", "cancel", "cancel"])


def test_an_invoice_that_was_reported_as_void_is_not_posted_while_billing_shows_it_as_open(accounts: Accounts) -> None:
    accounts.expect("in_2", "open")
    accounts.cancel("void")

    row = accounts.post()
    assert (row.state, row.attempts, accounts.books.asked) == ("waiting", 1, [])
    assert row.next_attempt_at > accounts.context.clock().isoformat()

    accounts.books.state = "void"
    assert (accounts.post().state, accounts.books.asked) == ("posted", ["cancel"])


def test_the_same_cancellation_five_times_ends_each_time(accounts: Accounts) -> None:
    accounts.expect("in_3", "void")

    for _ in range(5):
        accounts.cancel("void")
        assert accounts.post().state == "posted"
