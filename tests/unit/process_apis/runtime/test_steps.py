"""How a step is taken: what passes is waited out, what does not is a case, and an order that is further is left
alone."""

from __future__ import annotations

import msgspec
import pytest

from canonical.cases import Finding
from canonical.faults import Conflict, PlatformFault, Rejected, Throttled, Unavailable
from canonical.orders import Order
from canonical.states import OrderState
from process_apis.records.cases import Wanted
from process_apis.runtime.context import RetryPolicy, WorkflowContext
from process_apis.runtime.holds import Held
from process_apis.runtime.steps import Outcome, enter_state, with_retries
from tests.support.process_context import DELIVERED, SOMEBODY, TestClock, accepted_order


def open_cases(context: WorkflowContext) -> list[str]:
    return [each.kind for each in context.cases.page(SOMEBODY, Wanted("open"), None, 25).items]


def raising(fault: Exception) -> Outcome:
    raise fault


def test_a_step_brings_its_order_into_its_state_before_it_works_and_lets_it_be_watched(
    context: WorkflowContext,
) -> None:
    order_id = accepted_order(context, "deal")
    seen: list[Order] = []

    outcome = enter_state(context, order_id, "validating", lambda order: seen.append(order) or "done")

    assert (outcome, [each.state for each in seen]) == ("done", ["validating"])
    assert context.orders.row(order_id).next_attempt_at == context.stalled_at().isoformat()


def test_work_that_is_behind_an_order_is_not_done_again(context: WorkflowContext) -> None:
    order_id = accepted_order(context, "deal", "validating", "credit_review", "onboarding")

    outcomes = [
        enter_state(context, order_id, state, lambda _: raising(AssertionError()))
        for state in ("validating", "credit_review")
    ]

    assert outcomes == ["done", "done"]


def test_an_order_that_people_have_stopped_goes_no_further(context: WorkflowContext) -> None:
    order_id = accepted_order(context, "deal", "validating", "on_hold")

    assert enter_state(context, order_id, "validating", lambda _: raising(AssertionError())) == "stopped"


def test_a_platform_that_is_away_is_waited_for_ever_longer(context: WorkflowContext, clock: TestClock) -> None:
    order_id, began = accepted_order(context, "deal"), clock().isoformat()

    for failure in range(1, 4):
        outcome = enter_state(context, order_id, "validating", lambda _: raising(Unavailable("crm", "it is away")))

        row = context.orders.row(order_id)
        assert (outcome, row.state, row.blocked_reason) == ("stopped", "validating", "crm: it is away")
        assert (row.blocked_by, row.blocked_since, row.attempts) == ("crm-eu", began, failure)
        assert row.next_attempt_at == context.pause(failure).isoformat()
        clock.move(60)
    assert open_cases(context) == []


def test_an_order_that_goes_on_waits_for_nothing_and_has_not_failed(context: WorkflowContext) -> None:
    order_id = accepted_order(context, "deal")
    enter_state(context, order_id, "validating", lambda _: raising(Unavailable("crm", "it is away")))

    enter_state(context, order_id, "validating", lambda _: "done")

    row = context.orders.row(order_id)
    assert (row.state, row.blocked_reason, row.blocked_by, row.attempts) == ("validating", "", None, 0)


@pytest.mark.parametrize(
    "fault", [Unavailable("erp", "away"), Rejected("erp", "no"), Held("deal_invalid", [Finding("a", "b")], ("retry",))]
)
@pytest.mark.parametrize("ended", ["cancelled", "compensating"])
def test_an_order_that_is_given_up_while_its_step_is_at_work_stays_given_up(
    context: WorkflowContext, fault: Exception, ended: OrderState
) -> None:
    before: OrderState = "validating" if ended == "cancelled" else "onboarding"
    order_id = accepted_order(context, "deal", *DELIVERED[: DELIVERED.index(before)])

    def act(order: Order) -> Outcome:
        context.orders.advance(order.id, ended, next_attempt_at=None)
        raise fault

    assert enter_state(context, order_id, before, act) == "stopped"
    assert (context.orders.row(order_id).state, open_cases(context)) == (ended, [])


def test_a_step_that_ends_in_another_state_after_its_order_was_given_up_stops(context: WorkflowContext) -> None:
    order_id = accepted_order(context, "deal")

    def act(order: Order) -> Outcome:
        context.orders.advance(order.id, "cancelled", next_attempt_at=None)
        context.orders.advance(order.id, "awaiting_approval", next_attempt_at=None)
        return "done"

    assert enter_state(context, order_id, "validating", act) == "stopped"


def test_a_platform_that_asks_for_an_hour_gets_it_and_is_not_asked_again_before(
    context: WorkflowContext,
) -> None:
    order_id = accepted_order(context, "deal")
    asked: list[str] = []

    def act(order: Order) -> Outcome:
        asked.append(order.id)
        raise Throttled("crm", "too fast", retry_after=3600.0)

    patient = msgspec.structs.replace(context, retry_policy=RetryPolicy(tries=3, first=0.001))
    outcome = enter_state(patient, order_id, "validating", act)

    assert (outcome, asked) == ("stopped", [order_id])
    assert context.orders.row(order_id).next_attempt_at == context.later(3600).isoformat()


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Rejected("erp", "no such tax", field="tax"), "platform_rejected"),
        (Held("deal_invalid", [Finding("Account", "it has none")], ("retry",)), "deal_invalid"),
    ],
)
def test_what_does_not_pass_by_itself_stops_the_order_with_a_case(
    context: WorkflowContext, fault: Exception, kind: str
) -> None:
    order_id = accepted_order(context, "deal")

    outcome = enter_state(context, order_id, "validating", lambda _: raising(fault))

    row = context.orders.row(order_id)
    assert (outcome, row.state, row.held_in, row.next_attempt_at) == ("stopped", "on_hold", "validating", None)
    assert open_cases(context) == [kind]


def test_only_what_passes_by_itself_is_tried_again_at_once(context: WorkflowContext) -> None:
    policy = type(context.retry_policy)(tries=3, first=0.001)
    tried: list[PlatformFault] = []

    def fail(fault: PlatformFault) -> None:
        tried.append(fault)
        raise fault

    for fault in (Unavailable("erp", "away"), Unavailable("erp", "closed", field="period"), Conflict("erp", "twice")):
        with pytest.raises(PlatformFault):
            with_retries(policy, lambda fault=fault: fail(fault))

    reasons = [each.reason for each in tried]
    assert (reasons.count("away"), reasons.count("closed")) == (3, 1)
