"""Two processes read, decide and write at the same moment: on PostgreSQL, where nothing else keeps them apart, and on
SQLite."""

from __future__ import annotations

from contextlib import suppress
from functools import partial

import msgspec

from canonical.cases import Finding
from canonical.orders import Order
from canonical.parties import Address, Customer
from canonical.states import IllegalTransition
from process_apis.records import cross_references, customers
from process_apis.runtime.context import WorkflowContext
from tests.support.merge_bench import CRM, Books
from tests.support.process_context import DELIVERED, LINES, SOMEBODY, accepted_order, at_once

ROUNDS = 25
"""How often two meet: each time is another moment."""


def test_of_the_last_two_lines_that_are_reported_at_once_one_report_is_the_last(context: WorkflowContext) -> None:
    orders = context.orders
    for number in range(ROUNDS):
        order_id = accepted_order(context, f"006{number}", *DELIVERED)
        orders.request_lines(order_id)

        seen = at_once(*(partial(orders.report_line, order_id, each.id, "provisioned", "") for each in LINES))

        assert any(seen), f"nobody saw that all lines of {order_id} had a result"


def test_ids_that_two_platforms_give_at_once_are_both_kept(context: WorkflowContext) -> None:
    def keep(order: Order, name: str) -> None:
        assert order.plan is not None
        contract = msgspec.structs.replace(order.plan.contract, references={name: "1"})
        context.orders.keep_plan(order.id, msgspec.structs.replace(order.plan, contract=contract))

    for number in range(ROUNDS):
        order = context.orders.get(accepted_order(context, f"006{number}", *DELIVERED))

        at_once(partial(keep, order, "schedule"), partial(keep, order, "customer"))

        plan = context.orders.get(order.id).plan
        assert plan is not None
        assert plan.contract.references == {"schedule": "1", "customer": "1"}


def test_a_new_customer_that_two_keep_at_once_has_the_ids_of_both(context: WorkflowContext) -> None:
    for number in range(ROUNDS):
        made = [
            Customer(f"cus_{number}", "Buyer", Address(country="DE"), references={each: "1"})
            for each in ("crm-eu", "erp-eu")
        ]

        at_once(*(partial(customers.keep, context.database, each) for each in made))

        found = customers.last_seen(context.database, f"cus_{number}")
        assert found is not None
        assert found.references == {"crm-eu": "1", "erp-eu": "1"}


def test_a_case_that_two_close_at_once_is_closed_by_one(context: WorkflowContext) -> None:
    cases = context.cases
    for number in range(ROUNDS):
        case = cases.open("deal_invalid", f"ord_{number}", Finding("deal", "no"), ("retry",), correlation_id="cor_1")

        closed = at_once(partial(cases.close, case, "a"), partial(cases.close, case, "b"))

        found = cases.get(case.id, SOMEBODY)
        assert found is not None
        assert (sorted(map(str, closed)), found.resolution) == (["0", "1"], "ab"[closed.index(1)])


def test_orders_of_a_customer_that_two_hand_over_at_once_go_to_one_partner(context: WorkflowContext) -> None:
    found = [accepted_order(context, "006", "validating")]
    for number in range(5):
        found.append(accepted_order(context, f"006{number}", "validating"))
        context.orders.change(found[-1], customer_id="cus_006")

    for _ in range(ROUNDS):
        at_once(*(partial(context.orders.hand_over, "cus_006", each) for each in ("nord", "sued")))

        assert len({context.orders.row(each).partner for each in found}) == 1


def test_a_merge_that_two_see_at_once_is_one_record_and_what_two_choose_at_once_is_one_choice(
    context: WorkflowContext,
) -> None:
    books = Books(context)
    for number in range(ROUNDS):
        loser, left, first, second = (f"{each}{number}" for each in ("001L", "001S", "cus_first", "cus_second"))
        books.customer(first, left)
        books.customer(second, left)
        customers.share(context.database, first, second)

        seen = at_once(*[partial(books.records.see, CRM, loser, left, first, second)] * 2)
        (merge,) = filter(None, seen)
        at_once(*(partial(books.records.choose, str(merge), each, f"for {each}", "") for each in ("keep", "switch")))

        signed = {(step.state, step.by) for step in books.records.history(str(merge))[1:]}
        assert signed == {("kept", "for keep"), ("switched", "for switch")}
        found = books.records.summary(books.records.row(str(merge)))
        leads = {"kept": second, "switched": first}
        assert found.leading_customer_id == leads[found.state]
        assert sorted(customers.with_its_account(context.database, first)) == [first, second]


def test_a_choice_and_a_way_back_at_once_leave_each_customer_its_account(context: WorkflowContext) -> None:
    books = Books(context)
    for number in range(ROUNDS):
        loser, left, first, second = (f"{each}{number}" for each in ("001L", "001S", "cus_first", "cus_second"))
        books.customer(first, loser)
        books.customer(second, left)
        customers.refer(context.database, first, CRM, left)
        customers.share(context.database, first, second)
        merge = books.records.see(CRM, loser, left, first, second)
        row = books.records.row(merge)

        def choose(of: str = merge) -> None:
            with suppress(IllegalTransition):  # it was undone before
                books.records.choose(of, "switch", SOMEBODY.subject, "")

        at_once(choose, partial(books.records.go_back, row, loser, ()))

        assert books.records.summary(books.records.row(merge)).state == "undone"
        assert [customers.with_its_account(context.database, each) for each in (first, second)] == [[first], [second]]
        known = cross_references.known(context.database, "cus", CRM, (loser, left))
        assert known == {loser: first, left: second}
