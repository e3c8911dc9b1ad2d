"""A correction is asked for here, done in billing once, and booked: after each a customer owes in the ERP what it owes
in billing."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

import httpx
import pytest

from canonical.cases import Case
from canonical.corrections import Correction, CorrectionPreview
from tests.support.environment import Environment
from tests.support.platforms import wait_until
from tests.support.sold import Sold
from tests.support.stripe_account import bank_transfer

ENDED = ("on_hold", "booked", "given_up")
CLERK, LEAD = "clerk@example.com", "lead@example.com"


def euros(cents: int) -> dict[str, Any]:
    return {"amount": cents, "currency": "EUR"}


class Desk:
    """Finance and support, and one deal that was sold for 1,190.00 EUR."""

    def __init__(self, environment: Environment, name: str, **how: Any) -> None:
        self.environment = environment
        self.sold = Sold(environment, name, **how)
        self.path = f"invoices/{self.sold.invoice}/corrections"

    def preview(self, **wanted: Any) -> CorrectionPreview:
        return self.environment.channels.post(
            "finance-app", f"/finance/v1/{self.path}/preview", {"text": "Too much"} | wanted, CorrectionPreview
        )

    def ask(self, key: str, /, *, by: str = "finance", **wanted: Any) -> Correction:
        client = {"finance": "finance-app", "support": "support-desk"}[by]
        body = {"text": "Too much", "key": key} | wanted
        return self.environment.channels.post(
            client, f"/{by}/v1/{self.path}", body, Correction, on_behalf_of=CLERK, key=key
        )

    def refused(self, kind: str, **wanted: Any) -> str:
        """Ask for what cannot be, and return the name of the problem."""
        return self.answer(f"refused-{kind}-{len(wanted)}", kind=kind, **wanted).json()["type"].rpartition("/")[2]

    def answer(self, key: str, **wanted: Any) -> httpx.Response:
        channels = self.environment.channels
        headers = channels.headers("finance-app", CLERK) | {"idempotency-key": key}
        body = {"text": "Too much", "key": key} | wanted
        return httpx.post(f"{channels.url}/finance/v1/{self.path}", headers=headers, json=body, timeout=20)

    def read(self, correction: Correction) -> Correction:
        return self.environment.channels.get("finance-app", f"/finance/v1/corrections/{correction.id}", Correction)

    def come(self, correction: Correction, *states: str) -> Correction:
        """Wait until a correction is in one of some states."""

        def look() -> Correction | None:
            found = self.read(correction)
            assert found.state in states or found.state not in ENDED, found.blocked_reason
            return found if found.state in states else None

        return wait_until(look, 100, f"{correction.id} in {states}")

    def case_of(self, correction: Correction, kind: str) -> Case:
        (case,) = (
            each for each in self.environment.cases_of(correction.id) if each.kind == kind and each.state == "open"
        )
        return case

    def decide(self, correction: Correction, decision: str, by: str = LEAD) -> None:
        case = self.case_of(correction, "correction_approval")
        self.environment.decide(case.id, decision, "seen", on_behalf_of=by)

    def line(self) -> str:
        (line,) = self.sold.stripe.invoices.line_items.list(self.sold.invoice).data
        return str(line.id)

    def seats(self, count: int) -> list[dict[str, Any]]:
        return [{"line": self.line(), "quantity": count}]

    def made(self) -> tuple[int, int]:
        """Return how many credit notes and refunds billing has of the invoice."""
        notes = self.sold.stripe.credit_notes.list({"invoice": self.sold.invoice}).data
        payments = self.sold.stripe.invoice_payments.list({"invoice": self.sold.invoice, "status": "paid"}).data
        intents = [each.payment.payment_intent for each in payments if each.payment.payment_intent]
        refunds = [each for key in intents for each in self.sold.stripe.refunds.list({"payment_intent": key}).data]
        return len(notes), len(refunds)


def test_one_seat_of_a_paid_invoice_is_credited_and_goes_back_in_three_ways(environment: Environment) -> None:
    desk = Desk(environment, "Corrected Paid")
    ways = {"refund": euros(5000), "to_balance": euros(4000), "outside": euros(2900)}
    wanted: dict[str, Any] = {"kind": "credit_note", "lines": desk.seats(1), "reason": "order_change", **ways}
    said = desk.preview(**wanted)
    assert said.credit_note
    assert said.posting
    assert (said.credit_note.total.amount, said.credit_note.tax.amount, said.posting.total.amount) == (
        11900,
        1900,
        -11900,
    )
    assert said.differences == ()
    assert said.approvals == ()
    assert {each.of: each.amount.amount for each in said.explanations} == {
        "10 × Seat": 10000,
        "tax of 10 × Seat": 1900,
        "refund": 5000,
        "balance": 4000,
        "outside": 2900,
    }
    assert desk.made() == (0, 0)

    asked = desk.ask("one-seat", **wanted)
    assert desk.ask("one-seat", **wanted).id == asked.id
    done = desk.come(asked, "booked")
    assert desk.made() == (1, 1)
    assert [each.state for each in done.history] == ["requested", "checking", "carrying_out", "carried_out", "booked"]
    assert done.history[0].by == CLERK
    desk.sold.booked(4)
    assert desk.sold.owed_in_billing() * 100 == -4000
    assert desk.sold.receivable() * 100 == -4000 - 2900  # what went back outside of billing, until finance books it
    (note,) = desk.sold.notes()
    assert (note.reference, note.total_amount) == (done.reference, -119)


def test_what_support_asks_for_is_decided_by_somebody_else_in_finance(environment: Environment) -> None:
    desk = Desk(environment, "Corrected By Support", payment_method=None, postings=1)
    asked = desk.ask("support", by="support", kind="credit_note", lines=desk.seats(1))
    asked = desk.come(asked, "awaiting_approval")
    assert asked.preview
    assert asked.preview.approvals == ("support has asked for it",)
    assert desk.made() == (0, 0)
    with pytest.raises(httpx.HTTPStatusError, match="403"):
        desk.decide(asked, "approve", by=CLERK)
    desk.decide(asked, "approve")
    done = desk.come(asked, "booked")
    assert [(each.state, each.by) for each in done.history if each.by] == [("requested", CLERK), ("checking", LEAD)]
    desk.sold.agrees(107100)
    assert desk.made() == (1, 0)

    rejected = desk.come(desk.ask("rejected", by="support", kind="write_off"), "awaiting_approval")
    desk.decide(rejected, "reject")
    assert desk.come(rejected, "given_up").history[-1].by == LEAD
    withdrawn = desk.come(desk.ask("withdrawn", by="support", kind="write_off"), "awaiting_approval")
    path = f"/support/v1/corrections/{withdrawn.id}/withdrawal"
    environment.channels.post("support-desk", path, None, Correction, on_behalf_of=CLERK)
    assert [each.state for each in environment.cases_of(withdrawn.id)] == ["resolved"]
    assert desk.come(withdrawn, "given_up").history[-1].by == CLERK
    desk.sold.agrees(107100)


def test_what_changes_in_billing_before_a_yes_is_approved_again(environment: Environment) -> None:
    desk = Desk(environment, "Corrected Meanwhile", payment_method=None, postings=1)
    asked = desk.come(desk.ask("half", kind="credit_note", lines=desk.seats(5)), "awaiting_approval")
    desk.sold.credit()  # somebody credits a seat in billing itself
    desk.decide(asked, "approve")

    def asks_again() -> bool:
        found = desk.read(asked)
        return found.state == "awaiting_approval" and "another preview" in found.blocked_reason

    wait_until(asks_again, 60, "another preview to be approved")
    assert desk.made() == (1, 0)
    desk.decide(asked, "approve")
    desk.come(asked, "booked")
    desk.sold.agrees(119000 - 11900 - 59500)

    more = desk.come(desk.ask("four", by="support", kind="credit_note", lines=desk.seats(4)), "awaiting_approval")
    desk.sold.credit()
    desk.decide(more, "approve")
    desk.come(more, "on_hold")
    case = desk.case_of(more, "correction_refused")
    assert "3 is left" in case.reason
    environment.act(case.id, "compensate", "credited in billing")
    assert desk.come(more, "given_up").history[-1].reason == "credited in billing"
    desk.sold.booked(4)
    desk.sold.agrees(119000 - 2 * 11900 - 59500)


def test_a_refund_is_due_again_until_a_correction_says_why(environment: Environment) -> None:
    desk = Desk(environment, "Corrected Refund")
    said = desk.preview(kind="refund", amount=euros(11900))
    assert (said.open_before.amount, said.open_after.amount, said.paid_back.amount) == (0, 11900, 11900)
    environment.fault("billing", kind="drop", matching="/v1/refunds")  # done, and the answer is lost
    refund = desk.come(desk.ask("refund", kind="refund", amount=euros(11900)), "booked")
    assert desk.made() == (0, 1)
    desk.sold.agrees(11900, unexplained=11900)
    assert desk.sold.open_cases() == ["refunded_without_credit_note"]

    explains: dict[str, Any] = {"refunds": [{"id": refund.reference, "amount": euros(11900)}], "lines": desk.seats(1)}
    desk.come(desk.ask("explained", kind="credit_note", **explains), "booked")
    wait_until(lambda: desk.sold.open_cases() == [], 60, "the case of the refund to be closed")
    desk.sold.agrees(0)
    assert desk.made() == (1, 1)


def test_an_open_invoice_is_written_off_paid_after_all_or_voided(environment: Environment) -> None:
    desk = Desk(environment, "Corrected Given Up", payment_method=None, postings=1)
    off = desk.come(desk.ask("off", kind="write_off"), "awaiting_approval")
    assert desk.refused("void") == "invoice-reserved"
    desk.decide(off, "approve")
    desk.come(off, "booked")
    assert desk.sold.receivable() == 0
    bank_transfer(environment.stripe, desk.sold.invoice, 119000)
    desk.sold.booked(2)
    desk.sold.agrees(0)
    lines = environment.in_erp("account.move.line", ("move.description", "=", desk.sold.invoice))
    assert sum(each.debit - each.credit for each in lines if each.account.type.expense) == 0

    other = Desk(environment, "Corrected Void", payment_method=None, postings=1)
    void = other.come(other.ask("void", kind="void"), "awaiting_approval")
    assert void.preview
    assert void.preview.posting
    assert void.preview.posting.total.amount == -119000
    other.decide(void, "approve")
    other.come(void, "booked")
    other.sold.agrees(0)
    assert other.refused("write_off") == "invoice-void"


def test_a_credit_note_that_comes_in_after_the_write_off_of_its_invoice_is_booked_before_that(
    environment: Environment,
) -> None:
    desk = Desk(environment, "Corrected Late", payment_method=None, postings=1)
    environment.fault("erp", kind="status", status=503, times=0)
    desk.sold.credit()
    desk.sold.stripe.invoices.mark_uncollectible(desk.sold.invoice)
    known = "SELECT COUNT(*) FROM postings WHERE invoice_id = ? AND state = 'waiting'"
    wait_until(lambda: environment.record(known, desk.sold.invoice) == 2, 60, "both to be reported")
    environment.children["process"].stop()
    later = "UPDATE postings SET next_attempt_at = '2099-01-01T00:00:00+00:00' WHERE kind = 'credit' AND invoice_id = ?"
    with closing(sqlite3.connect(environment.folder / "process.sqlite")) as connection, connection:
        connection.execute(later, (desk.sold.invoice,))
    environment.calm()
    environment.start("process")
    wait_until(lambda: desk.sold.receivable() == 0, 100, "the invoice to be written off")
    desk.sold.booked(2)
    desk.sold.agrees(0)
    lines = environment.in_erp("account.move.line", ("move.description", "=", desk.sold.invoice))
    off = [each.debit - each.credit for each in lines if each.account.type.expense]
    assert sorted(off) == [-1190, 1071, 1190]
    assert desk.sold.open_cases() == []


@pytest.mark.extended
@pytest.mark.parametrize("kind", ["credit_note", "refund"])
def test_a_process_that_is_killed_while_billing_does_it_leaves_one(environment: Environment, kind: str) -> None:
    desk = Desk(environment, f"Corrected Killed {kind}")
    path = {"credit_note": "/v1/credit_notes", "refund": "/v1/refunds"}[kind]
    wanted: dict[str, Any] = {"kind": kind} | (
        {"lines": desk.seats(1), "to_balance": euros(11900)} if kind == "credit_note" else {"amount": euros(11900)}
    )
    asked = desk.come(desk.ask(f"killed-{kind}", by="support", **wanted), "awaiting_approval")
    environment.fault("billing", kind="slow", milliseconds=1500, times=0, matching=path)
    desk.decide(asked, "approve")
    state = "SELECT state FROM corrections WHERE id = ?"
    wait_until(lambda: environment.record(state, asked.id) == "carrying_out", 40, "billing to be asked")
    environment.kill_and_start("process")
    desk.come(asked, "booked")
    assert desk.made() == ((1, 0) if kind == "credit_note" else (0, 1))
    desk.sold.booked(3)
    desk.sold.agrees(-11900 if kind == "credit_note" else 11900, unexplained=0 if kind == "credit_note" else 11900)
