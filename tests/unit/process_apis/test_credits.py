"""Credit notes and money that went back, in whatever order billing says them, and whenever a process dies."""

from __future__ import annotations

import shutil
from collections.abc import Generator
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from canonical.billing import InvoiceLine, Posting
from canonical.cases import Finding
from canonical.credits import CreditedPart, CreditNote, PaymentReversal, RefundPart, ReversalKind
from canonical.money import Money
from process_apis.accounting import allowed
from process_apis.credits import Credits
from process_apis.records.cases import Wanted
from process_apis.runtime.context import WorkflowContext
from tests.support.answering_layer import answering, no_workflows
from tests.support.process_context import SOMEBODY, TestClock, context_over
from tests.unit.process_apis.test_cancelled_invoices import Killed, before_statement, dies

TODAY = date(2026, 3, 1)
WHOLE, HALF, ZERO = Money(11900, "EUR"), Money(5950, "EUR"), Money(0, "EUR")
REFUND = "re_1"


class Platforms:
    """A system layer with one refund and the credit notes that name it; the ERP takes all that it is asked for."""

    def __init__(self) -> None:
        self.notes: dict[str, Money] = {}
        """The credit notes, and how much of the refund each is for."""
        self.kind: ReversalKind = "refund"
        self.missing: str | None = None
        """Because of which field billing knows no refund of which money went back."""
        self.due = ZERO
        self.booked: list[str] = []
        self.meanwhile: list[tuple[str, Money]] = []
        """Credit notes that are issued while the ERP books the refund."""

    def answer(self, method: str, path: str) -> tuple[int, bytes]:
        key = path.partition("?")[0].rpartition("/")[2]
        if method == "PUT":
            self.booked.append(key)
            while self.meanwhile and key == REFUND:
                self.notes.update([self.meanwhile.pop()])
        if method == "PUT" or "/invoices/" in path:
            return 200, msgspec.json.encode(Posting("7", WHOLE, ZERO, self.due, TODAY, key))
        if "credit-notes" in path:
            return 200, msgspec.json.encode(self._note(key))
        if self.missing is not None and key == REFUND:
            gone = {"type": "/problems/platform-not-found", "detail": "no", "platform": "billing"}
            return 404, msgspec.json.encode(gone | {"field": self.missing})
        credited = tuple(CreditedPart(*each) for each in self.notes.items())
        kind = "reinstatement" if key.endswith(":reinstated") else self.kind
        back = PaymentReversal(key, kind, "in_1", "pay_1", "cus_1", "DE01", WHOLE, TODAY, credited)
        return 200, msgspec.json.encode(back)

    def _note(self, key: str) -> CreditNote:
        line = InvoiceLine("SEAT", "Seat", 1, WHOLE, ZERO, TODAY, TODAY)
        part = RefundPart(REFUND, self.notes[key])
        return CreditNote(
            *(key, key, "in_1", "cus_1", "con_1", "DE01", "issued", TODAY, WHOLE, ZERO, ZERO, part.amount, ZERO, ZERO),
            "standard",
            (line,),
            refunds=(part,),
        )


class Finance:
    """What is to be booked, and what finance sees of it."""

    def __init__(self, context: WorkflowContext, platforms: Platforms) -> None:
        self.context, self.platforms = context, platforms
        self._credits = Credits(context)

    def expect(self, entry: Any, key: str) -> None:
        where = {"invoice_id": "in_1", "contract_id": "con_1", "customer_id": "cus_1", "legal_entity": "DE01"}
        self.context.postings.expect(entry, "billing-eu", key, "cor_1", self.context.stalled_at(), **where)

    def book(self, entry: Any, key: str) -> sa.Row[Any]:
        """Attempt a posting, and return its row."""
        run = self._credits.post_credit_note if entry == "credit" else self._credits.post_reversal
        run(key)
        return self.row(entry, key)

    def row(self, entry: Any, key: str) -> sa.Row[Any]:
        row = self.context.postings.find(entry, key)
        assert row is not None
        return row

    def cases(self) -> list[str]:
        page = self.context.cases.page(SOMEBODY, Wanted("open"), None, 100)
        return [each.kind for each in page.items]


@pytest.fixture
def finance(tmp_path: Path, empty_tables: Path) -> Generator[Finance]:
    platforms = Platforms()
    with no_workflows(), answering(lambda method, path, _: platforms.answer(method, path)) as system:
        url = f"sqlite:///{shutil.copy(empty_tables, tmp_path)}"
        with context_over(url, TestClock(), system) as context:
            yield Finance(context, platforms)


def test_a_refund_that_no_credit_note_names_is_a_case_until_credit_notes_name_all_of_it(finance: Finance) -> None:
    finance.expect("reversal", REFUND)
    assert finance.book("reversal", REFUND).state == "posted"
    assert finance.cases() == ["refunded_without_credit_note"]
    for key, still in (("cn_1", ["refunded_without_credit_note"]), ("cn_2", [])):
        finance.platforms.notes[key] = HALF
        finance.expect("credit", key)
        assert finance.book("credit", key).state == "posted"
        assert finance.cases() == still


