"""A period that is over is handed over once, as it was when it was closed; what comes later is for people."""

from __future__ import annotations

from collections.abc import Callable, Generator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from canonical.amendments import Cancel, ChangeTerm, Delta, Pause, RemoveLine, Transfer, TransferTerms
from canonical.cases import Action, Case
from canonical.money import Money
from canonical.states import IllegalTransition
from canonical.usage import UsageOfPeriod
from policies.identity.authentication import Principal
from policies.problems import ProblemError
from process_apis.records import customers
from process_apis.records.cases import Wanted
from process_apis.records.database import events, orders, usage_corrections, usage_periods
from tests.support.answering_layer import answering, no_workflows
from tests.support.process_context import SOMEBODY, TestClock, context_over
from tests.support.usage_bench import BEGAN, LINES, UsageBench, record, with_meters

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
        self.meanwhile: Callable[[], object] = lambda: None
        """What happens while it is asked."""

    def __call__(self, _method: str, _path: str, body: bytes) -> tuple[int, bytes]:
        self.meanwhile()
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
        return list(self.bench.context.cases.page(SOMEBODY, Wanted("open"), None, 100).items)

    def act(self, action: Action) -> None:
        (case,) = self.cases()
        follows = self.bench.handovers.act(case, action)
        self.bench.context.cases.close(case, action)
        follows()

    def differences(self) -> list[tuple[str, str, str]]:
        """Return the state, what is charged and what it is by now of each usage correction."""
        of = usage_corrections.c
        with self.bench.context.database.connect() as connection:
            rows = connection.execute(sa.select(of.state, of.charged, of.quantity).order_by(of.seq))
            return [(row.state, row.charged, row.quantity) for row in rows]

    def left_to_people(self) -> None:
        """Let people charge the period that is over by hand."""
        self.billing.answer = NO
        assert self.look() == ["blocked"]
        self.act("skip")
        self.billing.answer = None

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
    assert (handover.cases(), handover.differences()) == ([], [("found", "5", "6")])


def test_what_is_made_void_after_its_period_makes_a_difference_and_no_change_does_not(handover: HandoverBench) -> None:
    handover.send("one")
    handover.send("nothing", "0")
    handover.after_the_period()
    handover.look()
    void = {"contract_id": handover.contract, "meter": "by_sum", "void": True}

    handover.bench.send(void | {"id": "nothing"}, void | {"id": "never-sent"})
    before = handover.differences()
    handover.bench.send(void | {"id": "one"})

    assert (before, handover.differences()) == ([], [("found", "5", "0")])
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


def test_a_level_that_rounds_to_nothing_or_rests_goes_on(handover: HandoverBench) -> None:
    handover.bench.clock.now = BEGAN + timedelta(days=30.95)
    handover.send("one", "0.000001", day=30.9, meter="by_weighted")
    last = BEGAN + MONTH
    handover.bench.amend(
        handover.contract,
        last,
        *LINES,
        action=Pause(),
        deltas=(Delta("pause", "", Decimal(0), Money(0, "EUR")),),
        resumes_at=BEGAN + timedelta(days=61),
    )
    handover.after_the_period()
    handover.look()
    handover.bench.clock.now = BEGAN + timedelta(days=62)

    states = handover.look()

    assert states == ["handed_over", "handed_over", "open"]
    assert [f"{each.quantity:f}" for each in handover.billing.taken] == ["0", "0"]


def test_a_level_does_not_count_while_the_contract_rests(handover: HandoverBench) -> None:
    handover.send("one", "8", day=0, meter="by_weighted")
    handover.bench.amend(
        handover.contract,
        BEGAN + MONTH,
        *LINES,
        action=Pause(),
        deltas=(Delta("pause", "", Decimal(0), Money(0, "EUR")),),
        resumes_at=BEGAN + timedelta(days=46),
    )
    handover.after_the_period()
    handover.look()
    handover.bench.clock.now = BEGAN + timedelta(days=62)
    handover.look()

    assert [f"{each.quantity:f}" for each in handover.billing.taken] == ["8", "4"]
    of_then = handover.bench.read(handover.contract, BEGAN + timedelta(days=61, seconds=-1))
    assert [f"{each.quantity:f}" for each in of_then.items if each.aggregation == "weighted"] == ["4"]


def test_the_next_period_of_a_level_is_there_when_one_is_closed(handover: HandoverBench) -> None:
    handover.send("one", "8", day=0, meter="by_weighted")
    handover.after_the_period()
    handover.billing.answer = AWAY

    assert handover.look() == ["closed", "open"]


