"""A run that an earlier version began is known by the identity that it gave."""

from __future__ import annotations

from process_apis.fulfilment import order_run_of_0_1
from process_apis.runtime.context import WorkflowContext
from tests.support.process_context import accepted_order


def test_the_runs_of_version_0_1_were_named_after_the_revision_of_the_deal(context: WorkflowContext) -> None:
    order_id = accepted_order(context, "deal", "validating")
    named: list[str] = []

    for run in (1, 2):
        context.orders.change(order_id, run=run)
        named.append(order_run_of_0_1(context.orders.row(order_id)))

    assert named == ["order:deal:1", "order:deal:1:2"]