def test_a_refund_that_a_credit_note_comes_to_name_while_it_is_booked_is_counted_by_that_and_is_no_case(
    finance: Finance,
) -> None:
    finance.platforms.notes["cn_1"] = WHOLE
    finance.expect("credit", "cn_1")
    finance.book("credit", "cn_1")
    del finance.platforms.notes["cn_1"]  # the run of the refund has read it before that
    finance.platforms.meanwhile.append(("cn_1", WHOLE))
    finance.platforms.due = WHOLE
    finance.expect("reversal", REFUND)

    assert finance.book("reversal", REFUND).state == "posted"
    assert (finance.cases(), finance.row("credit", "cn_1").state) == ([], "waiting")
    assert finance.book("credit", "cn_1").state == "posted"
    assert finance.platforms.booked == ["cn_1", REFUND, "cn_1"]


@pytest.mark.parametrize("statement", range(16))
def test_a_process_that_dies_leaves_no_case_open_whose_credit_note_is_posted(finance: Finance, statement: int) -> None:
    finance.expect("reversal", REFUND)
    finance.book("reversal", REFUND)
    finance.platforms.notes["cn_1"] = WHOLE
    finance.expect("credit", "cn_1")
    with suppress(Killed), before_statement(finance.context.database, statement, dies):
        finance.book("credit", "cn_1")
    if finance.row("credit", "cn_1").state == "waiting":
        finance.book("credit", "cn_1")
    assert (finance.row("credit", "cn_1").state, finance.cases()) == ("posted", [])


def test_a_refund_that_failed_before_it_was_booked_is_dropped_and_so_is_what_it_would_bring_back(
    finance: Finance,
) -> None:
    again = f"{REFUND}:reinstated"
    finance.expect("reversal", REFUND)
    finance.expect("reversal", again)
    finance.platforms.missing = "status"
    assert finance.book("reversal", again).state == "waiting"
    assert finance.book("reversal", REFUND).state == "failed"
    assert finance.book("reversal", again).state == "failed"
    assert (finance.platforms.booked, finance.cases()) == ([], [])


def test_a_refund_that_billing_does_not_know_is_a_case(finance: Finance) -> None:
    finance.expect("reversal", REFUND)
    finance.platforms.missing = ""
    assert finance.book("reversal", REFUND).state == "failed"
    assert finance.cases() == ["reversal_not_posted"]


def test_a_refund_waits_for_a_credit_note_that_is_being_posted_and_then_has_it_counted(finance: Finance) -> None:
    finance.platforms.notes["cn_1"] = WHOLE
    finance.platforms.due = WHOLE
    finance.expect("credit", "cn_1")
    finance.expect("reversal", REFUND)
    assert finance.book("reversal", REFUND).state == "waiting"
    finance.book("credit", "cn_1")
    assert finance.book("reversal", REFUND).state == "posted"
    assert finance.row("credit", "cn_1").state == "waiting"


def test_what_a_dispute_brings_back_waits_for_what_it_took_whatever_is_reported_first(finance: Finance) -> None:
    again = f"{REFUND}:reinstated"
    finance.platforms.kind = "dispute"
    finance.expect("reversal", again)
    assert finance.book("reversal", again).state == "waiting"
    finance.expect("reversal", REFUND)
    assert finance.book("reversal", REFUND).state == "posted"
    assert finance.book("reversal", again).state == "posted"
    assert finance.platforms.booked == [REFUND, again]


def test_what_is_taken_once_more_is_booked_and_so_is_what_that_brings_back(finance: Finance) -> None:
    finance.platforms.kind = "dispute"
    moves = [f"{REFUND}{time}{again}" for time in ("", ":2") for again in ("", ":reinstated")]
    finance.expect("reversal", moves[-1])
    for key in moves:
        assert key == moves[-1] or finance.book("reversal", moves[-1]).state == "waiting"
        finance.expect("reversal", key)
        assert finance.book("reversal", key).state == "posted"
    assert (finance.platforms.booked, finance.cases()) == (moves, [])


def test_a_dispute_that_is_won_is_a_payment_and_no_case_of_finance(finance: Finance) -> None:
    finance.platforms.kind = "dispute"
    for key in (REFUND, f"{REFUND}:reinstated"):
        finance.expect("reversal", key)
        assert finance.book("reversal", key).state == "posted"
    assert (finance.platforms.booked, finance.cases()) == ([REFUND, f"{REFUND}:reinstated"], [])


@pytest.mark.parametrize("entry", ["credit", "reversal"])
def test_what_waits_for_something_that_was_seen_to_by_hand_can_be_skipped(finance: Finance, entry: Any) -> None:
    finance.expect(entry, "x_1")
    case = finance.context.cases.open(
        "credit_note_not_posted" if entry == "credit" else "reversal_not_posted",
        f"{entry}:x_1",
        Finding("invoice_id", "the invoice in_1 is not posted yet", "erp"),
        ("retry", "skip"),
        correlation_id="cor_1",
    )
    assert allowed(finance.context, case) == ("retry", "skip")