def test_a_contract_that_ends_is_charged_then_and_a_level_for_its_part_of_the_period(handover: HandoverBench) -> None:
    handover.send("one")
    handover.send("one", "31", day=0, meter="by_weighted")
    handover.bench.amend(handover.contract, BEGAN + timedelta(days=10), action=Cancel())
    handover.look()
    before = list(handover.billing.taken)
    handover.bench.clock.now = BEGAN + timedelta(days=10, minutes=16)

    states = handover.look()

    assert (before, states) == ([], ["handed_over"] * 2)
    taken = {each.sku: each for each in handover.billing.taken}
    assert {sku: f"{each.quantity:f}" for sku, each in taken.items()} == {"SUM": "5", "WEIGHTED": "10"}
    assert {each.ends_at for each in taken.values()} == {BEGAN + timedelta(days=10)}
    of_now = {each.aggregation: each.billed for each in handover.bench.read(handover.contract).items}
    assert (of_now["sum"], of_now["weighted"]) == (5, 10)


@pytest.mark.parametrize("first", ["the record", "the end"])
def test_the_last_period_is_handed_over_before_its_end_and_what_comes_then_is_late(
    handover: HandoverBench, first: str
) -> None:
    def ended() -> None:
        handover.bench.amend(handover.contract, BEGAN + MONTH + timedelta(seconds=4), action=Cancel())

    handover.bench.clock.now = BEGAN + timedelta(days=20)
    if first == "the end":
        ended()
    handover.send("one")
    handover.look()
    if first == "the record":
        ended()
    before = handover.look()
    handover.bench.clock.now = BEGAN + MONTH - timedelta(minutes=9)
    states = handover.look()
    handover.send("last", "2", day=31 - 5 / 1440)

    assert (before, states) == (["open"], ["handed_over"])
    assert [(f"{each.quantity:f}", each.ends_at) for each in handover.billing.taken] == [("5", BEGAN + MONTH)]
    assert handover.differences() == [("found", "5", "7")]


def test_a_period_that_others_follow_is_not_handed_over_before_its_end(handover: HandoverBench) -> None:
    handover.send("one")
    handover.bench.clock.now = BEGAN + MONTH - timedelta(minutes=9)
    states = handover.look()
    handover.send("last", "2", day=31 - 5 / 1440)
    handover.after_the_period()

    assert (states, handover.look()) == (["open"], ["handed_over"])
    assert [f"{each.quantity:f}" for each in handover.billing.taken] == ["7"]


def test_another_interval_begins_periods_of_its_own(handover: HandoverBench) -> None:
    handover.send("one")
    changed = BEGAN + timedelta(days=10, minutes=5)
    yearly = [msgspec.structs.replace(each, interval="year") for each in LINES]
    handover.bench.clock.now = changed
    handover.bench.amend(handover.contract, changed, *yearly, action=RemoveLine("sum"))
    handover.bench.clock.move(DAY)
    handover.send("later", "7", day=11)

    states = handover.look()

    assert states == ["handed_over", "open"]
    assert [(f"{each.quantity:f}", each.ends_at) for each in handover.billing.taken] == [("5", changed)]
    ends = [row.ends_at for row in handover.rows()]
    assert ends == [changed.timestamp(), changed.replace(year=2027).timestamp()]
    assert handover.bench.quantity(handover.contract, "sum") == "7"


