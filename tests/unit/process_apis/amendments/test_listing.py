"""Contracts are listed as they are now, by what they have now, and without reading those that are not wanted."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event

from canonical.amendments import Action, Cancel, ContractFilter, RemoveLine, Reverse
from process_apis.amendments.contract import READS, page
from tests.support.amendment_bench import Bench, a_line
from tests.support.process_context import DELIVERED, SOMEBODY, accepted_order


def listed(bench: Bench, limit: int = 25, **wanted: Any) -> list[str]:
    """Return the ids of all contracts that are wanted, page by page."""
    found: list[str] = []
    cursor = None
    while True:
        got = page(bench.context, bench.records, SOMEBODY, ContractFilter(**wanted), cursor, limit)
        assert len(got.items) <= limit
        found += [each.id for each in got.items]
        if (cursor := got.next_cursor) is None:
            return found


def in_force(bench: Bench, number: int) -> list[str]:
    """Make contracts of two seats each. Return their ids, newest first."""
    for each in range(number):
        order = accepted_order(bench.context, str(each), *DELIVERED)
        bench.context.orders.request_lines(order)
        for line in ("0", "1"):
            bench.context.orders.report_line(order, line, "provisioned", "")
        bench.context.orders.advance(order, "active", next_attempt_at=None)
    return [f"con_{each}" for each in reversed(range(number))]


def approved(bench: Bench, action: Action) -> str:
    """Ask for a change that needs an approval, and approve it. Return its id."""
    asked = bench.ask(action, key="asked")
    bench.run(asked)
    (case,) = bench.cases(asked)
    bench.act(case, "approve")
    bench.run(asked)
    return asked


@contextmanager
def statements(bench: Bench) -> Generator[list[str]]:
    """Return the statements that the database is sent within the block."""
    sent: list[str] = []

    def note(*about: Any) -> None:
        sent.append(about[2])

    event.listen(bench.context.database, "before_cursor_execute", note)
    yield sent
    event.remove(bench.context.database, "before_cursor_execute", note)


def test_contracts_are_listed_by_their_products_newest_first_each_once(bench: Bench) -> None:
    others = in_force(bench, 7)

    for limit in (1, 3, 8, 25):
        assert listed(bench, limit, sku="SEAT") == [*others, bench.contract_id]
        assert listed(bench, limit, sku="SUPPORT") == [bench.contract_id]
    assert listed(bench, sku="EXTRA") == []


def test_a_product_that_a_change_brings_is_found_and_one_that_it_ends_is_not(bench: Bench) -> None:
    bench.run(bench.ask(RemoveLine("support"), settlement="none"))
    asked = approved(bench, a_line("more", "EXTRA"))

    assert listed(bench, sku="EXTRA") == []

    assert bench.deliver(asked).state == "applied"
    assert listed(bench, sku="EXTRA") == listed(bench, sku="SEAT") == [bench.contract_id]
    assert listed(bench, sku="SUPPORT") == []


def test_a_contract_is_listed_by_the_state_that_it_is_in_now(bench: Bench) -> None:
    others = in_force(bench, 3)
    done = bench.run(bench.ask(Cancel(), effective="period_end"))
    assert done.effective_at

    assert listed(bench, state="active") == [*others, bench.contract_id]
    assert listed(bench, state="cancelled") == []

    bench.clock.now = done.effective_at

    assert listed(bench, state="active") == others
    assert listed(bench, 1, state="cancelled") == [bench.contract_id]
    assert listed(bench, sku="SEAT") == others


def test_a_contract_that_gets_a_product_back_by_a_reversal_is_found_by_it_again(bench: Bench) -> None:
    ended = bench.run(bench.ask(RemoveLine("support"), settlement="none"))
    assert listed(bench, sku="SUPPORT") == []

    undone = approved(bench, Reverse(ended.id))

    assert bench.deliver(undone).state == "applied"
    assert listed(bench, sku="SUPPORT") == [bench.contract_id]


def test_a_contract_whose_end_is_taken_back_is_active(bench: Bench) -> None:
    ended = bench.run(bench.ask(Cancel(), effective="period_end"))
    approved(bench, Reverse(ended.id))
    assert ended.effective_at

    bench.clock.now = ended.effective_at

    assert (listed(bench, state="active"), listed(bench, state="cancelled")) == ([bench.contract_id], [])


@pytest.mark.parametrize(
    ("wanted", "number"),
    [
        ({"legal_entity": "DE01"}, 1),
        ({"legal_entity": "US01"}, 0),
        ({"currency": "EUR"}, 1),
        ({"currency": "USD"}, 0),
        ({"customer_id": "cus_1", "sku": "SEAT", "state": "active"}, 1),
        ({"customer_id": "cus_2", "sku": "SEAT"}, 0),
    ],
)
def test_filters_are_held_together(bench: Bench, wanted: dict[str, Any], number: int) -> None:
    assert listed(bench, **wanted) == [bench.contract_id] * number


def test_a_page_reads_no_contract_that_has_never_had_the_product(bench: Bench) -> None:
    with statements(bench) as alone:
        listed(bench, sku="SUPPORT")
    in_force(bench, 20)

    with statements(bench) as among_others:
        listed(bench, sku="SUPPORT")

    assert among_others == alone


def test_a_page_of_which_little_is_wanted_ends_and_goes_on_by_its_cursor(bench: Bench) -> None:
    others = in_force(bench, READS * 2)
    bench.run(bench.ask(Cancel(), effective="period_end"))

    found = page(bench.context, bench.records, SOMEBODY, ContractFilter(state="pending"), None, 2)

    assert (found.items, found.next_cursor is not None) == ((), True)
    rest = page(bench.context, bench.records, SOMEBODY, ContractFilter(), found.next_cursor, 25)
    assert [each.id for each in rest.items] == [bench.contract_id]
    assert len(others) == READS * 2
