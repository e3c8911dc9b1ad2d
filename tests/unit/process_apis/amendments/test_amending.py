"""An amendment on its way: previewed on every platform, carried out when they agree, and never twice."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from canonical.amendments import (
    Action,
    Cancel,
    ChangeDiscount,
    ChangePrice,
    ChangeTerm,
    Effective,
    RemoveLine,
    Renew,
    Reverse,
    months_after,
)
from canonical.cases import Finding
from canonical.money import Money
from canonical.states import IllegalTransition
from policies.problems import ProblemError
from process_apis.activation import Activation
from process_apis.amendments.contract import running, timeline
from process_apis.order_cases import OrderCases
from process_apis.records.cases import Wanted
from tests.support.amendment_bench import MONTH, SEAT, SUPPORT, Bench, a_line, seats
from tests.support.process_context import SOMEBODY


def test_more_seats_are_delivered_first_and_billed_from_the_moment_of_the_asking(bench: Bench) -> None:
    asked = bench.ask(seats(15))
    bench.clock.move(90.5)

    assert bench.run(asked).state == "provisioning"
    assert [(each.lines[0].quantity, each.attempt) for each in bench.everybody.requests] == [(15, 2)]
    assert bench.everybody.changes == []

    done = bench.deliver(asked)

    assert (done.state, done.invoices) == ("applied", (f"in_{asked[-4:]}",))
    (change,) = bench.everybody.changes
    assert change.effective_at == datetime(2026, 3, 10, 12, tzinfo=UTC)
    assert [each.quantity for each in bench.lines()] == [15, 1]
    assert bench.everybody.shown[-1] == "Seat 10 → 15 from 2026-03-10"


def test_the_amounts_are_those_of_billing_and_explained_by_its_rule(bench: Bench) -> None:
    asked = bench.ask(seats(15))
    bench.run(asked)

    preview = bench.of(asked).preview
    assert preview
    assert [(each.price, each.share, each.explained) for each in preview.explanations] == [
        (Money(-29950, "EUR"), "1857600 of 2678400 seconds", True),
        (Money(39950, "EUR"), "1857600 of 2678400 seconds", True),
    ]
    assert [each.total for each in preview.postings] == [each.total for each in preview.invoices]
    (delta,) = preview.deltas
    assert (delta.mrr, delta.quantity) == (Money(10000, "EUR"), 5)


@pytest.mark.parametrize(
    ("cent", "tax", "field", "reason"),
    [
        (1, 0, "billing.amount", "by its rule of seconds it would be 277.07 EUR (399.50 EUR × 1857600 of 2678400"),
        (0, 1, "erp.total", "billing would charge a total of 82.52 EUR, and the ERP would book 82.53 EUR"),
    ],
)
def test_a_cent_that_differs_stops_the_change_before_anything_is_written(
    bench: Bench, cent: int, tax: int, field: str, reason: str
) -> None:
    bench.everybody.cent, bench.everybody.tax = cent, tax
    asked = bench.ask(seats(15))

    assert bench.run(asked).state == "on_hold"
    first = bench.cases(asked)[-1]
    assert (first.kind, first.team, first.field) == ("amendment_not_agreed", "finance", field)
    assert reason in first.reason
    assert (bench.everybody.changes, bench.everybody.requests, bench.lines()) == ([], [], (SEAT, SUPPORT))


def test_fewer_seats_are_billed_first_and_taken_back_after(bench: Bench) -> None:
    asked = bench.ask(seats(9))

    assert bench.run(asked).state == "applied"
    assert [each.lines[0].quantity for each in bench.everybody.requests] == [9]
    assert bench.records.row(asked).next_attempt_at is None


def test_a_line_that_ends_is_taken_back_as_nothing_of_it(bench: Bench) -> None:
    bench.run(bench.ask(RemoveLine("support"), settlement="none"))

    assert [(each.lines[0].id, each.lines[0].quantity) for each in bench.everybody.requests] == [("support", 0)]
    assert bench.lines() == (SEAT,)


def test_a_contract_that_ends_with_its_period_is_delivered_until_then(bench: Bench) -> None:
    asked = bench.ask(Cancel(), effective="period_end")

    assert bench.run(asked).state == "applied"
    assert bench.everybody.removed == 0
    bench.clock.now = MONTH.end
    bench.run(asked)
    bench.run(asked)

    assert bench.everybody.removed == 1
    found = running(bench.context, bench.records, bench.context.orders.get(bench.order_id))
    assert found.contract.state == "cancelled"
    with pytest.raises(ProblemError, match="cancelled with") as refused:
        bench.ask(seats(11), key="late")
    assert refused.value.problem.name == "contract-over"


def test_a_contract_ends_on_the_day_that_was_agreed_and_is_delivered_and_changed_until_then(bench: Bench) -> None:
    day, noon = date(2026, 9, 1), datetime(2026, 9, 1, 12, tzinfo=UTC)
    asked = bench.ask(ChangeTerm(day))

    assert bench.run(asked).state == "applied"
    assert [each.term for each in bench.everybody.changes] == [ChangeTerm(day)]
    assert (bench.everybody.requests, bench.everybody.shown[-1]) == ([], "ends on 2026-09-01")
    assert bench.run(bench.ask(seats(9), key="fewer", settlement="none")).state == "applied"
    assert bench.everybody.changes[-1].contract.ends_on == day
    found = running(bench.context, bench.records, bench.context.orders.get(bench.order_id))
    shown = timeline(bench.records, found, bench.clock.now)
    assert shown.ends_on == day
    assert [(each.state, each.ends_on) for each in shown.versions] == [
        ("active", months_after(found.contract.starts_on, found.contract.term_months)),
        ("active", day),
        ("active", day),
        ("cancelled", day),
    ]

    bench.clock.now = noon
    bench.run(asked)
    bench.run(asked)

    assert bench.everybody.removed == 1
    with pytest.raises(ProblemError, match="ended on 2026-09-01") as refused:
        bench.ask(seats(11), key="late")
    assert refused.value.problem.name == "contract-over"


def test_what_was_delivered_stays_for_the_days_of_grace_and_the_contract_is_over_all_the_same(bench: Bench) -> None:
    noon = datetime(2026, 9, 1, 12, tzinfo=UTC)
    asked = bench.ask(ChangeTerm(date(2026, 9, 1), grace_days=14))
    assert bench.run(asked).state == "applied"

    for moment in (noon, noon + timedelta(days=14, seconds=-1)):
        bench.clock.now = moment
        bench.run(asked)
        found = running(bench.context, bench.records, bench.context.orders.get(bench.order_id))
        assert (found.contract.state, bench.everybody.removed) == ("cancelled", 0)
    bench.clock.now = noon + timedelta(days=14)
    bench.run(asked)

    assert bench.everybody.removed == 1


def test_a_contract_without_end_has_no_days_of_grace(bench: Bench) -> None:
    with pytest.raises(ProblemError) as refused:
        bench.ask(ChangeTerm(None, grace_days=14))

    assert [each.path for each in refused.value.errors] == ["$.actions[0].grace_days"]


def test_another_end_is_taken_back_by_the_former_one_and_not_by_a_reversal(bench: Bench) -> None:
    ended = bench.ask(ChangeTerm(date(2026, 9, 1)))
    bench.run(ended)

    with pytest.raises(ProblemError) as refused:
        bench.ask(Reverse(ended), key="back")

    (error,) = refused.value.errors
    assert error.reason == f"{ended} has changed the end alone: agree to the former one with `term`"


@pytest.mark.parametrize("later", [date(2027, 9, 1), None])
def test_an_end_that_another_one_has_replaced_takes_nothing_back(bench: Bench, later: date | None) -> None:
    first = bench.ask(ChangeTerm(date(2026, 9, 1)))
    bench.run(first)
    second = bench.ask(ChangeTerm(later), key="later")
    assert bench.run(second).state == "applied"

    bench.clock.now = datetime(2026, 9, 1, 12, tzinfo=UTC)
    bench.run(first)

    assert (bench.everybody.removed, bench.records.row(first).next_attempt_at) == (0, None)
    found = running(bench.context, bench.records, bench.context.orders.get(bench.order_id))
    assert (found.contract.state, timeline(bench.records, found, bench.clock.now).ends_on) == ("active", later)


def test_a_change_for_a_day_to_come_waits_for_it_and_is_previewed_again(bench: Bench) -> None:
    asked = bench.ask(seats(9), effective="date", effective_on=date(2026, 3, 20))

    assert bench.run(asked).state == "scheduled"
    bench.clock.now = datetime(2026, 3, 19, 22, 59, tzinfo=UTC)
    assert bench.run(asked).state == "scheduled"
    bench.clock.now = datetime(2026, 3, 19, 23, tzinfo=UTC)  # midnight in Berlin

    assert bench.run(asked).state == "applied"
    (change,) = bench.everybody.changes
    assert change.effective_at == bench.clock.now
    found = running(bench.context, bench.records, bench.context.orders.get(bench.order_id))
    shown = timeline(bench.records, found, datetime(2026, 3, 15, tzinfo=UTC))
    assert [each.mrr for each in shown.versions] == [Money(29950, "EUR"), Money(27950, "EUR")]
    assert shown.present == shown.versions[0]


def test_what_is_asked_for_meanwhile_waits_for_what_was_asked_before(bench: Bench) -> None:
    bench.everybody.tax = 1
    first, second = bench.ask(seats(9), key="one"), bench.ask(seats(8), key="two")

    bench.run(first)
    waiting = bench.run(second)
    assert (waiting.state, waiting.blocked_reason) == ("checking", f"{first}, which comes first")

    bench.everybody.tax = 0
    with bench.records.at(first) as one:
        one.advance("given_up", next_attempt_at=None)
    assert bench.run(second).state == "applied"
    assert [each.lines[0].quantity for each in bench.everybody.changes] == [8]


def test_a_change_waits_for_the_activation_that_still_runs(bench: Bench) -> None:
    bench.context.orders.retry_lines(bench.order_id)
    with bench.context.database.begin() as connection:
        connection.exec_driver_sql("UPDATE orders SET state = 'partially_active'")
        connection.exec_driver_sql("UPDATE order_lines SET state = 'requested' WHERE line_id = 'support'")
    asked = bench.ask(seats(9))

    assert bench.run(asked).blocked_reason == "the contract's activation: its order is partially_active"


def test_a_discount_above_the_limit_needs_a_yes(bench: Bench) -> None:
    asked = bench.ask(ChangeDiscount("seat", Decimal(25)))

    waiting = bench.run(asked)

    assert waiting.state == "awaiting_approval"
    (case,) = bench.cases(asked)
    assert (case.kind, case.actions, case.team) == ("amendment_approval", ("approve", "reject"), "finance")
    assert case.reason == "Seat: a discount of 25 %, and one of 10 % needs no approval"
    assert bench.everybody.changes == []


def test_a_price_that_is_lowered_in_small_steps_needs_a_yes_once_they_add_up(bench: Bench) -> None:
    assert bench.run(bench.ask(ChangePrice("seat", Decimal(19)), key="one")).state == "applied"

    waiting = bench.run(bench.ask(ChangePrice("seat", Decimal("17.50")), key="two"))

    assert waiting.state == "awaiting_approval"
    assert waiting.blocked_reason == "approval: Seat: a discount of 12.5 %, and one of 10 % needs no approval"


def test_what_billing_refuses_at_the_last_moment_is_a_case_and_changes_nothing_of_the_contract(bench: Bench) -> None:
    bench.everybody.status = 422
    asked = bench.ask(seats(9))

    assert bench.run(asked).state == "on_hold"
    (case,) = bench.cases(asked)
    assert (case.kind, case.team, case.actions) == ("amendment_invalid", "sales", ("retry", "compensate"))
    assert bench.lines() == (SEAT, SUPPORT)


@pytest.mark.parametrize(
    ("actions", "more", "path", "reason"),
    [
        ((seats(10),), {}, "$.actions[0]", "Seat is that already"),
        ((Cancel(), seats(9)), {}, "$.actions", "the end of a contract stands alone"),
        ((seats(9), ChangeTerm(None)), {}, "$.actions", "the end of a contract stands alone"),
        ((ChangeTerm(date(2026, 3, 10)),), {}, "$.actions[0].ends_on", "take a day after 2026-03-10"),
        (
            (ChangeTerm(None),),
            {"effective": "period_end"},
            "$.effective",
            "another end is agreed now, whatever its day",
        ),
        ((RemoveLine("seat"), RemoveLine("support")), {}, "$.actions", "nothing would be left of the contract"),
        ((seats(9), seats(10)), {}, "$.actions", "together they change nothing"),
        ((RemoveLine("seat"), a_line("seat")), {}, "$.actions[1].line", "the contract has or had a line seat: take an"),
        ((a_line("x"), RemoveLine("x"), a_line("x")), {}, "$.actions[2].line", "the contract has or had a line x"),
        ((seats(9),), {"effective": "date"}, "$.effective_on", "it is given for what is effective at a date"),
        ((seats(9),), {"effective_on": date(2026, 3, 20)}, "$.effective_on", "it is given for what is effective at"),
        (
            (seats(9),),
            {"effective": "date", "effective_on": date(2027, 3, 1)},
            "$.effective_on",
            "the contract starts on 2026-03-01, and ends with the day before 2027-03-01",
        ),
    ],
)
def test_what_the_contract_does_not_allow_is_refused_with_its_place(
    bench: Bench, actions: tuple[Action, ...], more: dict[str, Any], path: str, reason: str
) -> None:
    with pytest.raises(ProblemError) as refused:
        bench.ask(*actions, **more)

    (error,) = refused.value.errors
    assert (refused.value.problem.name, error.path) == ("change-refused", path)
    assert reason in error.reason
    assert bench.records.undecided(bench.contract_id) == ()


def test_the_same_run_twice_changes_billing_once(bench: Bench) -> None:
    asked = bench.ask(seats(9))
    bench.run(asked)
    bench.run(asked)

    assert len(bench.everybody.changes) == 1


def test_what_was_delivered_is_taken_back_when_billing_refuses_it_again_and_again(bench: Bench) -> None:
    bench.everybody.status = 422
    asked = bench.ask(seats(15))
    bench.run(asked)
    bench.deliver(asked)
    bench.act(bench.cases(asked)[0], "retry")
    assert bench.run(asked).state == "on_hold"

    bench.act(bench.cases(asked)[0], "compensate")
    bench.run(asked)

    assert [each.lines[0].quantity for each in bench.everybody.requests] == [15, 10]


def test_each_line_that_was_not_delivered_can_be_given_up(bench: Bench) -> None:
    asked = bench.ask(seats(15), a_line("more"))
    bench.run(asked)
    bench.act(bench.cases(asked)[0], "approve")
    bench.run(asked)

    bench.not_delivered(asked, "seat")
    bench.not_delivered(asked, "more")

    assert [each.actions for each in bench.cases(asked)] == [("retry", "compensate")] * 2


@pytest.mark.parametrize("action", [seats(9), ChangeDiscount("seat", Decimal(25))])
@pytest.mark.parametrize("tax", [0, 1])
def test_a_change_that_is_withdrawn_while_it_is_checked_stays_given_up_without_cases(
    bench: Bench, action: Action, tax: int
) -> None:
    bench.everybody.tax = tax
    asked = bench.ask(action)
    bench.everybody.meanwhile = lambda: bench.runs.withdraw(asked, SOMEBODY)

    done = bench.run(asked)

    assert (done.state, done.blocked_reason) == ("given_up", "withdrawn by somebody")
    assert (bench.cases(asked), bench.records.row(asked).next_attempt_at) == ([], None)
    assert (bench.everybody.requests, bench.everybody.changes) == ([], [])


def test_a_change_that_is_withdrawn_while_billing_is_away_is_not_taken_up_again(bench: Bench) -> None:
    bench.everybody.away = True
    asked = bench.ask(seats(9))
    bench.everybody.meanwhile = lambda: bench.runs.withdraw(asked, SOMEBODY)

    assert bench.run(asked).state == "given_up"
    assert bench.records.row(asked).next_attempt_at is None


def test_the_id_of_a_line_that_ended_is_not_taken_again(bench: Bench) -> None:
    bench.run(bench.ask(RemoveLine("support"), settlement="none"))

    with pytest.raises(ProblemError) as refused:
        bench.ask(a_line("support"), key="again")

    assert [each.path for each in refused.value.errors] == ["$.actions[0].line"]


def test_what_the_erp_lacks_is_named_at_the_action_that_asks_for_it(bench: Bench) -> None:
    asked = bench.ask(seats(9), a_line("more", "NOPE"), ChangePrice("support", Decimal("0.001")))

    assert bench.run(asked).state == "on_hold"
    assert {each.field for each in bench.cases(asked)} == {"actions[1].sku", "actions[2].unit_price"}


def test_a_line_of_a_product_that_is_withdrawn_is_changed_and_no_new_one_is_sold(bench: Bench) -> None:
    bench.everybody.withdrawn = ("SEAT", "SUPPORT")

    fewer = bench.ask(seats(9))

    assert bench.run(fewer).state == "applied"
    ended = bench.ask(RemoveLine("support"), key="ended")
    assert bench.run(ended).state == "applied"
    again = bench.ask(a_line("more"), key="again")
    assert bench.run(again).state == "on_hold"
    assert {each.field for each in bench.cases(again)} == {"actions[0].sku"}


def test_what_the_target_refuses_to_take_back_is_tried_again_or_left(bench: Bench) -> None:
    bench.everybody.target = "refuses"
    asked = bench.ask(seats(9))

    assert bench.run(asked).state == "applied"

    (case,) = bench.cases(asked)
    assert (case.kind, case.team, case.actions) == ("amendment_not_delivered", "support", ("retry", "skip"))


def test_what_is_to_be_taken_back_comes_before_the_next_change(bench: Bench) -> None:
    bench.everybody.target = "away"
    first = bench.ask(seats(9), key="one")
    bench.run(first)
    _goes_on_when_the_target_is_back(bench, first)


def test_what_was_delivered_of_a_change_that_is_given_up_is_taken_back_before_the_next_one(bench: Bench) -> None:
    bench.everybody.status = 422
    first = bench.ask(seats(15), key="one")
    bench.run(first)
    bench.deliver(first)
    bench.act(bench.cases(first)[0], "compensate")
    bench.everybody.status, bench.everybody.target = 200, "away"
    bench.run(first)
    _goes_on_when_the_target_is_back(bench, first)


def _goes_on_when_the_target_is_back(bench: Bench, first: str) -> None:
    second = bench.ask(seats(20), key="two")
    assert bench.run(second).blocked_reason == f"{first}, which comes first"

    bench.everybody.target = "works"
    bench.run(first)
    bench.run(second)
    bench.deliver(second)

    assert bench.everybody.requests[-1].lines[0].quantity == 20
    assert bench.lines()[0].quantity == 20


def test_a_line_that_is_delivered_late_while_a_change_is_on_its_way_goes_on(bench: Bench) -> None:
    change_line = "UPDATE order_lines SET state = '{}' WHERE line_id = 'support'"
    with bench.context.database.begin() as connection:
        connection.exec_driver_sql("UPDATE orders SET state = 'partially_active'")
        connection.exec_driver_sql(change_line.format("failed"))
    asked = bench.ask(seats(15))
    bench.run(asked)
    with bench.context.database.begin() as connection:
        connection.exec_driver_sql(change_line.format("provisioned"))

    assert bench.deliver(asked).state == "applied"

    (change,) = bench.everybody.changes
    assert [each.id for each in change.lines] == ["seat", "support"]
    assert [each.id for each in bench.lines()] == ["seat", "support"]


def test_of_two_who_decide_at_once_the_first_one_has_decided(bench: Bench) -> None:
    asked = bench.ask(ChangeDiscount("seat", Decimal(25)))
    bench.run(asked)
    (case,) = bench.cases(asked)
    bench.runs.act(case, "approve")

    with pytest.raises(IllegalTransition, match="an amendment that is checking allows no reject"):
        bench.runs.act(case, "reject")
    assert bench.run(asked).state == "applied"


def test_of_two_who_try_again_at_once_the_second_one_takes_nothing_back(bench: Bench) -> None:
    asked = bench.ask(seats(15))
    bench.run(asked)
    bench.not_delivered(asked, "seat")
    (case,) = bench.cases(asked)
    bench.runs.act(case, "retry")
    bench.run(asked)

    with pytest.raises(IllegalTransition, match="an amendment that is provisioning allows no retry"):
        bench.runs.act(case, "retry")
    assert bench.deliver(asked).state == "applied"


YEARS_END, NEW_END = date(2027, 3, 1), date(2028, 3, 1)
BEGINS = datetime(2027, 2, 28, 23, tzinfo=UTC)
"""Midnight of the last day of the term in Berlin."""


def test_a_renewal_waits_for_the_last_days_of_the_term_and_is_of_what_the_contract_has_then(bench: Bench) -> None:
    asked = bench.ask(Renew(NEW_END, Decimal(5)), key="renewal")

    waiting = bench.run(asked)
    assert (waiting.state, waiting.effective_at) == ("scheduled", BEGINS)
    assert bench.run(bench.ask(seats(9), settlement="none")).state == "applied"
    bench.clock.now = BEGINS - timedelta(days=3, seconds=1)
    assert bench.run(asked).state == "scheduled"

    bench.clock.now += timedelta(seconds=1)
    bench.everybody.last_period = True
    done = bench.run(asked)

    assert done.state == "applied"
    assert done.preview
    assert [each.total for each in done.preview.invoices] == [Money(34924, "EUR")]
    assert [each.total for each in done.preview.postings] == [Money(34924, "EUR")]
    assert (done.preview.ends_on, done.preview.is_renewal, done.preview.is_term) == (NEW_END, True, False)
    change = bench.everybody.changes[-1]
    assert (change.at_period_end, change.renewal, change.effective_at) == (True, Renew(NEW_END, Decimal(5)), BEGINS)
    assert [str(each.terms.unit_price) for each in change.lines] == ["21.00", "104.48"]
    assert bench.everybody.shown[-1].startswith("renewed until 2028-03-01: Seat ")
    found = running(bench.context, bench.records, bench.context.orders.get(bench.order_id))
    shown = timeline(bench.records, found, bench.clock.now)
    assert shown.ends_on == NEW_END
    assert [(each.since, each.ends_on) for each in shown.versions][1:] == [
        (datetime(2026, 3, 10, 12, tzinfo=UTC), YEARS_END),
        (BEGINS, NEW_END),
    ]
    assert shown.present == shown.versions[1]
    value = done.preview.deltas[0].contract_value
    assert value == Money(12 * (9 * 2100 + 10448), "EUR")


def test_a_term_is_renewed_once_until_the_new_one_has_begun(bench: Bench) -> None:
    first = bench.ask(Renew(NEW_END), key="first")
    bench.run(first)
    for move in (timedelta(), BEGINS - timedelta(days=2) - bench.clock.now):
        bench.clock.now += move
        bench.run(first)
        with pytest.raises(ProblemError, match=f"{first} renews the contract until 2028-03-01") as refused:
            bench.ask(Renew(date(2029, 3, 1)), key="second")
        assert (refused.value.problem.name, refused.value.problem.status) == ("already-renewed", 409)
    assert bench.of(first).state == "applied"

    bench.clock.now = BEGINS + timedelta(days=30)
    second = bench.ask(Renew(date(2029, 3, 1)), key="second")
    assert bench.run(second).effective_at == datetime(2028, 2, 29, 23, tzinfo=UTC)


def test_a_renewal_that_waits_can_be_withdrawn_and_another_one_takes_its_place(bench: Bench) -> None:
    first = bench.ask(Renew(NEW_END), key="first")
    bench.run(first)
    with bench.records.at(first) as one:
        one.advance("given_up", next_attempt_at=None)

    assert bench.run(bench.ask(Renew(date(2027, 9, 1)), key="second")).state == "scheduled"


def test_a_renewal_takes_the_place_of_an_end_that_was_agreed(bench: Bench) -> None:
    ended = bench.ask(ChangeTerm(date(2026, 9, 1)))
    bench.run(ended)
    renewal = bench.ask(Renew(date(2027, 9, 1)), key="renewal")
    bench.run(renewal)
    bench.clock.now = datetime(2026, 8, 30, 12, tzinfo=UTC)
    assert bench.run(renewal).state == "applied"
    assert bench.everybody.changes[-1].contract.ends_on == date(2026, 9, 1)

    bench.clock.now = datetime(2026, 9, 1, 13, tzinfo=UTC)
    bench.run(ended)

    assert bench.everybody.removed == 0
    found = running(bench.context, bench.records, bench.context.orders.get(bench.order_id))
    assert (found.contract.state, found.contract.ends_on, found.contract.renewed_until) == (
        "active",
        None,
        date(2027, 9, 1),
    )
    with pytest.raises(ProblemError) as refused:
        bench.ask(Reverse(renewal), key="back")
    assert "has renewed the contract" in refused.value.errors[0].reason


@pytest.mark.parametrize(
    ("actions", "how", "path", "reason"),
    [
        ((Renew(YEARS_END),), {}, "$.actions[0].ends_on", "take a day after 2027-03-01, the end of the term"),
        ((Renew(date(2037, 3, 2)),), {}, "$.actions[0].ends_on", "and until 2037-03-01"),
        ((Renew(NEW_END, Decimal(101)),), {}, "$.actions[0].uplift_percent", "rise by 0 to 100 percent"),
        ((Renew(NEW_END),), {"effective": "period_end"}, "$.effective", "leave this out"),
        ((seats(9), Renew(NEW_END)), {}, "$.actions", "a renewal comes first, and once"),
        ((Renew(NEW_END), Renew(NEW_END)), {}, "$.actions", "a renewal comes first, and once"),
        ((Renew(NEW_END), Cancel()), {}, "$.actions", "the end of a contract stands alone"),
        ((Renew(NEW_END), RemoveLine("nothing")), {}, "$.actions[1].line", "no line nothing"),
    ],
)
def test_what_no_renewal_can_be_is_refused_with_its_place(
    bench: Bench, actions: tuple[Action, ...], how: dict[str, Any], path: str, reason: str
) -> None:
    with pytest.raises(ProblemError) as refused:
        bench.ask(*actions, **how)

    assert [(each.path, reason in each.reason) for each in refused.value.errors] == [(path, True)]


def test_a_contract_without_end_or_after_its_term_is_not_renewed(bench: Bench) -> None:
    bench.run(bench.ask(ChangeTerm(None)))
    with pytest.raises(ProblemError) as refused:
        bench.ask(Renew(NEW_END), key="endless")
    assert "nothing to renew" in refused.value.errors[0].reason

    bench.run(bench.ask(ChangeTerm(YEARS_END), key="an-end"))
    bench.run(bench.ask(Renew(NEW_END), key="renewal"))
    bench.clock.now = datetime(2027, 3, 2, tzinfo=UTC)
    with pytest.raises(ProblemError) as over:
        bench.ask(Renew(NEW_END), key="late")
    assert over.value.problem.name in ("contract-over", "change-refused")


def test_more_seats_for_the_new_term_are_delivered_before_it_begins(bench: Bench) -> None:
    asked = bench.ask(Renew(NEW_END), seats(15), key="renewal")
    bench.run(asked)
    assert bench.everybody.requests == []
    bench.clock.now = BEGINS - timedelta(days=3)

    bench.run(asked)
    (request,) = bench.everybody.requests
    assert [each.quantity for each in request.lines] == [15]
    assert bench.deliver(asked).state == "applied"
    assert bench.everybody.changes[-1].lines[0].quantity == 15


def test_what_was_agreed_for_the_next_term_and_is_so_before_it_stops_no_renewal(bench: Bench) -> None:
    asked = bench.ask(Renew(NEW_END), seats(15), ChangePrice("seat", Decimal(19)), key="renewal")
    bench.run(asked)
    sooner = bench.ask(seats(15), key="sooner", settlement="none")
    bench.run(sooner)
    assert bench.deliver(sooner).state == "applied"
    bench.clock.now = BEGINS - timedelta(days=3)

    assert bench.run(asked).state == "applied"
    assert (bench.lines()[0].quantity, bench.lines()[0].terms.unit_price) == (15, Decimal(19))


def test_a_renewal_comes_after_a_change_that_counts_from_one_of_the_last_days_of_the_term(bench: Bench) -> None:
    bench.run(bench.ask(ChangeTerm(date(2026, 3, 25)), key="end"))
    day = date(2026, 3, 24)
    dated = bench.ask(seats(9), key="dated", effective="date", effective_on=day, settlement="none")
    asked = bench.ask(Renew(date(2026, 9, 25)), key="renewal")
    for each in (dated, asked):
        assert bench.run(each).state == "scheduled"
    bench.clock.now = datetime(2026, 3, 22, tzinfo=UTC)
    assert bench.run(asked).state == "scheduled"

    bench.clock.now = datetime(2026, 3, 23, 23, tzinfo=UTC)
    assert bench.run(dated).state == "applied"
    bench.clock.now += timedelta(minutes=1)
    assert bench.run(asked).state == "applied"
    assert [each.lines[0].quantity for each in bench.everybody.changes] == [10, 9, 9]


def test_another_end_is_agreed_at_once_though_a_change_before_it_counts_later(bench: Bench) -> None:
    bench.run(bench.ask(seats(9), effective="period_end"))

    done = bench.run(bench.ask(ChangeTerm(date(2026, 9, 1)), key="end"))

    assert done.state == "applied"
    found = running(bench.context, bench.records, bench.context.orders.get(bench.order_id))
    assert found.contract.ends_on == date(2026, 9, 1)
    assert found.since == MONTH.end


@pytest.mark.parametrize("day", [date(9999, 12, 31), date(2037, 3, 2)])
def test_an_end_is_no_further_away_than_a_term_may_last(bench: Bench, day: date) -> None:
    with pytest.raises(ProblemError) as refused:
        bench.ask(ChangeTerm(day))

    assert refused.value.errors[0].reason == "take a day after 2026-03-10, and until 2037-03-01"


def test_a_change_is_reversed_while_a_renewal_is_to_come_and_not_after_that(bench: Bench) -> None:
    fewer = bench.ask(seats(9), key="fewer", settlement="none")
    bench.run(fewer)
    renewal = bench.ask(Renew(NEW_END, Decimal(5)), key="renewal")
    bench.run(renewal)
    back = bench.ask(Reverse(fewer), key="back", settlement="none")
    bench.run(back)
    assert bench.deliver(back).state == "applied"

    bench.clock.now = BEGINS - timedelta(days=3)
    assert bench.run(renewal).state == "applied"
    with pytest.raises(ProblemError) as refused:
        bench.ask(Reverse(back), key="again")
    assert f"with {renewal}: that has renewed the contract" in refused.value.errors[0].reason


def test_an_end_before_a_renewal_to_come_is_the_end_in_the_timeline(bench: Bench) -> None:
    bench.run(bench.ask(Renew(NEW_END, Decimal(5)), key="renewal"))
    ended = bench.ask(ChangeTerm(date(2026, 9, 1)), key="end")
    bench.run(ended)

    found = running(bench.context, bench.records, bench.context.orders.get(bench.order_id))
    shown = timeline(bench.records, found, datetime(2026, 9, 2, tzinfo=UTC))
    assert [each.state for each in shown.versions] == ["active", "active", "cancelled"]
    assert shown.present == shown.versions[-1]


@pytest.mark.parametrize(
    ("action", "effective"),
    [(Cancel(), "now"), (Cancel(), "period_end"), (ChangeTerm(date(2026, 9, 1)), "now")],
    ids=["ended-now", "ended-with-the-period", "ended-on-a-day"],
)
def test_what_was_to_come_after_the_end_of_a_contract_is_given_up_with_it(
    bench: Bench, action: Action, effective: Effective
) -> None:
    renewal = bench.ask(Renew(NEW_END, Decimal(5)), key="renewal")
    assert bench.run(renewal).state == "scheduled"

    ended = bench.ask(action, key="end", effective=effective, settlement="none")
    assert bench.run(ended).state == "applied"

    row = bench.records.row(renewal)
    assert row.state == "given_up"
    assert row.blocked_reason.startswith("the contract ends on 2026-")
    assert row.blocked_reason.endswith(f"with {ended}")


@pytest.mark.parametrize(("effective", "state"), [("now", "given_up"), ("period_end", "scheduled")])
def test_what_counts_before_the_end_of_a_contract_stays_to_come(bench: Bench, effective: Effective, state: str) -> None:
    later = bench.ask(seats(12), key="later", effective="date", effective_on=date(2026, 3, 20))
    assert bench.run(later).state == "scheduled"

    assert bench.run(bench.ask(Cancel(), key="end", effective=effective, settlement="none")).state == "applied"
    assert bench.records.row(later).state == state


def test_a_later_end_leaves_a_renewal_to_come_which_counts_from_it_then(bench: Bench) -> None:
    renewal = bench.ask(Renew(NEW_END, Decimal(5)), key="renewal")
    bench.run(renewal)
    assert bench.run(bench.ask(ChangeTerm(date(2027, 6, 1)), key="end")).state == "applied"

    bench.clock.now = BEGINS - timedelta(days=3)
    again = bench.run(renewal)

    assert (again.state, again.effective_at) == ("scheduled", datetime(2027, 5, 31, 22, tzinfo=UTC))


def test_an_end_by_us_needs_a_yes_and_the_crm_says_whose_it_was(bench: Bench) -> None:
    asked = bench.ask(Cancel("us"), settlement="none")

    assert bench.run(asked).state == "awaiting_approval"
    (case,) = bench.cases(asked)
    assert (case.kind, case.reason) == ("amendment_approval", "we end the contract, and not the customer")
    bench.runs.act(case, "approve")
    assert bench.run(asked).state == "applied"
    assert bench.everybody.shown[-1] == "ended from 2026-03-10, by us"


def failed_line(bench: Bench, state: str = "failed") -> None:
    """Let the support not be delivered yet."""
    with bench.context.database.begin() as connection:
        connection.exec_driver_sql("UPDATE orders SET state = 'partially_active'")
        connection.exec_driver_sql(f"UPDATE order_lines SET state = '{state}', billed = 0 WHERE line_id = 'support'")


def test_a_line_that_failed_is_not_tried_again_for_a_contract_that_is_cancelled(bench: Bench) -> None:
    failed_line(bench)
    orders, finding = OrderCases(bench.context, lambda _: None), Finding("lines[1].SUPPORT", "no room")
    bench.context.cases.open(
        "line_failed", bench.order_id, finding, ("retry", "skip", "compensate"), correlation_id="cor_1"
    )
    (case,) = bench.context.cases.page(SOMEBODY, Wanted("open", "support"), None, 25).items
    assert orders.allowed(case) == case.actions

    bench.run(bench.ask(Cancel(), effective="period_end"))

    assert orders.allowed(case) == ("skip", "compensate")


def test_a_line_that_is_delivered_after_the_end_of_its_contract_is_taken_back_and_never_billed(bench: Bench) -> None:
    failed_line(bench)
    bench.run(bench.ask(Cancel(), settlement="none"))
    failed_line(bench, "provisioned")

    Activation(bench.context).activate(bench.order_id)

    assert [(each.id, each.quantity) for each in bench.everybody.requests[-1].lines] == [("support", 0)]
    assert bench.everybody.removed == 1
    assert not bench.context.orders.lines(bench.order_id, unbilled=True)
    assert bench.context.orders.row(bench.order_id).state == "active"


def test_a_line_that_is_delivered_after_an_end_was_agreed_is_charged_by_hand_until_then(bench: Bench) -> None:
    failed_line(bench)
    bench.run(bench.ask(ChangeTerm(date(2026, 9, 1))))
    failed_line(bench, "provisioned")

    Activation(bench.context).activate(bench.order_id)

    (case,) = bench.context.cases.page(SOMEBODY, Wanted("open", "finance"), None, 25).items
    assert (case.kind, case.field, case.actions) == ("charge_by_hand", "lines[1].SUPPORT", ("skip",))
    assert case.reason == (
        "Support was delivered after its end on 2026-09-01 was agreed: "
        "charge 1 × 99.50 EUR each month from 2026-03-10 by hand"
    )
    assert bench.context.orders.row(bench.order_id).state == "on_hold"


def test_a_renewal_to_come_is_shown_with_what_the_contract_has_by_then(bench: Bench) -> None:
    bench.run(bench.ask(Renew(NEW_END, Decimal(10)), key="renewal"))
    assert bench.run(bench.ask(seats(9), settlement="none")).state == "applied"

    found = running(bench.context, bench.records, bench.context.orders.get(bench.order_id))
    *_, now, then = timeline(bench.records, found, bench.clock.now).versions

    assert [(each.id, each.terms.quantity) for each in then.lines] == [("seat", 9), ("support", 1)]
    assert then.mrr == now.mrr.times(Decimal("1.1"))
    assert now.mrr + then.deltas[0].mrr == then.mrr


def test_a_change_that_is_given_up_before_it_was_previewed_lets_the_next_one_go_on(bench: Bench) -> None:
    renewal = bench.ask(Renew(NEW_END), key="renewal")
    first = bench.ask(Renew(NEW_END), key="again")
    bench.run(renewal)
    assert bench.run(first).state == "on_hold"
    (case,) = bench.cases(first)
    bench.runs.act(case, "compensate")
    second = bench.ask(seats(9), key="second", settlement="none")
    bench.runs.agenda.claim(bench.records.row(first))  # as the run does that follows the action

    assert bench.run(second).blocked_reason == f"{first}, which comes first"
    bench.run(first)

    assert bench.records.row(first).next_attempt_at is None
    assert bench.everybody.requests == []
    assert bench.run(second).state == "applied"


def test_what_waits_for_a_change_goes_on_as_soon_as_that_waits_for_its_day(bench: Bench) -> None:
    renewal = bench.ask(Renew(NEW_END), key="renewal")
    second = bench.ask(seats(9), key="second", settlement="none")
    bench.run(second)
    assert datetime.fromisoformat(bench.records.row(second).next_attempt_at) > bench.clock.now

    assert bench.run(renewal).state == "scheduled"

    assert datetime.fromisoformat(bench.records.row(second).next_attempt_at) == bench.clock.now


def test_a_change_to_come_of_a_line_that_ends_before_it_is_not_shown_as_what_will_be(bench: Bench) -> None:
    day: dict[str, Any] = {"effective": "date", "settlement": "none"}
    gone = bench.ask(RemoveLine("support"), key="gone", effective_on=date(2026, 3, 20), **day)
    dearer = bench.ask(ChangePrice("support", Decimal(120)), key="dearer", effective_on=date(2026, 3, 25), **day)
    assert [bench.run(each).state for each in (gone, dearer)] == ["scheduled", "scheduled"]

    found = running(bench.context, bench.records, bench.context.orders.get(bench.order_id))
    shown = timeline(bench.records, found, bench.clock.now)

    assert [each.amendment_id for each in shown.versions] == ["", gone]
    assert shown.pending == (gone, dearer)


def test_a_reversal_to_come_is_shown_with_what_the_contract_has_by_then(bench: Bench) -> None:
    fewer = bench.ask(seats(9), key="fewer", settlement="none")
    bench.run(fewer)
    back = bench.ask(Reverse(fewer), key="back", effective="date", effective_on=date(2026, 3, 20), settlement="none")
    assert bench.run(back).state == "scheduled"
    assert bench.run(bench.ask(RemoveLine("support"), key="gone", settlement="none")).state == "applied"

    found = running(bench.context, bench.records, bench.context.orders.get(bench.order_id))
    *_, now, then = timeline(bench.records, found, bench.clock.now).versions

    assert [(each.id, each.terms.quantity) for each in then.lines] == [("seat", 10)]
    assert now.mrr + then.deltas[0].mrr == then.mrr


def test_a_contract_that_goes_on_after_its_term_is_cancelled_with_any_day(bench: Bench) -> None:
    bench.clock.now = datetime(2027, 3, 10, 12, tzinfo=UTC)

    asked = bench.ask(Cancel(), key="end", effective="date", effective_on=date(2027, 3, 20))

    assert bench.run(asked).state in ("scheduled", "checking")


def test_a_renewal_is_carried_out_though_billing_says_that_its_periods_end_days_after_the_term(bench: Bench) -> None:
    asked = bench.ask(Renew(NEW_END, Decimal(5)), key="renewal")
    bench.run(asked)
    bench.records.change(asked, effective_at=(BEGINS + timedelta(days=12)).isoformat())
    bench.clock.now = BEGINS + timedelta(days=9, seconds=1)
    bench.everybody.last_period = True

    assert bench.run(asked).state == "applied"


def test_an_end_after_a_renewal_leaves_the_target_what_that_is_to_take_back(bench: Bench) -> None:
    renewal = bench.ask(Renew(NEW_END), seats(6), key="renewal")
    bench.run(renewal)
    bench.clock.now = BEGINS - timedelta(days=3)
    bench.everybody.last_period = True
    assert bench.run(renewal).state == "applied"

    bench.run(bench.ask(ChangeTerm(date(2027, 9, 1)), key="end"))

    assert bench.records.row(renewal).next_attempt_at is not None
