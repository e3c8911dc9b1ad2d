"""The target takes an order's lines and never reports: it is asked again, people hear of it, and nothing is
doubled."""

from __future__ import annotations

from tests.support.environment import Environment
from tests.support.platforms import EXACTLY_ONE, wait_until


def test_a_silent_target_is_asked_again_and_becomes_a_case_until_it_reports(environment: Environment) -> None:
    environment.kill_and_start("process", {"TIERGATE_PROCESS_DELIVERY": "0.5"})
    environment.behave(sku="SEAT", outcome="succeed", milliseconds=6000)
    _, deal = environment.sell(environment.sale("Silent"))

    case = wait_until(lambda: next(iter(environment.cases_of(environment.order_of(deal).id)), None), 20, "a case")

    assert (case.kind, case.team, case.field) == ("not_delivered", "support", "lines[1].SEAT")
    order = environment.order_in(deal, "active")
    environment.settled(order)
    assert environment.counted(order) == EXACTLY_ONE
    assert [each.state for each in environment.cases_of(order.id)] == ["resolved"]
    environment.kill_and_start("process")