def test_what_came_late_is_told_although_the_process_ended_before(
    handover: HandoverBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    handover.send("one")
    handover.after_the_period()
    handover.look()
    late = record(handover.contract, "late", handover.bench.after(60), "1")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(handover.bench.intake, "_came_late", killed)
        with pytest.raises(KeyboardInterrupt):
            handover.bench.send(late)
    again = handover.bench.send(late)

    assert (again.taken, again.repeated) == (0, 1)
    assert handover.differences() == [("found", "5", "6")]


def test_a_period_that_people_took_over_during_an_attempt_is_left_alone(handover: HandoverBench) -> None:
    handover.send("one")
    handover.after_the_period()
    handover.billing.answer = NO
    handover.look()
    (case,) = handover.cases()
    handover.bench.handovers.act(case, "retry")
    handover.billing.meanwhile = lambda: handover.bench.handovers.act(case, "skip")
    for answer in (NO, AWAY):
        handover.billing.answer = answer
        assert handover.an_hour_later() == ["by_hand"]
    assert [row.next_attempt_at for row in handover.rows()] == [None]


def test_what_billing_took_while_people_took_it_over_is_told(handover: HandoverBench) -> None:
    handover.send("one")
    handover.after_the_period()
    handover.billing.answer = NO
    handover.look()
    (case,) = handover.cases()
    handover.bench.handovers.act(case, "retry")
    handover.billing.answer = None
    handover.billing.meanwhile = lambda: handover.bench.handovers.act(case, "skip")

    assert handover.look() == ["by_hand"]
    assert len(handover.billing.taken) == 1
    assert [each.field for each in handover.cases() if each.kind == "usage_after_handover"] == ["charged"]


def test_what_people_have_settled_is_not_asked_again_and_what_comes_after_it_is(handover: HandoverBench) -> None:
    handover.send("one")
    handover.after_the_period()
    handover.left_to_people()
    handover.send("late", "1")
    handover.send("later", "2")
    (first,) = handover.cases()
    handover.act("skip")
    (rest,) = handover.cases()
    handover.act("skip")
    settled = handover.cases()
    void = {"contract_id": handover.contract, "meter": "by_sum", "void": True}
    handover.bench.send(void | {"id": "one"})
    (second,) = handover.cases()

    assert [(each.input["settled"], each.input["by_now"]) for each in (first, rest)] == [("5", "6"), ("6", "8")]
    assert settled == []
    assert (second.input["settled"], second.input["by_now"]) == ("8", "3")
    assert "8 is settled" in second.reason
    assert handover.differences() == []


def test_an_end_that_is_taken_back_leaves_a_period_as_long_as_it_was(handover: HandoverBench) -> None:
    handover.send("one", "8", day=0, meter="by_weighted")
    until = BEGAN + timedelta(days=20)
    for ends_on, ends_at in ((until.date(), until), (None, None)):
        deltas = (Delta("term", "", Decimal(0), Money(0, "EUR")),)
        said: dict[str, Any] = {"deltas": deltas, "ends_on": ends_on, "ends_at": ends_at}
        now = handover.bench.clock()
        handover.bench.amend(handover.contract, now, *LINES, action=ChangeTerm(ends_on), **said)
        assert handover.look() == ["open"]

    handover.after_the_period()
    handover.look()
    (taken,) = handover.billing.taken
    assert (f"{taken.quantity:f}", taken.ends_at) == ("8", BEGAN + MONTH)


def test_what_comes_to_the_same_again_is_no_case_any_more(handover: HandoverBench) -> None:
    handover.send("one")
    handover.after_the_period()
    handover.left_to_people()
    handover.send("late", "1")
    handover.bench.send({"contract_id": handover.contract, "meter": "by_sum", "void": True, "id": "late"})

    assert handover.cases() == []
    handover.send("other", "2")
    assert [each.input["settled"] for each in handover.cases()] == ["5"]


def test_the_last_second_of_a_period_is_read_whole(handover: HandoverBench) -> None:
    handover.bench.clock.now = BEGAN + MONTH + timedelta(seconds=1)
    handover.send("last", "1.5", day=31 - 0.0000001)

    read = handover.bench.read(handover.contract, BEGAN + MONTH - timedelta(seconds=1))

    assert [f"{each.quantity:f}" for each in read.items if each.aggregation == "sum"] == ["1.5"]


def test_a_level_that_came_late_changes_the_periods_after_it_too(handover: HandoverBench) -> None:
    handover.send("one", "8", day=0, meter="by_weighted")
    handover.after_the_period()
    handover.look()
    handover.bench.clock.now = BEGAN + timedelta(days=62)
    handover.look()
    handover.send("late", "0", day=30, meter="by_weighted")

    assert [state for state, _, _ in handover.differences()] == ["found"] * 2


def test_usage_before_a_handover_is_the_former_customers(handover: HandoverBench) -> None:
    bench = handover.bench
    former = customers.last_seen(bench.context.database, "cus_deal")
    assert former is not None
    customers.keep(bench.context.database, msgspec.structs.replace(former, references={"stripe": "cus_S1"}))
    handover.send("one")
    terms = TransferTerms("cus_new", "cus_deal", (BEGAN + MONTH).date(), "standard", "19")
    bench.amend(handover.contract, BEGAN + MONTH, *LINES, action=Transfer("cus_new"), transfer=terms)
    plan = bench.context.orders.get(handover.rows()[0].order_id).plan
    assert plan is not None
    new = msgspec.structs.replace(plan.contract, customer_id="cus_new", references={"customer": "cus_S2"})
    with bench.context.database.begin() as connection:
        given = msgspec.json.encode(msgspec.structs.replace(plan, contract=new))
        connection.execute(orders.update().values(plan=given, partner="nord"))
    bench.clock.now = BEGAN + MONTH + timedelta(minutes=16)
    later = record(handover.contract, "two", (BEGAN + MONTH + timedelta(minutes=1)).isoformat(), "7")
    bench.send(later)

    handover.look()
    bench.clock.now = BEGAN + timedelta(days=62)
    handover.look()

    billed = [(each.contract.customer_id, each.contract.references["customer"]) for each in handover.billing.taken]
    assert billed == [("cus_deal", "cus_S1"), ("cus_new", "cus_S2")]
    assert [row.customer_id for row in handover.rows()] == ["cus_deal", "cus_new"]
    nord = Principal("n", "nord", frozenset({"usage:write"}), frozenset({"DE01"}), "jti", 0.0, 0.0, partner="nord")
    void = {"contract_id": handover.contract, "meter": "by_sum", "void": True}
    early = record(handover.contract, "early", (BEGAN + timedelta(days=30)).isoformat())
    refused = bench.send(early, void | {"id": "one"}, void | {"id": "none"}, void | {"id": "two"}, principal=nord)
    assert (refused.taken, [(each.line, each.path) for each in refused.errors]) == (
        1,
        [(1, "$.at"), (2, "$.id"), (3, "$.id")],
    )
    with pytest.raises(ProblemError):
        bench.read(handover.contract, BEGAN + timedelta(days=30), nord)


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
