"""Records are kept once each and summed up exactly, on either kind of database, also when many send them at once."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import msgspec
import pytest

from canonical.usage import UsageReceipt
from process_apis.runtime.context import WorkflowContext
from tests.support.answering_layer import no_workflows
from tests.support.process_context import TestClock, at_once
from tests.support.usage_bench import AGGREGATIONS, SENDER, UsageBench, record, with_meters

DAY = 24 * 3600


@pytest.fixture
def bench(context: WorkflowContext, clock: TestClock, tmp_path: Path) -> Generator[UsageBench]:
    with no_workflows():
        yield UsageBench(with_meters(context, tmp_path), clock)


def test_two_that_send_the_same_records_at_once_keep_each_once(bench: UsageBench, clock: TestClock) -> None:
    contract = bench.sell()
    clock.move(DAY)
    lines = [msgspec.json.encode(record(contract, f"r{each}", bench.after(each), str(each))) for each in range(2000)]

    def send(sent: list[bytes]) -> UsageReceipt:
        return bench.intake.take(b"\n".join(sent), 1, SENDER)

    found = at_once(lambda: send(lines), lambda: send(lines[::-1]), lambda: send(lines[500:]), lambda: send(lines))

    receipts = [each for each in found if isinstance(each, UsageReceipt)]
    assert sum(each.taken for each in receipts) == 2000
    assert sum(each.repeated for each in receipts) == 5500
    assert not any(each.refused for each in receipts)
    assert bench.quantity(contract, "sum") == str(sum(range(2000)))


def test_every_way_to_make_one_quantity_says_the_same_on_either_database(bench: UsageBench, clock: TestClock) -> None:
    contract = bench.sell()
    clock.move(4 * DAY)
    for place, (day, quantity) in enumerate([(1, "10"), (3, "2.5"), (2, "999999999999.999999")]):
        for meter in AGGREGATIONS:
            said = {"value": quantity} if meter == "unique" else {}
            amount = None if said else quantity
            bench.send(record(contract, f"r{place}", bench.after(day * DAY), amount, meter=f"by_{meter}", **said))
    void = bench.send({"id": "r0", "contract_id": contract, "meter": "by_sum", "void": True})

    found = {each: bench.quantity(contract, each) for each in AGGREGATIONS}

    assert void.taken == 1
    assert found == {
        "sum": "1000000000002.499999",
        "max": "999999999999.999999",
        "last": "2.5",
        "unique": "3",
        "weighted": "250000000003.125",
    }


def test_another_record_with_a_kept_key_is_refused_on_either_database(bench: UsageBench, clock: TestClock) -> None:
    contract = bench.sell()
    clock.move(DAY)
    bench.send(record(contract, "r", bench.after(1)))

    receipt = bench.send(record(contract, "r", bench.after(1), "2"), record(contract, "s", bench.after(1)))

    assert (receipt.taken, receipt.refused, receipt.errors[0].line) == (1, 1, 1)
