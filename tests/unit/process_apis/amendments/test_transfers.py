"""A contract goes to another customer with the end of the period that is paid, and stays one contract."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
import pytest

from canonical.amendments import (
    Action,
    Amendment,
    AmendmentRequest,
    Cancel,
    ChangeTerm,
    ContractTimeline,
    NewAmendment,
    Pause,
    Renew,
    Reverse,
    Transfer,
)
from canonical.events import CONTRACT_ENDED, Event
from canonical.money import Money
from canonical.proration import Period
from canonical.states import AmendmentState
from policies.business.renewals import RenewalPolicy
from policies.identity.authentication import Principal
from policies.problems import ProblemError
from process_apis.amendments.contract import find, running, seen_by, timeline
from process_apis.amendments.transfers import check_customer
from process_apis.amendments.withdrawal import give_up
from process_apis.collection import capability
from process_apis.records import customers
from process_apis.renewals.plan import months_of_next_term
from process_apis.runtime.engine import Engine, EngineSettings
from tests.support.amendment_bench import BUYER, OTHER, Bench, is_customer, seats
from tests.support.process_context import SOMEBODY

APRIL = datetime(2026, 4, 1, tzinfo=UTC)
BEFORE_APRIL = APRIL - timedelta(days=3)
REVENUE = Money(29950, "EUR")
PARTNER = Principal("nord", "reseller-nord", frozenset(), frozenset({"*"}), "jti", 0.0, 0.0, partner="reseller-nord")


@pytest.fixture
def two(bench: Bench) -> Bench:
    """Return a bench with another customer."""
    is_customer(bench, OTHER)
    return bench


def ask(bench: Bench, customer: str = OTHER.id, key: str = "moves") -> str:
    return bench.ask(Transfer(customer), key=key, effective="period_end")


def approved(bench: Bench, amendment_id: str) -> Amendment:
    """Let somebody approve what waits for that, and return the amendment after it."""
    assert bench.run(amendment_id).state == "awaiting_approval"
    (case,) = bench.cases(amendment_id)
    bench.act(case, "approve")
    return bench.run(amendment_id)


def carried_out(bench: Bench, key: str = "moves") -> str:
    """Have the contract go to the other customer with the end of March, three days before that."""
    asked = ask(bench, key=key)
    assert approved(bench, asked).state == "scheduled"
    bench.clock.now = BEFORE_APRIL
    assert bench.run(asked).state == "applied"
    return asked


def handed_over(bench: Bench) -> str:
    asked = carried_out(bench)
    bench.clock.now = APRIL
    bench.run(asked)
    return asked


def shown(bench: Bench, principal: Principal = SOMEBODY) -> ContractTimeline:
    found = find(bench.context, bench.records, bench.contract_id, principal)
    return seen_by(principal, timeline(bench.records, found, bench.clock.now))


def holders(bench: Bench) -> list[tuple[str, Money]]:
    return [(each.customer_id, each.mrr) for each in shown(bench).versions]


def refusals(bench: Bench, *actions: Action, **more: Any) -> dict[str, str]:
    with pytest.raises(ProblemError) as refused:
        bench.ask(*actions, key="refused", **more)
    assert refused.value.problem.name == "change-refused"
    return {each.path: each.reason for each in refused.value.errors}


def test_a_contract_goes_to_another_customer_with_its_lines_and_the_taxes_of_that_one(two: Bench) -> None:
    before = two.lines()
    asked = ask(two)
    first = two.run(asked)

    assert (first.state, first.effective_at) == ("awaiting_approval", APRIL)
    assert first.preview
    assert first.preview.transfer
    terms = first.preview.transfer
    assert (terms.customer_id, terms.former_id, terms.transfers_on) == ("cus_2", BUYER.id, APRIL.date())
    assert (terms.tax, terms.tax_percent) == ("reverse_charge", "0")
    assert [(each.total, each.tax) for each in first.preview.invoices] == [(REVENUE, Money(0, "EUR"))]
    assert [each.total for each in first.preview.postings] == [REVENUE]
    assert first.preview.differences == ()
    assert [(each.mrr.amount, each.contract_value) for each in first.preview.deltas] == [(0, Money(0, "EUR"))]
    assert first.preview.approvals == ("the contract goes to the customer cus_2",)

    carried = carried_out(two, "moves")
    assert carried == asked
    change = two.everybody.changes[-1]
    assert change.handover
    assert (change.effective_at, change.handover.contract.references) == (APRIL, {"customer": "billing-cus_2"})
    order = two.context.orders.row(two.order_id)
    assert (order.customer_id, two.everybody.holders) == (BUYER.id, [])
    assert holders(two) == [(BUYER.id, REVENUE), ("cus_2", REVENUE)]

    two.clock.now = APRIL
    two.run(asked)
    order = two.context.orders.get(two.order_id)
    assert order.plan
    assert (order.customer_id, two.context.orders.row(order.id).partner) == ("cus_2", "reseller-nord")
    assert (order.plan.customer.id, order.plan.account_id) == ("cus_2", "002")
    assert order.plan.contract.references == {"customer": "billing-cus_2"}
    assert order.plan.contract.tax == "reverse_charge"
    assert (two.everybody.holders, two.everybody.requests, two.everybody.suspensions) == (["cus_2"], [], [])
    assert [(each.id, each.terms) for each in two.lines()] == [(each.id, each.terms) for each in before]
    assert {each.tax for each in two.lines()} == {"reverse"}
    assert two.everybody.shown[-1] == "transferred to cus_2 on 2026-04-01"
    status = two.everybody.states[-1]
    assert (status.account_id, status.customer_id) == ("002", "cus_2")
    assert (status.transferred_on, status.starts_on, status.term_months) == (APRIL.date(), APRIL.date(), 11)
    two.run(asked)
    assert two.everybody.holders == ["cus_2"]


def test_the_end_of_the_term_and_the_revenue_stay_what_they_were(two: Bench) -> None:
    until = shown(two).ends_on
    handed_over(two)
    found = shown(two)
    assert (found.customer_id, found.ends_on, found.starts_on) == ("cus_2", until, date(2026, 3, 1))
    assert found.present
    assert (found.present.customer_id, found.present.mrr) == ("cus_2", REVENUE)


def test_a_term_that_was_renewed_before_a_transfer_is_renewed_by_as_much_after_it(two: Bench) -> None:
    two.clock.now = datetime(2027, 2, 10, tzinfo=UTC)
    renews = two.ask(Renew(date(2028, 3, 1)), key="renews")
    assert two.run(renews).state == "scheduled"
    two.clock.now = datetime(2027, 2, 26, 12, tzinfo=UTC)
    assert two.run(renews).state == "applied"
    two.clock.now = datetime(2027, 3, 10, tzinfo=UTC)
    before = [each.ends_on for each in shown(two).versions]
    asked = ask(two)
    assert approved(two, asked).state == "scheduled"
    two.clock.now = datetime(2027, 3, 29, tzinfo=UTC)
    assert two.run(asked).state == "applied"
    two.clock.now = datetime(2027, 4, 1, tzinfo=UTC)
    two.run(asked)

    found = shown(two)
    assert (found.customer_id, found.ends_on) == ("cus_2", date(2028, 3, 1))
    assert [each.ends_on for each in found.versions] == [*before, date(2028, 3, 1)]
    assert before == [date(2027, 3, 1), date(2028, 3, 1)]
    assert months_of_next_term(_found(two), RenewalPolicy("automatic")) == 12


def test_it_waits_until_three_days_before_and_may_be_withdrawn_until_then(two: Bench) -> None:
    asked = ask(two)
    waits = approved(two, asked)
    assert (waits.state, waits.effective_at) == ("scheduled", APRIL)
    assert two.records.row(asked).next_attempt_at == BEFORE_APRIL.isoformat()
    assert holders(two) == [(BUYER.id, REVENUE), ("cus_2", REVENUE)]

    more = two.ask(seats(12), key="more")
    assert two.deliver(two.run(more).id).state == "applied"
    assert give_up(two.context, two.records, asked, "withdrawn")
    two.clock.now = APRIL
    assert two.run(asked).state == "given_up"
    assert [each for each, _ in holders(two)] == [BUYER.id, BUYER.id]
    assert all(each.handover is None for each in two.everybody.changes)


def test_what_was_changed_meanwhile_goes_with_the_contract(two: Bench) -> None:
    asked = ask(two)
    approved(two, asked)
    assert two.deliver(two.run(two.ask(seats(12), key="more")).id).state == "applied"
    two.clock.now = BEFORE_APRIL
    assert two.run(asked).state == "applied"
    change = two.everybody.changes[-1]
    assert change.handover
    assert change.handover.contract.net == Money(33950, "EUR")


def test_a_transfer_that_is_carried_out_is_reversed_in_time(two: Bench) -> None:
    asked = carried_out(two)
    (why,) = refusals(two, seats(12)).values()
    assert f"reverse {asked}" in why
    with pytest.raises(ProblemError) as refused:
        two.runs.withdraw(asked, SOMEBODY)
    assert "reverse it" in refused.value.detail

    back = two.run(two.ask(Reverse(asked), key="back"))
    assert (back.state, back.effective_at) == ("applied", APRIL)
    change = two.everybody.changes[-1]
    assert change.handover
    assert (change.handover.taken_back, change.handover.contract.customer_id) == (asked, "cus_2")
    assert two.everybody.shown[-1] == "goes on as before"
    two.clock.now = APRIL
    for each in (asked, back.id):
        two.run(each)
    assert two.everybody.holders == []
    assert two.context.orders.row(two.order_id).customer_id == BUYER.id
    assert {each for each, _ in holders(two)} == {BUYER.id}
    assert {each.tax for each in two.lines()} == {""}
    assert two.deliver(two.run(two.ask(seats(12), key="more")).id).state == "applied"


def test_a_reversal_that_is_on_its_way_at_the_moment_comes_first(two: Bench) -> None:
    asked = carried_out(two)
    back = two.ask(Reverse(asked), key="back")
    assert two.amending.check(back) == "done"
    two.clock.now = APRIL + timedelta(minutes=1)
    two.run(asked)
    assert two.context.orders.row(two.order_id).customer_id == BUYER.id
    assert back not in two.of(asked).blocked_reason
    assert "carried out" in two.of(asked).blocked_reason

    assert two.run(back).state == "applied"
    change = two.everybody.changes[-1]
    assert change.handover
    assert change.handover.taken_back == asked
    two.run(asked)
    assert two.context.orders.row(two.order_id).customer_id == BUYER.id
    assert two.everybody.holders == []


def test_a_transfer_that_counts_is_transferred_back(two: Bench) -> None:
    asked = handed_over(two)
    (why,) = refusals(two, Reverse(asked)).values()
    assert f"transfer it back, to {BUYER.id}" in why
    customers.keep(two.context.database, msgspec.structs.replace(BUYER, legal_entity="DE01"))

    back = ask(two, BUYER.id, "back")
    check_customer(two.context, _found(two), AmendmentRequest((Transfer(BUYER.id),), "period_end"), SOMEBODY)
    assert approved(two, back).state == "scheduled"
    two.clock.now = datetime(2026, 4, 28, tzinfo=UTC)
    assert two.run(back).state == "applied"
    two.clock.now = datetime(2026, 5, 1, tzinfo=UTC)
    two.run(back)
    assert two.everybody.holders == ["cus_2", BUYER.id]
    assert holders(two) == [(BUYER.id, REVENUE), ("cus_2", REVENUE), (BUYER.id, REVENUE)]
    status = two.everybody.states[-1]
    assert (status.account_id, status.starts_on) == ("001", date(2026, 5, 1))


def test_what_was_changed_before_a_transfer_with_another_tax_is_not_reversed_after_it(two: Bench) -> None:
    more = two.deliver(two.run(two.ask(seats(12), key="more")).id)
    assert more.state == "applied"
    handed_over(two)
    (why,) = refusals(two, Reverse(more.id)).values()
    assert "has transferred the contract, so change what is to be different" in why


def _found(bench: Bench) -> Any:
    return running(bench.context, bench.records, bench.context.orders.get(bench.order_id))


@pytest.mark.parametrize(
    ("customer", "words"),
    [
        ("cus_nobody", "there is no customer cus_nobody"),
        (BUYER.id, "it has the contract already"),
        ("cus_swiss", "it is no customer of DE01"),
        ("cus_francs", "it is billed in CHF"),
    ],
)
def test_a_customer_that_cannot_have_the_contract_is_refused(two: Bench, customer: str, words: str) -> None:
    is_customer(two, msgspec.structs.replace(OTHER, id="cus_swiss", legal_entity="CH01"), seller="CH01")
    is_customer(two, msgspec.structs.replace(OTHER, id="cus_francs"), currency="CHF")
    wanted = AmendmentRequest((Transfer(customer),), "period_end")
    with pytest.raises(ProblemError) as refused:
        check_customer(two.context, _found(two), wanted, SOMEBODY)
    (error,) = refused.value.errors
    assert error.path == "$.actions[0].customer"
    assert words in error.reason


@pytest.mark.parametrize("days", [0, 15, -16])
def test_a_transfer_with_the_end_of_the_term_comes_after_its_renewal(two: Bench, days: int) -> None:
    two.clock.now = datetime(2027, 2, 10, tzinfo=UTC)
    ends = datetime(2027, 3, 1, tzinfo=UTC) + timedelta(days=days)
    two.everybody.period = Period(ends - timedelta(days=28), ends)
    asked = ask(two)
    assert two.run(asked).state == "on_hold"
    (case,) = two.cases(asked)
    assert (case.field, case.actions) == ("actions[0]", ("retry", "compensate"))
    assert "the term ends on 2027-03-01" in case.reason
    assert "renew it first" in case.reason


def test_the_end_of_the_term_is_looked_at_again_before_a_transfer_goes(two: Bench) -> None:
    two.clock.now = datetime(2027, 1, 10, tzinfo=UTC)
    asked = ask(two)
    assert approved(two, asked).state == "scheduled"
    two.everybody.period = Period(datetime(2027, 1, 25, tzinfo=UTC), datetime(2027, 2, 25, tzinfo=UTC))
    two.clock.now = datetime(2027, 1, 29, tzinfo=UTC)
    assert two.run(asked).state == "on_hold"
    (case,) = two.cases(asked)
    assert "renew it first" in case.reason


def test_a_contract_that_goes_on_after_its_term_is_transferred(two: Bench) -> None:
    two.clock.now = datetime(2027, 3, 2, tzinfo=UTC)
    assert approved(two, ask(two)).state == "scheduled"


def test_a_customer_that_the_caller_may_not_see_is_none(two: Bench) -> None:
    hidden = msgspec.structs.replace(SOMEBODY, entities=frozenset({"CH01"}))
    for customer in ("cus_2", "cus_nobody"):
        wanted = AmendmentRequest((Transfer(customer),), "period_end")
        with pytest.raises(ProblemError) as refused:
            check_customer(two.context, _found(two), wanted, hidden)
        assert refused.value.errors[0].reason == f"there is no customer {customer}"


def test_a_partner_transfers_nothing(two: Bench) -> None:
    with pytest.raises(ProblemError):
        check_customer(two.context, _found(two), AmendmentRequest((Transfer("cus_2"),), "period_end"), PARTNER)


def test_a_partner_of_the_former_customer_takes_no_transfer_back(two: Bench) -> None:
    two.context.orders.change(two.order_id, partner=PARTNER.partner)
    customers.keep(two.context.database, msgspec.structs.replace(BUYER, partner=PARTNER.partner))
    asked = ask(two)
    approved(two, asked)
    with pytest.raises(ProblemError) as refused:
        two.runs.withdraw(asked, PARTNER)
    assert (refused.value.problem.name, two.of(asked).state) == ("not-allowed-now", "scheduled")
    assert "ask us" in refused.value.detail

    two.clock.now = BEFORE_APRIL
    assert two.run(asked).state == "applied"
    back = AmendmentRequest((Reverse(asked),))
    with pytest.raises(ProblemError) as refused:
        two.runs.preview(two.contract_id, back, PARTNER)
    (error,) = refused.value.errors
    assert error.path == "$.actions[0].amendment"
    check_customer(two.context, _found(two), back, SOMEBODY)


@pytest.mark.parametrize("more", [{}, {"effective": "date", "effective_on": date(2026, 3, 20)}])
def test_a_transfer_counts_from_the_end_of_the_period_alone(two: Bench, more: dict[str, Any]) -> None:
    assert "period_end" in refusals(two, Transfer("cus_2"), **more)["$.effective"]


def test_a_transfer_stands_alone(two: Bench) -> None:
    assert "stands alone" in refusals(two, Transfer("cus_2"), seats(12), effective="period_end")["$.actions"]


def test_a_contract_that_rests_or_has_an_end_or_what_is_to_come_is_not_transferred(two: Bench) -> None:
    how = {"effective": "period_end"}
    paused = two.run(two.ask(Pause(date(2026, 6, 1)), key="pause", **how))
    assert paused.id in refusals(two, Transfer("cus_2"), **how)["$.actions[0]"]
    assert two.run(two.ask(Reverse(paused.id), key="back")).state == "applied"
    two.clock.now = APRIL + timedelta(hours=1)
    assert two.run(two.ask(ChangeTerm(date(2026, 9, 1)), key="term")).state == "applied"
    assert "2026-09-01" in refusals(two, Transfer("cus_2"), **how)["$.actions[0]"]
    assert two.run(two.ask(ChangeTerm(None), key="no-term")).state == "applied"
    later = two.run(two.ask(seats(8), key="later", effective="date", effective_on=date(2026, 4, 20)))
    assert later.state == "scheduled"
    assert later.id in refusals(two, Transfer("cus_2"), **how)["$.actions[0]"]


@pytest.mark.parametrize(
    ("action", "more"),
    [
        (Pause(), {"effective": "period_end"}),
        (Renew(date(2028, 3, 1)), {}),
        (ChangeTerm(date(2026, 9, 1)), {}),
        (seats(8), {"effective": "period_end"}),
        (seats(8), {"effective": "date", "effective_on": date(2026, 3, 30)}),
        (Cancel(), {"effective": "date", "effective_on": date(2026, 5, 1)}),
    ],
)
def test_what_counts_from_after_an_agreed_transfer_is_asked_for_after_it(
    two: Bench, action: Action, more: dict[str, Any]
) -> None:
    asked = ask(two)
    approved(two, asked)
    found = refusals(two, action, **more)
    assert any(asked in each for each in found.values()), found


def test_an_end_before_the_transfer_gives_it_up(two: Bench) -> None:
    asked = ask(two)
    approved(two, asked)
    assert two.run(two.ask(Cancel(), key="ends", effective="period_end")).state == "applied"
    assert two.of(asked).state == "given_up"


def on_its_way(bench: Bench) -> str:
    """Return a change that was asked for after an agreed transfer, and that the target delivers."""
    more = bench.ask(seats(12), key="more")
    assert bench.run(more).state == "provisioning"
    return more


@pytest.mark.parametrize("held", [False, True])
def test_a_transfer_waits_for_a_change_that_is_carried_out_though_it_was_asked_for_later(
    two: Bench, *, held: bool
) -> None:
    asked = ask(two)
    approved(two, asked)
    more = on_its_way(two)
    if held:
        two.not_delivered(more, "seat")
    two.clock.now = BEFORE_APRIL
    waits = two.run(asked)
    assert (waits.state, waits.blocked_reason) == ("checking", f"{more}, which is carried out")
    assert two.everybody.changes == []

    for case in two.cases(more):
        two.act(case, "retry")
    two.run(more)
    assert two.deliver(more).state == "applied"
    assert two.run(asked).state == "applied"
    change = two.everybody.changes[-1]
    assert change.handover
    assert change.handover.contract.net == Money(33950, "EUR")


def test_a_transfer_looks_again_before_billing_has_it(two: Bench) -> None:
    asked = ask(two)
    approved(two, asked)
    two.clock.now = BEFORE_APRIL
    assert two.amending.check(asked) == "done"
    more, _ = two.records.receive(
        _found(two).contract, NewAmendment((seats(12),), key="more"), "seller", "cor_3", two.clock.now
    )
    _is_being(two, more.id, "checking", "applying")
    two.run(asked)
    waits = two.of(asked)
    assert (waits.state, waits.blocked_reason) == ("applying", f"{more.id}, which is carried out")
    assert two.everybody.changes == []


def _is_being(bench: Bench, amendment_id: str, *states: AmendmentState) -> None:
    for state in states:
        with bench.records.at(amendment_id) as one:
            one.advance(state, next_attempt_at=bench.clock.now)


def test_a_change_that_is_carried_out_after_a_transfer_all_the_same_does_not_reach_billing(two: Bench) -> None:
    asked = ask(two)
    approved(two, asked)
    more = on_its_way(two)
    waiting = two.records.row(more)
    two.records.change(more, state="given_up", next_attempt_at=None)
    two.clock.now = BEFORE_APRIL
    assert two.run(asked).state == "applied"
    two.records.change(more, state="provisioning", next_attempt_at=waiting.next_attempt_at)
    assert two.deliver(more).state == "on_hold"
    assert asked in two.of(more).blocked_reason
    assert len(two.everybody.changes) == 1

    two.clock.now = APRIL
    two.run(asked)
    (case,) = two.cases(more)
    two.act(case, "retry")
    assert two.run(more).state == "on_hold"
    assert two.cases(more)[-1].actions == ("compensate",)
    assert len(two.everybody.changes) == 1


def test_what_the_former_customer_asked_for_is_not_delivered_to_the_other(two: Bench) -> None:
    more = on_its_way(two)
    two.records.change(more, state="given_up", next_attempt_at=None)
    handed_over(two)
    before = len(two.everybody.requests)
    two.records.change(more, state="provisioning", delivery_attempt=0, undelivered="")
    assert two.run(more).state == "on_hold"
    assert len(two.everybody.requests) == before


def test_a_change_that_was_asked_for_under_the_former_customer_is_not_done_for_the_other(two: Bench) -> None:
    more = two.ask(seats(12), key="waits")
    asked = ask(two)
    with two.records.at(more) as one:
        one.advance("checking", next_attempt_at=None)
        one.advance("on_hold", next_attempt_at=None, held_in="checking")
    give_up(two.context, two.records, more, "for now")
    late = two.ask(seats(11), key="late")
    approved(two, asked)
    two.clock.now = BEFORE_APRIL
    assert two.run(asked).state == "applied"
    two.clock.now = APRIL
    two.run(asked)
    held = two.run(late)
    assert held.state == "on_hold"
    (case,) = two.cases(late)
    assert (case.kind, case.actions) == ("amendment_invalid", ("compensate",))
    assert two.everybody.requests == []


def test_credit_is_reviewed_as_for_a_sale(two: Bench) -> None:
    two.everybody.owed = 99_000
    asked = two.run(ask(two))
    assert asked.preview
    who, credit = asked.preview.approvals
    assert "over the limit" in credit
    assert "cus_2" in who


def test_a_customer_that_the_platforms_do_not_know_is_onboarded_and_previewed_without_an_invoice(bench: Bench) -> None:
    is_customer(bench, msgspec.structs.replace(OTHER, references={"salesforce": "002"}))
    asked = bench.run(ask(bench))
    assert asked.preview
    assert (asked.state, asked.preview.invoices) == ("awaiting_approval", ())
    (case,) = bench.cases(asked.id)
    bench.act(case, "approve")
    bench.run(asked.id)
    bench.clock.now = BEFORE_APRIL
    assert bench.run(asked.id).state == "applied"
    known = customers.last_seen(bench.context.database, "cus_2")
    assert known
    assert known.references == {"salesforce": "002", "stripe": "billing-cus_2", "tryton": "erp-cus_2"}


def test_a_refusal_of_billing_is_a_case_and_the_contract_stays(two: Bench) -> None:
    asked = ask(two)
    approved(two, asked)
    two.clock.now = BEFORE_APRIL
    two.everybody.status = 422
    assert two.run(asked).state == "on_hold"
    (case,) = two.cases(asked)
    assert (case.kind, case.actions) == ("amendment_invalid", ("retry", "compensate"))
    two.everybody.status = 200
    two.act(case, "compensate")
    two.clock.now = APRIL
    two.run(asked)
    assert two.context.orders.row(two.order_id).customer_id == BUYER.id
    assert two.lines()[0].tax == ""


def test_a_transfer_that_is_refused_before_billing_has_the_customer_is_taken_back_there(two: Bench) -> None:
    """An earlier try may have written the end of the former customer before it was cut short."""
    asked = ask(two)
    approved(two, asked)
    two.clock.now = BEFORE_APRIL
    assert two.amending.check(asked) == "done"
    known = two.everybody.accounts.pop("002")
    two.run(asked)
    held = two.of(asked)
    assert (held.state, two.everybody.left) == ("on_hold", [asked])
    (case,) = two.cases(asked)
    assert case.reason == "gone"

    two.everybody.accounts["002"] = known
    two.act(case, "retry")
    assert two.run(asked).state == "applied"
    assert [each.id for each in two.everybody.changes] == [asked]


def test_a_case_says_where_billing_cannot_take_an_incomplete_transfer_back(two: Bench) -> None:
    asked = ask(two)
    approved(two, asked)
    two.clock.now = BEFORE_APRIL
    assert two.amending.check(asked) == "done"
    two.everybody.accounts.pop("002")
    two.everybody.status = 422
    two.run(asked)
    assert two.of(asked).state == "on_hold"
    reasons = {each.field: each.reason for each in two.cases(asked)}
    assert reasons == {"id": "gone", "system": "no"}


def test_an_outage_beyond_the_end_of_the_period_is_a_case(two: Bench) -> None:
    asked = ask(two)
    approved(two, asked)
    two.clock.now = APRIL + timedelta(hours=1)
    assert two.run(asked).state == "on_hold"
    (case,) = two.cases(asked)
    assert case.actions == ("retry", "compensate")
    two.act(case, "compensate")
    assert two.run(asked).state == "given_up"
    assert two.context.orders.row(two.order_id).customer_id == BUYER.id
    assert (two.everybody.changes, two.everybody.left) == ([], [asked])


def test_one_that_is_not_approved_before_its_moment_is_a_case(two: Bench) -> None:
    asked = ask(two)
    assert two.run(asked).state == "awaiting_approval"
    two.clock.now = APRIL + timedelta(hours=1)
    (case,) = two.cases(asked)
    two.act(case, "approve")
    two.everybody.owed = 99_000
    assert two.run(asked).state == "on_hold"


def test_tables_that_were_restored_to_before_a_transfer_follow_what_billing_has(two: Bench) -> None:
    asked = carried_out(two)
    waits = {"state": "scheduled", "version": None, "next_attempt_at": BEFORE_APRIL.isoformat()}
    two.records.change(asked, **waits)
    two.clock.now = APRIL + timedelta(hours=1)
    assert two.run(asked).state == "applied"
    assert two.context.orders.row(two.order_id).customer_id == "cus_2"
    assert two.everybody.holders == ["cus_2"]
    assert {each.id for each in two.everybody.changes} == {asked}


@pytest.mark.parametrize("target", ["away", "refuses"])
def test_a_target_that_does_not_hear_of_it_keeps_nobody_from_the_contract(two: Bench, target: str) -> None:
    asked = carried_out(two)
    two.clock.now = APRIL
    two.everybody.target = target
    two.run(asked)
    assert two.context.orders.row(two.order_id).customer_id == "cus_2"
    two.everybody.target = "works"
    for case in two.cases(asked):
        assert case.kind == "amendment_not_delivered"
        two.act(case, "retry")
    two.run(asked)
    assert two.everybody.holders == ["cus_2"]


def test_a_partner_sees_a_contract_for_as_long_as_its_customer_has_it(two: Bench) -> None:
    with pytest.raises(ProblemError):
        shown(two, PARTNER)
    handed_over(two)
    found = shown(two, PARTNER)
    assert [each.customer_id for each in found.versions] == ["cus_2"]
    assert found.present == found.versions[0]
    assert len(shown(two).versions) == 2
    assert two.records.page(PARTNER, two.contract_id, None, None, 25).items == ()


def test_the_former_customer_is_still_one_and_what_it_owes_is_collected(two: Bench) -> None:
    former = msgspec.structs.replace(BUYER, references={"salesforce": "001", "stripe": "cus_S1"})
    customers.keep(two.context.database, former)
    asked = handed_over(two)
    assert customers.visible(two.context.database, BUYER.id, SOMEBODY)
    assert two.context.orders.sold_by(BUYER.id) == {"DE01": "standard"}
    assert two.records.visible(asked, SOMEBODY)
    ended = Event(
        id="evt_1",
        source="billing/stripe",
        type=CONTRACT_ENDED,
        subject=two.contract_id,
        time=two.clock.now,
        data={"customer": BUYER.id},
    )
    engine = Engine(EngineSettings("sqlite://", "test"), two.context.database, two.clock)
    capability(two.context, engine).reactions[CONTRACT_ENDED](ended, "cor_5")
    assert [(each.id, each.references) for each in two.everybody.collected] == [
        (two.contract_id, {"customer": "cus_S1"})
    ]
