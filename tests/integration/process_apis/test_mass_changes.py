"""A mass change from its selection to its undoing, on either kind of database."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from canonical.mass_changes import MassItemState
from tests.support.amendment_bench import Bench, Everybody
from tests.support.answering_layer import answering, no_workflows
from tests.support.mass_change_bench import MassBench
from tests.support.process_context import SOMEBODY, TestClock, context_over


@pytest.fixture
def mass(tables_url: str) -> Generator[MassBench]:
    everybody, clock = Everybody(), TestClock()
    with no_workflows(), answering(everybody.answer) as system, context_over(tables_url, clock, system) as context:
        yield MassBench(Bench(context, clock, everybody))


def test_contracts_are_selected_changed_counted_and_changed_back(mass: MassBench) -> None:
    mass.sell(3)
    found = mass.plan()
    assert [(each.contracts, each.delta.amount) for each in found.revenue] == [(4, 3 * 250 + 1000)]
    mass.approved(found.id)
    mass.go_on(found.id)
    assert mass.counts(found.id) == {"on_its_way": 4}
    mass.runs.do(found.id, "pause", SOMEBODY)
    assert mass.go_on(found.id).state == "paused"
    mass.runs.do(found.id, "resume", SOMEBODY)

    mass.to_its_end(found.id)
    mass.runs.do(found.id, "undo", SOMEBODY)
    mass.decide(found.id, "approve")
    done = mass.to_its_end(found.id)

    state: MassItemState = "undone"
    assert [(each.state, each.contracts) for each in done.counts] == [(state, 4)]
    first = mass.records.page_of_items(found.id, state, None, 3)
    rest = mass.records.page_of_items(found.id, state, first.next_cursor, 3)
    assert len({each.contract_id for each in (*first.items, *rest.items)}) == 4
    assert mass.records.page_of_items(found.id, "changed", None, 3).items == ()
    assert mass.bench.lines()[0].terms.unit_price == 20
