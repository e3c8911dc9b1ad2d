"""What follows when a contract owes, whatever is reported of it, and in whatever order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from canonical.amendments import Amendment, Cancel, Pause, Resume, Transfer
from canonical.cases import Finding
from canonical.dunning import DunningAction
from canonical.events import (
    COLLECTION_CHANGED,
    CREDIT_NOTE_ISSUED,
    INVOICE_CANCELLED,
    INVOICE_PAID,
    MEANS_ATTACHED,
    PAYMENT_FAILED,
    PAYMENT_RECEIVED,
    PAYMENT_REVERSED,
)
from canonical.money import Money
from policies.identity.authentication import Principal
from policies.problems import ProblemError
from process_apis.amendments.contract import timeline
from process_apis.dunning.workflow import LOOK_AGAIN
from process_apis.records.amendments import OURS
from process_apis.records.database import orders
from process_apis.records.disputes import HOLDS_UNREAD, Disputes
from process_apis.records.dunnings import NOT_ASKED_FOR
from process_apis.records.renewals import Renewals
from tests.support.amendment_bench import BUYER, OTHER, is_customer
from tests.support.dunning_bench import CANCEL, DAY, EUROS, KEEP, SUSPENDED, WRITE_OFF, DunningBench, Make
from tests.support.process_context import SOMEBODY

MRR = Money(29_950, "EUR")
OWED, SERVICE = "payment_overdue:invoices", "service_suspended:service"


def state_of_contract(made: DunningBench) -> str:
    found = made.contract()
    present = timeline(made.bench.records, found, found.read_at).present
    assert present
    return present.state


def pay(made: DunningBench, key: str = "in_1") -> None:
    made.everybody.end(key, "paid")
    made.report(INVOICE_PAID, key)


def test_a_failed_payment_is_shown_everywhere_until_it_is_paid(dunning: Make) -> None:
    made = dunning("")
    found = made.fail(reason="insufficient funds")

    assert (found.state, found.owed, found.suspended) == ("past_due", EUROS, False)
    case = made.cases()[OWED]
    assert case.team == "finance"
    assert case.reason == (
        "119.00 EUR past due since 2026-03-10 (in_1: 119.00 EUR, 1 attempt, insufficient funds)."
        " Next: billing tries again on 2026-03-11 12:00 UTC."
    )
    assert made.shown() == ("past_due", "119.00 EUR past due since 2026-03-10")
    contract = made.contract()
    versions = timeline(made.bench.records, contract, contract.read_at - DAY)
    assert [(each.state, each.mrr) for each in versions.versions] == [("active", MRR), ("past_due", MRR)]
    assert versions.present == versions.versions[0]
    assert state_of_contract(made) == "past_due"

    pay(made)
    found = made.look()
    assert (found.state, found.owed.amount, found.invoices, found.since) == ("recovered", 0, (), None)
    assert made.cases() == {}
    assert made.shown() == ("active", "")
    assert state_of_contract(made) == "active"
    assert made.everybody.suspensions == []


def test_a_failure_that_is_told_after_the_payment_changes_nothing(dunning: Make) -> None:
    made = dunning(CANCEL)
    made.fail()
    pay(made)
    before = made.look()

    for _ in range(2):
        made.report(PAYMENT_FAILED)
        made.report(COLLECTION_CHANGED, made.bench.contract_id, state="past_due")
        assert made.look() == before
    assert made.runs.agenda.due(10) == []


def test_what_was_never_owed_is_no_dunning(dunning: Make) -> None:
    made = dunning(CANCEL)
    for kind, data in ((PAYMENT_FAILED, {}), (PAYMENT_REVERSED, {"reason": "fraudulent"}), (PAYMENT_REVERSED, {})):
        made.report(kind, **data)
    made.look()
    assert made.runs.records.page(SOMEBODY, {}, None, 25).items == ()
    assert (made.cases(), made.everybody.states) == ({}, [])


def test_what_is_told_of_a_contract_that_is_none_of_ours_is_left_alone(dunning: Make) -> None:
    made = dunning("")
    made.report(PAYMENT_FAILED, contract="con_of_another")
    assert made.runs.agenda.due(10) == []
    assert made.runs.is_noticed(made.event(PAYMENT_FAILED, contract="con_of_another"))


def test_a_failure_whose_dunning_was_lost_is_one_that_a_replay_makes_again(dunning: Make) -> None:
    made = dunning("")
    event = made.event(PAYMENT_FAILED)
    assert not made.runs.is_noticed(event)
    made.fail()
    assert made.runs.is_noticed(event)


def test_the_service_is_suspended_after_its_days_and_goes_on_once_all_is_paid(dunning: Make) -> None:
    made = dunning(CANCEL)
    made.fail()
    assert made.later(13.9).state == "past_due"
    found = made.later(0.2)

    assert (found.state, found.suspended, made.everybody.is_suspended) == ("suspended", True, True)
    assert made.cases().keys() == {OWED, SERVICE}
    assert made.cases()[SERVICE].team == "support"
    assert made.shown()[1].endswith("; its service is suspended")

    made.owe("in_2", 5_000)
    pay(made)
    assert (made.look().state, made.everybody.is_suspended) == ("suspended", True)
    pay(made, "in_2")
    assert (made.look().state, made.everybody.is_suspended) == ("recovered", False)
    assert made.everybody.suspensions == [True, False]
    assert made.cases() == {}


def test_a_debt_that_comes_again_is_the_same_record_with_days_of_its_own(dunning: Make) -> None:
    made = dunning(CANCEL)
    made.fail()
    made.later(15)
    pay(made)
    first = made.look()
    made.later(100)
    again = made.fail("in_2")

    assert (again.id, again.state, again.suspended) == (first.id, "past_due", False)
    assert [each.state for each in again.history] == ["past_due", "suspended", "recovered", "past_due"]
    assert made.later(15).state == "suspended"


def test_less_than_the_minimum_suspends_nothing_and_a_part_payment_may_come_to_that(dunning: Make) -> None:
    made = dunning(CANCEL)
    made.fail(cents=499)
    found = made.later(60)
    assert (found.state, found.suspended) == ("past_due", False)
    assert "nothing else follows from less than 5.00 EUR" in found.blocked_reason

    made.owe(cents=11_900)
    assert made.later(1).suspended
    made.owe(cents=400)
    made.report(PAYMENT_RECEIVED)
    assert (made.look().suspended, made.everybody.is_suspended) == (False, False)


def test_a_means_of_payment_that_was_refused_for_good_waits_for_another_one(dunning: Make) -> None:
    made = dunning(CANCEL)
    found = made.fail(reason="stolen card", needs_means=True)
    assert (found.state, found.blocked_reason[:34]) == ("waiting_for_means", "another means of payment is needed")
    assert "another means of payment is needed" in made.cases()[OWED].reason

    made.owe(reason="stolen card", needs_means=False)
    made.report(MEANS_ATTACHED, BUYER.id)
    assert made.look().state == "past_due"
    assert "another means of payment" not in made.cases()[OWED].reason


def test_nothing_follows_while_a_payment_is_on_its_way_and_what_was_owed_stays_so(dunning: Make) -> None:
    made = dunning(CANCEL)
    made.fail()
    made.later(13)
    made.owe(is_overdue=False, in_collection=True)
    found = made.later(4)
    assert (found.state, found.suspended) == ("past_due", False)
    assert "while a payment is on its way" in found.blocked_reason

    made.owe()
    assert made.later(1).state == "suspended"


def test_nothing_follows_while_a_payment_of_the_contract_is_disputed(dunning: Make) -> None:
    made = dunning(CANCEL)
    made.fail()
    about = {"contract_id": made.bench.contract_id, "customer_id": BUYER.id, "legal_entity": "DE01"}
    made.context.postings.expect("invoice", "stripe", "in_0", "cor_1", made.context.stalled_at(), **about)
    finding = Finding("du_1", "disputed")
    case = made.context.cases.open("payment_disputed", "invoice:in_0", finding, ("skip",), correlation_id="cor_1")
    assert made.later(20).suspended is False
    made.context.cases.close(case, "won")
    assert made.later(1).suspended


def test_nothing_follows_while_the_bank_decides_whatever_support_has_done_about_its_case(dunning: Make) -> None:
    made = dunning(CANCEL)
    made.fail()
    disputes, renewals = Disputes(made.context.database, made.clock), Renewals(made.context.database, made.clock)
    disputes.expect("du_1", made.event(PAYMENT_REVERSED, "du_1", invoice="in_0"), "cor_1")
    for state in ("reported", "inquired", "open", "answered"):
        with disputes.at("du_1") as one:
            one.enter(state, None)
        assert made.later(10).suspended is False
        assert renewals.open_dispute(made.bench.contract_id) == "du_1"
    with disputes.at("du_1") as one:
        one.enter("won", None)
    assert made.later(1).suspended
    assert renewals.open_dispute(made.bench.contract_id) == ""


def test_a_dispute_that_cannot_be_read_holds_what_follows_for_a_bounded_time(dunning: Make) -> None:
    made = dunning(CANCEL)
    made.fail()
    about = {"contract_id": made.bench.contract_id, "customer_id": BUYER.id, "legal_entity": "DE01"}
    made.context.postings.expect("invoice", "stripe", "in_0", "cor_1", made.context.stalled_at(), **about)
    disputes, renewals = Disputes(made.context.database, made.clock), Renewals(made.context.database, made.clock)
    disputes.expect("du_1", made.event(PAYMENT_REVERSED, "du_1", invoice="in_0"), "cor_1")
    finding = Finding("du_1", "it cannot be read")
    made.context.cases.open("payment_disputed", "invoice:in_0", finding, ("skip",), correlation_id="cor_1")
    row = disputes.find("du_1")
    assert row
    disputes.postpone(row, made.clock() + DAY, 1, "it cannot be read")

    assert made.later(HOLDS_UNREAD.days - 1).suspended is False
    assert renewals.open_dispute(made.bench.contract_id) == "du_1"
    assert made.later(2).suspended
    assert renewals.open_dispute(made.bench.contract_id) == ""


@pytest.mark.parametrize(("kind", "state"), [(CREDIT_NOTE_ISSUED, "paid"), (INVOICE_CANCELLED, "void")])
def test_a_credit_note_or_a_void_invoice_settles_a_debt(dunning: Make, kind: str, state: str) -> None:
    made = dunning(CANCEL)
    made.fail()
    made.later(15)
    made.everybody.end("in_1", state)
    made.report(kind)
    assert (made.look().state, made.everybody.is_suspended) == ("recovered", False)


def test_the_last_step_asks_once_for_the_end_which_finance_approves(dunning: Make) -> None:
    made = dunning(CANCEL)
    made.fail()
    made.later(14)
    found = made.later(17)

    asked = made.bench.of(found.amendment_id)
    assert (found.state, asked.requested_by, asked.state) == ("suspended", OURS, "awaiting_approval")
    assert asked.request.actions == (Cancel("us"),)
    assert asked.request.settlement == "none"
    assert made.later(5).amendment_id == found.amendment_id
    assert len(made.bench.records.page(SOMEBODY, None, None, None, 25).items) == 1

    (case,) = made.bench.cases(asked.id)
    made.bench.act(case, "approve")
    found = made.look()
    assert (found.state, made.contract().is_over, made.everybody.removed) == ("ended", True, 1)
    assert made.cases().keys() == {OWED}
    heard = len(made.everybody.suspensions)

    pay(made)
    assert made.look().state == "recovered"
    assert (made.contract().is_over, len(made.everybody.suspensions)) == (True, heard)
    assert made.cases() == {}


def test_an_end_that_is_rejected_leaves_the_debt_to_people(dunning: Make) -> None:
    made = dunning(CANCEL)
    made.fail()
    made.later(14)
    asked = made.later(17).amendment_id
    (case,) = made.bench.cases(asked)
    made.bench.act(case, "reject")
    made.look()
    found = made.later(1)

    assert (found.state, found.suspended) == ("kept", True)
    assert f"{asked} was withdrawn" in found.blocked_reason
    pay(made)
    assert (made.look().state, made.everybody.is_suspended) == ("recovered", False)


def asked_for(made: DunningBench) -> Amendment:
    """Let the last step ask for the end of the contract, and return that amendment."""
    made.later(14)
    asked = made.bench.of(made.later(17).amendment_id)
    assert asked.state == "awaiting_approval"
    return asked


@pytest.mark.parametrize("what", ["paid", "end", "postpone", "resume", "disputed", "on its way", "no policy"])
def test_an_end_that_nothing_asks_for_any_more_is_given_up(dunning: Make, what: str) -> None:
    made = dunning(CANCEL)
    made.fail()
    asked = asked_for(made)
    day = (made.clock() + 5 * DAY).date()
    match what:
        case "paid":
            pay(made)
        case "end":
            made.decide("end")
        case "postpone" | "resume":
            made.decide(what, day)
        case "disputed":
            disputes = Disputes(made.context.database, made.clock)
            disputes.expect("du_1", made.event(PAYMENT_REVERSED, "du_1", invoice="in_0"), "cor_1")
        case "on its way":
            made.owe(is_overdue=False, in_collection=True)
        case _:
            made.owe(cents=499)
    made.later(1)

    given_up = made.bench.of(asked.id)
    assert (given_up.state, made.found().amendment_id) == ("given_up", "")
    assert given_up.blocked_reason.startswith(NOT_ASKED_FOR)
    assert not made.bench.cases(asked.id)
    assert not made.contract().is_over


def test_a_debt_that_was_postponed_asks_for_the_end_again(dunning: Make) -> None:
    made = dunning(CANCEL)
    made.fail()
    first = asked_for(made)
    made.decide("postpone", (made.clock() + 5 * DAY).date())
    assert made.later(4).amendment_id == ""
    found = made.later(2)
    assert found.amendment_id not in ("", first.id)
    (case,) = made.bench.cases(found.amendment_id)
    made.bench.act(case, "approve")
    assert (made.look().state, made.contract().is_over) == ("ended", True)


def test_an_end_is_not_carried_out_before_what_is_owed_was_looked_at(dunning: Make) -> None:
    made = dunning(CANCEL)
    made.fail()
    asked = asked_for(made)
    made.everybody.end("in_1", "paid")  # which nobody has reported yet
    (case,) = made.bench.cases(asked.id)
    made.bench.act(case, "approve")
    made.look_at_amendments()
    assert made.bench.of(asked.id).state == "checking"
    assert made.look().state == "recovered"
    made.later(1)
    assert (made.bench.of(asked.id).state, made.contract().is_over) == ("given_up", False)


def queue_looks(made: DunningBench) -> None:
    """Let the looks that are due wait in the partition of the contract, behind its amendments."""
    for row in made.runs.agenda.due(10):
        made.runs.agenda.claim(row)


@pytest.mark.parametrize("state", ["checking", "applying"])
@pytest.mark.parametrize("what", ["paid", "less", "on its way", "disputed"])
def test_an_end_looks_at_billing_again_when_a_look_is_only_queued(dunning: Make, state: Any, what: str) -> None:
    made = dunning(CANCEL)
    made.fail()
    asked = asked_for(made)
    (case,) = made.bench.cases(asked.id)
    made.bench.act(case, "approve")
    with made.bench.records.at(asked.id) as one:
        one.advance(state, next_attempt_at=made.clock())
    match what:
        case "paid":
            pay(made)
        case "less":
            made.owe(cents=10_000)
            made.report(CREDIT_NOTE_ISSUED, "cn_1")
        case "on its way":
            made.owe(is_overdue=False, in_collection=True)
            made.report(COLLECTION_CHANGED, made.bench.contract_id, state="active")
        case _:
            disputes = Disputes(made.context.database, made.clock)
            disputes.expect("du_1", made.event(PAYMENT_REVERSED, "du_1", invoice="in_0"), "cor_1")
    queue_looks(made)
    made.look_at_amendments()
    waiting = made.bench.of(asked.id)
    assert (waiting.state, waiting.blocked_reason) == (state, "a look at what is owed")
    assert not made.contract().is_over
    made.look()
    made.later(1)
    assert made.contract().is_over is (what == "less")


def test_an_end_that_billing_has_already_is_completed_though_it_is_paid_since(dunning: Make) -> None:
    made = dunning(CANCEL)
    made.fail()
    asked = asked_for(made)
    (case,) = made.bench.cases(asked.id)
    made.bench.act(case, "approve")
    with made.bench.records.at(asked.id) as one:
        one.advance("applying", next_attempt_at=made.clock())
    made.everybody.end("in_1", "paid")
    made.everybody.is_over = True
    queue_looks(made)
    made.look_at_amendments()
    assert made.contract().is_over


def test_an_end_on_its_way_to_billing_is_refused_once_the_debt_is_paid(dunning: Make) -> None:
    made = dunning(CANCEL)
    made.fail()
    asked = asked_for(made)
    (case,) = made.bench.cases(asked.id)
    made.bench.act(case, "approve")
    with made.bench.records.at(asked.id) as one:  # and billing is away
        one.advance("applying", next_attempt_at=made.clock() + DAY)

    pay(made)
    made.look()
    made.later(1)
    assert (made.bench.of(asked.id).state, made.contract().is_over) == ("on_hold", False)
    (case,) = made.bench.cases(asked.id)
    assert (case.kind, case.reason) == ("amendment_invalid", NOT_ASKED_FOR)


@pytest.mark.parametrize("action", ["end", "postpone", "resume"])
def test_a_decision_that_comes_while_a_look_runs_is_what_counts(dunning: Make, action: Any) -> None:
    made = dunning(CANCEL)
    made.fail()
    made.later(14)
    made.clock.now += 17 * DAY
    until = None if action == "end" else (made.clock() + 9 * DAY).date()
    wanted = DunningAction(action, "agreed by phone", until)

    def decide() -> None:
        made.runs.decide(made.id, wanted, SOMEBODY)

    made.everybody.before_next("open-invoices", decide)
    made.look()
    found = made.later(1)
    assert (found.amendment_id, made.contract().is_over) == ("", False)
    assert found.suspended is (action == "postpone")
    assert found.state == {"end": "kept", "postpone": "suspended", "resume": "past_due"}[action]
    assert found.postponed_until == until


def test_a_decision_keeps_an_invoice_from_being_written_off(dunning: Make) -> None:
    made = dunning(WRITE_OFF)
    made.fail()
    made.later(14)
    made.clock.now += 17 * DAY
    made.everybody.before_next(
        "open-invoices", lambda: made.runs.decide(made.id, DunningAction("end", "agreed"), SOMEBODY)
    )
    made.look()
    assert (made.later(1).state, made.everybody.written_off) == ("kept", [])


def test_one_invoice_that_billing_does_not_give_up_keeps_no_other_one(dunning: Make) -> None:
    made = dunning(WRITE_OFF)
    made.fail()
    made.owe("in_2", 600)
    made.everybody.not_given_up.add("in_1")
    made.later(14)
    found = made.later(17)

    assert (made.everybody.written_off, found.owed) == (["in_2"], EUROS)
    assert (found.state, found.blocked_reason) == ("suspended", "system: no")
    assert made.cases().keys() == {OWED, SERVICE, "payment_overdue:system"}
    made.everybody.not_given_up.clear()
    assert made.later(1).state == "written_off"
    assert made.cases().keys() == {SERVICE}


def test_what_is_written_off_is_so_once_and_a_payment_after_all_lets_the_service_go_on(dunning: Make) -> None:
    made = dunning(WRITE_OFF)
    made.fail()
    made.owe("in_2", 600)
    made.later(14)
    found = made.later(17)

    assert (found.state, found.suspended, found.owed.amount) == ("written_off", True, 0)
    assert made.everybody.written_off == ["in_1", "in_2"]
    assert made.cases().keys() == {SERVICE}
    with pytest.raises(ProblemError, match="written_off"):
        made.decide("postpone", (made.clock() + 9 * DAY).date())

    made.everybody.ended |= {"in_1": "paid", "in_2": "paid"}
    made.report(INVOICE_PAID)
    assert (made.look().state, made.everybody.is_suspended) == ("recovered", False)
    assert made.everybody.written_off == ["in_1", "in_2"]


def test_people_let_a_service_go_on_of_which_the_debt_is_written_off(dunning: Make) -> None:
    made = dunning(WRITE_OFF)
    made.fail()
    made.later(14)
    made.later(17)
    found = made.decide("end")
    assert (found.state, found.suspended, made.everybody.is_suspended) == ("written_off", False, False)
    assert (made.later(20).suspended, made.cases()) == (False, {})


def test_what_is_written_off_is_not_forgotten_for_an_invoice_that_comes_later(dunning: Make) -> None:
    made = dunning(WRITE_OFF)
    made.fail()
    made.later(14)
    assert made.later(17).state == "written_off"
    found = made.fail("in_2", 5_000)
    assert ([each.id for each in found.invoices], found.owed.amount) == (["in_2"], 5_000)

    pay(made, "in_2")
    assert (made.look().state, made.everybody.is_suspended) == ("written_off", True)
    pay(made)
    assert (made.look().state, made.everybody.is_suspended) == ("recovered", False)


def test_who_has_paid_a_later_debt_is_not_suspended_for_one_that_was_written_off_before(dunning: Make) -> None:
    made = dunning(WRITE_OFF)
    made.fail()
    made.later(14)
    made.later(17)
    made.decide("end")
    made.fail("in_2", 5_000)
    assert made.later(14).suspended

    pay(made, "in_2")
    assert (made.look().state, made.everybody.is_suspended, made.cases()) == ("recovered", False, {})


def test_what_people_take_out_of_collection_is_owed_no_longer(dunning: Make) -> None:
    made = dunning(WRITE_OFF)
    made.fail()
    made.later(15)
    made.everybody.end("in_1", "open")  # billing has it open, and names it no more
    made.later(1)
    assert (made.found().state, made.everybody.is_suspended, made.cases()) == ("recovered", False, {})

    made.everybody.end("in_1", "uncollectible")
    made.report(INVOICE_CANCELLED)
    assert (made.look().state, made.everybody.is_suspended, made.cases()) == ("written_off", False, {})


def test_what_is_kept_stays_as_it_is_until_it_is_paid(dunning: Make) -> None:
    made = dunning(KEEP)
    made.fail()
    made.later(14)
    found = made.later(60)
    assert (found.state, found.suspended, made.everybody.changes) == ("kept", True, [])


def test_a_policy_that_is_late_suspends_before_it_takes_the_last_step(dunning: Make) -> None:
    made = dunning(WRITE_OFF)
    made.owe()
    made.clock.now += 90 * DAY
    made.report(PAYMENT_FAILED)
    assert (made.look().state, made.everybody.written_off) == ("suspended", [])
    assert made.later(1).state == "written_off"


def test_a_direct_debit_that_comes_back_is_owed_until_the_books_have_it_paid(dunning: Make) -> None:
    made = dunning(WRITE_OFF)
    made.give_back()
    found = made.look()
    assert (found.state, found.owed) == ("past_due", EUROS)
    assert found.invoices[0].returned

    made.later(14)
    found = made.later(20)
    assert (found.state, made.everybody.written_off) == ("kept", [])
    assert "billing shows as paid what came back" in found.blocked_reason

    made.everybody.books["in_9"] = Money(0, "EUR")
    assert made.later(1).state == "recovered"
    assert not made.everybody.is_suspended


def test_each_part_of_an_invoice_that_comes_back_is_owed_from_midnight_of_the_books(dunning: Make) -> None:
    made = dunning("")
    half = Money(5_950, "EUR")
    for key in ("du_1", "du_2"):
        made.give_back(key)
        made.everybody.went[key] = msgspec.structs.replace(made.everybody.went[key], amount=half)
    found = made.look()
    assert (found.owed, len(found.invoices)) == (EUROS, 1)
    assert found.invoices[0].since == datetime(2026, 3, 9, 23, tzinfo=UTC)

    made.context.postings.change("reversal", "du_2", state="waiting")
    made.everybody.books["in_9"] = half
    assert made.later(1).owed == EUROS
    made.everybody.books["in_9"] = Money(2_000, "EUR")
    assert made.later(1).owed == Money(7_950, "EUR")


def test_what_came_back_and_is_booked_by_hand_is_owed_as_the_books_have_it(dunning: Make) -> None:
    made = dunning("")
    made.give_back()
    made.context.postings.change("reversal", "du_1", state="failed", skipped=True)
    assert made.look().owed == EUROS
    made.everybody.books["in_9"] = Money(0, "EUR")
    assert made.later(1).state == "recovered"


def test_a_pause_that_ends_leaves_a_service_suspended_that_is_owed_for(dunning: Make) -> None:
    made = dunning(SUSPENDED)
    made.bench.run(made.bench.ask(Pause(), effective="period_end"))
    made.clock.now += 25 * DAY
    made.look_at_amendments()
    assert made.everybody.is_suspended
    made.fail()
    made.later(15)
    assert made.found().suspended

    made.bench.run(made.bench.ask(Resume(), key="resume", effective="period_end"))
    made.clock.now += 40 * DAY
    made.look_at_amendments()
    assert made.contract().rest is None
    assert made.everybody.is_suspended

    pay(made)
    made.look()
    assert not made.everybody.is_suspended


def test_a_pause_that_ends_leaves_a_service_suspended_of_which_the_debt_is_written_off(dunning: Make) -> None:
    made = dunning(WRITE_OFF)
    made.fail()
    made.bench.run(made.bench.ask(Pause(), effective="period_end"))
    made.later(15)
    assert (made.later(17).state, made.found().suspended) == ("written_off", True)

    made.bench.run(made.bench.ask(Resume(), key="resume", effective="period_end"))
    made.later(40)
    assert made.contract().rest is None
    assert made.everybody.is_suspended


def test_a_service_that_is_paid_stays_suspended_while_its_contract_rests(dunning: Make) -> None:
    made = dunning(SUSPENDED)
    made.fail()
    made.later(15)
    made.bench.run(made.bench.ask(Pause(), effective="period_end"))
    made.later(20)
    pay(made)
    assert (made.look().state, made.found().suspended, made.everybody.is_suspended) == ("recovered", False, True)


def test_what_the_former_customer_owes_suspends_nothing_of_who_has_the_contract_now(dunning: Make) -> None:
    made = dunning(SUSPENDED)
    is_customer(made.bench, OTHER)
    made.fail()
    made.later(15)
    asked = made.bench.ask(Transfer(OTHER.id), key="moves", effective="period_end")
    made.bench.run(asked)
    (case,) = made.bench.cases(asked)
    made.bench.act(case, "approve")
    found = made.later(10)

    assert made.contract().contract.customer_id == OTHER.id
    assert (found.state, found.suspended, made.everybody.is_suspended) == ("ended", False, False)
    assert "another customer has the contract" in found.blocked_reason
    assert made.cases().keys() == {OWED}
    assert state_of_contract(made) == "active"
    pay(made)
    assert made.look().state == "recovered"


def test_what_nothing_is_to_follow_stays_so_when_the_contract_comes_back_from_another_customer(dunning: Make) -> None:
    made = dunning(CANCEL)
    made.fail()
    assert made.decide("end").state == "kept"
    moves(made, OTHER.id)
    assert made.found().state == "ended"
    moves(made, BUYER.id)
    found = made.later(60)
    assert (found.state, found.suspended, found.amendment_id) == ("kept", False, "")

    pay(made)
    assert made.look().state == "recovered"
    made.fail("in_2")
    assert made.later(15).state == "suspended"


def moves(made: DunningBench, customer_id: str) -> None:
    """Let the contract be of another customer from now on, who may have had it before."""
    order = made.context.orders.get(made.bench.order_id)
    assert order.plan
    contract = msgspec.structs.replace(order.plan.contract, customer_id=customer_id)
    plan = msgspec.structs.replace(order.plan, contract=contract)
    with made.context.database.begin() as connection:
        changed = {"plan": msgspec.json.encode(plan), "customer_id": customer_id}
        connection.execute(orders.update().where(orders.c.id == order.id).values(changed))
    made.later(1)


def test_a_contract_that_comes_back_to_who_still_owes_for_it_is_past_due_again(dunning: Make) -> None:
    made = dunning(SUSPENDED)
    made.fail()
    with made.context.database.begin() as connection:
        connection.execute(orders.update().values(state="compensating"))
    assert made.later(1).state == "ended"
    with made.context.database.begin() as connection:
        connection.execute(orders.update().values(state="active"))
    made.report(PAYMENT_FAILED)
    assert made.look().state == "past_due"
    assert made.later(15).state == "suspended"


def test_what_was_invoiced_for_an_order_that_is_given_up_is_left_to_finance(dunning: Make) -> None:
    made = dunning(SUSPENDED)
    made.fail()
    made.later(15)
    heard = len(made.everybody.suspensions)
    with made.context.database.begin() as connection:
        connection.execute(orders.update().values(state="cancelled"))
    found = made.later(1)

    assert (found.state, found.suspended, found.blocked_reason) == ("ended", False, "its order is cancelled")
    assert (made.cases(), len(made.everybody.suspensions)) == ({}, heard)
    made.report(PAYMENT_FAILED)
    assert made.look().state == "ended"


def test_a_service_of_what_billing_has_ended_by_itself_goes_on_by_nothing(dunning: Make) -> None:
    made = dunning(CANCEL)
    made.fail()
    made.later(15)
    made.everybody.is_over = True
    found = made.later(30)
    assert (found.state, found.suspended, found.amendment_id) == ("ended", True, "")
    assert "billing has ended the contract: end it here, too" in made.cases()[OWED].reason

    pay(made)
    found = made.look()
    assert (found.state, made.everybody.is_suspended) == ("recovered", True)
    assert made.cases().keys() == {SERVICE}
    assert made.everybody.suspensions == [True]

    made.bench.run(made.bench.ask(Cancel("customer"), key="ends", settlement="none"))
    assert (made.look().suspended, made.contract().is_over, made.cases()) == (False, True, {})
    assert made.everybody.suspensions == [True]


def test_a_contract_that_owes_is_not_renewed_before_its_last_call(dunning: Make) -> None:
    made = dunning("")
    made.fail()
    row, renewals = made.runs.records.row(made.id), Renewals(made.context.database, made.clock)
    assert renewals.open_case(row) == made.cases()[OWED].id
    pay(made)
    made.look()
    assert renewals.open_case(row) == ""


def test_people_postpone_resume_and_end_what_follows_once_each(dunning: Make) -> None:
    made = dunning(CANCEL)
    made.fail()
    day = (made.clock() + 20 * DAY).date()
    for _ in range(2):
        assert made.decide("postpone", day).postponed_until == day
    assert made.later(19).suspended is False
    assert made.later(2).suspended

    found = made.decide("resume", (made.clock() + 5 * DAY).date())
    assert (found.state, found.suspended, made.everybody.is_suspended) == ("past_due", False, False)
    assert made.later(6).suspended

    found = made.decide("end")
    assert (found.state, made.everybody.is_suspended) == ("kept", False)
    assert made.later(60).suspended is False
    decided = [(each.by, each.reason) for each in found.history if each.by]
    assert decided == [("somebody", "agreed by phone")] * 3
    pay(made)
    assert made.look().state == "recovered"


def test_a_debt_that_comes_later_is_ended_by_a_decision_of_its_own(dunning: Make) -> None:
    made = dunning(CANCEL)
    for key in ("in_1", "in_2"):
        assert made.fail(key).state == "past_due"
        assert made.decide("end").state == "kept"
        pay(made, key)
        assert made.look().state == "recovered"


def test_what_cannot_be_decided_says_why(dunning: Make) -> None:
    made = dunning(CANCEL)
    made.fail()
    refused = [
        (DunningAction("postpone", "why"), "say until which day; today is 2026-03-10"),
        (DunningAction("resume", "why", made.clock().date()), "say until which day; today is 2026-03-10"),
        (DunningAction("end", "why", made.clock().date()), "what is ended has no day: leave it out"),
        (DunningAction("end", " "), "say why"),
    ]
    for wanted, reason in refused:
        with pytest.raises(ProblemError) as error:
            made.runs.decide(made.id, wanted, SOMEBODY)
        assert [each.reason for each in error.value.errors] == [reason]
    pay(made)
    made.look()
    with pytest.raises(ProblemError, match="recovered"):
        made.runs.decide(made.id, DunningAction("end", "why"), SOMEBODY)


def test_those_of_another_selling_company_and_partners_see_nothing_of_it(dunning: Make) -> None:
    made = dunning("")
    made.fail()
    for entities, partner in (({"FR01"}, ""), ({"*"}, "reseller-nord")):
        caller = Principal("x", "x", frozenset({"cases:act"}), frozenset(entities), "jti", 0.0, 0.0, partner=partner)
        assert made.runs.records.page(caller, {}, None, 25).items == ()
        with pytest.raises(ProblemError, match="There is no dunning"):
            made.runs.decide(made.id, DunningAction("end", "why"), caller)


def test_a_platform_that_is_away_is_waited_for_and_one_that_refuses_is_a_case(dunning: Make) -> None:
    made = dunning(CANCEL)
    made.fail()
    made.later(13.9)
    made.everybody.target = "refuses"
    found = made.later(0.2)
    assert made.cases().keys() == {OWED, "payment_overdue:provisioning"}
    assert made.cases()["payment_overdue:provisioning"].team == "support"
    assert found.blocked_reason.startswith("provisioning: ")

    made.everybody.target = "works"
    made.clock.now += LOOK_AGAIN + timedelta(minutes=1)
    assert (made.look().state, made.everybody.is_suspended) == ("suspended", True)
    assert made.cases().keys() == {OWED, SERVICE}


def test_the_case_of_a_look_that_failed_is_closed_where_nothing_is_owed(dunning: Make) -> None:
    made = dunning("")
    made.fail()
    pay(made)
    assert made.look().state == "recovered"
    refused = Finding("billing", "it refuses to say what is open", "billing")
    made.bench.context.cases.open("payment_overdue", made.id, refused, ("retry",), correlation_id="cor_9")

    made.report(PAYMENT_FAILED)
    assert (made.look().state, made.cases()) == ("recovered", {})


@pytest.mark.parametrize("call", range(1, 9))
def test_a_look_that_is_cut_short_anywhere_is_done_again_once(dunning: Make, call: int) -> None:
    made = dunning(CANCEL)
    made.fail()
    made.clock.now += 15 * DAY
    made.everybody.breaks = call
    made.look()
    made.later(1)
    made.everybody.breaks = 0
    made.later(1)

    assert (made.found().state, made.everybody.suspensions[-1], made.everybody.is_suspended) == (
        "suspended",
        True,
        True,
    )
    assert len(set(made.everybody.heard)) == len(made.everybody.heard) == 1
    assert [each.state for each in made.found().history] == ["past_due", "suspended"]
