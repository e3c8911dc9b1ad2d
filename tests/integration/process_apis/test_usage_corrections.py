"""Records that come after their period was charged are proposed, decided by others, and settled in billing once."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager, suppress
from datetime import timedelta
from decimal import Decimal
from itertools import count
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import event

from canonical.faults import Rejected, Unavailable
from canonical.money import Money
from canonical.states import IllegalTransition
from policies.identity.authentication import Principal
from policies.problems import ProblemError
from process_apis.records import usage
from process_apis.records.database import writing
from tests.support.process_context import TestClock
from tests.support.usage_bench import SENDER
from tests.support.usage_correction_bench import BEGAN, CHIEF, MONTH, UsageCorrectionBench, usage_correction_bench

OTHER = msgspec.structs.replace(CHIEF, subject="other@example.com")


class Killed(BaseException):
    """The process is gone."""


@pytest.fixture
def it(tmp_path: Path, tables_url: str, clock: TestClock) -> Generator[UsageCorrectionBench]:
    with usage_correction_bench(tmp_path, tables_url, clock) as bench:
        yield bench


def test_more_is_proposed_with_what_billing_says_and_charged_when_it_is_approved(it: UsageCorrectionBench) -> None:
    it.charge("5")
    it.send("late", "2")
    it.look()
    proposed, (case,) = it.last, it.cases()

    it.decide("approve")
    it.decide("approve")
    it.look()

    assert (proposed.state, proposed.charged, proposed.quantity, proposed.difference) == ("proposed", 5, 7, 2)
    assert (proposed.amount, proposed.invoice_id) == (Money(6, "EUR"), "in_1")
    assert (case.kind, case.team, case.actions) == ("usage_correction_proposed", "finance", ())
    assert (it.last.state, it.last.decided_by) == ("carried_out", "chief@example.com")
    assert (it.billing.charged, len(it.billing.more), it.cases()) == (7, 1, [])
    assert it.reported() == ["proposed", "approved", "applied"]


def test_less_is_one_correction_of_the_invoice(it: UsageCorrectionBench) -> None:
    it.charge("5")
    it.send("more", "0")
    it.void("first")
    it.send("right", "3")
    it.look()
    amount = it.last.amount
    it.decide("approve")
    it.look()

    assert amount == Money(-6, "EUR")
    assert (it.states(), it.credit_orders()) == (["carried_out"], ["carried_out"])
    assert (it.billing.charged, list(it.billing.credited.values())) == (3, [2])
    assert it.last.reference.startswith("crc_")


def test_what_was_seen_is_what_is_approved(it: UsageCorrectionBench) -> None:
    it.charge("5")
    it.send("late", "2")
    it.look()
    seen = it.last.revision
    it.send("later", "1")
    with pytest.raises(ProblemError) as unpriced:
        it.decide("approve", revision=seen)
    it.look()
    with pytest.raises(ProblemError) as outdated:
        it.decide("approve", revision=seen)

    assert {each.value.problem.name for each in (unpriced, outdated)} == {"usage-correction-changed"}
    (case,) = it.cases()
    assert "it is 8 by now" in case.reason
    assert (it.last.difference, it.last.amount, it.last.revision) == (3, Money(9, "EUR"), seen + 1)


def test_who_has_sent_any_of_the_records_cannot_approve_them(it: UsageCorrectionBench) -> None:
    it.charge("5")
    it.send("late", "2")
    it.look()

    with pytest.raises(ProblemError) as own:
        it.decide("approve", by=SENDER)

    assert own.value.problem.status == 403
    it.decide("approve")
    it.send("again", "1")
    it.look()
    with pytest.raises(ProblemError):
        it.decide("approve", by=SENDER)
    assert it.states() == ["carried_out", "proposed"]


def test_what_was_rejected_is_not_proposed_again_and_what_comes_after_it_is(it: UsageCorrectionBench) -> None:
    it.charge("5")
    it.send("late", "2")
    it.look()
    it.decide("reject")
    it.send("none", "0")
    it.look()
    rejected = it.states()
    it.void("late")
    it.look()
    within = it.states()
    it.send("other", "3")
    it.look()

    assert rejected == within == ["rejected"]
    assert (it.states(), it.last.difference) == (["rejected", "proposed"], 1)
    it.decide("approve")
    it.look()
    assert it.billing.charged == 6


def test_a_rejection_says_why(it: UsageCorrectionBench) -> None:
    it.charge("5")
    it.send("late", "2")
    it.look()

    with pytest.raises(ProblemError) as silent:
        it.decide("reject", reason=" ")

    assert (silent.value.problem.status, it.last.state) == (422, "proposed")


def test_what_comes_to_the_same_again_is_gone_with_its_case(it: UsageCorrectionBench) -> None:
    it.charge("5")
    it.send("late", "2")
    it.look()
    it.void("late")
    it.look()

    assert (it.states(), it.cases()) == (["gone"], [])
    it.send("other", "1")
    it.look()
    assert (it.states(), it.last.difference) == (["gone", "proposed"], 1)


def test_records_that_come_while_it_is_carried_out_are_the_next_one(it: UsageCorrectionBench) -> None:
    it.charge("5")
    it.send("late", "2")
    it.look()
    it.decide("approve")
    it.billing.meanwhile = lambda: it.send("meanwhile", "4")
    it.look()

    assert it.states() == ["carried_out", "proposed"]
    assert (it.last.charged, it.last.quantity, it.last.difference, it.billing.charged) == (7, 11, 4, 7)


@pytest.mark.parametrize("less", [False, True])
def test_a_kill_before_any_write_leaves_one_of_everything(it: UsageCorrectionBench, *, less: bool) -> None:
    it.charge("5")
    it.send("late", "2")
    if less:
        it.void("first")
    for decided in (False, True):
        if decided:
            it.decide("approve")
        for place in range(8):
            with killed_at(it, place):
                it.look(2)
        it.look()

    assert it.states() == ["carried_out"]
    assert it.billing.charged == (2 if less else 7)
    assert len(it.billing.more) + len(it.billing.credited) == 1
    assert it.credit_orders() == (["carried_out"] if less else [])
    assert (it.cases(), it.reported()) == ([], ["proposed", "approved", "applied"])


@contextmanager
def killed_at(it: UsageCorrectionBench, place: int) -> Generator[None]:
    """Let the process end where it would commit for the nth time, counted from 0."""
    commits = count()

    def commit(_: object) -> None:
        if next(commits) == place:
            raise Killed

    event.listen(it.context.database, "commit", commit)
    try:
        with suppress(Killed):
            yield
    finally:
        event.remove(it.context.database, "commit", commit)


def test_what_billing_refuses_is_a_case_and_tried_again_or_settled_by_hand(it: UsageCorrectionBench) -> None:
    it.charge("5")
    it.billing.refusal = Rejected("billing", "tiers", field="price")
    it.send("late", "2")
    it.look()
    (case,) = it.cases()
    held = it.last.state
    it.billing.refusal = None
    it.act("retry")
    it.look()
    proposed = it.last.state
    it.decide("approve")
    it.billing.refusal = Rejected("billing", "paused", field="pause_collection")
    it.look()
    it.act("skip")
    it.look()
    it.send("later", "1")
    it.billing.refusal = None
    it.look()

    assert (case.kind, case.field, case.actions) == ("usage_correction_refused", "price", ("retry", "skip"))
    assert (held, proposed) == ("on_hold", "proposed")
    assert it.states() == ["by_hand", "proposed"]
    assert (it.last.charged, it.last.difference) == (7, 1)
    assert it.billing.charged == 5
    assert [each.kind for each in it.cases()] == ["usage_correction_proposed"]
    with pytest.raises(IllegalTransition):
        it.decisions.act(case, "retry", "clerk", "")


@pytest.mark.parametrize("approved", [False, True])
def test_what_billing_refuses_can_be_rejected(it: UsageCorrectionBench, *, approved: bool) -> None:
    it.charge("5")
    it.send("late", "2")
    if approved:
        it.look()
        it.decide("approve")
    it.billing.refusal = Rejected("billing", "tiers", field="price")
    it.look()
    held = it.last.state
    if approved:
        assert it.decide("approve").state == "on_hold"  # the answer was lost, and it is asked for again
    with pytest.raises(ProblemError):
        it.decide("approve", by=OTHER)
    it.decide("reject", by=OTHER)
    it.billing.refusal = None
    it.look()

    assert (held, it.states(), it.last.decided_by) == ("on_hold", ["rejected"], "other@example.com")
    assert (it.billing.charged, it.cases()) == (5, [])
    it.send("more", "1")
    it.look()
    assert (it.states(), it.last.difference) == (["rejected", "proposed"], 1)


def test_a_case_of_what_billing_refuses_says_what_is_to_be_settled_by_now(it: UsageCorrectionBench) -> None:
    it.charge("5")
    it.billing.refusal = Rejected("billing", "tiers", field="price")
    it.send("late", "2")
    it.look()
    it.send("later", "3")
    it.look()

    (case,) = it.cases()
    assert (it.last.state, case.input["difference"], case.input["quantity"]) == ("on_hold", "5", "10")


def test_an_outage_is_waited_out_and_people_hear_of_one_that_lasts(it: UsageCorrectionBench) -> None:
    it.charge("5")
    it.send("late", "2")
    it.billing.refusal = Unavailable("billing", "away")
    it.look(12)
    waiting, (case,) = it.last.state, it.cases()
    it.billing.refusal = None
    it.look()

    assert (waiting, case.kind) == ("found", "usage_correction_refused")
    assert (it.last.state, [each.kind for each in it.cases()]) == ("proposed", ["usage_correction_proposed"])


def test_the_invoice_is_waited_for_without_a_case(it: UsageCorrectionBench) -> None:
    it.charge("5")
    it.billing.is_issued = False
    it.send("late", "2")
    it.look(12)

    assert (it.states(), it.cases(), it.last.amount) == (["found"], [], None)
    it.billing.is_issued = True
    it.look()
    assert it.last.state == "proposed"


@pytest.mark.parametrize(
    ("charged", "right", "amount"), [("5", "3.5", -5), ("10.5", "0.5", -30), ("10.5", "6.25", -13), ("10.5", "0", -32)]
)
def test_a_part_of_a_piece_is_credited_by_what_billing_says_that_it_is_worth(
    it: UsageCorrectionBench, charged: str, right: str, amount: int
) -> None:
    it.charge(charged)
    it.send("right", right)
    it.void("first")
    it.look()
    said = it.last.amount
    it.decide("approve")
    it.look()

    (line,) = it.credited_lines()
    assert (said, line.quantity, line.amount) == (Money(amount, "EUR"), None, Money(-amount, "EUR"))
    assert (it.states(), len(it.billing.credited), it.cases()) == (["carried_out"], 1, [])


def test_a_line_that_was_credited_by_amounts_is_so_again_and_what_is_worth_nothing_is_for_people(
    it: UsageCorrectionBench,
) -> None:
    it.charge("9")
    for before, quantity in (("first", "7.5"), ("7.5", "5.5"), ("5.5", "5.4")):
        it.send(quantity, quantity)
        it.void(before)
        it.look()
        if it.last.state == "proposed":
            it.decide("approve")
            it.look()

    assert [each.difference for each in it.all()] == [Decimal("-1.5"), -2, Decimal("-0.1")]
    assert it.states() == ["carried_out", "carried_out", "on_hold"]
    (case,) = it.cases()
    assert (case.field, "worth nothing" in case.reason) == ("quantity", True)


def test_a_period_of_which_records_are_kept_no_more_is_not_compared(it: UsageCorrectionBench) -> None:
    it.charge("5")
    it.send("kept", "1", seconds=7200)
    it.look()
    it.decide("approve")
    it.look()
    source = it.bench.records.found(it.contract, "by_sum")
    assert source is not None
    cut = int((BEGAN + MONTH + timedelta(days=1)).timestamp()) * 1_000_000
    with writing(it.context.database) as connection:
        assert usage.remove(connection, source, cut, 100) == 1

    it.void("kept")
    it.look()

    assert (it.states(), it.billing.charged) == (["carried_out"], 6)


def test_what_is_read_of_a_period_says_what_is_charged_by_now(it: UsageCorrectionBench) -> None:
    it.charge("5")

    def read() -> tuple[Decimal | None, str | None]:
        found = it.bench.read(it.contract, BEGAN + MONTH - timedelta(seconds=1)).items[0]
        return found.billed, found.correction

    before = read()
    it.send("late", "2")
    found = read()
    it.look()
    it.decide("approve")
    it.look()

    assert (before, found, read()) == ((5, None), (5, "open"), (7, "carried_out"))


def test_a_partner_and_another_company_see_none(it: UsageCorrectionBench) -> None:
    it.charge("5")
    it.send("late", "2")
    for entities, partner in ((frozenset({"FR01"}), ""), (frozenset({"*"}), "nord")):
        other = Principal("o", "o", frozenset(), entities, "jti", 0.0, 0.0, partner=partner)
        with pytest.raises(ProblemError) as missing:
            it.decide("approve", by=other)
        assert missing.value.problem.status == 404
