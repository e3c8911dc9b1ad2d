"""A contract rests from the end of the period that is paid, and goes on: by itself, or when it is asked for."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from canonical.amendments import (
    Action,
    AmendmentRequest,
    Cancel,
    ChangeTerm,
    ContractFilter,
    ContractTimeline,
    Delta,
    Pause,
    RemoveLine,
    Renew,
    Resume,
    Reverse,
)
from canonical.money import Money
from policies.catalogue.live import LiveCatalogue
from policies.catalogue.model import SHIPPED
from policies.problems import ProblemError
from process_apis.amendments.contract import page, running, timeline
from process_apis.amendments.preview import preview
from process_apis.amendments.request import planned
from process_apis.records.database import order_lines, writing
from tests.support.amendment_bench import MONTH, Bench, a_line, seats
from tests.support.process_context import SOMEBODY

JUNE = date(2026, 6, 1)
GOES_ON = datetime(2026, 6, 1, tzinfo=UTC)
NOON = datetime(2026, 4, 10, 12, tzinfo=UTC)
REVENUE, NOTHING = Money(29950, "EUR"), Money(0, "EUR")


def rest(bench: Bench, until: date | None = JUNE, key: str = "pause") -> str:
    """Have the contract paused from the end of March, and return the id of that."""
    asked = bench.ask(Pause(until), key=key, effective="period_end")
    assert bench.run(asked).state == "applied"
    return asked


def resume(bench: Bench, key: str = "resume") -> str:
    asked = bench.ask(Resume(), key=key, effective="period_end")
    assert bench.run(asked).state == "applied"
    return asked


def shown(bench: Bench) -> ContractTimeline:
    found = running(bench.context, bench.records, bench.context.orders.get(bench.order_id))
    return timeline(bench.records, found, bench.clock.now)


def present(bench: Bench) -> str:
    """Return what the contract is now."""
    found = shown(bench).present
    return found.state if found else ""


def versions(bench: Bench) -> list[tuple[datetime, str, Money]]:
    return [(each.since, each.state, each.mrr) for each in shown(bench).versions]


def refusals(bench: Bench, *actions: Action, **more: Any) -> dict[str, str]:
    with pytest.raises(ProblemError) as refused:
        bench.ask(*actions, key="refused", **more)
    assert refused.value.problem.name == "change-refused"
    return {each.path: each.reason for each in refused.value.errors}


def test_a_contract_rests_with_its_lines_and_without_revenue_and_goes_on_by_itself(bench: Bench) -> None:
    asked = rest(bench)

    first, paused, goes_on = shown(bench).versions
    assert (first.state, paused.state, goes_on.state) == ("active", "paused", "active")
    assert (paused.since, goes_on.since, goes_on.amendment_id) == (MONTH.end, GOES_ON, asked)
    assert (first.mrr, paused.mrr, goes_on.mrr) == (REVENUE, NOTHING, REVENUE)
    assert first.lines == paused.lines == goes_on.lines
    assert paused.deltas == (Delta("pause", "", Decimal(0), -REVENUE, Money(-59900, "EUR"), Money(-59900, "EUR")),)
    assert bench.everybody.shown[-1] == "paused from 2026-04-01 until 2026-06-01"
    (change,) = bench.everybody.changes
    assert (change.pause, change.effective_at, change.at_period_end) == (Pause(JUNE), MONTH.end, True)
    assert shown(bench).ends_on == date(2027, 3, 1)


def test_the_service_is_suspended_when_the_pause_begins_and_taken_up_when_it_is_over(bench: Bench) -> None:
    asked = rest(bench)
    moments = [MONTH.end - timedelta(seconds=1), MONTH.end, GOES_ON - timedelta(seconds=1), GOES_ON]

    reported: list[list[bool]] = []
    for moment in moments:
        bench.clock.now = moment
        for _ in range(2):
            bench.run(asked)
        reported.append([*bench.everybody.suspensions])

    assert reported == [[], [True], [True], [True, False]]
    assert bench.records.row(asked).next_attempt_at is None
    assert (bench.everybody.requests, bench.everybody.removed) == ([], 0)


def test_a_pause_without_end_lasts_until_somebody_resumes_and_then_to_the_next_period(bench: Bench) -> None:
    paused = rest(bench, None)
    assert bench.everybody.shown[-1] == "paused from 2026-04-01"
    assert [each.contract_value for each in shown(bench).versions[-1].deltas] == [None]
    bench.clock.now = NOON
    bench.run(paused)

    resumed = resume(bench)

    may = datetime(2026, 5, 1, tzinfo=UTC)
    assert versions(bench)[1:] == [(MONTH.end, "paused", NOTHING), (may, "active", REVENUE)]
    assert bench.everybody.shown[-1] == "resumed from 2026-05-01"
    assert bench.everybody.changes[-1].pause == Resume()
    assert shown(bench).versions[-1].deltas == (Delta("resume", "", Decimal(0), REVENUE),)
    assert present(bench) == "paused"
    bench.clock.now = may
    bench.run(resumed)
    assert bench.everybody.suspensions == [True, False]
    assert present(bench) == "active"


def test_what_is_resumed_sooner_gives_back_the_value_of_the_rest_and_is_not_taken_up_twice(bench: Bench) -> None:
    paused = rest(bench)
    bench.clock.now = NOON
    bench.run(paused)

    resumed = resume(bench)

    assert [each.contract_value for each in shown(bench).versions[-1].deltas] == [REVENUE]
    assert [state for _, state, _ in versions(bench)] == ["active", "paused", "active"]
    for moment in (datetime(2026, 5, 1, tzinfo=UTC), GOES_ON):
        bench.clock.now = moment
        bench.run(paused)
        bench.run(resumed)
    assert bench.everybody.suspensions[:2] == [True, False]
    assert True not in bench.everybody.suspensions[1:]


def test_a_contract_that_is_taken_up_may_be_paused_for_longer_before_it_goes_on(bench: Bench) -> None:
    paused = rest(bench, None)
    bench.clock.now = NOON
    bench.run(paused)
    resumed = resume(bench)

    longer = rest(bench, date(2026, 8, 1), key="longer")

    bench.clock.now = may = datetime(2026, 5, 1, tzinfo=UTC)
    for each in (resumed, longer):
        bench.run(each)
    assert bench.everybody.suspensions == [True, True, True]
    found = shown(bench)
    assert found.present
    assert (found.present.state, found.present.since) == ("paused", may)
    assert versions(bench)[-1] == (datetime(2026, 8, 1, tzinfo=UTC), "active", REVENUE)


def test_contracts_that_rest_are_found_by_their_state(bench: Bench) -> None:
    rest(bench)

    def found(state: Any) -> int:
        return len(page(bench.context, bench.records, SOMEBODY, ContractFilter(state=state), None, 10).items)

    assert (found("active"), found("paused")) == (1, 0)
    bench.clock.now = MONTH.end
    assert (found("active"), found("paused")) == (0, 1)
    bench.clock.now = GOES_ON
    assert (found("active"), found("paused")) == (1, 0)


@pytest.mark.parametrize(
    ("action", "more", "path", "reason"),
    [
        (Pause(), {}, "$.effective", "a pause counts from the end of the period that is paid: say `period_end`"),
        (Pause(), {"effective": "date", "effective_on": date(2026, 3, 20)}, "$.effective", "say `period_end`"),
        (Pause(date(2026, 3, 10)), {"effective": "period_end"}, "$.actions[0].until", "take a day after 2026-03-10"),
        (Pause(date(2027, 3, 1)), {"effective": "period_end"}, "$.actions[0].until", "and before 2027-03-01"),
        (Resume(), {"effective": "period_end"}, "$.actions[0]", "the contract is not paused"),
    ],
)
def test_a_pause_that_cannot_be_is_refused_with_its_place(
    bench: Bench, action: Action, more: dict[str, Any], path: str, reason: str
) -> None:
    found = refusals(bench, action, **more)

    assert list(found) == [path]
    assert reason in found[path]
    assert bench.records.undecided(bench.contract_id) == ()


def test_a_pause_stands_alone(bench: Bench) -> None:
    assert refusals(bench, Pause(), seats(9), effective="period_end") == {
        "$.actions": "a pause stands alone, and so does its end"
    }


def test_a_contract_without_end_is_paused_for_no_longer_than_a_term_may_be(bench: Bench) -> None:
    bench.run(bench.ask(ChangeTerm(None), key="endless"))

    far = refusals(bench, Pause(date(9999, 1, 1)), effective="period_end")

    assert far == {"$.actions[0].until": "take a day until 2036-03-10"}


def test_a_contract_that_goes_on_after_its_term_is_paused_as_one_without_end(bench: Bench) -> None:
    bench.clock.now = datetime(2027, 4, 10, 12, tzinfo=UTC)

    asked = bench.ask(Pause(date(2027, 7, 1)), key="pause", effective="period_end")

    assert bench.run(asked).state == "applied"
    assert [state for _, state, _ in versions(bench)] == ["active", "paused", "active"]


def test_a_line_that_could_not_be_delivered_is_cleared_up_before_a_pause(bench: Bench) -> None:
    with writing(bench.context.database) as connection:
        connection.execute(order_lines.update().where(order_lines.c.line_id == "support").values(state="failed"))

    assert refusals(bench, Pause(), effective="period_end") == {
        "$.actions[0]": "Support could not be delivered: let it be tried again, or skip it"
    }


def test_a_contract_is_paused_and_taken_up_once(bench: Bench) -> None:
    paused = rest(bench)
    again = refusals(bench, Pause(), effective="period_end")
    assert again == {"$.actions[0]": f"{paused} pauses the contract from 2026-04-01 until 2026-06-01 already"}
    early = refusals(bench, Resume(), effective="period_end")
    assert early == {"$.actions[0]": f"the pause has not begun: reverse {paused}"}

    bench.clock.now = NOON
    bench.run(paused)
    resumed = resume(bench)

    twice = refusals(bench, Resume(), effective="period_end")
    assert twice == {"$.actions[0]": f"{resumed} takes the contract up again already"}
    assert refusals(bench, Reverse(resumed))["$.actions[0].amendment"] == (
        f"{resumed} has taken the contract up again: pause it"
    )


@pytest.mark.parametrize("moment", [MONTH.end - timedelta(days=10), NOON])
@pytest.mark.parametrize(
    "actions", [(seats(11),), (RemoveLine("support"),), (a_line("more"),), (Renew(date(2028, 3, 1)), seats(12))]
)
def test_lines_and_terms_stay_as_they_are_while_a_pause_without_end_is_agreed(
    bench: Bench, actions: tuple[Action, ...], moment: datetime
) -> None:
    paused = rest(bench, None)
    bench.clock.now = moment
    bench.run(paused)

    assert refusals(bench, *actions) == {"$.actions": "the contract is paused from 2026-04-01: resume it first"}


def test_what_counts_after_a_pause_is_agreed_within_it(bench: Bench) -> None:
    paused = rest(bench)
    bench.clock.now = NOON
    bench.run(paused)
    why = "the contract is paused from 2026-04-01 until 2026-06-01: it is changed from 2026-06-02 on"
    for more in ({}, {"effective": "period_end"}, {"effective": "date", "effective_on": date(2026, 5, 31)}):
        assert refusals(bench, seats(11), **more) == {"$.actions": why}

    later = bench.ask(seats(9), key="later", effective="date", effective_on=date(2026, 6, 2), settlement="none")
    renewal = bench.ask(Renew(date(2028, 3, 1)), key="renewal")

    assert [bench.run(each).state for each in (later, renewal)] == ["scheduled", "scheduled"]
    assert [state for _, state, _ in versions(bench)] == ["active", "paused", "active", "active", "active"]


@pytest.mark.parametrize("until", [date(2027, 2, 26), date(2027, 2, 28)])
def test_a_contract_that_rests_until_about_the_end_of_its_term_can_be_renewed(bench: Bench, until: date) -> None:
    rest(bench, until)

    renewal = bench.run(bench.ask(Renew(date(2028, 3, 1)), key="renewal"))

    assert (renewal.state, renewal.effective_at) == ("scheduled", datetime(2027, 2, 28, 23, tzinfo=UTC))


def test_a_contract_that_rests_without_end_is_not_renewed(bench: Bench) -> None:
    rest(bench, None)

    refused = refusals(bench, Renew(date(2028, 3, 1)))

    assert refused == {"$.actions": "the contract is paused from 2026-04-01: resume it first"}


def test_what_is_asked_for_after_a_contract_is_resumed_counts_from_the_day_on_which_it_goes_on(bench: Bench) -> None:
    paused = rest(bench, None)
    bench.clock.now = NOON
    bench.run(paused)
    resume(bench)

    more = bench.run(bench.ask(seats(9), key="fewer", settlement="none"))

    assert (more.state, more.effective_at) == ("scheduled", datetime(2026, 5, 1, tzinfo=UTC))


def test_a_contract_that_is_to_end_in_a_pause_is_paused_until_then(bench: Bench) -> None:
    ends = bench.ask(Cancel(), key="ends", effective="date", effective_on=date(2026, 5, 10))
    assert bench.run(ends).state == "scheduled"
    paused = rest(bench, None)
    assert [state for _, state, _ in versions(bench)] == ["active", "paused", "cancelled"]

    for moment in (MONTH.end, datetime(2026, 5, 10, tzinfo=UTC)):
        bench.clock.now = moment
        for each in (paused, ends):
            bench.run(each)

    assert (bench.everybody.suspensions, bench.everybody.removed, present(bench)) == ([True], 1, "cancelled")
    assert bench.everybody.changes[-1].paused


@pytest.mark.parametrize("action", [seats(11), Renew(date(2028, 3, 1))])
def test_what_waits_for_a_day_in_a_pause_is_withdrawn_first(bench: Bench, action: Action) -> None:
    on = {} if isinstance(action, Renew) else {"effective": "date", "effective_on": date(2027, 2, 27)}
    waits = bench.ask(action, key="waits", **on)
    assert bench.run(waits).state == "scheduled"

    for until in (None, date(2027, 2, 28)):
        found = refusals(bench, Pause(until), effective="period_end")
        assert list(found) == ["$.actions[0].until"]
        assert found["$.actions[0].until"].startswith(waits)
    rest(bench, date(2027, 2, 1))


def test_a_pause_that_has_not_begun_is_taken_back_from_billing_and_the_target_hears_nothing(bench: Bench) -> None:
    paused = rest(bench)

    back = bench.ask(Reverse(paused), key="back")
    done = bench.run(back)

    assert done.state == "applied"
    assert bench.everybody.changes[-1].pause == Resume()
    assert bench.everybody.changes[-1].effective_at == MONTH.end
    assert done.preview
    assert [(each.action, each.mrr, each.contract_value) for each in done.preview.deltas] == [
        ("reverse", REVENUE, Money(59900, "EUR"))
    ]
    assert bench.everybody.shown[-1] == "goes on as before"
    assert bench.run(bench.ask(seats(9), key="fewer", settlement="none")).state == "applied"
    bench.clock.now = NOON
    for each in (paused, back):
        bench.run(each)
    assert bench.everybody.suspensions == []
    assert present(bench) == "active"
    assert {state for _, state, _ in versions(bench)} == {"active"}
    rest(bench, key="another")


def test_a_pause_that_has_begun_is_not_reversed(bench: Bench) -> None:
    paused = rest(bench)
    bench.clock.now = NOON
    bench.run(paused)

    assert "resume it" in refusals(bench, Reverse(paused))["$.actions[0].amendment"]


@pytest.mark.parametrize("more", [{}, {"effective": "period_end"}])
def test_a_contract_that_rests_is_cancelled_without_a_credit(bench: Bench, more: dict[str, Any]) -> None:
    paused = rest(bench, None)
    bench.clock.now = NOON
    bench.run(paused)

    ended = bench.ask(Cancel(), key="end", **more)
    bench.run(ended)

    assert bench.everybody.changes[-1].paused
    bench.clock.now = datetime(2026, 5, 1, tzinfo=UTC)
    for each in (ended, paused):
        bench.run(each)
    assert (bench.everybody.removed, bench.everybody.suspensions) == (1, [True])
    assert versions(bench)[-1][1:] == ("cancelled", NOTHING)


def test_an_end_that_is_agreed_in_a_pause_comes_before_the_contract_goes_on(bench: Bench) -> None:
    paused = rest(bench)
    bench.clock.now = NOON
    bench.run(paused)

    bench.run(bench.ask(ChangeTerm(date(2026, 5, 1)), key="end"))

    assert [state for _, state, _ in versions(bench)] == ["active", "paused", "paused", "cancelled"]


def test_a_target_that_is_away_is_asked_again_and_holds_up_what_comes_after(bench: Bench) -> None:
    paused = rest(bench)
    bench.clock.now, bench.everybody.target = NOON, "away"
    bench.run(paused)
    assert bench.everybody.suspensions == []
    resumed = bench.ask(Resume(), key="resume", effective="period_end")
    assert bench.run(resumed).state == "checking"

    bench.everybody.target = "works"
    bench.run(paused)

    assert bench.everybody.suspensions == [True]
    assert bench.run(resumed).state == "applied"


def test_a_target_that_refuses_is_a_case_of_which_a_retry_says_how_it_is_by_then(bench: Bench) -> None:
    paused = rest(bench)
    bench.clock.now, bench.everybody.target = NOON, "refuses"
    bench.run(paused)
    (case,) = bench.cases(paused)
    assert (case.kind, case.actions) == ("amendment_not_delivered", ("retry", "skip"))

    bench.clock.now, bench.everybody.target = GOES_ON, "works"
    bench.act(case, "retry")
    bench.run(paused)

    assert bench.everybody.suspensions == [False]


def test_a_preview_says_what_a_pause_takes_and_changes_nothing(bench: Bench) -> None:
    said = bench.runs.preview(bench.contract_id, AmendmentRequest((Pause(JUNE),), "period_end"), SOMEBODY)

    assert (said.pauses_on, said.resumes_on, said.resumes_at) == (date(2026, 4, 1), JUNE, GOES_ON)
    assert (said.invoices, said.before == said.after) == ((), True)
    assert (bench.everybody.changes, bench.records.undecided(bench.contract_id)) == ([], ())


@pytest.mark.parametrize(("until", "lost"), [(None, 329450), (JUNE, 59900), (date(2026, 5, 1), None)])
def test_a_pause_is_held_to_what_a_contract_may_lose_and_one_without_end_to_the_whole_term(
    bench: Bench, tmp_path: Path, until: date | None, lost: int | None
) -> None:
    file, said = tmp_path / "catalogue.toml", "[amendment_approvals]\n"
    file.write_text(SHIPPED.read_text().replace(said, f"{said}lost_value = {{ EUR = 50000 }}\n"))
    context = msgspec.structs.replace(bench.context, live_catalogue=LiveCatalogue(file))
    wanted = AmendmentRequest((Pause(until),), "period_end")
    found = running(context, bench.records, context.orders.get(bench.order_id))

    said_of_it = preview(context, "amd_1", found, wanted, planned(context, found, wanted, bench.clock.now))

    expected = [f"the contract loses {Money(lost, 'EUR')} of its value"] if lost else []
    assert [each.partition(", and")[0] for each in said_of_it.approvals] == expected


def test_an_end_before_the_pause_would_begin_is_withdrawn_first(bench: Bench) -> None:
    ends = bench.ask(Cancel(), key="ends", effective="date", effective_on=date(2026, 3, 20))
    assert bench.run(ends).state == "scheduled"

    asked = bench.ask(Pause(JUNE), key="pause", effective="period_end")

    assert bench.run(asked).state == "on_hold"
    (case,) = bench.cases(asked)
    assert (
        case.reason == f"{ends} is to end the contract on 2026-03-20, before the pause would begin: withdraw it first"
    )


def test_what_counts_on_the_day_on_which_a_pause_is_over_is_withdrawn_first(bench: Bench) -> None:
    waits = bench.ask(seats(11), key="waits", effective="date", effective_on=JUNE)
    bench.run(waits)

    assert list(refusals(bench, Pause(JUNE), effective="period_end")) == ["$.actions[0].until"]


def test_a_pause_whose_beginning_support_has_seen_to_ends_for_the_target_by_itself(bench: Bench) -> None:
    paused = rest(bench)
    bench.clock.now, bench.everybody.target = NOON, "refuses"
    bench.run(paused)
    (case,) = bench.cases(paused)
    bench.act(case, "skip")

    bench.clock.now, bench.everybody.target = GOES_ON, "works"
    assert bench.records.row(paused).next_attempt_at == GOES_ON.isoformat()
    bench.run(paused)

    assert bench.everybody.suspensions == [False]
    assert bench.records.row(paused).next_attempt_at is None


def test_a_pause_that_waited_for_a_yes_beyond_its_period_moves_to_no_other(bench: Bench) -> None:
    second = bench.ask(Pause(JUNE), key="pause", effective="period_end")
    bench.records.change(second, effective_at=MONTH.end.isoformat())  # as its preview had said

    bench.clock.now = NOON

    assert bench.run(second).state == "on_hold"
    (case,) = bench.cases(second)
    assert (case.reason, case.actions) == (
        "the period that it was to begin after ended on 2026-04-01: ask again",
        ("compensate",),
    )


def test_a_target_that_is_corrected_in_a_pause_hears_of_it_at_once_and_of_its_end(bench: Bench) -> None:
    paused = rest(bench)
    bench.clock.now, bench.everybody.target = NOON, "refuses"
    bench.run(paused)
    (case,) = bench.cases(paused)
    bench.everybody.target = "works"

    bench.act(case, "retry")
    bench.run(paused)
    assert bench.everybody.suspensions == [True]
    bench.clock.now = GOES_ON
    bench.run(paused)
    assert bench.everybody.suspensions == [True, False]
