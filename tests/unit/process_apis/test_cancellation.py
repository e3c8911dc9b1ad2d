"""An order that waits for a platform is given up: what was created for it is taken back, and nothing takes it on."""

from __future__ import annotations

from typing import NoReturn

import msgspec
import pytest

from canonical.cases import Finding
from canonical.faults import Unavailable
from canonical.states import OrderState
from policies.problems import INVALID, MISSING, NOT_ALLOWED_NOW, ProblemError
from process_apis.cancellation import Cancellations
from process_apis.order_cases import OrderCases
from process_apis.records.cases import Wanted
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.steps import enter_state
from tests.support.process_context import DELIVERED, SOMEBODY, accepted_order


def away(_: object) -> NoReturn:
    raise Unavailable("billing", "it is away")


def waiting_in(context: WorkflowContext, state: OrderState) -> str:
    order_id = accepted_order(context, "006", *DELIVERED[: DELIVERED.index(state)])
    enter_state(context, order_id, state, away)
    return order_id


def cancellations(context: WorkflowContext, restarted: list[str]) -> Cancellations:
    return Cancellations(context, OrderCases(context, restarted.append))


def problem(acts: Cancellations, order_id: str, reason: str = "too late") -> object:
    with pytest.raises(ProblemError) as raised:
        acts.give_up(order_id, reason, SOMEBODY)
    return raised.value.problem


@pytest.mark.parametrize("state", ["validating", "credit_review"])
def test_an_order_that_nothing_was_created_for_is_cancelled(context: WorkflowContext, state: OrderState) -> None:
    order_id, restarted = waiting_in(context, state), list[str]()

    order = cancellations(context, restarted).give_up(order_id, "too late", SOMEBODY)

    assert (order.state, order.blocked_reason, order.queue) == ("cancelled", "given up: too late", None)
    assert (context.orders.row(order_id).next_attempt_at, restarted) == (None, [])
    assert enter_state(context, order_id, state, away) == "stopped"
    assert context.orders.row(order_id).state == "cancelled"


@pytest.mark.parametrize("state", ["onboarding", "subscribing", "provisioning"])
def test_an_order_that_something_was_created_for_is_undone_even_if_the_process_dies(
    context: WorkflowContext, state: OrderState
) -> None:
    order_id, restarted = waiting_in(context, state), list[str]()

    order = cancellations(context, restarted).give_up(order_id, "too late", SOMEBODY)

    assert (order.state, restarted) == ("compensating", [order_id])
    assert context.orders.row(order_id).next_attempt_at == context.stalled_at().isoformat()


def test_its_cases_are_closed_but_what_is_still_to_be_done(context: WorkflowContext) -> None:
    order_id = waiting_in(context, "provisioning")
    for kind in ("status_not_shown", "cannot_undo"):
        context.cases.open(kind, order_id, Finding("crm", "no"), ("skip",), correlation_id="cor_1")

    cancellations(context, []).give_up(order_id, "too late", SOMEBODY)

    found = {each.kind: each.resolution for each in context.cases.page(SOMEBODY, Wanted(), None, 25).items}
    assert found == {"status_not_shown": "given up by somebody: too late", "cannot_undo": ""}


def test_the_same_again_is_the_same(context: WorkflowContext) -> None:
    order_id, restarted = waiting_in(context, "subscribing"), list[str]()
    acts = cancellations(context, restarted)

    twice = [acts.give_up(order_id, "too late", SOMEBODY), acts.give_up(order_id, "again", SOMEBODY)]

    assert twice[0] == twice[1]
    assert restarted == [order_id]


def test_what_waits_for_no_platform_is_not_given_up_here(context: WorkflowContext) -> None:
    at_work = accepted_order(context, "0061", "validating")
    active = accepted_order(context, "0062", *DELIVERED, "active")
    acts = cancellations(context, [])
    stranger = msgspec.structs.replace(SOMEBODY, entities=frozenset({"FR01"}))

    assert [problem(acts, each) for each in (at_work, active)] == [NOT_ALLOWED_NOW, NOT_ALLOWED_NOW]
    assert [problem(acts, "ord_none"), problem(acts, waiting_in(context, "validating"), " ")] == [MISSING, INVALID]
    with pytest.raises(ProblemError):
        acts.give_up(at_work, "mine", stranger)
