"""What becomes of a contract whose term ends, from the day on which that is found until it is renewed or over."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from canonical.amendments import Cancel, ChangeTerm, Pause, Renew, Resume, Reverse
from canonical.cases import Finding
from canonical.money import Money
from canonical.proration import Period
from canonical.renewals import Renewal
from canonical.states import OrderState
from policies.problems import ProblemError
from process_apis.amendments.contract import timeline
from process_apis.records.amendments import OURS
from process_apis.records.database import orders
from process_apis.renewals.plan import LAST_CALL, Standing
from process_apis.renewals.workflow import LOOK_AGAIN
from process_apis.runtime.agenda import CASE_AFTER
from tests.support.amendment_bench import a_line, seats
from tests.support.process_context import SOMEBODY
from tests.support.renewal_bench import AUTOMATIC, LAPSE, QUOTED, TERM_ENDS, RenewalBench
from tests.unit.process_apis.renewals.conftest import Make

DAY = timedelta(days=1)
NOTICE = TERM_ENDS - timedelta(days=59)
LAST = TERM_ENDS - LAST_CALL
YEARS_END, NEXT_END = date(2027, 3, 1), date(2028, 3, 1)
MRR, DEARER = Money(29_950, "EUR"), Money(31_448, "EUR")


def states(made: RenewalBench) -> list[str]:
    """Return what each version of the contract is."""
    found = made.contract()
    return [each.state for each in timeline(made.bench.records, found, found.read_at).versions]


def test_without_a_policy_nothing_is_found(renewals: Make) -> None:
    made = renewals("")
    made.clock.now = LAST

    assert made.find() == []


def test_a_term_is_found_with_its_notice_and_offered_once_at_the_prices_of_the_policy(renewals: Make) -> None:
    made = renewals(QUOTED)
    made.clock.now = NOTICE - 3 * DAY
    assert made.find() == []

    for moment in (NOTICE, NOTICE + DAY, NOTICE + 30 * DAY):
        found = made.at(moment)

    assert (found.state, found.mrr, found.mrr_after, found.renews_until) == ("quoted", MRR, DEARER, NEXT_END)
    assert (found.ends_on, found.crm, found.deal_id) == (YEARS_END, "salesforce", "006R1")
    assert found.blocked_reason == "the deal to be won before 2027-02-25"
    ((key, offer),) = made.everybody.offers.items()
    assert key == f"renewal:{made.bench.contract_id}:2027-03-01"
    assert [(each.sku, each.quantity, each.unit_price) for each in offer.lines] == [
        ("SEAT", 10, Decimal("21.00")),
        ("SUPPORT", 1, Decimal("104.48")),
    ]
    assert (offer.starts_on, offer.term_months, offer.sold_with) == (YEARS_END, 12, "deal")


def test_a_deal_that_is_won_renews_with_what_the_salesperson_has_made_of_it(renewals: Make) -> None:
    made = renewals(QUOTED)
    found = made.at(NOTICE)
    seat, support = made.offered(found).lines
    made.win(found, lines=(msgspec.structs.replace(seat, quantity=Decimal(12)), support))

    found = made.look()
    assert found.state == "scheduled"
    assert made.amendment(found).requested_by == "sam@example.com"
    found = made.at(TERM_ENDS - 2 * DAY)
    made.bench.deliver(found.amendment_id)
    found = made.look()

    assert found.state == "renewed"
    assert made.contract().contract.renewed_until == NEXT_END
    assert [str(each.terms.quantity) for each in made.bench.lines()] == ["12", "1"]


def test_a_deal_that_is_lost_lets_the_contract_end_with_its_term_and_its_grace(renewals: Make) -> None:
    made = renewals(QUOTED)
    found = made.at(NOTICE)
    made.lose(found)

    found = made.look()

    assert (found.state, found.mrr_after, found.renews_until) == ("lapsing", Money(0, "EUR"), None)
    asked = made.amendment(found)
    assert (asked.state, asked.requested_by) == ("applied", OURS)
    assert asked.request.actions == (ChangeTerm(YEARS_END, 14),)
    assert [each.term for each in made.everybody.changes] == [ChangeTerm(YEARS_END, 14)]
    assert (made.contract().contract.state, made.everybody.removed) == ("active", 0)

    noon = datetime(2027, 3, 1, 12, tzinfo=TERM_ENDS.tzinfo)
    found = made.at(noon + timedelta(minutes=1))
    assert (found.state, made.everybody.removed, states(made)[-1]) == ("grace", 0, "expired")
    assert made.contract().contract.state == "expired"
    with pytest.raises(ProblemError, match="sell it again as a new deal") as refused:
        made.bench.ask(Renew(NEXT_END), key="late")
    assert refused.value.problem.name == "contract-over"

    found = made.at(noon + 14 * DAY + timedelta(minutes=2))
    assert (found.state, made.everybody.removed) == ("expired", 1)


def test_a_deal_that_is_won_in_the_grace_is_refused_with_what_to_do(renewals: Make) -> None:
    made = renewals(QUOTED)
    found = made.at(NOTICE)
    made.lose(found)
    made.look()
    found = made.at(TERM_ENDS + 2 * DAY)

    made.win(found)

    row = made.deals.records.of("salesforce", found.deal_id)
    assert row
    (case,) = made.bench.cases(row.id)
    assert case.reason == (
        "the contract ended on 2027-03-01, and nobody had renewed it: sell it again as a deal that names none"
    )
    assert made.look().state == "grace"


def test_what_nobody_has_won_ends_before_billing_issues_its_next_invoice(renewals: Make) -> None:
    made = renewals(QUOTED)
    assert made.at(NOTICE).state == "quoted"
    assert made.at(LAST - timedelta(seconds=1)).state == "quoted"

    found = made.at(LAST)

    assert (found.state, made.amendment(found).state) == ("lapsing", "applied")


def test_a_deal_that_is_won_after_its_last_call_renews_still(renewals: Make) -> None:
    made = renewals(QUOTED)
    made.at(NOTICE)
    found = made.at(LAST)
    assert found.state == "lapsing"

    made.everybody.last_period = True
    made.win(found)
    assert made.look().state == "scheduled"

    found = made.at(TERM_ENDS - 3 * DAY)

    assert (found.state, made.contract().contract.ends_on) == ("renewed", None)
    assert made.amendment(found).request.actions[0] == Renew(NEXT_END)
    assert made.at(TERM_ENDS + 3 * DAY).state == "renewed"
    assert made.everybody.removed == 0


def test_a_contract_is_renewed_by_itself_once(renewals: Make) -> None:
    made = renewals(AUTOMATIC)

    found = made.at(NOTICE)

    asked = made.amendment(found)
    assert (found.state, asked.state, asked.requested_by) == ("scheduled", "scheduled", OURS)
    assert asked.request.actions == (Renew(NEXT_END, Decimal(5)),)
    assert asked.request.key == f"renewal:{found.contract_id}:2027-03-01"
    assert (found.mrr_after, found.renews_until) == (DEARER, NEXT_END)
    made.everybody.last_period = True
    assert made.at(LAST).state == "scheduled"
    found = made.at(TERM_ENDS - 2 * DAY)
    assert (found.state, made.amendment(found).state) == ("renewed", "applied")


TOGETHER = "co_term = true\n"


@pytest.mark.parametrize("policy", [AUTOMATIC, QUOTED])
def test_the_next_term_ends_with_another_contract_of_the_customer(renewals: Make, policy: str) -> None:
    made = renewals(policy + TOGETHER)
    made.sell_another(18)

    found = made.at(NOTICE)

    assert (found.renews_until, found.note) == (date(2027, 9, 1), "")
    if policy == QUOTED:
        assert [each.term_months for each in made.everybody.offers.values()] == [6]
        assert made.at(NOTICE + DAY).renews_until == date(2027, 9, 1)
    else:
        assert made.amendment(found).request.actions == (Renew(date(2027, 9, 1), Decimal(5)),)


@pytest.mark.parametrize("policy", [AUTOMATIC, QUOTED])
def test_where_billing_has_no_period_that_ends_then_the_next_term_is_a_plain_one_and_says_so(
    renewals: Make, policy: str
) -> None:
    made = renewals(policy + TOGETHER)
    made.sell_another(18)
    made.everybody.refused_end = date(2027, 9, 1)

    for moment in (NOTICE, NOTICE + DAY):
        found = made.at(moment)

        assert (found.renews_until, found.state) == (NEXT_END, "quoted" if policy == QUOTED else "scheduled")
        assert found.note == "it does not end on 2027-09-01, with another contract: system: no"


def test_a_renewal_by_itself_that_is_withdrawn_is_not_asked_for_again(renewals: Make) -> None:
    made = renewals(AUTOMATIC)
    found = made.at(NOTICE)
    made.bench.runs.withdraw(found.amendment_id, SOMEBODY)

    found = made.look()
    assert found.state == "found"
    assert "was withdrawn" in found.blocked_reason
    found = made.at(LAST)
    assert (found.state, made.amendment(found).request.actions) == ("lapsing", (ChangeTerm(YEARS_END),))


def test_what_is_to_lapse_may_be_renewed_by_people_until_its_last_call(renewals: Make) -> None:
    made = renewals(LAPSE)
    found = made.at(NOTICE)
    assert (found.state, found.mrr_after, found.renews_until) == ("found", Money(0, "EUR"), None)

    asked = made.bench.ask(Renew(date(2027, 9, 1)), key="people")
    made.bench.run(asked)

    found = made.at(NOTICE + DAY)
    assert (found.state, found.amendment_id, found.renews_until) == ("scheduled", asked, date(2027, 9, 1))
    assert made.at(TERM_ENDS - DAY).state == "renewed"
    assert made.everybody.changes[-1].term is None


def test_a_contract_that_is_to_be_cancelled_blocks_its_renewal_and_drops_it(renewals: Make) -> None:
    made = renewals(AUTOMATIC)
    made.clock.now = NOTICE - 5 * DAY
    made.everybody.period = Period(TERM_ENDS - 59 * DAY, TERM_ENDS - 27 * DAY)
    ending = made.bench.ask(Cancel(), key="end", effective="date", effective_on=date(2027, 2, 1))
    assert made.bench.run(ending).state == "scheduled"

    found = made.at(NOTICE)

    assert (found.state, made.cases(found)) == ("blocked", [])
    assert found.blocked_reason == f"{ending}, which is to end the contract on 2027-01-31"
    found = made.at(datetime(2027, 2, 1, 12, tzinfo=TERM_ENDS.tzinfo))
    assert (found.state, found.blocked_reason) == ("dropped", f"the contract was ended with {ending}")


def test_another_end_that_people_agree_to_drops_a_renewal(renewals: Make) -> None:
    made = renewals(QUOTED)
    made.at(NOTICE)
    made.bench.run(made.bench.ask(ChangeTerm(date(2027, 6, 1)), key="longer"))

    assert made.look().blocked_reason == "the contract ends on 2027-06-01"
    assert made.look().state == "dropped"


def test_an_amendment_that_is_undecided_blocks_a_renewal_until_that_is_a_case(renewals: Make) -> None:
    made = renewals(QUOTED)
    made.clock.now = NOTICE - DAY
    asked = made.bench.ask(a_line("more"), key="more", effective="period_end")
    assert made.bench.run(asked).state == "awaiting_approval"

    found = made.at(NOTICE)
    assert (found.state, made.cases(found)) == ("blocked", [])
    found = made.at(LAST - 6 * DAY)
    (case,) = made.cases(found)
    assert (case.kind, case.team, case.actions) == ("renewal_blocked", "sales", ("retry", "skip"))
    assert asked in case.reason
    assert made.at(LAST + DAY).state == "blocked"

    made.bench.runs.withdraw(asked, SOMEBODY)
    found = made.look()
    assert (found.state, made.cases(found)) == ("lapsing", [])


def test_a_case_of_the_order_holds_a_renewal_up_until_its_last_call(renewals: Make) -> None:
    made = renewals(QUOTED)
    made.context.cases.open(
        "line_failed", made.bench.order_id, Finding("lines.1", "no room"), ("skip",), correlation_id="cor_9"
    )

    found = made.at(NOTICE)
    assert (found.state, made.everybody.offers) == ("blocked", {})
    assert made.at(LAST).state == "lapsing"


def test_a_case_that_is_settled_lets_a_renewal_go_on(renewals: Make) -> None:
    made = renewals(QUOTED)
    made.context.cases.open(
        "line_failed", made.bench.order_id, Finding("lines.1", "no room"), ("skip",), correlation_id="cor_9"
    )
    made.at(NOTICE)
    made.context.cases.resolve(made.bench.order_id, "done", "line_failed")

    assert made.at(NOTICE + DAY).state == "quoted"


def test_people_may_see_to_a_renewal_themselves_and_nothing_lapses(renewals: Make) -> None:
    made = renewals(QUOTED)
    made.everybody.crm = "refuses"
    found = made.at(NOTICE)
    (case,) = made.cases(found)

    made.act(case, "skip")

    found = made.at(LAST + DAY)
    assert (found.state, made.runs.allowed(case)) == ("by_hand", ())
    assert made.everybody.changes == []


def test_a_crm_that_refuses_is_a_case_and_one_that_is_away_is_asked_again(renewals: Make) -> None:
    made = renewals(QUOTED)
    made.everybody.crm = "away"
    found = made.at(NOTICE)
    assert (found.state, found.blocked_reason, made.cases(found)) == ("found", "system: away", [])

    made.everybody.crm = "refuses"
    found = made.at(NOTICE + DAY)
    (case,) = made.cases(found)
    assert (found.state, case.team) == ("blocked", "sales")

    made.everybody.crm = "works"
    made.act(case, "retry")
    found = made.look()
    assert (found.state, made.cases(found)) == ("quoted", [])


def test_a_deal_that_is_lost_while_its_renewal_is_looked_at_is_not_overlooked(renewals: Make) -> None:
    made = renewals(QUOTED)
    found = made.at(NOTICE)
    made.clock.now = NOTICE + DAY
    standing = made.runs.renewing._standing  # pyright: ignore[reportPrivateUsage]

    def meanwhile(*known: Any) -> Standing:
        now = standing(*known)
        made.clock.move(1)
        made.lose(found)
        return now

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(made.runs.renewing, "_standing", meanwhile)
        made.runs.renewing.look(found.id)

    assert made.look().state == "lapsing"


@pytest.mark.parametrize("policy", [QUOTED, AUTOMATIC, LAPSE])
def test_a_process_that_ends_before_it_keeps_what_it_has_asked_for_asks_for_nothing_twice(
    renewals: Make, policy: str
) -> None:
    made = renewals(policy)
    made.at(NOTICE) if policy == LAPSE else made.find()
    made.clock.now = LAST if policy == LAPSE else NOTICE
    (found,) = made.find()

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(made.runs.renewing, "_enter", killed)
        with pytest.raises(KeyboardInterrupt):
            made.runs.renewing.look(found.id)
    made.clock.move(60)

    found = made.look()
    asked = made.bench.records.page(SOMEBODY, found.contract_id, None, None, 100).items
    expected = {QUOTED: ("quoted", 0, 1), AUTOMATIC: ("scheduled", 1, 0), LAPSE: ("lapsing", 1, 0)}[policy]
    assert (found.state, len(asked), len(made.everybody.offers)) == expected


@pytest.mark.parametrize(("policy", "name"), [(AUTOMATIC, "renewal"), (LAPSE, "lapse")])
def test_a_change_of_others_with_the_key_of_a_renewal_is_not_taken_for_it(
    renewals: Make, policy: str, name: str
) -> None:
    made = renewals(policy)
    made.clock.now = NOTICE - DAY
    key = f"{name}:{made.bench.contract_id}:2027-03-01"
    asked = made.bench.ask(a_line("more"), key=key, effective="period_end")
    made.bench.run(asked)
    made.bench.runs.withdraw(asked, SOMEBODY)
    made.at(NOTICE)

    found = made.at(LAST)

    (case,) = made.cases(found)
    assert (found.state, case.field) == ("blocked", "contract")
    assert case.reason == f"{asked} has the key of ours, and is another change"


def test_what_is_found_after_its_last_call_is_left_to_people(renewals: Make) -> None:
    made = renewals(LAPSE)

    found = made.at(LAST + DAY)
    (case,) = made.cases(found)
    assert (found.state, made.everybody.changes) == ("blocked", [])
    assert case.reason == "it was found too late: its last call was at 2027-02-24 23:00 UTC"

    made.act(case, "retry")
    assert made.look().state == "lapsing"


def test_an_end_that_people_withdraw_is_left_to_them(renewals: Make) -> None:
    made = renewals(LAPSE)
    made.at(NOTICE)
    made.everybody.away = True
    found = made.at(LAST)
    assert (found.state, made.amendment(found).state) == ("lapsing", "checking")

    made.bench.runs.withdraw(found.amendment_id, SOMEBODY)

    assert made.look().state == "by_hand"


def test_a_cancellation_that_is_taken_back_in_time_lets_the_term_be_found_again(renewals: Make) -> None:
    made = renewals(QUOTED)
    made.at(NOTICE)
    assert cancelled_and_taken_back(made).state == "dropped"

    assert made.at(NOTICE + 2 * DAY).state == "quoted"
    assert len(made.everybody.offers) == 1


def test_a_broken_contract_stops_no_other(renewals: Make) -> None:
    made = renewals(QUOTED)
    order_id, _ = made.context.orders.receive("salesforce", "broken", 1, "cor_1", made.context.stalled_at())
    with made.context.database.begin() as connection:
        connection.execute(
            orders.update().where(orders.c.id == order_id).values(state="active", legal_entity="DE01", plan=b"{")
        )

    assert made.at(NOTICE).state == "quoted"


@pytest.mark.parametrize("action", [Renew(NEXT_END), ChangeTerm(date(2027, 6, 1))])
def test_an_end_that_another_has_replaced_takes_nothing_back_and_holds_up_no_later_change(
    renewals: Make, action: Renew | ChangeTerm
) -> None:
    made = renewals(LAPSE)
    made.at(NOTICE)
    lapse = made.at(LAST).amendment_id
    made.everybody.last_period = True
    replacing = made.bench.ask(action, key="after-all")
    made.bench.run(replacing)
    made.at(TERM_ENDS - 2 * DAY)
    assert made.bench.of(replacing).state == "applied"

    made.clock.now = TERM_ENDS + DAY
    later = made.bench.run(made.bench.ask(seats(9), key="later", settlement="none"))

    assert later.state == "applied"
    made.at(TERM_ENDS + 20 * DAY)
    assert (made.bench.records.row(lapse).next_attempt_at, made.everybody.removed) == (None, 0)


def cancelled_and_taken_back(made: RenewalBench, meanwhile: Callable[[], object] = lambda: None) -> Renewal:
    """Have the contract end with its period, and take that back in time. Return the renewal in between."""
    made.everybody.period = Period(TERM_ENDS - 59 * DAY, TERM_ENDS - 27 * DAY)
    ended = made.bench.ask(Cancel(), key="end", effective="period_end")
    made.bench.run(ended)
    between = made.look()
    meanwhile()
    back = made.bench.run(made.bench.ask(Reverse(ended), key="back"))
    (case,) = made.bench.cases(back.id)
    made.bench.act(case, "approve")
    assert made.bench.run(back.id).state == "applied"
    return between


def test_a_renewal_by_itself_that_went_with_a_cancellation_is_asked_for_anew(renewals: Make) -> None:
    made = renewals(AUTOMATIC)
    first = made.at(NOTICE)
    assert cancelled_and_taken_back(made).state == "dropped"
    assert made.amendment(first).state == "given_up"

    found = made.at(NOTICE + 2 * DAY)

    assert (found.id, found.state, made.amendment(found).state) == (first.id, "scheduled", "scheduled")
    assert made.amendment(found).request.key == f"renewal:{found.contract_id}:2027-03-01:1"


def test_a_deal_that_was_won_before_a_cancellation_is_no_offer_any_more(renewals: Make) -> None:
    made = renewals(QUOTED)
    first = made.at(NOTICE)
    made.win(first, lines=())
    assert made.look().state == "scheduled"
    assert cancelled_and_taken_back(made).state == "dropped"

    found = made.at(NOTICE + 2 * DAY)

    assert (found.state, found.deal_id, found.amendment_id) == ("quoted", "006R2", "")
    assert list(made.everybody.offers)[1:] == [f"renewal:{found.contract_id}:2027-03-01:1"]


def test_what_people_have_withdrawn_is_not_asked_for_again_after_a_cancellation_that_was_taken_back(
    renewals: Make,
) -> None:
    made = renewals(AUTOMATIC)
    first = made.at(NOTICE)
    made.bench.runs.withdraw(first.amendment_id, SOMEBODY)
    made.look()
    assert cancelled_and_taken_back(made).state == "dropped"

    found = made.at(NOTICE + 2 * DAY)

    assert found.state == "found"
    assert "was withdrawn" in found.blocked_reason


def test_a_deal_that_was_lost_while_the_contract_was_to_end_is_offered_again(renewals: Make) -> None:
    made = renewals(QUOTED)
    first = made.at(NOTICE)
    assert cancelled_and_taken_back(made, meanwhile=lambda: made.lose(first)).state == "dropped"

    found = made.at(NOTICE + 2 * DAY)

    assert (found.state, found.deal_id) == ("quoted", "006R2")


def move(made: RenewalBench, *states: OrderState) -> None:
    """Bring the order from where a line is missing to other states."""
    order_id = made.bench.order_id
    with made.context.database.begin() as connection:
        connection.execute(orders.update().where(orders.c.id == order_id).values(state="partially_active"))
    for state in states:
        held_in = "partially_active" if state == "on_hold" else ""
        made.context.orders.advance(order_id, state, next_attempt_at=None, held_in=held_in)


@pytest.mark.parametrize(("policy", "before"), [(QUOTED, "quoted"), (AUTOMATIC, "scheduled"), (LAPSE, "found")])
def test_an_order_that_is_held_in_force_blocks_its_renewal_until_it_goes_on(
    renewals: Make, policy: str, before: str
) -> None:
    made = renewals(policy)
    assert made.at(NOTICE).state == before
    move(made, "on_hold")

    found = made.at(NOTICE + DAY)

    (case,) = made.cases(found)
    assert (found.state, case.kind, case.reason) == ("blocked", "renewal_blocked", "its order is on_hold")
    made.context.orders.release(made.bench.order_id, made.context.stalled_at())
    found = made.at(NOTICE + 2 * DAY)
    assert (found.state, made.cases(found)) == (before, [])


def test_an_order_that_is_held_in_force_leaves_an_end_that_is_agreed_as_it_is(renewals: Make) -> None:
    made = renewals(LAPSE)
    made.at(NOTICE)
    made.at(LAST)
    move(made, "on_hold")

    found = made.at(LAST + DAY)
    assert (found.state, found.blocked_reason, made.cases(found)) == ("lapsing", "its order is on_hold", [])
    made.context.orders.release(made.bench.order_id, made.context.stalled_at())
    assert made.at(TERM_ENDS + DAY).state == "grace"


def test_an_order_that_is_given_up_drops_its_renewal(renewals: Make) -> None:
    made = renewals(QUOTED)
    made.at(NOTICE)
    move(made, "compensating")

    made.clock.now = NOTICE + DAY
    found = made.look()

    assert (found.state, found.blocked_reason) == ("dropped", "its order is compensating")


def test_a_crm_that_stays_away_is_a_case_until_it_is_back(renewals: Make) -> None:
    made = renewals(QUOTED)
    made.everybody.crm = "away"
    attempts = [NOTICE + place * DAY for place in range(CASE_AFTER)]

    states = [made.at(moment).state for moment in attempts]

    assert states == [*["found"] * (CASE_AFTER - 1), "blocked"]
    found = made.look()
    (case,) = made.cases(found)
    assert (case.kind, case.team, case.reason) == ("renewal_blocked", "sales", "away")
    assert (made.at(attempts[-1] + DAY).state, made.cases(found)) == ("blocked", [case])
    made.everybody.crm = "works"
    assert (made.at(attempts[-1] + 2 * DAY).state, made.cases(found)) == ("quoted", [])


def test_a_renewal_that_is_carried_out_in_the_last_days_is_not_blocked(renewals: Make) -> None:
    made = renewals(QUOTED)
    found = made.at(NOTICE)
    seat, support = made.offered(found).lines
    made.everybody.last_period = True
    made.win(found, lines=(msgspec.structs.replace(seat, quantity=Decimal(12)), support))
    made.look()

    made.at(TERM_ENDS - 2 * DAY)
    found = made.at(TERM_ENDS - 2 * DAY + LOOK_AGAIN)

    assert made.amendment(found).state == "provisioning"
    assert (found.state, found.blocked_reason, made.cases(found)) == ("scheduled", found.amendment_id, [])


def test_a_contract_that_is_paused_without_end_is_a_case_and_renewed_by_itself_once_it_goes_on(renewals: Make) -> None:
    made = renewals(AUTOMATIC)
    assert made.bench.run(made.bench.ask(Pause(), key="pause", effective="period_end")).state == "applied"

    for moment in (NOTICE, LAST + DAY):
        found = made.at(moment)
        (case,) = made.cases(found)
        assert (found.state, case.field) == ("blocked", "contract")
        assert case.reason == "actions: the contract is paused from 2026-04-01: resume it first"
    assert [each.pause for each in made.everybody.changes] == [Pause()]

    made.everybody.last_period = True
    made.bench.run(made.bench.ask(Resume(), key="resume", effective="period_end"))
    found = made.look()
    assert (found.state, made.cases(found)) == ("scheduled", [])


def test_a_renewal_to_come_after_a_cancellation_to_come_is_blocked(renewals: Make) -> None:
    made = renewals(AUTOMATIC)
    assert made.at(NOTICE).state == "scheduled"
    made.everybody.period = Period(TERM_ENDS - 59 * DAY, TERM_ENDS - 27 * DAY)
    ending = made.bench.ask(Cancel(), key="end", effective="date", effective_on=date(2027, 2, 20))
    assert made.bench.run(ending).state == "scheduled"

    found = made.look()

    assert found.state == "blocked"
    assert found.blocked_reason == f"{ending}, which is to end the contract on 2027-02-19"


def test_an_end_with_the_term_that_meets_a_renewal_to_come_waits_for_what_becomes_of_that(renewals: Make) -> None:
    made = renewals(LAPSE)
    found = made.at(NOTICE)
    made.clock.now = LAST
    standing = made.runs.renewing._standing  # pyright: ignore[reportPrivateUsage]
    asked: list[str] = []

    def meanwhile(*known: Any) -> Standing:
        now = standing(*known)
        asked.append(made.bench.ask(Renew(NEXT_END), key="people"))
        return now

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(made.runs.renewing, "_standing", meanwhile)
        made.runs.renewing.look(found.id)
    (renewal,) = asked
    lapse = made.bench.records.undecided(found.contract_id)[-1]
    made.bench.run(renewal)

    found = made.look()

    assert (made.bench.of(renewal).state, made.bench.run(lapse).state) == ("scheduled", "checking")
    assert made.bench.of(lapse).blocked_reason == f"{renewal}, which is to renew the contract"
    assert (found.state, found.amendment_id, made.everybody.changes) == ("scheduled", renewal, [])
    made.clock.now = TERM_ENDS - 3 * DAY
    assert made.bench.run(renewal).state == "applied"
    assert made.bench.run(lapse).state == "given_up"
    assert made.bench.of(lapse).blocked_reason == "the contract has another end meanwhile"
