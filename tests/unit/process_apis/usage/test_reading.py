"""What a meter says is what its records come to in the contract's own period, exactly, up to now or to a moment."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from policies.problems import ProblemError
from tests.support.process_context import TestClock
from tests.support.usage_bench import AGGREGATIONS, BEGAN, UsageBench, record

DAY = 24 * 3600
LARGEST = "999999999999.999999"


@pytest.fixture
def contract(bench: UsageBench, clock: TestClock) -> str:
    found = bench.sell()
    clock.move(4 * DAY)
    return found


def test_each_meter_makes_one_quantity_in_its_own_way(bench: UsageBench, contract: str) -> None:
    for place, (day, quantity) in enumerate([(1, "10"), (3, "2.5"), (2, "40")]):
        for meter in AGGREGATIONS:
            said = {"value": quantity} if meter == "unique" else {}
            amount = None if said else quantity
            bench.send(record(contract, f"r{place}", bench.after(day * DAY), amount, meter=f"by_{meter}", **said))

    found = {each: bench.quantity(contract, each) for each in AGGREGATIONS}

    # a level of 0, 10, 40 and 2.5 for a day each
    assert found == {"sum": "52.5", "max": "40", "last": "2.5", "unique": "3", "weighted": "13.125"}
    assert {each.records for each in bench.read(contract).items} == {3}


def test_a_meter_without_records_says_nothing_was_used(bench: UsageBench, contract: str) -> None:
    assert [(f"{each.quantity:f}", each.records) for each in bench.read(contract).items] == [("0", 0)] * 5


def test_the_period_is_that_of_the_contract_and_ends_before_its_next_one(
    bench: UsageBench, contract: str, clock: TestClock
) -> None:
    clock.now = BEGAN + timedelta(days=40)
    month = timedelta(days=31)
    bench.send(
        record(contract, "last", (BEGAN + month - timedelta(microseconds=1)).isoformat(), "1"),
        record(contract, "first", (BEGAN + month).isoformat(), "20"),
    )

    (now, *_), (before, *_) = (
        bench.read(contract).items,
        bench.read(contract, BEGAN + timedelta(days=30, hours=23)).items,
    )

    assert (now.starts_at, now.ends_at) == (BEGAN + month, datetime(2026, 5, 1, 12, tzinfo=UTC))
    assert (f"{now.quantity:f}", f"{before.quantity:f}") == ("20", "0")
    assert before.starts_at == BEGAN


def test_what_is_used_in_the_second_in_which_a_contract_begins_counts(bench: UsageBench, clock: TestClock) -> None:
    clock.move(0.6)
    contract = bench.sell()
    bench.send(record(contract, "first", bench.after(0.7), "1"))
    clock.move(DAY)

    assert bench.quantity(contract, "sum") == "1"


def test_a_level_goes_on_from_the_period_before(bench: UsageBench, contract: str, clock: TestClock) -> None:
    bench.send(record(contract, "r", bench.after(DAY), "8", meter="by_weighted"))
    clock.now = BEGAN + timedelta(days=33)

    assert bench.quantity(contract, "weighted") == "8"


def test_many_of_the_largest_quantities_are_added_up_exactly(bench: UsageBench, contract: str) -> None:
    bench.send(*(record(contract, f"r{each}", bench.after(each), LARGEST) for each in range(1000)))

    assert bench.quantity(contract, "sum") == "999999999999999.999"


def test_of_two_levels_at_one_moment_the_one_with_the_later_key_counts(bench: UsageBench, contract: str) -> None:
    bench.send(*(record(contract, key, bench.after(60), key[1:], meter="by_last") for key in ("r2", "r3", "r1")))

    assert bench.quantity(contract, "last") == "3"


def test_what_is_sent_ahead_counts_when_its_moment_has_come(bench: UsageBench, contract: str, clock: TestClock) -> None:
    bench.send(record(contract, "r", (clock() + timedelta(seconds=60)).isoformat(), "5"))

    before = bench.quantity(contract, "sum")
    clock.move(61)

    assert (before, bench.quantity(contract, "sum")) == ("0", "5")


def test_a_moment_before_the_contract_is_refused_and_one_ahead_is_now(bench: UsageBench, contract: str) -> None:
    with pytest.raises(ProblemError) as refused:
        bench.read(contract, BEGAN - timedelta(days=1))

    assert [each.path for each in refused.value.errors] == ["$.as_of"]
    assert bench.read(contract, bench.clock() + timedelta(days=3)).as_of == bench.clock()
