"""A period that is over is handed over once, as it was when it was closed; what comes later is for people."""

from __future__ import annotations

from collections.abc import Generator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from canonical.cases import Action, Case
from canonical.states import IllegalTransition
from canonical.usage import UsageOfPeriod
from process_apis.records.database import events, usage_periods
from tests.support.answering_layer import answering, no_workflows
from tests.support.process_context import SOMEBODY, TestClock, context_over
from tests.support.usage_bench import BEGAN, UsageBench, record, with_meters

DAY = 24 * 3600
MONTH = timedelta(days=31)
NO = (
    422,
    msgspec.json.encode(
        {"type": "/problems/platform-rejected", "detail": "no such price", "platform": "billing", "field": "lines"}
    ),
)
AWAY = (503, msgspec.json.encode({"type": "/problems/platform-unavailable", "detail": "away", "platform": "billing"}))


class Billing:
    """Takes what was used, and answers as a test says."""

    def __init__(self) -> None:
        self.taken: list[UsageOfPeriod] = []
        self.answer: tuple[int, bytes] | None = None

    def __call__(self, _method: str, _path: str, body: bytes) -> tuple[int, bytes]:
        if self.answer is not None:
            return self.answer
        self.taken.append(msgspec.json.decode(body, type=UsageOfPeriod))
        return 200, body


class HandoverBench:
    """A contract of which records were sent, billing, and the handovers between them."""

    def __init__(self, bench: UsageBench, billing: Billing) -> None:
        self.bench = bench
        self.billing = billing
        self.contract = bench.sell()
        bench.clock.move(10 * DAY)

    def send(self, key: str, quantity: str = "5", day: float = 1, meter: str = "by_sum") -> None:
        assert (
            self.bench.send(record(self.contract, key, self.bench.after(day * DAY), quantity, meter=meter)).taken == 1
        )

    def after_the_period(self, periods: int = 1) -> None:
        self.bench.clock.now = BEGAN + periods * MONTH + timedelta(minutes=16)

    def look(self) -> list[str]:
        """Do what is due. Return the states of all periods, the earliest first."""
        agenda, due = self.bench.handovers.agenda, self.bench.handovers.begin
        for row in agenda.due(10):
            run = agenda.claim(row)
            assert run
            work = due(row, run)
            self.bench.handovers.handover.hand_over(*work.arguments)
        return [row.state for row in self.rows()]

    def an_hour_later(self) -> list[str]:
        self.bench.clock.move(3600)
        return self.look()

    def rows(self) -> list[sa.Row[Any]]:
        with self.bench.context.database.connect() as connection:
            return list(connection.execute(sa.select(usage_periods).order_by(usage_periods.c.starts_at)))

    def cases(self) -> list[Case]:
        return list(self.bench.context.cases.page(SOMEBODY, "open", None, None, 100).items)

    def act(self, action: Action) -> None:
        (case,) = self.cases()
        self.bench.handovers.act(case, action)
        self.bench.context.cases.close(case, action)

    def reported(self) -> list[str]:
        """Return what became of periods, as the event log has it."""
        with self.bench.context.database.connect() as connection:
            return [each.split(".")[4] for each in connection.scalars(sa.select(events.c.type)) if ".usage." in each]


@pytest.fixture
def handover(tmp_path: Path, tables_url: str, clock: TestClock) -> Generator[HandoverBench]:
    billing = Billing()
    with no_workflows(), answering(billing) as system, context_over(tables_url, clock, system) as context:
        yield HandoverBench(UsageBench(with_meters(context, tmp_path), clock), billing)


def test_a_period_is_handed_over_once_when_it_is_over(handover: HandoverBench) -> None:
    handover.send("one")
    handover.send("two", "2.5")
    early = handover.look()
    handover.after_the_period()

    late = [handover.look(), handover.look()]

    assert (early, late) == (["open"], [["handed_over"], ["handed_over"]])
    (usage,) = handover.billing.taken
    assert (f"{usage.quantity:f}", usage.sku, usage.starts_at, usage.ends_at) == ("7.5", "SUM", BEGAN, BEGAN + MONTH)
    assert usage.contract.id == handover.contract
    assert handover.reported() == ["reported"]
    of_then = handover.bench.read(handover.contract, BEGAN + MONTH - timedelta(seconds=1))
    of_now = handover.bench.read(handover.contract)
    assert [each.items[0].billed for each in (of_then, of_now)] == [Decimal("7.5"), None]


