"""An activation brings the order where its lines are when it ends, which may not be where they were when it began."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from canonical.states import OrderState
from process_apis.activation import conclude
from process_apis.runtime.context import WorkflowContext
from tests.support.process_context import TestClock, accepted_order, context_over

DELIVERED: tuple[OrderState, ...] = ("validating", "credit_review", "onboarding", "subscribing", "provisioning")


@pytest.fixture
def context(tmp_path: Path) -> Generator[WorkflowContext]:
    with context_over(f"sqlite:///{tmp_path / 'process.sqlite'}", TestClock()) as made:
        yield made


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
