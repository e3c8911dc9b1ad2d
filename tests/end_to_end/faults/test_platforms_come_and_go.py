"""A platform that is down: said in the readiness, waited for, and gone on with when it is back."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from canonical.cases import Case
from canonical.orders import Order
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


def outage_of(environment: Environment, platform: str, known: Collection[str]) -> Case | None:
    """Return the case of an outage that has begun since some were known, with what waits now. There is one at most."""
    found = [each for each in environment.cases_of(platform) if each.id not in known]
    assert len(found) <= 1
    return found[0] if found else None


def outage_that_ended(environment: Environment, platform: str, known: Collection[str]) -> Case:
    def look() -> Case | None:
        case = outage_of(environment, platform, known)
        return case if case and case.resolution else None

    return wait_until(look, 20, f"the end of the outage of {platform}")


def given_up(environment: Environment, order: Order) -> Order:
    body = {"reason": "the customer does not wait"}
    return environment.channels.post("support-desk", f"/support/v1/orders/{order.id}/cancellation", body, Order)


def test_an_outage_with_many_deals_is_one_case_that_counts_what_waits_and_closes_by_itself(
    environment: Environment,
) -> None:
    known = {each.id for each in environment.cases_of("tryton")}
    environment.fault("erp", kind="status", status=503, times=0)
    deals = [environment.sell(environment.sale(f"Long Outage {number}"))[1] for number in range(6)]

    def whole() -> Case | None:
        case = outage_of(environment, "tryton", known)
        found = case and case.incident and case.incident.orders
        return case if found and found.count == len(deals) and not found.without_amount else None

    case = wait_until(whole, 90, "one case with all that waits")
    orders = sorted((environment.order_of(each) for each in deals), key=lambda each: each.received_at)
    assert (case.kind, case.team, case.state) == ("waiting_for_platform", "platform", "open")
    assert case.incident
    assert case.incident.orders.oldest == tuple(each.id for each in orders[:5])
    assert [each.queue and each.queue.ahead for each in orders] == list(range(len(orders)))
    assert {each.subject for each in environment.cases_of(orders[0].id)} == set()

    assert [given_up(environment, each).state for each in orders[1:-1]] == ["cancelled"] * 4
    left = outage_of(environment, "tryton", known)
    assert left
    assert left.incident
    assert left.incident.orders.count == 2
    environment.calm()

    sold = [environment.order_in(each.deal_id, "active") for each in (orders[0], orders[-1])]
    for each in sold:
        environment.settled(each)
        assert environment.counted(each) == EXACTLY_ONE
    assert sold[0].plan
    assert case.incident.orders.money == (sold[0].plan.contract.net.times(len(deals)),)
    closed = wait_until(
        lambda: found if (found := outage_of(environment, "tryton", known)) and found.resolution else None, 20
    )
    assert (closed.state, closed.resolution) == ("resolved", "nothing waits for tryton any more")


def test_an_order_that_is_given_up_while_its_target_is_away_is_undone_when_that_is_back(
    environment: Environment,
) -> None:
    known = {each.id for each in environment.cases_of("provisioner")}
    environment.fault("provisioning", kind="status", status=503, times=0)
    _, deal = environment.sell(environment.sale("Given Up"))
    wait_until(lambda: outage_of(environment, "provisioner", known), 60, "a case about the outage")

    order = given_up(environment, environment.order_of(deal))
    assert order.state == "compensating"
    assert order.plan
    environment.calm()

    environment.order_in(deal, "cancelled")
    schedule = order.plan.contract.references["schedule"]
    assert environment.stripe.v1.subscription_schedules.retrieve(schedule).status == "canceled"
    closed = wait_until(
        lambda: found if (found := outage_of(environment, "provisioner", known)) and found.resolution else None, 20
    )
    assert closed.state == "resolved"
