"""A dispute is as billing has it, whatever is reported in whatever order; support learns of it and decides once."""

from __future__ import annotations

import shutil
from collections.abc import Generator
from contextlib import ExitStack
from datetime import datetime, timedelta
from itertools import permutations
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa
from msgspec.structs import replace

from canonical.disputes import LARGEST_ANSWER, LONGEST_TEXT, DisputeAction, Evidence
from canonical.events import (
    DISPUTE_CHANGED,
    DISPUTE_CLOSED,
    DISPUTE_OPENED,
    PAYMENT_REINSTATED,
    PAYMENT_REVERSED,
    Event,
)
from canonical.process_events import PREFIX
from policies.problems import ProblemError
from process_apis.disputes.workflow import LOOK_AGAIN
from process_apis.records.database import events
from process_apis.records.disputes import HOLDS_UNREAD
from tests.support.answering_layer import answering
from tests.support.dispute_bench import FEE, SHOWN, UNTIL, Bank, DisputeBench
from tests.support.process_context import SOMEBODY, TestClock, context_over
from tests.unit.process_apis.test_cancelled_invoices import Killed, before_statement, dies


@pytest.fixture
def bench(tmp_path: Path, empty_tables: Path) -> Generator[DisputeBench]:
    bank = Bank()
    with ExitStack() as stack:
        system = stack.enter_context(answering(lambda method, path, _: bank.answer(method, path)))
        url = f"sqlite:///{shutil.copy(empty_tables, tmp_path)}"
        context = stack.enter_context(context_over(url, TestClock(), system))
        yield DisputeBench(stack, context, bank)


def refused(bench: DisputeBench, action: DisputeAction, key: str = "du_1") -> tuple[int, str]:
    with pytest.raises(ProblemError) as problem:
        bench.decisions.act(key, action, SOMEBODY)
    return problem.value.problem.status, problem.value.problem.name


def test_support_is_asked_for_evidence_until_the_bank_has_decided(bench: DisputeBench) -> None:
    bench.bank.open()
    bench.bank.open("du_2", "inquired")
    for key in ("du_1", "du_1", "du_2"):
        bench.reported(key=key)

    first, second = bench.cases()
    assert (first.kind, first.team, first.subject) == ("payment_disputed", "support", "invoice:in_1")
    for words in ("disputes 119.00 EUR of the invoice in_1", "fraudulent", "by 2026-03-20 23:59 UTC"):
        assert words in first.reason
    assert "asks about" in second.reason

    bench.bank.decide("du_1", "won")
    bench.reported(DISPUTE_CLOSED)
    assert [(each.state, each.resolution) for each in bench.cases()] == [
        ("resolved", "the dispute is won"),
        ("open", ""),
    ]


@pytest.mark.parametrize("order", list(permutations((DISPUTE_OPENED, PAYMENT_REVERSED, DISPUTE_CLOSED))))
def test_a_dispute_that_is_over_when_it_is_first_read_is_kept_as_over_and_is_no_case(
    bench: DisputeBench, order: tuple[str, ...]
) -> None:
    bench.bank.open(state="lost")
    for each in order:
        bench.reported(each)
    found = bench.record()
    assert [step.state for step in found.history] == ["reported", "lost"]
    assert (found.state, found.actions, [each.amount for each in found.fees]) == ("lost", (), [FEE])
    assert bench.cases() == []


def test_what_is_reported_again_and_late_changes_nothing(bench: DisputeBench) -> None:
    bench.bank.open()
    bench.reported()
    bench.bank.decide("du_1", "won")
    bench.reported(PAYMENT_REINSTATED)
    for kind in (DISPUTE_OPENED, PAYMENT_REVERSED, DISPUTE_CHANGED, DISPUTE_CLOSED):
        bench.reported(kind)
    assert [step.state for step in bench.record().history] == ["reported", "open", "won"]
    assert [each.type.removeprefix(PREFIX) for each in own_events(bench)] == ["dispute.opened.v1", "dispute.won.v1"]


def own_events(bench: DisputeBench) -> list[Event]:
    """Return the events of the record of the dispute, the oldest first."""
    query = sa.select(events.c.document).where(events.c.type.like(f"{PREFIX}dispute%")).order_by(events.c.seq)
    with bench.context.database.connect() as connection:
        return [msgspec.json.decode(each, type=Event) for each in connection.scalars(query)]


