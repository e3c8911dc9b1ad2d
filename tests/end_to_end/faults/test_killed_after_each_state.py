"""The process layer is killed after each state of an order and started again: exactly one of everything."""

from __future__ import annotations

import pytest

from canonical.amendments import Amendment
from canonical.states import AMENDMENT_STATES, ORDER_STATES, AmendmentState
from sandbox.salesperson import SaleLine
from tests.support.amending import agrees_everywhere, amend, amendment_in, contract_of, quantity, timeline
from tests.support.environment import Environment
from tests.support.platforms import EXACTLY_ONE, wait_until

STATES = ("received", "validating", "credit_review", "onboarding", "subscribing", "provisioning", "active")
SLOW = ("crm", "erp", "billing", "provisioning")
AMENDED: tuple[AmendmentState, ...] = ("checking", "provisioning", "applying", "applied")
POSTINGS = ("account.invoice.post", "account.invoice.pay.execute")


def test_a_kill_after_each_state_loses_and_doubles_nothing(environment: Environment) -> None:
    for platform in SLOW:
        environment.fault(platform, kind="slow", milliseconds=120, times=0)
    _, deal = environment.sell(environment.sale("Killed After Each"))

    for state in STATES:
        wait_until(lambda state=state: seen(environment, deal, state), 30, f"the state {state}")
        environment.kill("process")
        environment.start("process")
    environment.calm()

    order = environment.order_in(deal, "active")
    environment.settled(order)
    assert environment.counted(order) == EXACTLY_ONE
    assert len({each.state for each in order.history}) == len(order.history)


def test_a_kill_while_a_posting_runs_loses_and_doubles_nothing(environment: Environment) -> None:
    for posting in POSTINGS:
        environment.fault("erp", kind="late", matching=posting, milliseconds=1500)
    _, deal = environment.sell(environment.sale("Killed Postings"))

    for left in (1, 0):
        wait_until(lambda left=left: environment.faults_left("erp") == left, 30, "the posting has begun")
        environment.kill("process")
        environment.start("process")

    order = environment.order_in(deal, "active")
    environment.settled(order)
    assert environment.counted(order) == EXACTLY_ONE


@pytest.mark.extended
def test_a_kill_after_each_state_of_an_amendment_charges_and_delivers_once(environment: Environment) -> None:
    lines = (SaleLine("PLATFORM", 1), SaleLine("SEAT", 10))
    order = environment.paid_order(environment.sale("Killed Amendment", lines=lines))
    for platform in SLOW:
        environment.fault(platform, kind="slow", milliseconds=120, times=0)
    asked = amend(environment, order, quantity(order, "SEAT", 15), "killed-amendment")

    killed_after_each(environment, asked, AMENDED)
    environment.calm()

    done = amendment_in(environment, asked, "applied")
    agrees_everywhere(environment, order, done)
    requested = [each for each in environment.jobs(order.id) if each["quantity"] == "15"]
    assert len(requested) == 1
    assert len(timeline(environment, order).versions) == 2

    for platform in SLOW:
        environment.fault(platform, kind="slow", milliseconds=120, times=0)
    reversal = amend(environment, order, {"actions": [{"action": "reverse", "amendment": done.id}]}, "killed-reversal")
    killed_after_each(environment, reversal, ("checking", "awaiting_approval"))
    (case,) = environment.cases_of(reversal.id)
    environment.decide(case.id, "approve", "sold by mistake", on_behalf_of="kim@finance.example")
    killed_after_each(environment, reversal, ("applying", "applied"))
    environment.calm()

    reversed_by = amendment_in(environment, reversal, "applied")
    assert len(reversed_by.invoices) == 1
    issued = environment.stripe.v1.invoices.list({"customer": contract_of(order).references["customer"]}).data
    assert len(issued) == 3
    assert [each.mrr.amount for each in timeline(environment, order).versions] == [70_000, 80_000, 70_000]
    left = "SELECT next_attempt_at FROM amendments WHERE id = ?"
    wait_until(lambda: environment.record(left, reversal.id) is None, 30, "what there was more of is taken back")
    assert [each["quantity"] for each in environment.jobs(order.id) if each["sku"] == "SEAT"][-1] == "10"


def killed_after_each(environment: Environment, asked: Amendment, states: tuple[AmendmentState, ...]) -> None:
    """Kill the process layer and start it again, once an amendment has come to each of some states."""
    for state in states:
        amendment_in(environment, asked, *AMENDMENT_STATES[AMENDMENT_STATES.index(state) :])
        environment.kill("process")
        environment.start("process")


def seen(environment: Environment, deal: str, state: str) -> str | None:
    """Return the state of the deal's order, once it is `state` or further."""
    found = environment.record("SELECT state FROM orders WHERE deal_id = ?", deal)
    return found if found and ORDER_STATES.index(found) >= ORDER_STATES.index(state) else None  # pyright: ignore[reportArgumentType]
