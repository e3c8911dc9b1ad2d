"""The process layer is killed after each state and started again: exactly one of everything, for each state."""

from __future__ import annotations

import pytest

from canonical.states import ORDER_STATES
from tests.support.environment import Environment
from tests.support.platforms import EXACTLY_ONE, wait_until

STATES = ("received", "validating", "credit_review", "onboarding", "subscribing", "provisioning", "active")
SLOW = ("crm", "erp", "billing", "provisioning")


@pytest.mark.parametrize("state", STATES)
def test_a_kill_after_a_state_loses_and_doubles_nothing(environment: Environment, state: str) -> None:
    for platform in SLOW:
        environment.fault(platform, kind="slow", milliseconds=120, times=0)
    _, deal = environment.sell(environment.sale(f"Killed {state}"))

    reached = wait_until(lambda: seen(environment, deal, state), 30, f"the state {state}")
    environment.kill_and_start("process")

    order = environment.order_in(deal, "active")
    environment.settled(order)
    assert environment.counted(order) == EXACTLY_ONE
    assert len({each.state for each in order.history}) == len(order.history), reached


@pytest.mark.parametrize("kind", ["invoice", "payment"])
def test_a_kill_while_a_posting_runs_loses_and_doubles_nothing(environment: Environment, kind: str) -> None:
    method = "account.invoice.post" if kind == "invoice" else "account.invoice.pay.execute"
    environment.fault("erp", kind="late", matching=method, milliseconds=1500)
    _, deal = environment.sell(environment.sale(f"Killed posting {kind}"))

    wait_until(lambda: environment.faults_left("erp") == 0, 30, "the posting has begun")
    environment.kill_and_start("process")

    order = environment.order_in(deal, "active")
    environment.settled(order)
    assert environment.counted(order) == EXACTLY_ONE


def seen(environment: Environment, deal: str, state: str) -> str | None:
    """Return the state of the deal's order, once it is `state` or further."""
    found = environment.record("SELECT state FROM orders WHERE deal_id = ?", deal)
    return found if found and ORDER_STATES.index(found) >= ORDER_STATES.index(state) else None  # pyright: ignore[reportArgumentType]
