"""Each line is judged for itself: what is good is kept once, what is broken is named, and one stops no other."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from canonical.usage import MOST_NAMED, UsageReceipt
from policies.business.usage import LONGEST_LINE
from policies.identity.authentication import Principal
from policies.problems import ProblemError
from process_apis.records import cross_references
from tests.support.answering_layer import no_workflows
from tests.support.process_context import TestClock, accepted_order
from tests.support.usage_bench import AGGREGATIONS, BEGAN, UsageBench, record, with_meters

DAY = 24 * 3600


@pytest.fixture
def contract(bench: UsageBench, clock: TestClock) -> str:
    """Return a contract that has run for ten days."""
    found = bench.sell()
    clock.move(10 * DAY)
    return found


def refusals(receipt: UsageReceipt) -> list[tuple[int, str]]:
    return [(each.line, each.path) for each in receipt.errors]


def test_the_same_records_again_shuffled_and_in_pieces_double_nothing(bench: UsageBench, contract: str) -> None:
    records = [record(contract, f"r{each}", bench.after(each), str(each)) for each in range(20)]

    first = bench.send(*records)
    again = [bench.send(*records[::-1]), bench.send(*records[:7]), bench.send(*records[5:])]

    assert (first.taken, first.repeated) == (20, 0)
    assert [(each.taken, each.repeated, each.refused) for each in again] == [(0, 20, 0), (0, 7, 0), (0, 15, 0)]
    assert bench.quantity(contract, "sum") == str(sum(range(20)))


def test_a_key_that_is_there_twice_in_one_call_is_one_record(bench: UsageBench, contract: str) -> None:
    one = record(contract, "r", bench.after(1), "5")

    receipt = bench.send(one, one, record(contract, "r", bench.after(1), "6"))

    assert (receipt.taken, receipt.repeated, receipt.refused) == (1, 1, 1)
    assert refusals(receipt) == [(3, "$.id")]
    assert bench.quantity(contract, "sum") == "5"


@pytest.mark.parametrize("changed", [{"quantity": "2"}, {"at": "2026-03-02T12:00:00Z"}])
def test_another_record_with_the_key_of_a_kept_one_is_refused_by_name(
    bench: UsageBench, contract: str, changed: dict[str, str]
) -> None:
    one = record(contract, "r", bench.after(1))
    bench.send(one)

    receipt = bench.send(
        record(contract, "before", bench.after(2)), one | changed, record(contract, "b", bench.after(3))
    )

    assert (receipt.taken, receipt.refused) == (2, 1)
    assert receipt.errors[0].line == 2
    assert receipt.errors[0].reason == "another record has this key already"
    assert bench.quantity(contract, "sum") == "3"


def test_one_key_of_two_contracts_and_of_two_meters_is_a_record_of_each(bench: UsageBench, clock: TestClock) -> None:
    contracts = [bench.sell("one"), bench.sell("two")]
    clock.move(DAY)

    receipt = bench.send(
        *(
            record(each, "r", bench.after(60), meter=meter)
            for each in contracts
            for meter in ("by_sum", "by_max", "by_last")
        )
    )

    assert (receipt.taken, receipt.refused) == (6, 0)


BROKEN: list[tuple[dict[str, Any], str]] = [
    ({"meter": "by_nothing"}, "$.meter"),
    ({"quantity": "-1"}, "$.quantity"),
    ({"quantity": "1.0000001"}, "$.quantity"),
    ({"quantity": None}, "$.quantity"),
    ({"quantity": 5}, "$.quantity"),
    ({"value": "somebody"}, "$.quantity"),
    ({"meter": "by_unique"}, "$.value"),
    ({"meter": "by_unique", "value": "x"}, "$.value"),
    ({"at": None}, "$.at"),
    ({"at": "2026-03-02T12:00:00"}, "$.at"),
    ({"at": "yesterday"}, "$.at"),
    ({"at": "2026-03-11T12:05:01Z"}, "$.at"),
    ({"at": "2026-03-01T11:59:59Z"}, "$.at"),
    ({"id": "two words"}, "$.id"),
    ({"id": None}, "$.id"),
    ({"contract_id": "con_" + "0" * 32}, "$.contract_id"),
    ({"contract_id": "a b"}, "$.contract_id"),
    ({"contract_id": "\x00"}, "$"),
    ({"colour": "red"}, "$.colour"),
    ({"void": True}, "$.at"),
    ({"void": True, "at": None}, "$.quantity"),
]


@pytest.mark.parametrize(("changed", "path"), BROKEN)
def test_a_broken_record_is_named_and_stops_no_other(
    bench: UsageBench, contract: str, changed: dict[str, Any], path: str
) -> None:
    good = record(contract, "r", bench.after(60))
    wrong = {name: value for name, value in (good | changed).items() if value is not None}

    receipt = bench.send(record(contract, "first", bench.after(1)), wrong, record(contract, "last", bench.after(2)))

    assert (receipt.taken, receipt.refused) == (2, 1)
    assert refusals(receipt) == [(2, path)]


@pytest.mark.parametrize("line", [b"{", b"[]", b"\xff", b'"x"', b"{}" * 2, b'{"id": "\\ud800"}', b"[" * 2000])
def test_a_line_that_is_no_record_is_named(bench: UsageBench, contract: str, line: bytes) -> None:
    receipt = bench.send(line, record(contract, "r", bench.after(1)))

    assert (receipt.taken, receipt.refused, receipt.errors[0].line) == (1, 1, 1)


def test_lines_without_anything_are_no_records(bench: UsageBench, contract: str) -> None:
    receipt = bench.send(b"", b"  \r", record(contract, "r", bench.after(1)), b"{", b"")

    assert (receipt.taken, receipt.refused) == (1, 1)
    assert receipt.errors[0].line == 4


def test_a_line_is_bounded(bench: UsageBench, contract: str) -> None:
    one = msgspec.json.encode(record(contract, "r", bench.after(1)))

    fits, longer = bench.send(one.ljust(LONGEST_LINE)), bench.send(one.ljust(LONGEST_LINE + 1))

    assert (fits.taken, longer.refused) == (1, 1)
    assert "at most 2,048 bytes" in longer.errors[0].reason


def test_so_many_broken_lines_are_named_and_all_are_counted(bench: UsageBench, contract: str) -> None:
    receipt = bench.send(*(b"{" if each % 2 else record(contract, "r", "x") for each in range(1000)))

    assert receipt.refused == 1000
    assert [each.line for each in receipt.errors] == list(range(1, MOST_NAMED + 1))


def test_a_record_is_taken_from_the_first_moment_of_its_contract_to_five_minutes_ahead(
    bench: UsageBench, contract: str
) -> None:
    moments = [bench.after(0), bench.after(10 * DAY + 300)]

    assert bench.send(*(record(contract, each[:19], each) for each in moments)).taken == 2


def test_a_record_that_is_older_than_the_meter_allows_is_refused(
    bench: UsageBench, contract: str, clock: TestClock
) -> None:
    clock.move(60 * DAY)
    oldest = clock() - timedelta(days=35)

    receipt = bench.send(
        record(contract, "in-time", oldest.isoformat()),
        record(contract, "late", (oldest - timedelta(seconds=1)).isoformat()),
    )

    assert (receipt.taken, refusals(receipt)) == (1, [(2, "$.at")])


def test_somebody_elses_contract_looks_like_one_that_is_not_there(bench: UsageBench, clock: TestClock) -> None:
    own, other, french = bench.sell("own", "nord"), bench.sell("other", "sued"), bench.sell("fr", "nord", "FR01")
    clock.move(DAY)
    nord = Principal("n", "nord", frozenset({"usage:write"}), frozenset({"DE01"}), "jti", 0.0, 0.0, partner="nord")
    ids = (own, other, french, "con_" + "1" * 32)

    receipt = bench.send(*(record(each, "r", bench.after(60)) for each in ids), principal=nord)

    assert (receipt.taken, refusals(receipt)) == (1, [(line, "$.contract_id") for line in (2, 3, 4)])
    assert len({each.reason for each in receipt.errors}) == 1
    for each in ids[1:]:
        with pytest.raises(ProblemError) as refused:
            bench.read(each, principal=nord)
        assert refused.value.detail.replace(each, "") == "There is no contract  in force."


def test_a_contract_that_somebody_may_see_no_more_is_refused_at_once(bench: UsageBench, clock: TestClock) -> None:
    contract = bench.sell("own", "nord")
    clock.move(DAY)
    nord = Principal("n", "nord", frozenset({"usage:write"}), frozenset({"DE01"}), "jti", 0.0, 0.0, partner="nord")
    assert bench.send(record(contract, "r", bench.after(1)), principal=nord).taken == 1

    bench.context.orders.hand_over("cus_own", "sued")

    assert bench.send(record(contract, "s", bench.after(1)), principal=nord).refused == 1


def test_what_the_contract_does_not_have_cannot_be_used(bench: UsageBench, contract: str, tmp_path: Path) -> None:
    meters = "\n[meters.other]\nsku = 'OTHER'\nunit = 'call'\naggregation = 'sum'\n"
    with no_workflows():
        other = UsageBench(with_meters(bench.context, tmp_path, meters), bench.clock)

    receipt = other.send(record(contract, "r", bench.after(1), meter="other"))

    assert receipt.errors[0].reason == "the contract has no OTHER, which this meter is for"


def test_a_void_record_counts_no_more_whichever_came_first(bench: UsageBench, contract: str) -> None:
    void = {"id": "r", "contract_id": contract, "meter": "by_sum", "void": True}
    early = void | {"id": "s"}
    bench.send(record(contract, "r", bench.after(1), "5"), record(contract, "kept", bench.after(2), "7"))

    receipts = [bench.send(void), bench.send(void), bench.send(early)]
    bench.send(record(contract, "s", bench.after(3), "9"))

    assert [(each.taken, each.repeated) for each in receipts] == [(1, 0), (0, 1), (1, 0)]
    assert bench.quantity(contract, "sum") == "7"
    assert bench.send(record(contract, "r", bench.after(1), "5")).repeated == 1


def test_a_value_is_not_kept_as_it_was_sent(bench: UsageBench, contract: str) -> None:
    bench.send(record(contract, "r", bench.after(1), None, meter="by_unique", value="kim@example.com"))

    with bench.context.database.connect() as connection:
        rows = connection.exec_driver_sql("SELECT * FROM usage_records").all()
    assert len(rows) == 1
    assert "kim" not in str(rows)


NUMBERS = count()
SENT = st.lists(st.tuples(st.integers(0, 9 * DAY), st.decimals(0, 1000, places=3), st.booleans()), max_size=25)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(sent=SENT, cuts=st.lists(st.integers(0, 25), max_size=4), random=st.randoms())
def test_what_records_come_to_does_not_depend_on_order_pieces_or_repetition(
    bench: UsageBench, sent: list[tuple[int, Any, bool]], cuts: list[int], random: Any
) -> None:
    bench.clock.now = BEGAN
    one, other = (bench.sell(f"deal-{next(NUMBERS)}") for _ in range(2))
    bench.clock.move(10 * DAY)
    records: list[dict[str, Any]] = []
    for place, (seconds, quantity, is_void) in enumerate(sent):
        for meter in AGGREGATIONS:
            is_unique = meter == "unique"
            said = {"value": str(quantity)} if is_unique else {}
            each = record(
                one,
                f"r{place}",
                bench.after(seconds),
                None if is_unique else str(quantity),
                meter=f"by_{meter}",
                **said,
            )
            records.append(each)
            if is_void:
                records.append({"id": f"r{place}", "contract_id": one, "meter": f"by_{meter}", "void": True})

    assert not bench.send(*records).refused
    shuffled = [each | {"contract_id": other} for each in records * 2]
    random.shuffle(shuffled)
    places = sorted({0, len(shuffled), *cuts})
    for start, end in pairwise(places):
        assert not bench.send(*shuffled[start:end]).refused

    for meter in AGGREGATIONS:
        assert bench.quantity(one, meter) == bench.quantity(other, meter)
    kept = [quantity for _, quantity, is_void in sent if not is_void]
    assert Decimal(bench.quantity(one, "sum")) == sum(kept)


def test_nothing_of_a_contract_that_is_not_in_force_is_taken(bench: UsageBench) -> None:
    order_id = accepted_order(bench.context, "early", "validating", "credit_review", "onboarding")
    contract_id = cross_references.canonical_id(bench.context.database, "con", "order", order_id)

    receipt = bench.send(record(contract_id, "r", bench.after(1)))

    assert refusals(receipt) == [(1, "$.contract_id")]
