"""A line cannot be delivered: the others are billed, a case exists, and fixing it charges nothing twice."""

from __future__ import annotations

from collections import Counter

from canonical.cases import Case
from canonical.orders import Order
from sandbox.salesperson import SaleLine
from tests.support.environment import Environment
from tests.support.platforms import EXACTLY_ONE, wait_until

LINES = (SaleLine("PLATFORM", 1), SaleLine("SEAT", 25), SaleLine("SUPPORT", 1))


def test_two_of_three_lines_are_billed_and_the_third_when_it_is_delivered(environment: Environment) -> None:
    environment.behave(sku="SUPPORT", outcome="fail")
    _, deal = environment.sell(environment.sale("Partly", lines=LINES))

    order = environment.order_in(deal, "partially_active")
    environment.settled(order)
    assert {each.line.sku: each.state for each in order.lines} == {
        "PLATFORM": "provisioned",
        "SEAT": "provisioned",
        "SUPPORT": "failed",
    }
    assert order.plan is not None
    first = environment.stripe.v1.invoices.retrieve(order.plan.contract.references["invoice"])
    assert first.subtotal == 600_000 + 25 * 24_000
    (case,) = environment.cases_of(order.id)
    assert (case.kind, case.team, case.field) == ("line_failed", "support", "lines[2].SUPPORT")

    environment.behave(sku="SUPPORT", outcome="succeed")
    environment.act(case.id, "retry")

    order = environment.order_in(deal, "active")
    assert order.plan is not None
    counted = environment.counted(order)
    assert (counted["billing.invoices"], counted["crm.contracts"], counted["billing.customers"]) == (2, 1, 1)
    invoices = environment.stripe.v1.invoices.list({"customer": order.plan.contract.references["customer"]}).data
    assert sorted(each.subtotal for each in invoices) == [120_000, 1_200_000]


def test_a_skipped_line_completes_the_order_without_it(environment: Environment) -> None:
    environment.behave(sku="SUPPORT", outcome="fail")
    _, deal = environment.sell(environment.sale("Skipped", lines=LINES))
    order = environment.order_in(deal, "partially_active")
    (case,) = environment.cases_of(order.id)

    environment.act(case.id, "skip", "the customer does without")

    order = environment.order_in(deal, "active")
    assert [each.state for each in order.lines] == ["provisioned", "provisioned", "skipped"]
    environment.behave(sku="SUPPORT", outcome="succeed")


def two_failed_lines(environment: Environment, name: str, failing: str = "SEAT") -> tuple[str, Case, Case]:
    """Sell three lines of which `failing` and SUPPORT fail. Return the deal and the cases of the two."""
    for sku in (failing, "SUPPORT"):
        environment.behave(sku=sku, outcome="fail")
    _, deal = environment.sell(
        environment.sale(name, lines=(SaleLine("PLATFORM", 1), SaleLine(failing, 1), SaleLine("SUPPORT", 1)))
    )
    order = environment.order_in(deal, "partially_active")
    by_field = {each.field: each for each in environment.cases_of(order.id)}
    assert by_field.keys() == {f"lines[1].{failing}", "lines[2].SUPPORT"}
    return deal, by_field[f"lines[1].{failing}"], by_field["lines[2].SUPPORT"]


def states(order: Order) -> dict[str, str]:
    return {each.line.sku: each.state for each in order.lines}


def test_skipping_one_of_two_failed_lines_leaves_the_other_open(environment: Environment) -> None:
    deal, seat, support = two_failed_lines(environment, "Skip One")

    environment.act(seat.id, "skip", "the customer does without")

    skipped = {"PLATFORM": "provisioned", "SEAT": "skipped", "SUPPORT": "failed"}
    order = wait_until(lambda: seen if states(seen := environment.order_of(deal)) == skipped else None, 20)
    assert order.state == "partially_active"
    assert {each.id: each.state for each in environment.cases_of(order.id)} == {seat.id: "resolved", support.id: "open"}

    environment.behave(sku="SUPPORT", outcome="succeed")
    environment.act(support.id, "retry")

    order = environment.order_in(deal, "active")
    assert states(order) == {"PLATFORM": "provisioned", "SEAT": "skipped", "SUPPORT": "provisioned"}
    environment.behave(sku="SEAT", outcome="succeed")


