"""A contract goes to another customer on every database: it changes hands once, with what may be seen of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from canonical.amendments import Transfer
from policies.identity.authentication import Principal
from process_apis.records import customers
from process_apis.records.database import renewals, writing
from tests.support.amendment_bench import BUYER, OTHER, Bench, Everybody, is_customer
from tests.support.answering_layer import answering, no_workflows
from tests.support.process_context import SOMEBODY, TestClock, context_over

NORD = Principal("nord", "reseller-nord", frozenset(), frozenset({"*"}), "jti", 0.0, 0.0, partner="reseller-nord")


def renewal(bench: Bench, key: str) -> dict[str, Any]:
    now = bench.clock().isoformat()
    about = {"contract_id": bench.contract_id, "order_id": bench.order_id, "customer_id": BUYER.id}
    worth = {"currency": "EUR", "mrr_before": 1, "mrr_after": 1}
    times = {"found_at": now, "updated_at": now, "ends_on": key[:10]}
    how = {"id": key, "legal_entity": "DE01", "state": "found", "mode": "quoted", "correlation_id": "cor_1"}
    return about | worth | times | how


def test_an_order_changes_hands_once_and_is_seen_by_who_has_it(tables_url: str) -> None:
    everybody, clock = Everybody(), TestClock()
    with (
        no_workflows(),
        answering(everybody.answer) as system,
        context_over(tables_url, clock, system) as context,
    ):
        bench = Bench(context, clock, everybody)
        is_customer(bench, OTHER)
        ends = {"to-come": clock().isoformat(), "over": None}
        with writing(context.database) as connection:
            for key, next_attempt_at in ends.items():
                connection.execute(renewals.insert(), renewal(bench, key) | {"next_attempt_at": next_attempt_at})
        asked = bench.ask(Transfer(OTHER.id), key="moves", effective="period_end")
        bench.run(asked)
        (case,) = bench.cases(asked)
        bench.act(case, "approve")
        for moment in (datetime(2026, 3, 29, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC)):
            assert context.orders.visible(bench.order_id, NORD) is None
            clock.now = moment
            bench.run(asked)
        order = context.orders.visible(bench.order_id, NORD)
        assert order
        assert order.plan
        context.orders.hand_to(order.id, BUYER.id, order.plan)  # again: it is handed over already
        assert context.orders.row(order.id).customer_id == OTHER.id
        assert [each.id for each in context.orders.handed_over_by(BUYER.id)] == [bench.contract_id]
        assert context.orders.handed_over_by(OTHER.id) == []
        with context.database.connect() as connection:
            offered = dict(connection.execute(sa.select(renewals.c.id, renewals.c.customer_id)).tuples().all())
        assert offered == {"to-come": OTHER.id, "over": BUYER.id}
        seen = {each.id for each in customers.page(context.database, SOMEBODY, None, 25).items}
        assert seen == {BUYER.id, OTHER.id}
        assert {each.id for each in customers.page(context.database, NORD, None, 25).items} == {OTHER.id}
        assert customers.visible(context.database, BUYER.id, NORD) is None
