"""What becomes of our own records is in the event log, with the change itself, once, and for those who may see it."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa
from msgspec.structs import replace

from canonical.cases import Finding
from canonical.event_log import ReplayRequest
from canonical.events import Event
from canonical.process_events import (
    CASE_OPENED,
    CASE_RESOLVED,
    ORDER_EVENTS,
    PROCESS_EVENTS,
    SOURCE,
)
from canonical.states import IllegalTransition
from policies.business.events import EVENTS
from policies.identity.authentication import Principal
from process_apis.events.dispatch import Dispatcher
from process_apis.events.event_log import EventLog
from process_apis.records.database import events
from process_apis.runtime.context import WorkflowContext
from tests.support.process_context import SOMEBODY, TestClock

GERMANY = replace(SOMEBODY, entities=frozenset({"DE01"}))
FRANCE = replace(SOMEBODY, entities=frozenset({"FR01"}))
PARTNER = replace(SOMEBODY, partner="reseller-nord")


def received(context: WorkflowContext) -> str:
    order_id, _ = context.orders.receive(
        "salesforce", "006", 1, "cor_1", context.clock(), legal_entity="DE01", customer_id="cus_1"
    )
    return order_id


def cancelled_twice(context: WorkflowContext, order: str) -> None:
    with context.orders.at(order) as one:
        one.advance("cancelled", next_attempt_at=None)
        one.advance("active", next_attempt_at=None)


def published(context: WorkflowContext) -> list[str]:
    with context.database.connect() as connection:
        return list(connection.scalars(sa.select(events.c.type).order_by(events.c.seq)))


def test_each_event_of_our_records_is_in_the_catalogue_with_its_owner(context: WorkflowContext) -> None:
    assert PROCESS_EVENTS.keys() == {name for name in EVENTS.of(context.live_catalogue.current) if ".process." in name}


def test_an_order_is_received_once_and_each_of_its_states_with_an_event_is_published(
    context: WorkflowContext, clock: TestClock
) -> None:
    order = received(context)
    received(context)  # offered again
    for state in ("validating", "credit_review", "on_hold"):
        clock.move(1)
        context.orders.advance(order, state, next_attempt_at=None)
    context.orders.advance(order, "on_hold", next_attempt_at=None)  # where it is already
    assert published(context) == [ORDER_EVENTS["received"], ORDER_EVENTS["on_hold"]]
    with context.database.connect() as connection:
        row = connection.execute(sa.select(events).order_by(events.c.seq.desc()).limit(1)).one()
    assert (row.source, row.subject, row.correlation_id, row.untaken) == (SOURCE, order, "cor_1", "")
    assert (row.legal_entity, row.customer_id) == ("DE01", "cus_1")
    data = {"customer": "cus_1", "legal_entity": "DE01", "deal": "006", "state": "on_hold"}
    assert EventLog(context.database, clock, [], 90).page(SOMEBODY, ReplayRequest(subject=order)).items[
        0
    ].event == Event(id=row.id, source=SOURCE, type=ORDER_EVENTS["on_hold"], subject=order, time=clock(), data=data)


def test_a_change_that_is_rolled_back_has_published_nothing(context: WorkflowContext) -> None:
    order = received(context)
    with pytest.raises(IllegalTransition):
        cancelled_twice(context, order)
    assert published(context) == [ORDER_EVENTS["received"]]


def test_a_case_is_published_when_it_is_opened_and_when_it_is_closed_and_never_twice(
    context: WorkflowContext, clock: TestClock
) -> None:
    def open_it() -> None:
        context.cases.open(
            "deal_invalid",
            "ord_1",
            Finding("deal.name", "written by a person", "crm"),
            ("retry",),
            correlation_id="cor_2",
            legal_entity="DE01",
        )

    open_it()
    open_it()
    clock.move(1)
    context.cases.resolve("ord_1", "it is over", "deal_invalid")
    context.cases.resolve("ord_1", "it is over", "deal_invalid")
    assert published(context) == [CASE_OPENED, CASE_RESOLVED]
    with context.database.connect() as connection:
        documents = b"".join(connection.scalars(sa.select(events.c.document)))
    assert b"written by a person" not in documents


@pytest.mark.parametrize(("principal", "sees"), [(GERMANY, 1), (FRANCE, 0), (PARTNER, 0)])
def test_who_sees_the_event_is_who_may_see_the_record(
    context: WorkflowContext, clock: TestClock, principal: Principal, sees: int
) -> None:
    received(context)
    page = EventLog(context.database, clock, [], 90).page(principal, ReplayRequest(since=clock() - timedelta(hours=1)))
    assert len(page.items) == sees


def test_nobody_inside_subscribes_to_what_the_records_say(context: WorkflowContext) -> None:
    def react(event: Event, correlation_id: str) -> None:
        raise AssertionError(event, correlation_id)

    with pytest.raises(ValueError, match=r"order\.activated"):
        Dispatcher(context, {"collection": {ORDER_EVENTS["active"]: react}})
