"""Reversals: a change that was carried out is taken back by one of its own, and nothing that was billed is deleted."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import msgspec
import pytest

from canonical.amendments import Action, Cancel, ChangePrice, RemoveLine, Reverse
from canonical.money import Money
from policies.problems import ProblemError
from process_apis.amendments.contract import running, timeline
from tests.support.amendment_bench import MONTH, SEAT, SUPPORT, Bench, a_line, seats


def carried_out(bench: Bench, action: Action, key: str, **more: str) -> str:
    """Ask for a change and let it be approved, delivered and billed. Return its id."""
    asked = bench.ask(action, key=key, **more)
    done = bench.run(asked)
    if done.state == "awaiting_approval":
        bench.act(bench.cases(asked)[0], "approve")
        done = bench.run(asked)
    if done.state == "provisioning":
        done = bench.deliver(asked)
    assert done.state == "applied", done.blocked_reason
    return asked


def refused(bench: Bench, amendment: str) -> tuple[str, str]:
    """Return the problem of a reversal that cannot be, and what it says."""
    with pytest.raises(ProblemError) as caught:
        bench.ask(Reverse(amendment), key="refused")
    return caught.value.problem.name, caught.value.errors[0].reason if caught.value.errors else caught.value.detail


@pytest.mark.parametrize(
    "action",
    [seats(15), seats(4), ChangePrice("seat", Decimal(21)), RemoveLine("support"), RemoveLine("seat"), a_line("more")],
)
def test_a_change_that_is_reversed_leaves_the_lines_as_they_were_from_the_moment_of_the_asking(
    bench: Bench, action: Action
) -> None:
    first = carried_out(bench, action, "one", settlement="none")
    bench.clock.move(3600)

    asked = carried_out(bench, Reverse(first), "two")

    now_taxed = tuple(msgspec.structs.replace(each, tax="", tax_percent="") for each in bench.lines())
    assert now_taxed == (SEAT, SUPPORT)
    change = bench.everybody.changes[-1]
    assert (change.lines, change.effective_at) == (bench.lines(), datetime(2026, 3, 10, 13, tzinfo=UTC))
    previews = [bench.of(each).preview for each in (first, asked)]
    worth = [each.mrr for preview in previews if preview for each in preview.deltas]
    assert sum(each.amount for each in worth) == 0
    assert bench.of(asked).invoices


def test_what_was_taken_back_is_delivered_again_before_it_is_billed(bench: Bench) -> None:
    first = carried_out(bench, RemoveLine("support"), "one", settlement="none")
    second = bench.ask(Reverse(first), key="two")

    assert bench.run(second).state == "awaiting_approval"
    bench.act(bench.cases(second)[0], "approve")

    assert bench.run(second).state == "provisioning"
    assert [[(each.id, each.quantity) for each in sent.lines] for sent in bench.everybody.requests] == [
        [("support", 0)],
        [("support", 1)],
    ]


def test_a_reversal_is_reversed_as_any_other_change(bench: Bench) -> None:
    first = carried_out(bench, seats(15), "one")
    second = carried_out(bench, Reverse(first), "two")

    carried_out(bench, Reverse(second), "three")

    assert [each.quantity for each in bench.lines()] == [15, 1]
    assert refused(bench, second)[0] == "change-refused"


def test_what_was_changed_again_or_reversed_already_is_not_reversed(bench: Bench) -> None:
    first = carried_out(bench, seats(15), "one")
    second = carried_out(bench, seats(16), "two")
    support = carried_out(bench, ChangePrice("support", Decimal(100)), "three")

    assert refused(bench, first) == ("change-refused", f"Seat was changed again with {second}: reverse that one first")
    third = carried_out(bench, Reverse(support), "four")
    assert refused(bench, support)[1] == f"Support was changed again with {third}: reverse that one first"
    carried_out(bench, Reverse(second), "five")
    assert [each.quantity for each in bench.lines()] == [15, 1]


def test_what_waits_for_its_day_is_withdrawn_and_holds_what_it_will_change(bench: Bench) -> None:
    first = carried_out(bench, seats(15), "one")
    waits = bench.ask(seats(9), key="two", effective="date", effective_on=date(2026, 3, 20))
    bench.run(waits)

    assert refused(bench, waits)[1] == f"{waits} is not carried out yet: withdraw it"
    assert refused(bench, first)[1] == f"Seat was changed again with {waits}: withdraw that one first"


def test_what_is_no_change_of_the_contract_is_not_reversed(bench: Bench) -> None:
    given_up = bench.ask(seats(9), key="one")
    with bench.records.at(given_up) as one:
        one.advance("given_up", next_attempt_at=None)

    for each in (given_up, "amd_other"):
        assert refused(bench, each)[1] == f"{each} is no change of this contract that was carried out"


def test_a_reversal_stands_alone(bench: Bench) -> None:
    first = carried_out(bench, seats(15), "one")

    with pytest.raises(ProblemError) as caught:
        bench.ask(Reverse(first), seats(11), key="two")

    assert [(each.path, each.reason) for each in caught.value.errors] == [
        ("$.actions[0]", "the reversal of a change stands alone")
    ]


def test_the_end_of_a_contract_that_has_come_is_not_reversed(bench: Bench) -> None:
    ended = carried_out(bench, Cancel(), "one")

    problem, reason = refused(bench, ended)

    assert problem == "contract-over"
    assert reason == f"The contract was cancelled with {ended}. Billing has ended with it, so it cannot be reversed."


def test_an_end_with_the_period_is_reversed_before_it_comes_and_nothing_is_taken_back(bench: Bench) -> None:
    ended = carried_out(bench, Cancel(), "one", effective="period_end")

    reversal = carried_out(bench, Reverse(ended), "two")

    change = bench.everybody.changes[-1]
    assert (change.contract.state, change.lines, change.at_period_end) == ("cancelled", (SEAT, SUPPORT), True)
    assert [bench.of(each).effective_at for each in (ended, reversal)] == [MONTH.end, MONTH.end]
    later = carried_out(bench, seats(12), "three")
    assert bench.everybody.changes[-1].effective_at == datetime(2026, 3, 10, 12, tzinfo=UTC)
    bench.clock.now = MONTH.end + timedelta(hours=1)
    for each in (ended, reversal, later):
        bench.run(each)
    assert bench.everybody.removed == 0
    assert [each.lines[0].quantity for each in bench.everybody.requests] == [12]
    found = running(bench.context, bench.records, bench.context.orders.get(bench.order_id))
    assert found.contract.state == "active"
    shown = timeline(bench.records, found, bench.clock.now)
    assert shown.present
    assert shown.present.mrr == Money(33950, "EUR")
    assert sum(each.mrr.amount for version in shown.versions for each in version.deltas) == 4000


def test_fewer_with_the_next_period_are_as_many_again_when_that_is_reversed_in_time(bench: Bench) -> None:
    fewer = carried_out(bench, seats(4), "one", effective="period_end")

    carried_out(bench, Reverse(fewer), "two")

    bench.clock.now = MONTH.end + timedelta(hours=1)
    bench.run(fewer)
    assert (bench.lines(), bench.everybody.requests) == ((SEAT, SUPPORT), [])


def test_an_end_that_has_come_while_its_reversal_was_on_its_way_is_a_case(bench: Bench) -> None:
    fewer = carried_out(bench, seats(4), "one", effective="period_end")
    reversal = bench.ask(Reverse(fewer), key="two")
    assert bench.amending.check(reversal) == "done"
    bench.clock.now = MONTH.end + timedelta(hours=1)

    assert bench.run(reversal).state == "on_hold"

    (case,) = bench.cases(reversal)
    assert (case.kind, case.actions) == ("amendment_invalid", ("compensate",))
    assert case.reason == "what it takes back counts since the period ended: give it up, and ask again"
