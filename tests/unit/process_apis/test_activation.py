"""An activation brings the order where its lines are when it ends, which may not be where they were when it began."""

from __future__ import annotations

from process_apis.activation import conclude
from process_apis.runtime.context import WorkflowContext
from tests.support.process_context import DELIVERED, accepted_order


def test_an_order_is_not_active_while_a_line_that_was_asked_for_again_is_on_its_way(context: WorkflowContext) -> None:
    order_id = accepted_order(context, "deal", *DELIVERED, "partially_active")
    order = context.orders.get(order_id)
    context.orders.retry_lines(order_id)

    conclude(context, order)

    assert context.orders.row(order_id).state == "partially_active"


def test_an_activation_leaves_an_order_that_is_being_compensated_alone(context: WorkflowContext) -> None:
    order_id = accepted_order(context, "deal", *DELIVERED)
    order = context.orders.get(order_id)
    context.orders.advance(order_id, "compensating", next_attempt_at=None)

    conclude(context, order)

    assert context.orders.row(order_id).state == "compensating"
