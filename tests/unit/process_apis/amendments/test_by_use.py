"""Lines that are charged by use are added at once, and end or get another price when their last period is billed."""

from __future__ import annotations

import shutil
from collections.abc import Generator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from canonical.amendments import (
    Action,
    AddLine,
    Cancel,
    ChangePrice,
    Effective,
    RemoveLine,
    Renew,
    Reverse,
    months_after,
)
from canonical.deals import DealLine
from canonical.proration import Period
from policies.problems import ProblemError
from process_apis.amendments.contract import running
from process_apis.usage.contracts import MeteredContract, metered
from tests.support.amendment_bench import Bench, Everybody, seats
from tests.support.answering_layer import answering, no_workflows
from tests.support.process_context import TestClock, context_over
from tests.support.usage_bench import with_meters
from tests.unit.process_apis.amendments.test_deals import Sales

METER = '\n[meters.extras]\nsku = "EXTRA"\nunit = "unit"\naggregation = "sum"\n'
ADDED = AddLine("extra", "EXTRA", "Extra", Decimal(1), Decimal("0.0049"), "month")
DEARER = ChangePrice("extra", Decimal("0.0059"))
END = datetime(2026, 4, 1, 12, tzinfo=UTC)
"""The end of the period of billing that runs."""


class FromNoon(Everybody):
    """Billing, of which each period begins at noon of a first day of a month, as the contract did."""

    def _period(self) -> Period:
        noon = self.now() - timedelta(hours=12)
        start = noon.replace(day=1, hour=12, minute=0, second=0, microsecond=0)
        return Period(start, (start + timedelta(days=31)).replace(day=1))


@pytest.fixture
def bench(tmp_path: Path, empty_tables: Path) -> Generator[Bench]:
    """Return a contract of ten seats and support, to which a line was added that is charged by use."""
    everybody, clock = FromNoon(), TestClock()
    with no_workflows(), answering(everybody.answer) as system:
        url = f"sqlite:///{shutil.copy(empty_tables, tmp_path)}"
        with context_over(url, clock, system) as context:
            made = Bench(with_meters(context, tmp_path, METER), clock, everybody)
            asked = made.ask(ADDED, key="added")
            made.run(asked)
            (case,) = made.cases(asked)
            made.act(case, "approve")
            made.run(asked)
            assert made.deliver(asked).state == "applied"
            clock.move(3600)
            yield made


def usage(bench: Bench) -> MeteredContract:
    return metered(running(bench.context, bench.records, bench.context.orders.get(bench.order_id)))


def sells(bench: Bench, moment: datetime) -> bool:
    return usage(bench).sells("EXTRA", int(moment.timestamp()) * 1_000_000)


def test_a_line_by_use_is_added_for_nothing_and_used_from_then_on(bench: Bench) -> None:
    (change,) = bench.everybody.changes
    done = bench.of(change.id)

    assert [each.meter for each in bench.lines()] == ["", "", "extras"]
    assert done.preview
    assert [(each.mrr.amount, each.quantity) for each in done.preview.deltas] == [(0, 0)]
    assert (change.lines[-1].terms.unit_price, change.lines[-1].tax) == (Decimal("0.0049"), "standard")
    assert [each.lines[-1].sku for each in bench.everybody.requests] == ["EXTRA"]
    assert sells(bench, change.effective_at)
    assert not sells(bench, change.effective_at - timedelta(seconds=1))


@pytest.mark.parametrize(
    ("actions", "effective", "path"),
    [
        ((DEARER,), "now", "$.effective"),
        ((RemoveLine("extra"),), "now", "$.effective"),
        ((RemoveLine("extra"), seats(11)), "period_end", "$.actions"),
        ((Renew(date(2028, 3, 1)), DEARER), "now", "$.actions"),
    ],
)
def test_another_moment_and_other_company_are_refused(
    bench: Bench, actions: tuple[Action, ...], effective: Effective, path: str
) -> None:
    with pytest.raises(ProblemError) as refused:
        bench.ask(*actions, effective=effective)

    (error,) = refused.value.errors
    assert error.path == path
    assert error.reason.startswith("Extra is charged by use")


