"""A new price of a product for many contracts: shown first, approved once, and done once for each contract."""

from __future__ import annotations

from collections import Counter
from datetime import date
from decimal import Decimal
from functools import partial
from typing import Any

import msgspec
import pytest

from canonical.amendments import Cancel, ChangeDiscount, ChangePrice
from canonical.deals import with_terms
from canonical.mass_changes import MassChangeStep, MassItemState, NewPrice, PriceList
from canonical.money import Money
from policies.identity.authentication import Principal
from policies.problems import ProblemError
from process_apis.records.amendments import amendment_id
from process_apis.records.cases import Wanted
from tests.support.amendment_bench import seats
from tests.support.mass_change_bench import CHEAP, MassBench
from tests.support.process_context import SOMEBODY, at_once


def prices(mass: MassBench) -> Counter[str]:
    """Return how many contracts pay which price for a seat, by what billing was asked for last."""
    last = {each.contract.id: each.lines for each in mass.bench.everybody.changes}
    return Counter(str(line.terms.unit_price) for lines in last.values() for line in lines if line.sku == "SEAT")


def left_out(mass: MassBench, mass_change_id: str) -> dict[str, str | None]:
    found = mass.records.page_of_items(mass_change_id, "left_out", None, 100)
    return {each.contract_id: each.reason for each in found.items}


def test_a_preview_says_what_it_is_worth_and_who_is_left_out_without_a_call_to_billing(mass: MassBench) -> None:
    sold = mass.sell(3)
    mass.bench.run(mass.bench.ask(seats(12), key="on-its-way"))
    mass.bench.everybody.changes.clear()

    found = mass.plan(10)

    assert (found.state, len(found.counts)) == ("previewed", 2)
    assert [(each.state, each.contracts, each.reason) for each in found.counts] == [
        ("left_out", 1, "change_on_its_way"),
        ("to_do", 3, None),
    ]
    (worth,) = found.revenue
    assert (worth.contracts, worth.before, worth.after, worth.delta) == (
        3,
        Money(15_000, "EUR"),
        Money(16_500, "EUR"),
        Money(1_500, "EUR"),
    )
    assert left_out(mass, found.id) == {mass.bench.contract_id: "change_on_its_way"}
    assert mass.bench.everybody.changes == []
    items = mass.records.page_of_items(found.id, "to_do", None, 100).items
    assert sorted(each.contract_id for each in items) == sorted(sold)


def test_each_reason_for_which_a_contract_is_left_out_is_said(mass: MassBench) -> None:
    at_price, of_year, many = (
        mass.sell(1, line, first)[0]
        for first, line in enumerate(
            (
                with_terms(CHEAP, msgspec.structs.replace(CHEAP.terms, unit_price=Decimal(11))),
                msgspec.structs.replace(CHEAP, interval="year"),
                CHEAP,
            )
        )
    )
    mass.bench.run(mass.bench.ask(Cancel(), settlement="none"))

    wanted = PriceList((NewPrice("month", Money(1100, "EUR")),))
    found = mass.plan(price=wanted)
    later = mass.plan(price=wanted, key="too-late", effective="date", effective_on=date(2028, 1, 1))
    mass.bench.clock.move(400 * 86_400)
    over = mass.plan(price=wanted, key="over")

    ended = mass.bench.contract_id
    assert left_out(mass, found.id) == {at_price: "already_at_price", of_year: "no_price", ended: "cancelled"}
    assert left_out(mass, later.id)[many] == "not_allowed"
    assert left_out(mass, over.id)[many] == "term_over"


def test_a_contract_that_is_being_activated_and_one_with_too_many_digits_are_left_out(mass: MassBench) -> None:
    long = msgspec.structs.replace(CHEAP.terms, unit_price=Decimal("9.3333333333333"))
    (activated,) = mass.sell(1)
    (many_digits,) = mass.sell(1, with_terms(CHEAP, long), 1)
    with mass.context.database.begin() as connection:
        order = "SELECT id FROM orders WHERE deal_id = 'deal-0'"
        connection.exec_driver_sql(f"UPDATE order_lines SET state = 'requested' WHERE order_id = ({order})")

    found = mass.plan()

    assert left_out(mass, found.id) == {activated: "change_on_its_way", many_digits: "not_allowed"}


