"""Whatever is paid, credited, refunded, voided, written off and recovered, here or in billing, and however billing
reports it: once all is booked, the books have due what billing has open."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from random import Random
from typing import Any, ClassVar

import stripe as official
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from canonical.events import Event
from canonical.money import Money
from policies.problems import ProblemError
from tests.support.correction_bench import CLERK, SEATS, Corrected, corrected

PRICES = (Money(1_000, "JPY"), Money(10_000, "EUR"), Money(10_000, "KWD"))
METHODS = (None, "pm_card_visa")
SHARE = st.sampled_from([0, 10, 250, 500, 999, 1000, 1001])
"""Thousandths of what there is; some are more than all of it."""
OPEN = ("requested", "checking", "awaiting_approval", "carrying_out", "carried_out", "on_hold")


class OneInvoice(RuleBasedStateMachine):
    """One invoice, of whose money anything may be asked at any time."""

    tables: ClassVar[Path]

    def __init__(self) -> None:
        super().__init__()
        self._stack = ExitStack()
        self.subject: Corrected
        self.number = 0
        self.late: list[Event] = []

    @initialize(price=st.sampled_from(PRICES), method=st.sampled_from(METHODS))
    def sold(self, price: Money, method: str | None) -> None:
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        self.subject = self._stack.enter_context(corrected(folder, self.tables, price, method))
        self.step = 10 if price.currency == "KWD" else 1
        self.currency = price.currency

    def teardown(self) -> None:
        if hasattr(self, "subject"):
            self.settled()
        self._stack.close()

    # ---- asked for here

    def money(self, amount: int) -> dict[str, Any]:
        return {"amount": amount // self.step * self.step, "currency": self.currency}

    def ask(self, **wanted: Any) -> None:
        """Ask for something, which may be refused: then nothing is done."""
        self.number += 1
        before = self.subject.made
        with suppress(ProblemError):
            asked = self.subject.ask(f"key-{self.number}", **wanted)
            assert self.subject.ask(f"key-{self.number}", **wanted).id == asked.id
        assert self.subject.made == before, "what is only asked for changes nothing"
        if self.number % 4:  # the others wait for whatever comes
            self.carry_out(1)
            self.decide("approve")

    @rule(seats=st.integers(0, SEATS + 1), refund=SHARE, to_balance=SHARE, outside=st.booleans(), exact=st.booleans())
    def credit(self, seats: int, refund: int, to_balance: int, outside: bool, exact: bool) -> None:  # noqa: FBT001
        invoice = self.subject.stripe()
        lines = [{"line": invoice["lines"]["data"][0]["id"], "quantity": seats}] if seats else []
        worth = self._shown(invoice["total"]) * (seats or SEATS) // SEATS
        left = self._shown(invoice["amount_remaining"]) if invoice["status"] == "open" else 0
        paid = max(worth - left, 0)
        back = paid * refund // 1000 // self.step * self.step
        balance = paid * to_balance // 1000 // self.step * self.step
        if exact:
            back = min(back, paid)
            balance = paid - back if not outside else min(balance, paid - back)
        ways = {"refund": back, "to_balance": balance, "outside": paid - back - balance if outside else 0}
        self.ask(kind="credit_note", lines=lines, **{name: self.money(each) for name, each in ways.items() if each > 0})

    @rule(share=SHARE)
    def refunded(self, share: int) -> None:
        amount = self._shown(self.subject.stripe()["amount_paid"]) * share // 1000
        self.ask(kind="refund", **({"amount": self.money(amount)} if share else {}))

    @rule()
    def explain(self) -> None:
        """Credit what was refunded without a credit note."""
        found = self.subject.runs.records.page(CLERK, "booked", "refund", None, None, None, 100).items
        for each in found[:1]:
            amount = {"amount": each.amount.amount, "currency": self.currency}
            self.ask(kind="credit_note", refunds=[{"id": each.reference, "amount": amount}])

    @rule(kind=st.sampled_from(["void", "write_off"]))
    def end(self, kind: str) -> None:
        self.ask(kind=kind)

    # ---- decided and carried out

    def _each(self, *states: str) -> list[str]:
        page = self.subject.runs.records.page(CLERK, None, None, None, None, None, 100)
        return [each.id for each in page.items[::-1] if each.state in states]

    @rule(times=st.integers(1, 2))
    def carry_out(self, times: int) -> None:
        for _ in range(times):
            for each in self._each("requested", "checking", "carrying_out", "carried_out"):
                self.subject.run(each)

    @rule(action=st.sampled_from(["approve", "approve", "approve", "reject"]))
    def decide(self, action: Any) -> None:
        for each in self._each("awaiting_approval"):
            self.subject.act(each, action)
            self.subject.run(each)

    @rule(action=st.sampled_from(["retry", "compensate"]))
    def see_to(self, action: Any) -> None:
        for each in self._each("on_hold"):
            self.subject.act(each, action)
            self.subject.run(each)

    @rule(which=st.integers(0, 3))
    def withdraw(self, which: int) -> None:
        for each in self._each(*OPEN)[which : which + 1]:
            with suppress(ProblemError):
                self.subject.runs.withdraw(each, CLERK)

    # ---- in billing itself

    def _in_billing(self, act: Callable[[Any], object]) -> None:
        with suppress(official.StripeError):
            act(self.subject.account.api.v1)

    @rule(share=SHARE)
    def paid_by_transfer(self, share: int) -> None:
        value = self._at(self.subject.stripe()["amount_remaining"] * share // 1000)
        asked: Any = {
            "amount_requested": {"currency": self.currency.lower(), "value": value},
            "initiated_at": 1_700_000_000,
            "outcome": "guaranteed",
            "payment_method_details": {"type": "custom"},
        }

        def pay(api: Any) -> None:
            made = api.payment_records.report_payment(asked).id
            api.invoices.attach_payment(self.subject.invoice, {"payment_record": made})

        if value > 0 and self.subject.stripe()["status"] in ("open", "uncollectible"):
            self._in_billing(pay)

    @rule()
    def paid_by_card(self) -> None:
        def pay(api: Any) -> None:
            buyer = self.subject.stripe()["customer"]
            card = api.payment_methods.attach("pm_card_visa", {"customer": buyer}).id
            api.invoices.pay(self.subject.invoice, {"payment_method": card})

        self._in_billing(pay)

    @rule(seats=st.integers(1, 2), refunded=st.booleans())
    def credited_in_billing(self, seats: int, refunded: bool) -> None:  # noqa: FBT001
        invoice = self.subject.stripe()
        line = {
            "type": "invoice_line_item",
            "invoice_line_item": invoice["lines"]["data"][0]["id"],
            "quantity": seats,
        }
        worth = invoice["total"] * seats // SEATS
        open_now = invoice["amount_remaining"] if invoice["status"] == "open" else 0
        back = max(worth - open_now, 0)
        way = {"refund_amount" if refunded else "credit_amount": back} if back else {}
        self._in_billing(lambda api: api.credit_notes.create({"invoice": invoice["id"], "lines": [line], **way}))

    @rule()
    def credit_note_voided_in_billing(self) -> None:
        for each in list(self.subject.account.account.all("credit_note"))[-1:]:
            self._in_billing(lambda api, each=each: api.credit_notes.void_credit_note(each["id"]))

    @rule(action=st.sampled_from(["void_invoice", "mark_uncollectible"]))
    def ended_in_billing(self, action: str) -> None:
        invoice = self.subject.stripe()
        if action == "void_invoice" and (invoice["amount_paid"] or invoice["pre_payment_credit_notes_amount"]):
            return  # what the ERP leaves to people
        self._in_billing(lambda api: getattr(api.invoices, action)(self.subject.invoice))

    # ---- what billing reports

    @rule(seed=st.integers(0, 999), lost=st.booleans())
    def report(self, seed: int, lost: bool) -> None:  # noqa: FBT001
        """Report in any order, some of it twice, and some of it later."""
        found = [*self.late, *self.subject.look()]
        Random(seed).shuffle(found)
        self.late = found[: len(found) // 2] if lost else []
        self.subject.report([*found[len(self.late) :], *found[len(self.late) :][:2]])
        self.subject.book()

    @invariant()
    def no_amount_is_taken_twice(self) -> None:
        if not hasattr(self, "subject"):
            return
        account = self.subject.account.account
        made = [
            each["metadata"].get("tiergate_correction")
            for kind in ("credit_note", "refund")
            for each in account.all(kind)
        ]
        ours = [each for each in made if each]
        assert len(ours) == len(set(ours))

    def settled(self) -> None:
        subject = self.subject
        subject.report([*self.late, *subject.look()])
        subject.book()
        subject.book()
        assert [row.blocked_reason for row in subject.waiting()] == []
        assert [each for each in subject.failed() if "voided it before it was posted" not in each] == []
        assert self._at(subject.books.receivable) == subject.owed_in_billing()
        assert self._each("carried_out", "carrying_out") == []

    def _shown(self, amount: int) -> int:
        """Return an amount of Stripe's in our minor units: they are the same in these currencies."""
        return amount

    def _at(self, amount: int) -> int:
        return amount // self.step * self.step


def test_billing_and_the_books_agree_after_anything(empty_tables: Path) -> None:
    OneInvoice.tables = empty_tables
    run_state_machine_as_test(
        OneInvoice,
        settings=settings(
            max_examples=30,
            stateful_step_count=20,
            deadline=None,
            phases=(Phase.generate,),
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