@pytest.mark.parametrize("action", [DEARER, RemoveLine("extra")])
def test_a_change_is_carried_out_once_the_period_is_billed_and_counts_from_its_end(
    bench: Bench, action: Action
) -> None:
    asked = bench.ask(action, effective="period_end")

    assert bench.run(asked).state == "scheduled"
    bench.clock.now = END + timedelta(hours=1)
    assert bench.run(asked).state == "scheduled"
    bench.clock.now = END + timedelta(hours=2)
    done = bench.run(asked)

    assert (done.state, done.effective_at, bench.everybody.changes[-1].effective_at) == ("applied", END, END)
    prices = [each.terms.unit_price for each in bench.lines() if each.meter]
    assert prices == ([Decimal("0.0059")] if action is DEARER else [])
    assert sells(bench, END - timedelta(seconds=1))
    assert sells(bench, END) == (action is DEARER)


def test_another_price_is_refused_where_billing_has_other_periods(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Period(datetime(2026, 3, 10, 12, tzinfo=UTC), datetime(2026, 4, 10, 12, tzinfo=UTC))
    monkeypatch.setattr(bench.everybody, "_period", lambda: other)

    dearer = bench.run(bench.ask(DEARER, key="dearer", effective="period_end"))

    (case,) = bench.cases(dearer.id)
    assert (case.field, "remove the line" in case.reason) == ("actions[0]", True)
    bench.act(case, "compensate")
    assert bench.run(bench.ask(RemoveLine("extra"), key="gone", effective="period_end")).state == "scheduled"


def test_a_change_that_is_taken_up_too_late_is_for_people(bench: Bench) -> None:
    asked = bench.ask(RemoveLine("extra"), effective="period_end")
    bench.run(asked)
    bench.clock.now = END + timedelta(days=40)

    late = bench.run(asked)

    assert (late.state, [each.field for each in bench.cases(asked)]) == ("on_hold", ["effective_at"])
    assert len(bench.everybody.changes) == 1


def test_a_line_that_was_added_is_reversed_with_the_end_of_its_period(bench: Bench) -> None:
    added = bench.everybody.changes[0].id
    with pytest.raises(ProblemError):
        bench.ask(Reverse(added), key="at-once")
    asked = bench.ask(Reverse(added), key="in-time", effective="period_end")

    assert bench.run(asked).state == "scheduled"
    bench.clock.now = END + timedelta(hours=2)

    assert bench.run(asked).state == "applied"
    assert [each.meter for each in bench.lines()] == ["", ""]


def test_a_product_that_is_charged_by_use_again_is_not_added_twice(bench: Bench) -> None:
    removed = bench.ask(RemoveLine("extra"), key="removed", effective="period_end")
    bench.run(removed)
    bench.clock.now = END + timedelta(hours=2)
    bench.run(removed)
    again = bench.ask(msgspec.structs.replace(ADDED, line="other"), key="again")
    bench.run(again)
    (case,) = bench.cases(again)
    bench.act(case, "approve")
    bench.run(again)
    assert bench.deliver(again).state == "applied"
    bench.clock.move(3600)

    with pytest.raises(ProblemError) as refused:
        bench.ask(Reverse(removed), key="back")

    (error,) = refused.value.errors
    assert "has a line of it already" in error.reason


def test_a_renewal_and_the_end_of_the_contract_take_no_notice(bench: Bench) -> None:
    renewed = bench.ask(Renew(months_after(date(2027, 1, 1), 12), Decimal(10)), key="renewed")
    assert bench.run(renewed).state == "scheduled"

    ended = bench.ask(Cancel(), key="ended")

    assert bench.run(ended).state in ("applied", "awaiting_approval")


def sold(quantity: int) -> DealLine:
    return DealLine("00kE", "EXTRA", "Extra", Decimal(quantity), Decimal("0.0049"), "month", listed=True)


def test_one_less_in_the_crm_ends_a_line_by_use_with_its_period(bench: Bench) -> None:
    sales = Sales(bench)

    sales.sell(sold(-1))

    asked = sales.asked[-1]
    assert (asked.actions, asked.effective) == ((RemoveLine("extra"),), "period_end")


@pytest.mark.parametrize(
    ("quantity", "starts_on", "field"),
    [
        (-1, date(2026, 5, 1), "deal.starts_on"),
        (1, date(2026, 3, 10), "deal.lines[0].quantity"),
    ],
)
def test_what_the_crm_cannot_sell_of_a_line_by_use_is_a_case(
    bench: Bench, quantity: int, starts_on: date, field: str
) -> None:
    sales = Sales(bench)

    sales.sell(sold(quantity), starts_on=starts_on)

    (case,) = sales.cases
    assert case.field == field
    assert "charged by use" in case.reason