def test_who_wants_it_undone_is_who_cannot_approve_that(mass: MassBench) -> None:
    somebody_else = msgspec.structs.replace(SOMEBODY, subject="lee@example.com")
    found = mass.plan()
    mass.approved(found.id)
    mass.to_its_end(found.id)

    mass.runs.do(found.id, "undo", somebody_else)

    (case,) = mass.bench.cases(found.id)
    assert (mass.runs.asked_by(case), case.reason) == (
        "lee@example.com",
        "the undoing of a price change of SEAT for 1 contracts",
    )
    mass.runs.do(found.id, "cancel", SOMEBODY)
    left = mass.runs.find(found.id, SOMEBODY)
    assert (left.state, left.undoing, mass.counts(found.id), mass.bench.cases(found.id)) == (
        "done",
        False,
        {"changed": 1},
        [],
    )


def test_nothing_is_changed_before_somebody_else_approves_it_once_for_all(mass: MassBench) -> None:
    mass.sell(4)
    found = mass.plan(-20)

    assert mass.go_on(found.id).state == "previewed"
    assert mass.runs.do(found.id, "submit", SOMEBODY).state == "awaiting_approval"
    mass.runs.do(found.id, "submit", SOMEBODY)
    (case,) = mass.bench.cases(found.id)
    assert (case.kind, case.team, mass.runs.asked_by(case)) == ("mass_change_approval", "finance", SOMEBODY.subject)
    assert mass.bench.everybody.changes == []

    mass.decide(found.id, "approve")
    done = mass.to_its_end(found.id)

    assert (done.state, mass.counts(found.id)) == ("done", {"changed": 5})
    assert prices(mass) == {"8.00": 4, "16.00": 1}
    assert mass.bench.cases(found.id) == []


def test_a_change_that_was_rejected_changes_nothing(mass: MassBench) -> None:
    found = mass.plan()
    mass.runs.do(found.id, "submit", SOMEBODY)

    mass.decide(found.id, "reject")

    assert mass.go_on(found.id).state == "cancelled"
    assert mass.counts(found.id) == {"cancelled": 1}


def test_a_contract_that_would_lose_more_than_was_shown_needs_an_approval_of_its_own(mass: MassBench) -> None:
    sold = mass.sell(1)
    found = mass.plan(-50)
    mass.bench.run(mass.bench.ask(seats(1000), key="many-more", settlement="none"))
    mass.bench.deliver(amendment_id(mass.bench.contract_id, "many-more"))
    mass.approved(found.id)

    mass.to_its_end(found.id)

    assert mass.counts(found.id) == {"changed": 1, "awaiting_approval": 1}
    (waits,) = mass.records.page_of_items(found.id, "awaiting_approval", None, 25).items
    assert (waits.contract_id, len(sold)) == (mass.bench.contract_id, 1)
    assert [each.kind for each in mass.bench.cases(waits.amendment_id)] == ["amendment_approval"]


def test_no_more_are_on_their_way_at_once_than_the_catalogue_lets(mass: MassBench) -> None:
    mass.sell(5)
    found = mass.plan()
    mass.approved(found.id)

    for _ in range(5):
        mass.go_on(found.id)

    assert mass.counts(found.id) == {"on_its_way": 3, "to_do": 3}
    mass.amend()
    mass.go_on(found.id)
    assert mass.counts(found.id) == {"changed": 3, "on_its_way": 3}


def test_no_more_are_begun_in_a_minute_than_the_catalogue_lets(mass: MassBench) -> None:
    mass.sell(9)
    found = mass.plan()
    mass.approved(found.id)

    for _ in range(5):
        mass.go_on(found.id)
        mass.amend()
    begun = mass.counts(found.id)
    mass.bench.clock.move(61)
    mass.go_on(found.id)

    assert begun == {"changed": 8, "to_do": 2}
    assert mass.counts(found.id) == {"changed": 8, "on_its_way": 2}


