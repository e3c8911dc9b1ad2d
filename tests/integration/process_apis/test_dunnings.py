"""A contract that owes, from the first failure until it is paid and owes again, on either kind of database."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest
from msgspec.structs import replace

from canonical.events import INVOICE_PAID
from tests.support.amendment_bench import Bench
from tests.support.answering_layer import answering, no_workflows
from tests.support.dunning_bench import CANCEL, DAY, Debts, DunningBench, under
from tests.support.process_context import SOMEBODY, TestClock, context_over


@pytest.fixture
def owing(database_url: str, tmp_path: Path) -> Generator[DunningBench]:
    everybody, clock = Debts(), TestClock()
    with no_workflows(), answering(everybody.answer) as system, context_over(database_url, clock, system) as context:
        yield DunningBench(Bench(under(context, tmp_path, CANCEL), clock, everybody), everybody)


def test_a_debt_is_suspended_resumed_paid_and_comes_again(owing: DunningBench) -> None:
    assert owing.fail().state == "past_due"
    assert owing.later(15).state == "suspended"
    assert owing.decide("resume", (owing.clock() + 5 * DAY).date()).state == "past_due"
    assert owing.later(6).state == "suspended"
    owing.everybody.end("in_1", "paid")
    owing.report(INVOICE_PAID)
    assert (owing.look().state, owing.everybody.is_suspended) == ("recovered", False)

    found = owing.fail("in_2", needs_means=True)
    assert (found.state, found.suspended) == ("waiting_for_means", False)
    states = ["past_due", "suspended", "past_due", "suspended", "recovered", "waiting_for_means"]
    assert [each.state for each in found.history] == states
    owing.later(15)
    assert owing.later(20).amendment_id


def test_debts_are_listed_for_who_may_see_them_by_state_customer_and_seller(owing: DunningBench) -> None:
    found, records = owing.fail(), owing.runs.records

    def listed(**wanted: str) -> list[str]:
        return [each.id for each in records.page(SOMEBODY, dict(wanted), None, 10).items]

    assert listed() == listed(state="past_due", customer_id="cus_1", legal_entity="DE01") == [found.id]
    assert [listed(state="recovered"), listed(customer_id="cus_2"), listed(legal_entity="FR01")] == 3 * [[]]
    for stranger in (replace(SOMEBODY, entities=frozenset({"FR01"})), replace(SOMEBODY, partner="reseller-nord")):
        assert records.page(stranger, {}, None, 10).items == ()
        assert records.visible(found.id, stranger) is None