def test_an_inquiry_that_becomes_a_dispute_has_another_case_with_its_own_moment(bench: DisputeBench) -> None:
    bench.bank.open(state="inquired")
    bench.reported()
    later = UNTIL + timedelta(days=10)
    bench.bank.decide("du_1", "open", later)
    for _ in range(2):
        bench.reported(PAYMENT_REVERSED)
    bench.report(PAYMENT_REVERSED, "", "re_1")
    assert sorted(each.state for each in bench.cases()) == ["open", "resolved"]
    (still,) = bench.cases("open")
    assert ("disputes" in still.reason, "by 2026-03-30 23:59 UTC" in still.reason) == (True, True)


def test_a_refund_is_no_dispute(bench: DisputeBench) -> None:
    event = Event(
        id="evt_refund", source="billing/stripe", type=PAYMENT_REVERSED, subject="re_1", time=bench.context.clock()
    )
    bench.dispatcher.take(event, "cor_1")
    assert bench.records.page(SOMEBODY, None, None, None, None, None, 25).items == ()


def test_an_inquiry_that_ends_without_a_dispute_is_closed_and_has_cost_nothing(bench: DisputeBench) -> None:
    bench.bank.open(state="inquired")
    assert bench.reported().actions == ("answer",)
    bench.bank.decide("du_1", "closed")
    assert (bench.reported(DISPUTE_CLOSED).state, bench.record().fees) == ("closed", ())
    assert [each.resolution for each in bench.cases()] == ["the dispute is closed"]


def test_a_returned_direct_debit_that_nobody_can_answer_is_no_case(bench: DisputeBench) -> None:
    bench.bank.open(state="lost", until=None)
    assert bench.reported().respond_by is None
    assert bench.cases() == []


def test_a_case_that_people_have_skipped_does_not_come_back_for_the_same_moment(bench: DisputeBench) -> None:
    bench.bank.open()
    bench.reported()
    bench.context.cases.close(bench.cases()[0], "skipped")
    bench.reported(DISPUTE_CHANGED)
    assert bench.cases("open") == []


# ---- what people decide


def test_an_answer_is_sent_once_and_says_who_has_asked_for_it_and_why(bench: DisputeBench) -> None:
    bench.bank.open()
    bench.reported()
    for _ in range(2):
        assert bench.act("answer").doing == "answer"
    answered = bench.look()
    assert (answered.state, answered.doing, answered.answered) == ("answered", None, True)
    bench.act("answer")
    bench.look()
    assert bench.bank.done == ["answer du_1"]
    steps = [(step.state, step.asked, step.by, step.reason) for step in bench.record().history]
    assert steps[2:] == [("open", "answer", "somebody", "we have looked"), ("answered", None, "", "")]
    assert bench.records.find("du_1").evidence is None  # pyright: ignore[reportOptionalMemberAccess]


def test_what_is_accepted_is_lost_and_cannot_be_decided_again(bench: DisputeBench) -> None:
    bench.bank.open()
    bench.reported()
    bench.act("accept")
    assert bench.look().state == "lost"
    assert bench.act("accept").state == "lost"
    assert bench.bank.done == ["accept du_1"]
    assert refused(bench, DisputeAction("answer", "no", SHOWN)) == (409, "dispute-decided")
    assert bench.cases("open") == []