def test_contracts_are_begun_evenly_over_the_minute_and_looked_for_at_once(mass: MassBench) -> None:
    mass.sell(2)
    found = mass.plan()
    mass.approved(found.id)

    mass.go_on(found.id)

    assert mass.engine.looked == ["amendments"] * 3
    assert mass.engine.rested[:6] == [60 / 8, 0] * 3


def test_a_process_that_ends_while_contracts_are_begun_leaves_the_rest_to_the_next_run(mass: MassBench) -> None:
    mass.sell(2)
    found = mass.plan()
    mass.approved(found.id)
    mass.engine.ends = True
    mass.go_on(found.id)
    begun = mass.counts(found.id)
    mass.engine.ends = False

    assert begun == {"on_its_way": 1, "to_do": 2}
    assert mass.records.row(found.id).next_attempt_at == mass.context.clock().isoformat()
    assert mass.to_its_end(found.id).state == "done"


def test_it_is_paused_between_two_contracts_and_goes_on_where_it_was(mass: MassBench) -> None:
    mass.sell(4)
    found = mass.plan()
    mass.approved(found.id)
    mass.go_on(found.id)

    assert mass.runs.do(found.id, "pause", SOMEBODY).state == "paused"
    mass.amend()
    for _ in range(3):
        mass.go_on(found.id)
    assert mass.counts(found.id) == {"changed": 3, "to_do": 2}

    mass.runs.do(found.id, "resume", SOMEBODY)
    assert mass.to_its_end(found.id).state == "done"
    assert mass.counts(found.id) == {"changed": 5}
    assert set(Counter(each.contract.id for each in mass.bench.everybody.changes).values()) == {1}


def test_what_is_cancelled_leaves_the_rest_as_it_is(mass: MassBench) -> None:
    mass.sell(4)
    found = mass.plan()
    mass.approved(found.id)
    mass.go_on(found.id)

    mass.runs.do(found.id, "cancel", SOMEBODY)
    mass.amend()

    assert mass.go_on(found.id).state == "cancelled"
    assert mass.counts(found.id) == {"changed": 3, "cancelled": 2}