def test_trying_one_of_two_failed_lines_again_asks_for_that_line_alone(environment: Environment) -> None:
    deal, seat, support = two_failed_lines(environment, "Retry One")
    environment.behave(sku="SEAT", outcome="succeed")

    environment.act(seat.id, "retry")

    fixed = {"PLATFORM": "provisioned", "SEAT": "provisioned", "SUPPORT": "failed"}
    order = wait_until(lambda: seen if states(seen := environment.order_of(deal)) == fixed else None, 20)
    assert order.state == "partially_active"
    assert {each.id: each.state for each in environment.cases_of(order.id)} == {seat.id: "resolved", support.id: "open"}
    asked = Counter(each["line_id"] for each in environment.jobs(order.id))
    assert {each.line.sku: asked[each.line.id] for each in order.lines} == {"PLATFORM": 1, "SEAT": 2, "SUPPORT": 1}
    environment.behave(sku="SUPPORT", outcome="succeed")


def test_what_fails_again_is_a_case_again(environment: Environment) -> None:
    deal, seat, support = two_failed_lines(environment, "Fails Again")

    environment.act(seat.id, "retry")

    order = environment.order_of(deal)
    (again,) = wait_until(
        lambda: [each for each in environment.cases_of(order.id) if each.id not in (seat.id, support.id)], 20
    )
    assert (again.kind, again.field, again.state) == ("line_failed", seat.field, "open")
    for sku in ("SEAT", "SUPPORT"):
        environment.behave(sku=sku, outcome="succeed")


def test_charging_a_late_line_by_hand_leaves_the_others_to_be_billed(environment: Environment) -> None:
    deal, onboarding, support = two_failed_lines(environment, "By Hand", "ONBOARDING")
    environment.behave(sku="ONBOARDING", outcome="succeed")
    environment.act(onboarding.id, "retry")
    order = environment.order_in(deal, "on_hold")
    (by_hand,) = [each for each in environment.cases_of(order.id) if each.kind == "charge_by_hand"]

    environment.act(by_hand.id, "skip", "charged by hand")
    environment.order_in(deal, "partially_active")
    environment.behave(sku="SUPPORT", outcome="succeed")
    environment.act(support.id, "retry")

    order = environment.order_in(deal, "active")
    assert order.plan is not None
    invoices = environment.stripe.v1.invoices.list({"customer": order.plan.contract.references["customer"]}).data
    assert sorted(each.subtotal for each in invoices) == [120_000, 600_000]


def test_two_failed_lines_of_one_product_are_two_cases(environment: Environment) -> None:
    environment.behave(sku="SUPPORT", outcome="fail")
    _, deal = environment.sell(
        environment.sale("Twice", lines=(SaleLine("PLATFORM", 1), SaleLine("SUPPORT", 1), SaleLine("SUPPORT", 2)))
    )
    order = environment.order_in(deal, "partially_active")

    assert {each.field for each in environment.cases_of(order.id)} == {"lines[1].SUPPORT", "lines[2].SUPPORT"}
    environment.behave(sku="SUPPORT", outcome="succeed")


def test_an_order_whose_lines_all_failed_is_tried_again_as_a_whole(environment: Environment) -> None:
    for sku in ("SEAT", "SUPPORT"):
        environment.behave(sku=sku, outcome="fail_once")
    _, deal = environment.sell(environment.sale("All Failed", lines=(SaleLine("SEAT", 2), SaleLine("SUPPORT", 1))))
    order = environment.order_in(deal, "on_hold")
    first, second = environment.cases_of(order.id)
    assert {first.kind, second.kind} == {"provisioning_failed"}

    environment.act(first.id, "retry")

    order = environment.order_in(deal, "active")
    assert {each.state for each in environment.cases_of(order.id)} == {"resolved"}
    for sku in ("SEAT", "SUPPORT"):
        environment.behave(sku=sku, outcome="succeed")


def test_a_line_that_fails_once_is_mended_by_trying_again(environment: Environment) -> None:
    environment.behave(sku="SEAT", outcome="fail_once")
    _, deal = environment.sell(environment.sale("Once", lines=(SaleLine("SEAT", 2),)))
    order = environment.order_in(deal, "on_hold")
    (case,) = environment.cases_of(order.id)
    assert (case.kind, case.team) == ("provisioning_failed", "support")

    environment.act(case.id, "retry")

    order = environment.order_in(deal, "active")
    environment.settled(order)
    assert environment.counted(order) == EXACTLY_ONE
    environment.behave(sku="SEAT", outcome="succeed")
