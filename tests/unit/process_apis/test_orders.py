"""What is recorded of an order stays, also when two are at work on it."""

from __future__ import annotations

from pathlib import Path

import msgspec

from tests.support.process_context import TestClock, accepted_order, context_over


def test_an_id_that_a_platform_gave_is_not_forgotten_by_one_who_did_not_see_it(tmp_path: Path) -> None:
    with context_over(f"sqlite:///{tmp_path / 'process.sqlite'}", TestClock()) as context:
        order_id = accepted_order(context, "deal", "validating")
        plan = context.orders.get(order_id).plan
        assert plan is not None
        early = msgspec.structs.replace(plan, customer=msgspec.structs.replace(plan.customer, references={"erp": "p1"}))
        late = msgspec.structs.replace(
            plan, contract=msgspec.structs.replace(plan.contract, references={"schedule": "s1"})
        )

        context.orders.keep_plan(order_id, late)
        context.orders.keep_plan(order_id, early)

        kept = context.orders.get(order_id).plan
        assert kept is not None
        assert (kept.customer.references, kept.contract.references) == ({"erp": "p1"}, {"schedule": "s1"})
