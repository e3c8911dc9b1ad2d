"""A term that ends, from the day on which it is found until the target has taken everything back, on either kind of
database."""

from __future__ import annotations

from collections.abc import Generator
from datetime import date, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from canonical.cases import Finding
from tests.support.amendment_bench import Bench, Everybody
from tests.support.answering_layer import answering, no_workflows
from tests.support.process_context import SOMEBODY, TestClock, context_over
from tests.support.renewal_bench import QUOTED, TERM_ENDS, RenewalBench, under

DAY = timedelta(days=1)


@pytest.fixture
def ending(database_url: str, tmp_path: Path) -> Generator[RenewalBench]:
    everybody, clock = Everybody(), TestClock()
    with no_workflows(), answering(everybody.answer) as system, context_over(database_url, clock, system) as context:
        yield RenewalBench(Bench(under(context, tmp_path, QUOTED), clock, everybody))


def test_a_term_is_found_blocked_offered_lost_and_over(ending: RenewalBench) -> None:
    made, order = ending, ending.bench.order_id
    finding = Finding("lines.1", "no room")
    made.context.cases.open("line_failed", order, finding, ("skip",), correlation_id="cor_9")
    assert made.at(TERM_ENDS - 50 * DAY).state == "blocked"
    made.context.cases.resolve(order, "done", "line_failed")
    found = made.at(TERM_ENDS - 49 * DAY)
    assert found.state == "quoted"

    made.win(found, lines=())
    assert made.look().state == "scheduled"
    made.lose(found)
    assert made.look().state == "lapsing"
    assert made.at(TERM_ENDS + DAY).state == "grace"
    assert made.at(TERM_ENDS + 16 * DAY).state == "expired"


def test_renewals_are_listed_for_who_may_see_them_by_state_customer_seller_and_day(ending: RenewalBench) -> None:
    found = ending.at(TERM_ENDS - 50 * DAY)
    records, day = ending.records, date(2027, 3, 1)

    def listed(before: date | None = None, **wanted: str) -> list[str]:
        return [each.id for each in records.page(SOMEBODY, dict(wanted), before, None, 10).items]

    assert listed(state="quoted", customer_id="cus_1", legal_entity="DE01") == [found.id]
    assert listed(day + DAY) == [found.id]
    assert [listed(day), listed(state="blocked"), listed(customer_id="cus_2"), listed(legal_entity="FR01")] == 4 * [[]]
    for stranger in (replace(SOMEBODY, entities=frozenset({"FR01"})), replace(SOMEBODY, partner="reseller-nord")):
        assert records.page(stranger, {}, None, None, 10).items == ()
        assert records.visible(found.id, stranger) is None
    assert records.visible(found.id, SOMEBODY) == found
