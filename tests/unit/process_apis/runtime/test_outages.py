"""When a platform is back, what waited for it goes on at once, the oldest first."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import msgspec
import pytest
import sqlalchemy as sa

from canonical.faults import Unavailable
from canonical.orders import Order
from policies.catalogue.live import LiveCatalogue
from process_apis import posting
from process_apis.customer_sync import follow
from process_apis.records import customers
from process_apis.records.cases import EVERY_OPEN_OF, Wanted
from process_apis.records.database import customers as customers_table
from process_apis.records.database import orders, postings
from process_apis.records.waiting import BLOCKED, TABLES, blocked
from process_apis.runtime.agenda import CASE_AFTER, Agenda
from process_apis.runtime.context import WorkflowContext
from process_apis.runtime.outages import is_over, platform_of
from process_apis.runtime.steps import enter_state
from sandbox.site import FRANCE, GERMANY
from tests.support.process_context import SOMEBODY, TestClock, accepted_order, waiting_customer
from tiergate.dev.sandbox import catalogue_for

AWAY = Unavailable("erp", "it is away")


def away(_: object) -> NoReturn:
    raise AWAY


def back(_: object) -> None:
    """Go on."""


def waiting_orders(context: WorkflowContext, *deals: str, failures: int = 6) -> list[str]:
    """Make orders that wait for the ERP, ever longer."""
    made = [accepted_order(context, each) for each in deals]
    for each in made:
        context.orders.change(each, state="validating", attempts=failures)
        enter_state(context, each, "validating", away)
    return made


def invoice(context: WorkflowContext, key: str, legal_entity: str = "DE01") -> None:
    context.postings.expect(
        "invoice",
        "billing-eu",
        key,
        "cor_1",
        context.stalled_at(),
        contract_id="con_1",
        customer_id="cus_1",
        legal_entity=legal_entity,
    )


def waiting_invoices(context: WorkflowContext, *keys: str, legal_entity: str = "DE01") -> None:
    for each in keys:
        invoice(context, each, legal_entity)
        posting.attempt(context, "invoice", each, away)


def due(context: WorkflowContext, of: str) -> list[str]:
    table = orders if of == "orders" else postings
    return [row.id for row in Agenda(context, table).due(100)]


def test_an_order_that_goes_on_wakes_those_that_wait_for_the_same_the_oldest_first(
    context: WorkflowContext, clock: TestClock
) -> None:
    made = waiting_orders(context, "first", "second", "third")
    waiting_invoices(context, "in_1", "in_2")
    assert due(context, "orders") == due(context, "postings") == []
    clock.move(1)
    seen: list[Order] = []

    enter_state(context, made[1], "validating", lambda order: seen.append(order) or "done")

    assert [each.queue.platform if each.queue else "" for each in seen] == ["tryton"]
    assert due(context, "orders") == [made[0], made[2]]
    assert due(context, "postings") == ["in_1", "in_2"]


def test_a_posting_that_goes_on_wakes_the_others(context: WorkflowContext) -> None:
    waiting_invoices(context, "in_1", "in_2", "in_3")

    posting.attempt(context, "invoice", "in_2", back)

    assert [each for each in due(context, "postings") if each != "in_2"] == ["in_1", "in_3"]


def test_what_waited_for_something_else_wakes_nothing(context: WorkflowContext) -> None:
    waiting_invoices(context, "in_1")
    invoice(context, "in_2")
    context.postings.change("invoice", "in_2", next_attempt_at=context.later(60).isoformat())

    assert is_over(context, "stripe") == 0
    posting.attempt(context, "invoice", "in_2", back)
    assert due(context, "postings") == []


def test_a_customer_that_waits_is_woken_too(context: WorkflowContext) -> None:
    customer_id = waiting_customer(context, "buyer", "tryton", attempts=1)

    assert is_over(context, "tryton") == 1
    assert [row.id for row in Agenda(context, customers_table).due(100)] == [customer_id]


def test_a_customer_that_cannot_be_followed_for_an_outage_is_no_case_that_people_could_skip(
    context: WorkflowContext,
) -> None:
    order = context.orders.get(accepted_order(context, "buyer"))
    assert order.plan
    known = msgspec.structs.replace(order.plan.customer, crm="crm-eu", references={"crm-eu": "001"})
    customers.keep(context.database, known)
    customers.expect_change(context.database, known.id, "cor_1", context.clock())

    outcomes = {follow(context, known.id) for _ in range(CASE_AFTER)}  # nothing can be reached

    assert outcomes == {"stopped"}
    assert context.cases.page(SOMEBODY, Wanted(), None, 25).items == ()
    with context.database.connect() as connection:
        assert blocked(connection)["system"].attempts == CASE_AFTER


@pytest.mark.parametrize(
    ("domain", "legal_entity", "platform"),
    [("erp", "DE01", "tryton"), ("erp", "", "tryton"), ("crm", "DE01", "crm-eu"), ("system", "DE01", "system")],
)
def test_a_fault_is_of_the_platform_that_serves_the_legal_entity_or_of_the_layer(
    context: WorkflowContext, domain: str, legal_entity: str, platform: str
) -> None:
    assert platform_of(context, domain, legal_entity, crm="crm-eu") == platform


def test_what_waits_for_another_company_s_platform_waits_on(context: WorkflowContext, tmp_path: Path) -> None:
    path = tmp_path / "catalogue.toml"
    path.write_text(catalogue_for([GERMANY, FRANCE]))
    of_two = msgspec.structs.replace(context, live_catalogue=LiveCatalogue(path))
    waiting_invoices(of_two, "in_de")
    waiting_invoices(of_two, "in_fr", legal_entity=FRANCE.code)

    french = platform_of(of_two, "erp", FRANCE.code)
    assert is_over(of_two, french) == 1
    assert due(of_two, "postings") == ["in_fr"]


def test_an_order_that_people_have_to_see_to_is_not_woken(context: WorkflowContext) -> None:
    (order_id,) = waiting_orders(context, "held")
    context.orders.advance(order_id, "on_hold", next_attempt_at=None, blocked_reason="erp: no", held_in="validating")

    assert is_over(context, "tryton") == 0
    assert due(context, "orders") == []


@pytest.mark.parametrize("query", [BLOCKED, EVERY_OPEN_OF], ids=["what waits", "what is open"])
def test_what_each_poll_asks_is_answered_by_an_index(
    context: WorkflowContext, query: sa.Select[Any] | sa.CompoundSelect[Any]
) -> None:
    asked = str(query.compile(context.database))
    with context.database.connect() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {asked}", ("x",) * asked.count("?"))
        steps = [row.detail for row in plan if row.detail.startswith(("SCAN", "SEARCH"))]

    assert len(steps) in (1, len(TABLES))
    assert [each for each in steps if " INDEX ix_" not in each] == []
