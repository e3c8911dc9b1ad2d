"""What is recorded of an order stays, also when two are at work on it."""

from __future__ import annotations

import msgspec

from canonical.parties import Address, Customer
from canonical.tax import TaxTreatment
from process_apis.records import customers
from process_apis.runtime.context import WorkflowContext
from tests.support.process_context import DELIVERED, accepted_order


def test_a_request_that_is_late_does_not_let_an_active_order_be_looked_at_again(context: WorkflowContext) -> None:
    order_id = accepted_order(context, "deal", *DELIVERED, "active")

    context.orders.expect_reports(order_id, context.later(60))

    assert context.orders.row(order_id).next_attempt_at is None


def test_what_is_asked_for_again_is_held_up_by_nothing_but_its_target(context: WorkflowContext) -> None:
    order_id = accepted_order(context, "deal", *DELIVERED)
    context.orders.advance(order_id, "partially_active", next_attempt_at=None, blocked_reason="1 of 2 lines failed")

    context.orders.expect_reports(order_id, context.later(60))

    row = context.orders.row(order_id)
    assert (row.blocked_reason, row.next_attempt_at) == ("", context.later(60).isoformat())


def test_an_order_that_is_held_again_has_to_be_shown_again(context: WorkflowContext) -> None:
    order_id = accepted_order(context, "deal", "validating", "on_hold")
    context.orders.change(order_id, crm_status="on_hold")
    shown = context.orders.status_not_in_crm()

    for state in ("validating", "on_hold"):
        context.orders.advance(order_id, state, next_attempt_at=None)

    assert shown == []
    assert [each.id for each in context.orders.status_not_in_crm()] == [order_id]


def test_a_customers_ids_on_other_platforms_stay_when_one_is_added(context: WorkflowContext) -> None:
    customer = Customer("cus_1", "Buyer", Address(country="DE"), references={"stripe": "c1"})
    customers.keep(context.database, customer)

    customers.keep(context.database, msgspec.structs.replace(customer, name="New", references={"stripe-fr": "c2"}))

    kept = customers.last_seen(context.database, "cus_1")
    assert kept is not None
    assert (kept.name, kept.references) == ("New", {"stripe": "c1", "stripe-fr": "c2"})


def test_an_id_that_a_platform_gave_is_not_forgotten_by_one_who_did_not_see_it(context: WorkflowContext) -> None:
    order_id = accepted_order(context, "deal", "validating")
    plan = context.orders.get(order_id).plan
    assert plan is not None
    early = msgspec.structs.replace(plan, customer=msgspec.structs.replace(plan.customer, references={"erp": "p1"}))
    late = msgspec.structs.replace(plan, contract=msgspec.structs.replace(plan.contract, references={"schedule": "s1"}))

    context.orders.keep_plan(order_id, late)
    context.orders.keep_plan(order_id, early)

    kept = context.orders.get(order_id).plan
    assert kept is not None
    assert (kept.customer.references, kept.contract.references) == ({"erp": "p1"}, {"schedule": "s1"})


def test_a_customer_belongs_to_the_legal_entities_that_have_onboarded_it_with_the_tax_of_their_newest_order(
    context: WorkflowContext,
) -> None:
    def order(seller: str, tax: TaxTreatment, *, onboarded: bool) -> None:
        order_id = accepted_order(context, f"{seller}-{tax}-{onboarded}", "validating")
        plan = context.orders.get(order_id).plan
        assert plan is not None
        references = {"customer": "c1"} if onboarded else {}
        contract = msgspec.structs.replace(plan.contract, legal_entity=seller, references=references)
        customer = msgspec.structs.replace(plan.customer, id="cus_1", tax_treatment=tax)
        context.orders.accept(
            order_id, "Deal", "seller", msgspec.structs.replace(plan, customer=customer, contract=contract)
        )

    order("DE01", "reverse_charge", onboarded=True)
    order("FR01", "reverse_charge", onboarded=True)
    order("DE01", "standard", onboarded=True)
    order("FR01", "standard", onboarded=False)  # it waits for a yes

    assert list(context.orders.sold_by("cus_1").items()) == [("FR01", "reverse_charge"), ("DE01", "standard")]


def test_a_late_report_on_an_earlier_attempt_does_not_end_the_one_that_runs(context: WorkflowContext) -> None:
    order_id = accepted_order(context, "deal", *DELIVERED)
    (line, other) = (each.line.id for each in context.orders.lines(order_id))
    context.orders.request_lines(order_id)
    context.orders.retry_lines(order_id, line)
    context.orders.request_lines(order_id)

    context.orders.report_line(order_id, line, "failed", "too slow", 1)
    context.orders.report_line(order_id, other, "provisioned", "", 1)
    assert [each.state for each in context.orders.lines(order_id)] == ["requested", "provisioned"]

    assert context.orders.report_line(order_id, line, "provisioned", "", 2)
