"""A line cannot be delivered: the others are billed, a case exists, and mending it charges nothing twice."""

from __future__ import annotations

from sandbox.salesperson import Line
from tests.stack import EXACTLY_ONE, Stack

LINES = (Line("PLATFORM", 1), Line("SEAT", 25), Line("SUPPORT", 1))


def test_two_of_three_lines_are_billed_and_the_third_when_it_is_delivered(stack: Stack) -> None:
    stack.behave(sku="SUPPORT", outcome="fail")
    _, deal = stack.sell(stack.sale("Partly", lines=LINES))

    order = stack.order_in(deal, "partially_active")
    stack.settled(order)
    assert {each.line.sku: each.state for each in order.lines} == {
        "PLATFORM": "provisioned", "SEAT": "provisioned", "SUPPORT": "failed",
    }  # fmt: skip
    assert order.plan is not None
    first = stack.stripe.v1.invoices.retrieve(order.plan.contract.references["invoice"])
    assert first.subtotal == 600_000 + 25 * 24_000
    (case,) = stack.cases_of(order.id)
    assert (case.kind, case.team, case.field) == ("line_failed", "support", "lines.SUPPORT")

    stack.behave(sku="SUPPORT", outcome="succeed")
    stack.act(case.id, "retry")

    order = stack.order_in(deal, "active")
    assert order.plan is not None
    counted = stack.counted(order)
    assert (counted["billing.invoices"], counted["crm.contracts"], counted["billing.customers"]) == (2, 1, 1)
    invoices = stack.stripe.v1.invoices.list({"customer": order.plan.contract.references["customer"]}).data
    assert sorted(each.subtotal for each in invoices) == [120_000, 1_200_000]


def test_a_skipped_line_completes_the_order_without_it(stack: Stack) -> None:
    stack.behave(sku="SUPPORT", outcome="fail")
    _, deal = stack.sell(stack.sale("Skipped", lines=LINES))
    order = stack.order_in(deal, "partially_active")
    (case,) = stack.cases_of(order.id)

    stack.act(case.id, "skip", "the customer does without")

    order = stack.order_in(deal, "active")
    assert [each.state for each in order.lines] == ["provisioned", "provisioned", "skipped"]
    stack.behave(sku="SUPPORT", outcome="succeed")


def test_a_line_that_fails_once_is_mended_by_trying_again(stack: Stack) -> None:
    stack.behave(sku="SEAT", outcome="fail_once")
    _, deal = stack.sell(stack.sale("Once", lines=(Line("SEAT", 2),)))
    order = stack.order_in(deal, "on_hold")
    (case,) = stack.cases_of(order.id)
    assert (case.kind, case.team) == ("provisioning_failed", "support")

    stack.act(case.id, "retry")

    order = stack.order_in(deal, "active")
    stack.settled(order)
    assert stack.counted(order) == EXACTLY_ONE
    stack.behave(sku="SEAT", outcome="succeed")


def test_an_order_that_is_given_up_is_undone_in_reverse(stack: Stack) -> None:
    stack.behave(sku="SEAT", outcome="fail")
    _, deal = stack.sell(stack.sale("Given Up", lines=(Line("SEAT", 2),)))
    order = stack.order_in(deal, "on_hold")
    (case,) = stack.cases_of(order.id)

    stack.act(case.id, "compensate")

    order = stack.order_in(deal, "cancelled")
    assert [each.state for each in order.history][-3:] == ["on_hold", "compensating", "cancelled"]
    assert order.plan is not None
    schedules = stack.stripe.v1.subscription_schedules.list(
        {"customer": order.plan.contract.references["customer"]}
    ).data
    assert [each.status for each in schedules] == ["canceled"]
    counted = stack.counted(order)
    assert (counted["billing.invoices"], counted["erp.posted_invoices"], counted["crm.contracts"]) == (0, 0, 0)
    assert {each["state"] for each in stack.jobs(order.id)} == {"removed"}
    stack.behave(sku="SEAT", outcome="succeed")
