"""How a step is taken: what passes is waited out, what does not is a case, and an order that is further is left
alone."""

from __future__ import annotations

import msgspec
import pytest

from canonical.cases import Finding
from canonical.faults import Conflict, PlatformFault, Rejected, Throttled, Unavailable
from canonical.orders import Order
from process_apis.runtime.agenda import CASE_AFTER
from process_apis.runtime.context import RetryPolicy, WorkflowContext
from process_apis.runtime.holds import Held
from process_apis.runtime.steps import Outcome, enter_state, with_retries
from tests.support.process_context import SOMEBODY, accepted_order


def open_cases(context: WorkflowContext) -> list[str]:
    return [each.kind for each in context.cases.page(SOMEBODY, "open", None, None, 25).items]


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


@pytest.mark.parametrize(("run", "cases"), [(1, []), (CASE_AFTER, ["waiting_for_platform"])])
def test_a_platform_that_is_away_is_waited_for_and_people_hear_of_it_late(
    context: WorkflowContext, run: int, cases: list[str]
) -> None:
    order_id = accepted_order(context, "deal")
    context.orders.change(order_id, run=run)

    outcome = enter_state(context, order_id, "validating", lambda _: raising(Unavailable("crm", "it is away")))

    row = context.orders.row(order_id)
    assert (outcome, row.state, row.blocked_reason) == ("stopped", "validating", "crm: it is away")
    assert row.next_attempt_at == context.pause(run).isoformat()
    assert open_cases(context) == cases


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