def test_each_meter_and_each_period_is_handed_over_for_itself(handover: HandoverBench) -> None:
    handover.send("one")
    handover.send("one", "7", meter="by_max")
    handover.after_the_period()
    handover.look()
    handover.bench.clock.move(DAY)
    handover.send("later", "3", day=31.5)
    handover.bench.clock.now = BEGAN + timedelta(days=62)

    states = handover.look()

    assert states == ["handed_over"] * 3
    assert sorted((each.sku, f"{each.quantity:f}") for each in handover.billing.taken) == [
        ("MAX", "7"),
        ("SUM", "3"),
        ("SUM", "5"),
    ]


def test_an_outage_is_waited_out_and_people_hear_of_one_that_lasts(handover: HandoverBench) -> None:
    handover.send("one")
    handover.after_the_period()
    handover.billing.answer = AWAY
    states = [handover.an_hour_later() for _ in range(6)]

    (case,) = handover.cases()
    handover.billing.answer = None
    done = handover.an_hour_later()

    assert (states, done) == ([["closed"]] * 6, ["handed_over"])
    assert (case.kind, case.team) == ("usage_not_billed", "finance")
    assert handover.cases() == []
    assert len(handover.billing.taken) == 1


def test_the_quantity_is_that_of_the_moment_at_which_the_period_was_closed(handover: HandoverBench) -> None:
    handover.send("one")
    handover.after_the_period()
    handover.billing.answer = AWAY
    handover.look()
    handover.send("late", "1")
    handover.billing.answer = None
    handover.bench.clock.move(3600)

    handover.look()

    assert [f"{each.quantity:f}" for each in handover.billing.taken] == ["5"]
    (case,) = handover.cases()
    assert (case.kind, case.field) == ("usage_after_handover", "quantity")
    assert case.reason.startswith("5 of by_sum were handed over until 2026-04-01T12:00:00+00:00, and it is 6 by now")


def test_what_is_made_void_after_its_period_is_for_people_and_no_change_is_not(handover: HandoverBench) -> None:
    handover.send("one")
    handover.send("nothing", "0")
    handover.after_the_period()
    handover.look()
    void = {"contract_id": handover.contract, "meter": "by_sum", "void": True}

    handover.bench.send(void | {"id": "nothing"}, void | {"id": "never-sent"})
    before = handover.cases()
    handover.bench.send(void | {"id": "one"})

    assert before == []
    assert [each.kind for each in handover.cases()] == ["usage_after_handover"]
    handover.act("skip")
    assert handover.look() == ["handed_over"]


def test_what_billing_refuses_is_a_case_that_closes_itself_after_a_retry(handover: HandoverBench) -> None:
    handover.send("one")
    handover.after_the_period()
    handover.billing.answer = NO
    states = handover.look()
    (case,) = handover.cases()
    handover.bench.handovers.act(case, "retry")
    handover.billing.answer = None

    done = handover.look()

    assert (states, done) == (["blocked"], ["handed_over"])
    assert (case.kind, case.field, case.reason) == ("usage_not_billed", "lines", "no such price")
    assert handover.cases() == []
    assert handover.reported() == ["blocked", "reported"]


def test_what_people_charge_by_hand_is_never_handed_over(handover: HandoverBench) -> None:
    handover.send("one")
    handover.after_the_period()
    handover.billing.answer = NO
    handover.look()
    (case,) = handover.cases()
    handover.act("skip")
    handover.billing.answer = None
    handover.bench.clock.move(DAY)

    assert handover.look() == ["by_hand"]
    assert handover.billing.taken == []
    assert handover.bench.handovers.allowed(case) == ()
    with pytest.raises(IllegalTransition):
        handover.bench.handovers.act(case, "retry")


def test_a_level_goes_on_into_the_next_period_without_a_record(handover: HandoverBench) -> None:
    handover.send("one", "8", day=0, meter="by_weighted")
    handover.after_the_period()
    handover.look()
    handover.bench.clock.now = BEGAN + timedelta(days=62)

    states = handover.look()

    assert states == ["handed_over", "handed_over", "open"]
    assert [f"{each.quantity:f}" for each in handover.billing.taken] == ["8", "8"]


def test_a_meter_that_the_catalogue_has_no_more_is_a_case(handover: HandoverBench, tmp_path: Path) -> None:
    handover.send("one")
    handover.after_the_period()
    unmetered = with_meters(handover.bench.context, tmp_path, "")
    with no_workflows():
        other = UsageBench(unmetered, handover.bench.clock)
    (row,) = handover.rows()

    other.handovers.handover.hand_over(row.id)

    (case,) = handover.cases()
    assert (case.kind, case.field) == ("usage_not_billed", "meter")
    assert [each.state for each in handover.rows()] == ["blocked"]