def test_a_process_that_ends_between_the_note_and_the_asking_asks_once(
    mass: MassBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    mass.sell(2)
    found = mass.plan()
    mass.approved(found.id)

    class Killed(BaseException):
        pass

    def killed(*_: Any, **__: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(mass.runs.changing._amendments, "receive", killed)  # pyright: ignore[reportPrivateUsage]
        with pytest.raises(Killed):
            mass.go_on(found.id)
    assert mass.counts(found.id) == {"on_its_way": 1, "to_do": 2}
    mass.runs.do(found.id, "pause", SOMEBODY)
    mass.go_on(found.id)
    mass.amend()
    assert mass.counts(found.id) == {"changed": 1, "to_do": 2}

    mass.runs.do(found.id, "resume", SOMEBODY)
    mass.to_its_end(found.id)

    assert len(mass.bench.everybody.changes) == len({each.contract.id for each in mass.bench.everybody.changes}) == 3


def test_two_processes_that_are_at_it_at_once_ask_for_each_change_once(mass: MassBench) -> None:
    mass.sell(2)
    found = mass.plan()
    mass.approved(found.id)

    at_once(*[partial(mass.runs.changing.go_on, found.id)] * 3)

    asked = mass.bench.records.page(SOMEBODY, None, None, None, 25).items
    assert len({each.contract_id for each in asked}) == len(asked) == 3
    assert mass.counts(found.id) == {"on_its_way": 3}


def test_nothing_more_is_begun_while_a_platform_is_away(mass: MassBench) -> None:
    mass.sell(5)
    found = mass.plan()
    mass.approved(found.id)
    mass.bench.everybody.away = True

    for _ in range(4):
        mass.go_on(found.id)
        mass.amend()
        mass.bench.clock.move(60)
    assert mass.counts(found.id) == {"on_its_way": 3, "to_do": 3}
    assert {each.kind for each in mass.context.cases.page(SOMEBODY, Wanted("open"), None, 25).items} <= {
        "waiting_for_platform"
    }

    mass.bench.everybody.away = False
    assert mass.to_its_end(found.id).state == "done"
    assert mass.counts(found.id) == {"changed": 6}


def test_what_fails_is_reported_and_stops_no_other(mass: MassBench) -> None:
    mass.sell(2)
    found = mass.plan()
    mass.approved(found.id)
    mass.go_on(found.id)
    mass.bench.everybody.status = 422
    refused = mass.bench.run(mass.records.page_of_items(found.id, None, None, 1).items[0].amendment_id)
    assert refused.state == "on_hold"
    mass.bench.everybody.status = 200
    mass.to_its_end(found.id)
    assert mass.counts(found.id) == {"changed": 2, "held": 1}


def test_what_a_contract_does_not_allow_any_more_is_a_case_and_is_tried_again(mass: MassBench) -> None:
    mass.sell(1)
    found = mass.plan()
    between = mass.bench.ask(ChangePrice("seat", Decimal(30)), key="between")
    mass.approved(found.id)

    assert mass.to_its_end(found.id).state == "done"

    assert mass.counts(found.id) == {"changed": 1, "failed": 1}
    (failed,) = mass.records.page_of_items(found.id, "failed", None, 25).items
    assert (failed.reason, failed.detail) == ("change_on_its_way", between)
    (case,) = mass.bench.cases(found.id)
    assert (case.kind, case.team, case.actions) == ("mass_change_incomplete", "sales", ("retry", "skip"))

    mass.bench.run(between)
    mass.decide(found.id, "retry")
    assert mass.to_its_end(found.id).state == "done"
    assert mass.counts(found.id) == {"changed": 2}
    assert mass.bench.cases(found.id) == []
    assert prices(mass) == {"10.50": 1, "31.50": 1}


def test_a_held_change_is_given_up_and_asked_for_again(mass: MassBench) -> None:
    found = mass.plan(effective="date", effective_on=date(2026, 3, 10), settlement="at_once")
    mass.approved(found.id)
    mass.bench.everybody.tax = 1
    mass.to_its_end(found.id)
    assert mass.counts(found.id) == {"held": 1}
    (held,) = mass.records.page_of_items(found.id, "held", None, 25).items

    mass.bench.everybody.tax = 0
    mass.runs.do(found.id, "retry", SOMEBODY)
    mass.to_its_end(found.id)

    assert mass.counts(found.id) == {"changed": 1}
    assert mass.bench.of(held.amendment_id).state == "given_up"
    assert mass.bench.cases(held.amendment_id) == []


def test_a_discount_stays_and_the_price_before_it_changes(mass: MassBench) -> None:
    mass.bench.run(mass.bench.ask(ChangeDiscount("seat", Decimal(10)), settlement="none"))
    found = mass.plan(10)
    mass.approved(found.id)

    mass.to_its_end(found.id)

    terms = mass.bench.lines()[0].terms
    assert (terms.list_price, terms.discount_percent, terms.unit_price) == (Decimal(22), Decimal(10), Decimal("19.8"))


def test_the_same_key_is_the_same_mass_change_and_another_one_is_refused(mass: MassBench) -> None:
    assert mass.plan().id == mass.plan().id

    with pytest.raises(ProblemError, match="key"):
        mass.plan(6)


@pytest.mark.parametrize(
    ("wanted", "path"),
    [
        ({"percent": 0}, "$.price.basis_points"),
        ({"effective": "date"}, "$.effective_on"),
        ({"effective_on": date(2026, 4, 1)}, "$.effective_on"),
        ({"price": PriceList((NewPrice("month", Money(1, "EUR")),) * 2)}, "$.price.prices[1]"),
    ],
)
def test_what_cannot_be_is_refused_when_it_is_asked_for(mass: MassBench, wanted: dict[str, Any], path: str) -> None:
    with pytest.raises(ProblemError) as caught:
        mass.plan(**wanted)

    assert [each.path for each in caught.value.errors] == [path]


def test_only_contracts_of_the_customers_and_states_that_were_named_are_selected(mass: MassBench) -> None:
    mass.sell(3)

    found = mass.plan(customers=("cus_deal-1",))
    pending = mass.plan(key="pending", states=("pending",))

    assert [each.customer_id for each in mass.records.page_of_items(found.id, None, None, 25).items] == ["cus_deal-1"]
    assert pending.counts == ()
    with pytest.raises(ProblemError, match="left out"):
        mass.runs.do(pending.id, "submit", SOMEBODY)


def test_it_is_not_there_for_those_who_may_not_see_the_selling_company(mass: MassBench) -> None:
    found = mass.plan()
    of_france = Principal("kim", "support-desk", frozenset(), frozenset({"FR01"}), "jti", 0.0, 0.0)
    partner = msgspec.structs.replace(SOMEBODY, partner="reseller-nord")

    for stranger in (of_france, partner):
        assert mass.records.visible(found.id, stranger) is None
        assert mass.records.page(stranger, None, None, 25).items == ()
        with pytest.raises(ProblemError):
            mass.runs.do(found.id, "cancel", stranger)
    assert [each.id for each in mass.records.page(SOMEBODY, "previewed", None, 25).items] == [found.id]


@pytest.mark.parametrize("step", ["pause", "resume", "retry", "undo"])
def test_a_step_that_does_not_come_now_is_refused(mass: MassBench, step: MassChangeStep) -> None:
    found = mass.plan()

    with pytest.raises(ProblemError) as caught:
        mass.runs.do(found.id, step, SOMEBODY)

    assert caught.value.problem.name == "not-allowed-now"


def test_what_was_changed_is_taken_back_with_an_approval_of_its_own_and_what_cannot_be_says_why(
    mass: MassBench,
) -> None:
    sold = mass.sell(2)
    found = mass.plan(50, effective="date", effective_on=date(2026, 3, 10), settlement="none")
    mass.approved(found.id)
    mass.to_its_end(found.id)
    later = mass.bench.run(mass.bench.ask(ChangePrice("seat", Decimal(40)), key="later", settlement="none"))
    assert later.state == "applied"

    assert mass.runs.do(found.id, "undo", SOMEBODY).state == "awaiting_approval"
    mass.decide(found.id, "approve")
    done = mass.to_its_end(found.id)

    assert (done.state, done.undoing) == ("done", True)
    assert mass.counts(found.id) == {"undone": 2, "not_undone": 1}
    (kept,) = mass.records.page_of_items(found.id, "not_undone", None, 25).items
    assert (kept.contract_id, later.id in kept.detail) == (mass.bench.contract_id, True)
    assert [each.kind for each in mass.bench.cases(found.id)] == ["mass_change_incomplete"]
    last = {each.contract.id: str(each.lines[0].terms.unit_price) for each in mass.bench.everybody.changes}
    assert {last[each] for each in sold} == {"10.00"}


def test_what_waits_for_its_day_is_withdrawn_when_it_is_undone(mass: MassBench) -> None:
    found = mass.plan(effective="date", effective_on=date(2026, 3, 20))
    mass.approved(found.id)
    mass.to_its_end(found.id)
    expected: list[MassItemState] = ["scheduled"]
    assert list(mass.counts(found.id)) == expected

    mass.runs.do(found.id, "undo", SOMEBODY)
    mass.decide(found.id, "approve")
    mass.to_its_end(found.id)

    assert mass.counts(found.id) == {"undone": 1}
    assert mass.bench.everybody.changes == []


def test_an_undoing_that_is_rejected_leaves_everything_as_it_was_changed(mass: MassBench) -> None:
    found = mass.plan()
    mass.approved(found.id)
    mass.to_its_end(found.id)

    mass.runs.do(found.id, "undo", SOMEBODY)
    mass.decide(found.id, "reject")

    done = mass.runs.find(found.id, SOMEBODY)
    assert (done.state, done.undoing, mass.counts(found.id)) == ("done", False, {"changed": 1})
