"""What becomes of the posting of an invoice that billing cancels, in whatever order it is heard of, and whenever a
process dies."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import date
from pathlib import Path
from threading import Event, Thread, get_ident
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from sqlalchemy import event

from canonical.billing import Invoice, InvoiceState, Posting, PostingResults, result_of
from canonical.cases import Finding
from canonical.faults import Rejected
from canonical.money import Money
from process_apis.batch_sizes import BatchSizes
from process_apis.invoicing import Invoicing
from process_apis.payments import Payments
from process_apis.records.cases import Wanted
from process_apis.runtime.context import WorkflowContext
from tests.support.answering_layer import answering, no_workflows
from tests.support.process_context import SOMEBODY, TestClock, context_over

DUE = Money(11900, "EUR")
TAX = Money(1900, "EUR")
TODAY = date(2026, 3, 1)


Happening = Callable[[], object]


class Books:
    """A system layer with one invoice: billing shows the `state`, the ERP books what it is asked to, or refuses what
    is in `refused`."""

    def __init__(self) -> None:
        self.begin("in_0", "open")

    def begin(self, invoice_id: str, state: InvoiceState) -> None:
        self.invoice_id = invoice_id
        self.state: InvoiceState = state
        self.asked: list[str] = []
        self.refused: tuple[str, ...] = ()
        self.due = 0
        self.is_posted = False
        self.meanwhile: list[Happening] = []
        """What happens before the ERP does each of the next things that it is asked for."""
        self.afterwards: list[Happening] = []
        """What happens before it answers that they are done."""

    def answer(self, method: str, path: str) -> tuple[int, bytes]:
        of, state = self.invoice_id, self.state
        if method == "GET":
            invoice = Invoice(of, "R-1", "cus_1", "con_1", "DE01", state, TODAY, DUE, TAX, DUE, "standard", ())
            return 200, msgspec.json.encode(invoice)
        act = "cancel" if "/cancellation" in path else "post"
        happens = self.afterwards.pop(0) if self.afterwards else nothing
        (self.meanwhile.pop(0) if self.meanwhile else nothing)()
        self.asked.append(act)
        status = self._do(act)
        booked = Posting("1", DUE, TAX, Money(self.due, "EUR"), TODAY, of)
        happens()
        if act == "post":
            result = booked if status == 200 else Rejected("erp", "no")
            return 200, msgspec.json.encode(PostingResults((result_of(of, result),)))
        return status, msgspec.json.encode(booked) if status == 200 else problem(status)

    def _do(self, act: str) -> int:
        if act in self.refused:
            return 422
        if act == "cancel" and not self.is_posted:
            return 404
        if not self.is_posted or act == "cancel":
            self.due = DUE.amount if act == "post" else 0
        self.is_posted = True
        return 200


def nothing() -> None:
    """Let nothing happen."""


def problem(status: int) -> bytes:
    name = {404: "platform-not-found", 422: "platform-rejected"}[status]
    return msgspec.json.encode({"type": f"/problems/{name}", "detail": "no", "platform": "erp"})


class Accounts:
    """The accounting of one invoice after the other: there is one instance of a workflow in a process."""

    def __init__(self, context: WorkflowContext, books: Books) -> None:
        self.context = context
        self.books = books
        self._invoicing = Invoicing(context, Payments(context), BatchSizes(context.live_catalogue))

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
        self.context.postings.cancel("invoice", self.books.invoice_id, state)

    def cancelled(self, state: InvoiceState) -> None:
        """Let billing cancel the invoice, and report it."""
        self.books.state = state
        self.cancel(state)

    def post(self) -> sa.Row[Any]:
        """Attempt the posting, and return its row."""
        self._invoicing.post_invoices([self.books.invoice_id], {})
        return self.row

    def end(self) -> tuple[str, int]:
        """Attempt the posting for as long as it waits. Return its state, and what is due in the ERP."""
        for _ in range(5):
            if self.row.state == "waiting":
                assert self.row.next_attempt_at  # somebody looks at it again
                self.post()
        assert self.row.balance in (None, self.books.due)
        return self.row.state, self.books.due

    @property
    def row(self) -> sa.Row[Any]:
        row = self.context.postings.find("invoice", self.books.invoice_id)
        assert row is not None
        return row

    @property
    def cases(self) -> list[str]:
        page = self.context.cases.page(SOMEBODY, Wanted("open"), None, 100)
        return [each.kind for each in page.items if each.subject == f"invoice:{self.books.invoice_id}"]


class Killed(Exception):
    """The process dies here."""


def dies() -> None:
    raise Killed


@contextmanager
def before(what: str, engine: sa.Engine, number: int, happens: Happening) -> Generator[None]:
    """Let something happen before this process, which is this thread, sends its statement of this number to the
    database, counted from 0, or begins its transaction of this number."""
    seen, own = iter(range(1000)), get_ident()

    def count(*_: object) -> None:
        if get_ident() == own and next(seen) == number:
            happens()

    event.listen(engine, what, count)
    try:
        yield
    finally:
        event.remove(engine, what, count)


def before_statement(engine: sa.Engine, number: int, happens: Happening) -> AbstractContextManager[None]:
    """Let something happen before a statement. Nobody else can write between those of a transaction that writes."""
    return before("before_cursor_execute", engine, number, happens)


def before_transaction(engine: sa.Engine, number: int, happens: Happening) -> AbstractContextManager[None]:
    """Let something happen before a transaction."""
    return before("begin", engine, number, happens)


@pytest.fixture(scope="module")
def accounts(tmp_path_factory: pytest.TempPathFactory, empty_tables: Path) -> Generator[Accounts]:
    books = Books()

    with no_workflows(), answering(lambda method, path, _: books.answer(method, path)) as system:
        url = f"sqlite:///{shutil.copy(empty_tables, tmp_path_factory.mktemp('cancelled'))}"
        with context_over(url, TestClock(), system) as context:
            yield Accounts(context, books)


def test_an_invoice_that_is_voided_while_it_is_written_off_is_taken_back_once_more(accounts: Accounts) -> None:
    accounts.expect("in_1", "uncollectible")
    accounts.cancel("uncollectible")
    accounts.books.meanwhile = [lambda: accounts.cancelled("void")]

    assert accounts.post().state == "waiting"
    assert (accounts.post().state, accounts.books.asked) == ("posted", ["post", "cancel", "cancel"])


def test_an_invoice_that_was_reported_as_void_is_not_posted_while_billing_shows_it_as_open(accounts: Accounts) -> None:
    accounts.expect("in_2", "open")
    accounts.cancel("void")

    row = accounts.post()
    assert (row.state, row.attempts, accounts.books.asked) == ("waiting", 1, [])
    assert row.next_attempt_at > accounts.context.clock().isoformat()

    accounts.books.state = "void"
    assert (accounts.post().state, accounts.books.asked) == ("failed", ["cancel"])


def test_the_same_cancellation_five_times_ends_each_time(accounts: Accounts) -> None:
    accounts.expect("in_3", "open")
    accounts.post()

    for _ in range(5):
        accounts.cancelled("void")
        assert accounts.end() == ("posted", 0)


@pytest.mark.parametrize("state", ["void", "uncollectible"])
@pytest.mark.parametrize("moment", ["meanwhile", "afterwards"])
def test_an_invoice_that_is_cancelled_while_it_is_posted_is_taken_back(
    accounts: Accounts, state: InvoiceState, moment: str
) -> None:
    accounts.expect(f"in_4_{state}_{moment}", "open")
    setattr(accounts.books, moment, [lambda: accounts.cancelled(state)])

    assert accounts.post().state == "waiting"
    assert accounts.end() == ("posted", 0)


@pytest.mark.parametrize("statement", range(14))
@pytest.mark.parametrize("state", ["void", "uncollectible"])
def test_a_cancelled_invoice_is_taken_back_whatever_statement_its_process_dies_before(
    accounts: Accounts, state: InvoiceState, statement: int
) -> None:
    accounts.expect(f"in_5_{state}_{statement}", "open")
    accounts.books.meanwhile = [lambda: accounts.cancelled(state)]

    with suppress(Killed), before_statement(accounts.context.database, statement, dies):
        accounts.end()

    assert accounts.end() == ("posted", 0)


def test_an_invoice_that_is_voided_while_its_posting_fails_is_no_case(accounts: Accounts) -> None:
    accounts.expect("in_6", "open")
    accounts.books.refused = ("post",)
    accounts.books.meanwhile = [lambda: accounts.cancelled("void")]

    assert (accounts.post().state, accounts.cases) == ("waiting", [])
    assert (accounts.end(), accounts.cases) == (("failed", 0), [])
    assert accounts.row.blocked_reason == "billing voided it before it was posted"


def test_an_invoice_that_is_voided_while_its_write_off_fails_is_credited(accounts: Accounts) -> None:
    accounts.expect("in_7", "uncollectible")
    accounts.cancel("uncollectible")
    accounts.books.refused = ("cancel",)
    accounts.books.meanwhile = [nothing, lambda: accounts.cancelled("void")]

    assert (accounts.post().state, accounts.cases) == ("waiting", [])
    accounts.books.refused = ()
    assert (accounts.end(), accounts.cases) == (("posted", 0), [])


def test_what_is_booked_of_an_invoice_is_shown_when_its_write_off_fails(accounts: Accounts) -> None:
    accounts.expect("in_8", "uncollectible")
    accounts.books.refused = ("cancel",)

    row = accounts.post()

    assert (row.state, row.number, row.balance, accounts.cases) == ("failed", "1", 11900, ["invoice_cancelled"])


@pytest.mark.parametrize("statement", range(9))
def test_a_posting_that_fails_is_a_case_whatever_statement_its_process_dies_before(
    accounts: Accounts, statement: int
) -> None:
    accounts.expect(f"in_9_{statement}", "open")
    accounts.books.refused = ("post",)

    with suppress(Killed), before_statement(accounts.context.database, statement, dies):
        accounts.end()

    assert (accounts.end()[0], accounts.cases) == ("failed", ["invoice_not_posted"])


def test_an_invoice_that_another_survivor_has_taken_back_is_looked_at_again(accounts: Accounts) -> None:
    def other() -> None:
        accounts.cancelled("void")
        assert (accounts.post().state, accounts.books.asked) == ("failed", ["cancel"])

    accounts.expect("in_10", "open")
    accounts.books.meanwhile = [other]

    assert accounts.post().state == "waiting"  # it is in the books now
    assert accounts.end() == ("posted", 0)


def test_an_invoice_that_another_survivor_posts_in_this_moment_is_not_dropped(accounts: Accounts) -> None:
    posted, looked = Event(), Event()

    def voided() -> None:
        accounts.cancelled("void")
        other.start()
        assert looked.wait(10)

    def found_none() -> None:
        looked.set()
        assert posted.wait(10)

    accounts.expect("in_11", "open")
    accounts.books.meanwhile = [voided]
    accounts.books.afterwards = [nothing, found_none]
    other = Thread(target=accounts.post)

    assert accounts.post().state == "waiting"
    posted.set()
    other.join(10)

    assert accounts.books.asked == ["cancel", "post"]
    assert accounts.end() == ("posted", 0)


def test_a_posting_that_another_survivor_has_done_does_not_fail(accounts: Accounts) -> None:
    def other() -> None:
        accounts.post()
        accounts.books.refused = ("post",)

    accounts.expect("in_12", "open")
    accounts.books.meanwhile = [other]

    assert (accounts.post().state, accounts.cases) == ("posted", [])


def test_a_posting_that_two_survivors_fail_at_is_one_case(accounts: Accounts) -> None:
    accounts.expect("in_13", "open")
    accounts.books.refused = ("post",)
    accounts.books.meanwhile = [accounts.post]

    assert (accounts.post().state, accounts.cases) == ("failed", ["invoice_not_posted"])


def test_a_posting_that_one_survivor_fails_at_and_another_does_leaves_no_case(accounts: Accounts) -> None:
    def other() -> None:
        accounts.books.refused = ("post",)
        accounts.post()
        assert accounts.cases == ["invoice_not_posted"]
        accounts.books.refused = ()

    accounts.expect("in_15", "open")
    accounts.books.meanwhile = [other]

    assert (accounts.post().state, accounts.cases) == ("posted", [])


def test_a_case_that_a_process_left_open_when_it_died_is_closed(accounts: Accounts) -> None:
    accounts.expect("in_14", "open")
    accounts.context.postings.change("invoice", "in_14", attempts=5, amount=DUE.amount, currency=DUE.currency)
    finding = Finding("erp", "it is away")
    accounts.context.cases.open("invoice_not_posted", "invoice:in_14", finding, ("retry",), correlation_id="cor_1")

    with suppress(Killed), before_statement(accounts.context.database, 7, dies):
        accounts.post()
    assert (accounts.row.state, accounts.cases) == ("posted", ["invoice_not_posted"])

    accounts.post()
    assert accounts.cases == []


@pytest.mark.parametrize("transaction", range(3))
def test_a_cancellation_that_comes_before_any_transaction_of_a_posting_is_seen(
    accounts: Accounts, transaction: int
) -> None:
    accounts.expect(f"in_15_{transaction}", "open")

    with before_transaction(accounts.context.database, transaction, lambda: accounts.cancelled("void")):
        accounts.post()

    assert accounts.end()[1] == 0


def test_a_posting_that_ends_right_before_its_cancellation_is_taken_back(accounts: Accounts) -> None:
    accounts.expect("in_16", "open")

    with before_transaction(accounts.context.database, 0, accounts.post):
        accounts.cancel("void")
    accounts.books.state = "void"

    assert accounts.end()[1] == 0
