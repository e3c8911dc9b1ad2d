"""An outage of a platform is one case, which counts what waits when it is read, whatever number of processes opens and
closes it."""

from __future__ import annotations

from functools import partial
from typing import NoReturn

import sqlalchemy as sa
from msgspec.structs import replace

from canonical.cases import Case, Incident
from canonical.faults import PlatformFault, Throttled, Unavailable
from canonical.money import Money
from canonical.orders import PostingKind
from process_apis import posting
from process_apis.case_actions import CaseActions
from process_apis.incidents import KINDS, Incidents
from process_apis.overview import flow_of
from process_apis.records.cases import Wanted
from process_apis.runtime.agenda import CASE_AFTER
from process_apis.runtime.capability import CaseOwner
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.engine import Engine, EngineSettings
from process_apis.runtime.steps import enter_state
from tests.support.process_context import LINES, SOMEBODY, TestClock, accepted_order, at_once, waiting_customer

AWAY = Unavailable("erp", "it is away")
ROUNDS = 10


def away(_: object) -> NoReturn:
    raise AWAY


def waiting_order(context: WorkflowContext, deal: str, failures: int = CASE_AFTER) -> str:
    """Make an order that waits for the ERP, and has asked it so often."""
    order_id = accepted_order(context, deal)
    for _ in range(failures):
        enter_state(context, order_id, "validating", away)
    return order_id


def waiting_posting(
    context: WorkflowContext,
    key: str,
    amount: Money | None = None,
    failures: int = CASE_AFTER,
    fault: PlatformFault = AWAY,
    kind: PostingKind = "invoice",
) -> None:
    def act(row: sa.Row[object]) -> NoReturn:
        if amount:
            context.postings.worth(row, amount)
        raise fault

    context.postings.expect(
        kind,
        "stripe",
        key,
        "cor_2",
        context.stalled_at(),
        contract_id="con_1",
        customer_id="cus_1",
        legal_entity="DE01",
    )
    for _ in range(failures):
        posting.attempt(context, kind, key, act)


def goes_on(context: WorkflowContext, order_id: str) -> None:
    enter_state(context, order_id, "validating", lambda _: "done")


def incidents(context: WorkflowContext) -> Incidents:
    return Incidents(context, Engine(EngineSettings("", "here"), context.database, context.clock))


def every_case(context: WorkflowContext) -> list[Case]:
    return list(context.cases.page(SOMEBODY, Wanted(), None, 100).items)


def incident(context: WorkflowContext) -> Incident:
    (case,) = context.cases.page(SOMEBODY, Wanted("open"), None, 100).items
    assert case.incident
    return case.incident


def test_an_outage_is_one_case_with_what_waits_and_what_that_is_worth(
    context: WorkflowContext, clock: TestClock
) -> None:
    began = clock()
    made = [waiting_order(context, f"006{number}", failures=1) for number in range(7)]
    clock.move(60)
    made.append(waiting_order(context, "0069"))
    waiting_posting(context, "in_1", Money(11900, "EUR"))
    waiting_posting(context, "in_2", Money(500, "USD"))
    waiting_posting(context, "in_3", failures=1)

    for _ in range(3):
        incidents(context).check()

    (case,) = every_case(context)
    assert (case.kind, case.team, case.subject, case.field) == ("waiting_for_platform", "platform", "tryton", "erp")
    assert case.actions == ("retry",)
    seen = incident(context)
    net = sum(each.net.amount for each in LINES)
    assert (seen.platform, seen.since) == ("tryton", began)
    assert (seen.orders.count, seen.orders.money) == (8, (Money(8 * net, "EUR"),))
    assert seen.orders.oldest == tuple(made[:5])
    assert (seen.postings.count, seen.postings.money) == (3, (Money(11900, "EUR"), Money(500, "USD")))
    assert seen.postings.without_amount == 1
    assert seen.customers.count == 0


def test_who_may_read_no_cases_is_shown_no_outage_in_the_overview(context: WorkflowContext) -> None:
    made = waiting_order(context, "006")
    reads = replace(SOMEBODY, scopes=frozenset({"orders:read"}))

    nothing = flow_of(context.database, context.clock(), reads)
    everything = flow_of(context.database, context.clock(), replace(reads, scopes=reads.scopes | {"cases:read"}))
    assert [each.orders.oldest for each in everything.incidents] == [(made,)]
    assert nothing.incidents == ()


def test_an_outage_that_nothing_has_tried_often_is_no_case(context: WorkflowContext) -> None:
    waiting_order(context, "006", failures=CASE_AFTER - 1)
    waiting_posting(context, "in_1", failures=CASE_AFTER - 1)

    incidents(context).check()

    assert every_case(context) == []