def test_what_cannot_be_asked_for_is_refused_and_says_why(bench: DisputeBench) -> None:
    bench.bank.open()
    bench.bank.open("du_2", "inquired")
    bench.reported()
    bench.reported(key="du_2")
    too_large = Evidence(*["x" * LONGEST_TEXT] * (LARGEST_ANSWER // LONGEST_TEXT + 1))
    assert refused(bench, DisputeAction("accept", "no"), "du_none") == (404, "not-found")
    assert refused(bench, DisputeAction("answer", "no", too_large)) == (422, "evidence-too-large")
    assert refused(bench, DisputeAction("answer", "no", Evidence())) == (422, "invalid-request")
    assert refused(bench, DisputeAction("answer", "no")) == (422, "invalid-request")
    assert refused(bench, DisputeAction("accept", "no", SHOWN)) == (422, "invalid-request")
    assert refused(bench, DisputeAction("accept", "no"), "du_2") == (409, "not-allowed-now")
    bench.act("answer")
    assert refused(bench, DisputeAction("accept", "no")) == (409, "not-allowed-now")
    assert refused(bench, DisputeAction("answer", "no", Evidence("else"))) == (409, "not-allowed-now")
    bench.context.clock.move(40 * 86_400)  # pyright: ignore[reportFunctionMemberAccess]
    assert refused(bench, DisputeAction("answer", "no", SHOWN), "du_2") == (409, "answer-too-late")
    assert bench.record("du_2").actions == ()


def test_a_partner_and_another_legal_entity_see_no_dispute_and_decide_about_none(bench: DisputeBench) -> None:
    bench.bank.open()
    bench.reported()
    for stranger in (replace(SOMEBODY, entities=frozenset({"FR01"})), replace(SOMEBODY, partner="nord")):
        assert bench.records.page(stranger, None, None, None, None, None, 25).items == ()
        with pytest.raises(ProblemError, match="no dispute"):
            bench.decisions.act("du_1", DisputeAction("accept", "mine"), stranger)
    assert bench.record().doing is None


def test_an_answer_that_billing_does_not_take_is_asked_for_again(bench: DisputeBench) -> None:
    bench.bank.open()
    bench.reported()
    bench.act("accept")
    bench.bank.decide("du_1", "answered")  # somebody has answered in billing itself
    found = bench.look()
    assert (found.state, found.doing) == ("answered", None)
    assert "has not taken it" in found.history[-1].reason
    assert ["not done" in each.reason for each in bench.cases("open")] == [True]


def test_a_dispute_waits_while_billing_is_away_and_is_a_case_when_it_cannot_be_read(bench: DisputeBench) -> None:
    bench.bank.open()
    bench.report()
    bench.bank.fault = 503, "platform-unavailable"
    waiting = bench.look()
    assert (waiting.state, waiting.amount, waiting.blocked_reason != "") == ("reported", None, True)
    bench.bank.fault = 422, "platform-rejected"
    bench.look()
    (case,) = bench.cases("open")
    assert (case.actions, "cannot be read" in case.reason) == (("retry", "skip"), True)

    bench.bank.fault = None
    owner = bench.capability.cases
    assert owner
    owner.act(case, "retry")()  # pyright: ignore[reportCallIssue]
    assert bench.look().state == "open"
    assert ["Answer the dispute" in each.reason for each in bench.cases("open")] == [True]


def test_disputes_are_found_by_what_they_are_and_until_when_they_wait(bench: DisputeBench) -> None:
    bench.bank.open()
    bench.bank.open("du_2", "lost")
    bench.reported()
    bench.reported(key="du_2")

    def found(**wanted: object) -> list[str]:
        asked = dict.fromkeys(("state", "customer_id", "contract_id", "due_before", "cursor")) | wanted
        return [each.id for each in bench.records.page(SOMEBODY, **asked, limit=25).items]  # pyright: ignore[reportArgumentType]

    assert found() == ["du_2", "du_1"]
    assert found(state="lost") == ["du_2"]
    assert found(due_before=UNTIL + timedelta(minutes=1)) == ["du_1"]
    assert found(due_before=UNTIL) == found(customer_id="cus_2") == found(contract_id="con_2") == []


# ---- what it costs


def test_what_a_dispute_costs_and_gives_back_is_booked_once_each(bench: DisputeBench) -> None:
    bench.bank.open()
    bench.reported()
    bench.fees.post_fee("txn_du_1")
    bench.bank.decide("du_1", "won")
    for _ in range(2):
        bench.reported(PAYMENT_REINSTATED)
        for key in ("txn_du_1", "txn_du_1_back"):
            bench.fees.post_fee(key)
    assert bench.bank.booked == ["txn_du_1", "txn_du_1_back"]
    booked = bench.context.postings.page(SOMEBODY, None, None, "fee", None, None, 25).items
    assert [(each.state, each.amount, each.kind) for each in booked] == [
        ("posted", FEE, "payment"),
        ("posted", -FEE, "payment"),
    ]


def test_a_fee_without_an_account_is_a_case_of_finance(bench: DisputeBench) -> None:
    bench.bank.open()
    bench.reported()
    bench.bank.lacks_account = True
    bench.fees.post_fee("txn_du_1")
    (case,) = (each for each in bench.cases("open") if each.kind == "fee_not_posted")
    assert (case.team, case.actions, case.field) == ("finance", ("retry", "skip"), "payment_fees")


@pytest.mark.parametrize("act", [None, "answer", "accept"])
def test_a_look_that_is_cut_short_anywhere_is_finished_by_the_next(bench: DisputeBench, act: str | None) -> None:
    bench.bank.open()
    bench.reported()
    if act:
        bench.act(act)  # pyright: ignore[reportArgumentType]
    else:
        bench.bank.decide("du_1", "won")
        bench.report(DISPUTE_CLOSED)
    for number in range(60):
        try:
            with before_statement(bench.context.database, number, dies):
                bench.disputing.look("du_1")
        except Killed:
            continue
        break
    expected = {"answer": "answered", "accept": "lost"}.get(act or "", "won")
    found = bench.record()
    assert (found.state, found.doing) == (expected, None)
    assert [step.state for step in found.history][-1] == expected
    assert len(bench.bank.done) == (1 if act else 0)
    assert bool(bench.cases("open")) == (expected == "answered")


def test_a_state_that_cannot_follow_is_left_to_people(bench: DisputeBench) -> None:
    bench.bank.open()
    bench.reported()
    bench.bank.decide("du_1", "inquired")
    assert bench.reported(DISPUTE_CHANGED).state == "open"
    assert "cannot go from open to inquired" in bench.record().blocked_reason
    (case,) = bench.cases("open")
    assert (case.actions, "cannot go from open" in case.reason) == (("retry", "skip"), True)

    days_pass(bench)
    bench.look()
    assert bench.cases("open") == [case]
    bench.bank.decide("du_1", "won")
    days_pass(bench)
    assert (bench.look().state, bench.cases("open")) == ("won", [])


def days_pass(bench: DisputeBench) -> None:
    """Let the time come at which a dispute that is not over is read again."""
    bench.context.clock.move(LOOK_AGAIN.total_seconds() + 1)  # pyright: ignore[reportFunctionMemberAccess]
    row = bench.records.find("du_1")
    assert row
    assert row.next_attempt_at <= bench.context.clock().isoformat()


def test_a_dispute_that_fails_one_look_asks_support_again_once_it_is_read(bench: DisputeBench) -> None:
    bench.bank.open()
    bench.reported()
    bench.act("answer")
    bench.bank.fault = 422, "platform-rejected"
    bench.look()
    (failed,) = bench.cases("open")
    assert (failed.actions, "cannot be read" in failed.reason) == (("retry", "skip"), True)

    bench.context.cases.close(failed, "skipped")
    days_pass(bench)
    bench.look()
    assert bench.cases("open") == []

    bench.bank.fault = None
    days_pass(bench)
    found = bench.look()
    assert (found.state, found.doing, bench.bank.done) == ("answered", None, ["answer du_1"])
    assert ["was answered" in each.reason for each in bench.cases("open")] == [True]


@pytest.mark.parametrize("fault", [(422, "platform-rejected"), (503, "platform-unavailable")])
def test_support_is_asked_again_when_nothing_waits_for_a_dispute_any_more_that_cannot_be_read(
    bench: DisputeBench, fault: tuple[int, str]
) -> None:
    bench.bank.open()
    bench.reported()
    for case in bench.cases("open"):
        bench.context.cases.close(case, "skipped")
    bench.bank.fault = fault
    for _ in range(HOLDS_UNREAD.days + 2):
        days_pass(bench)
        bench.look()
        for case in bench.cases("open"):
            bench.context.cases.close(case, "skipped")
    said = [each for each in bench.cases() if f"for {HOLDS_UNREAD.days} days" in each.reason]
    assert [each.actions for each in said] == [("retry", "skip")]


@pytest.mark.parametrize("until", [UNTIL, None])
def test_the_case_of_a_failed_look_is_closed_once_the_dispute_is_read(
    bench: DisputeBench, until: datetime | None
) -> None:
    bench.bank.open(state="open" if until else "lost", until=until)
    bench.report()
    bench.bank.fault = 422, "platform-rejected"
    bench.look()
    bench.bank.fault = None
    days_pass(bench)
    bench.look()
    assert [each.actions for each in bench.cases("open")] == ([("skip",)] if until else [])
