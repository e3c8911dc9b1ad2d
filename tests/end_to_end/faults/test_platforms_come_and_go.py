"""A platform that is down: said in the readiness, waited for, and gone on with when it is back."""

from __future__ import annotations

import pytest

from tests.support.environment import Environment
from tests.support.platforms import EXACTLY_ONE, OUR_READING, wait_until


def readiness(environment: Environment) -> dict[str, str]:
    answer = environment.readiness("system")
    assert answer.status_code == 200  # a platform that is away must not keep the webhooks of another from the layer
    return answer.json()


def test_a_layer_starts_while_a_platform_is_down_says_so_and_goes_on_when_it_is_back(environment: Environment) -> None:
    environment.fault("erp", kind="status", status=503, times=0)
    environment.children["system"].stop()
    environment.start("system")

    trouble = wait_until(lambda: found if "not available" in (found := readiness(environment))["tryton"] else None, 10)
    assert [trouble[each] for each in ("salesforce", "stripe", "provisioner")] == ["ok", "ok", "ok"]
    _, deal = environment.sell(environment.sale("Patient"))
    waiting = wait_until(
        lambda: order if (order := environment.find_order(deal)) and order.blocked_reason else None, 20
    )
    assert waiting.state in ("validating", "credit_review")  # what it asks the ERP for may be known for a minute
    assert waiting.blocked_reason.startswith("erp: ")
    assert environment.cases_of(waiting.id) == []

    environment.calm()

    environment.settled(environment.order_in(deal, "active"))
    wait_until(lambda: readiness(environment)["tryton"] == "ok", 15, "the ERP is back")


@pytest.mark.parametrize(
    ("status", "platforms"),
    [(503, ("crm", "billing", "erp", "provisioning")), (429, ("crm", "billing", "erp"))],
    ids=["down", "throttling"],
)
def test_a_platform_that_is_down_for_a_short_time_or_throttles_is_waited_for(
    environment: Environment, status: int, platforms: tuple[str, ...]
) -> None:
    for each in platforms:
        environment.fault(each, kind="status", status=status, times=3, matching=OUR_READING if each == "crm" else "")

    _, deal = environment.sell(environment.sale(f"Answered {status}"))

    order = environment.order_in(deal, "active")
    environment.settled(order)
    assert [environment.faults_left(each) for each in platforms] == [0] * len(platforms), "a fault never struck"
    assert environment.counted(order) == EXACTLY_ONE


def test_people_are_told_when_a_platform_stays_away_and_the_case_closes_by_itself(environment: Environment) -> None:
    environment.fault("provisioning", kind="status", status=503, times=0)
    _, deal = environment.sell(environment.sale("Long Outage"))

    order = environment.order_of(deal)
    (case,) = wait_until(lambda: environment.cases_of(order.id), 60, "a case about the outage")
    assert (case.kind, case.team, case.state) == ("waiting_for_platform", "platform", "open")
    environment.calm()

    environment.order_in(deal, "active")
    (closed,) = environment.cases_of(order.id)
    assert (closed.state, closed.resolution) == ("resolved", "it went on by itself")