def test_what_waits_counts_by_itself_and_the_case_closes_when_nothing_does(context: WorkflowContext) -> None:
    made = [waiting_order(context, f"006{number}") for number in range(3)]
    incidents(context).check()
    counts: list[int] = []
    for each in made[:2]:
        counts.append(incident(context).orders.count)
        goes_on(context, each)
        incidents(context).check()
    counts.append(incident(context).orders.count)
    made.append(waiting_order(context, "0063", failures=1))
    counts.append(incident(context).orders.count)

    context.orders.advance(made[2], "cancelled", next_attempt_at=None)
    incidents(context).check()
    assert [each.state for each in every_case(context)] == ["open"]
    context.orders.advance(made[3], "cancelled", next_attempt_at=None)
    incidents(context).check()

    (case,) = every_case(context)
    assert counts == [3, 2, 1, 2]
    assert (case.state, case.resolution, case.incident) == ("resolved", "nothing waits for tryton any more", None)


def test_what_was_closed_too_soon_is_opened_again_at_the_next_look(context: WorkflowContext) -> None:
    waiting_order(context, "006")
    incidents(context).check()
    (case,) = every_case(context)
    context.cases.close(case, "another process saw nothing that waits")

    incidents(context).check()

    assert sorted(each.state for each in every_case(context)) == ["open", "resolved"]


def test_two_platforms_that_are_away_are_two_cases(context: WorkflowContext) -> None:
    waiting_order(context, "006")
    waiting_posting(context, "in_1", fault=Throttled("billing", "too fast"))

    incidents(context).check()

    assert {each.subject: each.field for each in every_case(context)} == {"tryton": "erp", "stripe": "billing"}


def test_a_customer_that_cannot_be_followed_for_an_outage_is_part_of_it(context: WorkflowContext) -> None:
    customer_id = waiting_customer(context, "006", "tryton", attempts=CASE_AFTER)

    incidents(context).check()

    found = incident(context).customers
    assert (found.count, found.oldest) == (1, (customer_id,))


def test_a_posting_with_trouble_of_its_own_is_a_case_of_its_own(context: WorkflowContext) -> None:
    first = Unavailable("erp", "the invoice is not posted yet", field="invoice_id")
    waiting_posting(context, "in_1", fault=first, kind="payment")

    incidents(context).check()

    (case,) = every_case(context)
    assert (case.kind, case.subject) == ("payment_not_posted", "payment:in_1")


def test_a_posting_that_waited_long_for_something_else_is_no_outage_at_its_first_failure(
    context: WorkflowContext,
) -> None:
    waiting_posting(context, "in_1", fault=Unavailable("erp", "closed", field="period"), failures=20)
    waiting_posting(context, "in_1", failures=1)

    incidents(context).check()

    assert every_case(context) == []


def test_to_retry_an_outage_tries_all_that_waits_and_leaves_the_case_open(context: WorkflowContext) -> None:
    order_id = waiting_order(context, "006")
    waiting_posting(context, "in_1")
    watching = incidents(context)
    watching.check()
    (case,) = every_case(context)
    owner = CaseOwner(KINDS, watching.act, closed_by_action=False)

    done = CaseActions(context, dict.fromkeys(KINDS, owner)).act(case.id, "retry", "", SOMEBODY)

    row, other = context.orders.row(order_id), context.postings.find("invoice", "in_1")
    assert other
    assert (done.state, row.next_attempt_at, other.next_attempt_at) == ("open", *[context.clock().isoformat()] * 2)


def test_who_waits_sees_since_when_and_how_many_are_before(context: WorkflowContext, clock: TestClock) -> None:
    made: list[str] = []
    for number in range(3):
        made.append(waiting_order(context, f"006{number}", failures=2))
        waiting_posting(context, f"in_{number}", failures=2)
        clock.move(60)
    goes_on(context, made[0])

    places = [context.orders.get(each).queue for each in made]
    postings = context.postings.page(SOMEBODY, None, None, None, None, None, 25).items

    assert [each and (each.platform, each.ahead) for each in places] == [None, ("tryton", 0), ("tryton", 1)]
    assert places[1]
    assert places[2]
    assert (places[2].since - places[1].since).total_seconds() == 60
    assert [each.queue and each.queue.ahead for each in postings] == [2, 1, 0]


def test_of_many_processes_that_look_at_once_one_opens_and_one_closes_the_case(context: WorkflowContext) -> None:
    watching = [incidents(context) for _ in range(4)]
    for number in range(ROUNDS):
        order_id = waiting_order(context, f"006{number}")
        at_once(*(each.check for each in watching))
        goes_on(context, order_id)
        at_once(*(each.check for each in watching))

    assert [each.state for each in every_case(context)] == ["resolved"] * ROUNDS


def test_an_outage_that_is_looked_at_while_it_ends_and_begins_leaves_no_case_open_and_none_twice(
    context: WorkflowContext,
) -> None:
    watching = incidents(context)
    made = [waiting_order(context, f"006{number}") for number in range(4)]
    watching.check()

    at_once(*(partial(goes_on, context, each) for each in made), watching.check, watching.check)
    watching.check()

    assert [each.state for each in every_case(context)] == ["resolved"]
