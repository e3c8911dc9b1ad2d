"""Random changes of one contract, legal and illegal, repeated, withdrawn and approved, while platforms come and go."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import ExitStack, suppress
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from canonical.amendments import (
    Action,
    AddLine,
    AmendmentPreview,
    Cancel,
    ChangeDiscount,
    ChangePlan,
    ChangePrice,
    ChangeQuantity,
    ChangeTerm,
    Pause,
    RemoveLine,
    Renew,
    Resume,
    Reverse,
    Transfer,
    mrr,
)
from canonical.cases import Case
from canonical.money import Money, total
from policies.business.amendments import ALREADY_RENEWED, CHANGE_REFUSED, CONTRACT_OVER
from policies.problems import ProblemError
from process_apis.amendments.contract import RunningContract, running, timeline
from process_apis.amendments.withdrawal import give_up
from process_apis.records.amendments import ENDED, handovers
from tests.support.amendment_bench import BUYER, OTHER, Bench, Everybody, is_customer
from tests.support.answering_layer import answering, no_workflows
from tests.support.process_context import SOMEBODY, TestClock, context_over

LAST = datetime(2026, 6, 20, tzinfo=UTC)
"""Where the clock stops."""
LINE = st.sampled_from(["seat", "support", "new", "other", "nothing"])
NUMBER = st.sampled_from([Decimal(each) for each in ("0", "1", "2.5", "7", "10", "40", "-3")])
PRICE = st.sampled_from([Decimal(each) for each in ("0", "5", "19.99", "20", "30", "99.5")])
ACTION: st.SearchStrategy[Action] = st.one_of(
    st.builds(ChangeQuantity, line=LINE, quantity=NUMBER),
    st.builds(ChangePrice, line=LINE, unit_price=PRICE),
    st.builds(ChangeDiscount, line=LINE, discount_percent=st.sampled_from([Decimal(each) for each in (0, 5, 50, 101)])),
    st.builds(ChangePlan, line=LINE, sku=st.just("SUPPORT"), name=st.just("Better"), unit_price=PRICE),
    st.builds(
        AddLine,
        line=LINE,
        sku=st.just("SEAT"),
        name=st.just("More"),
        quantity=NUMBER,
        unit_price=PRICE,
        interval=st.just("month"),
    ),
    st.builds(RemoveLine, line=LINE),
    st.builds(Cancel),
    st.builds(ChangeTerm, ends_on=st.sampled_from([None, *(date(2026, 3, each) for each in (9, 20, 24, 29, 30))])),
    st.builds(ChangeTerm, ends_on=st.sampled_from([date(2026, each, 1) for each in (5, 6, 9)])),
    st.builds(
        Renew,
        ends_on=st.sampled_from([date(2026, 3, 29), date(2026, 6, 1), date(2028, 3, 1)]),
        uplift_percent=st.sampled_from([Decimal(each) for each in ("0", "2.5", "100", "101")]),
    ),
)
AT_ONCE: list[dict[str, Any]] = [
    {},
    {"settlement": "next_invoice"},
    {"settlement": "none"},
    {"effective": "period_end"},
]
WHEN: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.sampled_from(AT_ONCE),
    st.fixed_dictionaries(
        {"effective": st.just("date"), "effective_on": st.dates(date(2026, 3, 8), date(2026, 6, 19))}
    ),
)


class Changes(RuleBasedStateMachine):
    """One contract, whatever is asked of it."""

    tables: Path

    def __init__(self) -> None:
        super().__init__()
        self.open = ExitStack()
        self.everybody, self.clock = Everybody(), TestClock()
        folder = self.open.enter_context(tempfile.TemporaryDirectory(dir=self.tables.parent))
        self.open.enter_context(no_workflows())
        system = self.open.enter_context(answering(self.everybody.answer))
        url = f"sqlite:///{shutil.copy(self.tables, folder)}"
        self.bench = Bench(self.open.enter_context(context_over(url, self.clock, system)), self.clock, self.everybody)
        is_customer(self.bench, OTHER)
        self.asked: dict[str, tuple[tuple[Action, ...], dict[str, Any]]] = {}
        """What was taken, by the key of each."""
        self.left_alone = False
        """Whether people have left it at a target that did not take what it was sent."""

    @property
    def ids(self) -> list[str]:
        page = self.bench.records.page(SOMEBODY, self.bench.contract_id, None, None, 100)
        return [each.id for each in reversed(page.items)]

    def found(self) -> RunningContract:
        return running(self.bench.context, self.bench.records, self.bench.context.orders.get(self.bench.order_id))

    def cases(self) -> list[Case]:
        return [each for key in self.ids for each in self.bench.cases(key)]

    # ---- what people, platforms and time do

    @rule(actions=st.lists(ACTION, min_size=1, max_size=3), when=WHEN)
    def ask(self, actions: list[Action], when: dict[str, Any]) -> None:
        """Ask for a change: what is refused leaves nothing behind."""
        before, key = self.ids, f"key-{len(self.asked)}"
        try:
            made = self.bench.ask(*actions, key=key, **when)
        except ProblemError as error:
            refused = error.problem
        else:
            assert self.ids == [*before, made]
            self.asked[key] = (tuple(actions), when)
            return
        assert refused in (CONTRACT_OVER, CHANGE_REFUSED, ALREADY_RENEWED)
        assert self.ids == before

    @precondition(lambda self: self.ids)
    @rule(data=st.data(), when=WHEN)
    def reverse(self, data: st.DataObject, when: dict[str, Any]) -> None:
        self.ask([Reverse(data.draw(st.sampled_from(self.ids)))], when)

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def ask_again(self, data: st.DataObject) -> None:
        """Ask for the same again: it is one change, though it may not be allowed any more."""
        before, key = self.ids, data.draw(st.sampled_from(list(self.asked)))
        actions, when = self.asked[key]
        with suppress(ProblemError):
            self.bench.ask(*actions, key=key, **when)
        assert self.ids == before

    @rule(data=st.data())
    def run(self, data: st.DataObject) -> None:
        """Run the changes in any order, whether it is their turn or not."""
        for key in data.draw(st.permutations(self.ids)):
            self.bench.run(key)

    @rule()
    def deliver(self) -> None:
        for key in self.ids:
            if self.bench.of(key).state == "provisioning":
                self.bench.deliver(key)

    @rule()
    def do_not_deliver(self) -> None:
        for key in self.ids:
            row = self.bench.records.row(key)
            for line in row.undelivered.split()[:1]:
                self.bench.not_delivered(key, line)

    @rule(data=st.data(), day=st.sampled_from([date(2026, 3, 24), date(2026, 3, 29)]))
    def end_and_renew(self, data: st.DataObject, day: date) -> None:
        """Agree to an end that comes soon, and to another term after it."""
        self.ask([ChangeTerm(day)], {})
        self.run(data)
        self.everybody.last_period = data.draw(st.booleans())
        self.ask([Renew(date(2026, 9, 1), Decimal(5)), *data.draw(st.lists(ACTION, max_size=1))], {})

    @rule(until=st.sampled_from([None, *(date(2026, each, 1) for each in (4, 5, 6, 8))]))
    def pause(self, until: date | None) -> None:
        self.ask([Pause(until)], {"effective": "period_end"})

    @rule()
    def resume(self) -> None:
        self.ask([Resume()], {"effective": "period_end"})

    @rule(data=st.data(), customer=st.sampled_from([BUYER.id, OTHER.id, "cus_nobody"]), days=st.integers(0, 3))
    def transfer(self, data: st.DataObject, customer: str, days: int) -> None:
        """Ask for a transfer, and let somebody approve it; some days before the end of the period, or long before."""
        if days:
            self.clock.now = max(self.clock.now, min(LAST, self.everybody.period_end() - timedelta(days=days)))
        self.ask([Transfer(customer)], {"effective": "period_end"})
        self.run(data)
        for case in self.cases():
            if "approve" in self.bench.runs.allowed(case):
                self.bench.act(case, "approve")
        self.run(data)

    @rule(provisioning=st.sampled_from(["works", "away", "refuses"]), away=st.booleans(), refuses=st.booleans())
    def trouble(self, provisioning: str, *, away: bool, refuses: bool) -> None:
        self.everybody.target, self.everybody.away = provisioning, away
        self.everybody.status = 422 if refuses else 200

    @precondition(lambda self: self.clock.now < LAST)
    @rule(hours=st.one_of(st.integers(min_value=1, max_value=72), st.sampled_from([24 * 20, 24 * 35])))
    def wait(self, hours: int) -> None:
        self.clock.now = min(LAST, self.clock.now + timedelta(hours=hours))

    @precondition(lambda self: self.cases())
    @rule(data=st.data())
    def act(self, data: st.DataObject) -> None:
        """Do what a case allows, as its people do."""
        case = data.draw(st.sampled_from(self.cases()))
        allowed = self.bench.runs.allowed(case)
        if allowed:
            action = data.draw(st.sampled_from(list(allowed)))
            self.left_alone |= action == "skip"
            self.bench.act(case, action)

    @precondition(lambda self: self.ids)
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(self.ids))
        before = self.bench.of(key).state
        is_given_up = give_up(self.bench.context, self.bench.records, key, "withdrawn")
        assert is_given_up == (self.bench.of(key).state == "given_up")
        assert is_given_up or self.bench.of(key).state == before

    # ---- what always holds

    @invariant()
    def one_thing_of_each(self) -> None:
        """Check that billing has each change that was carried out once, in the order of the versions, and no other."""
        done = [each.id for each in self.everybody.changes]
        applied = [each.id for each in self.bench.records.versions(self.bench.contract_id) if not each.is_future]
        assert list(dict.fromkeys(done)) == applied

    @invariant()
    def the_versions_follow_each_other(self) -> None:
        made = [each for each in self.bench.records.versions(self.bench.contract_id) if not each.is_future]
        for was, now in pairwise(made):
            assert was.preview.after == now.preview.before
        if made:
            assert self.bench.lines() == made[-1].preview.after
            assert self.everybody.changes[-1].lines == made[-1].preview.after

    @invariant()
    def the_deltas_add_up(self) -> None:
        for each in self.bench.records.versions(self.bench.contract_id):
            said = each.preview
            changed = mrr(said.after, "EUR") - mrr(said.before, "EUR")
            if is_of_rest(said):
                changed = mrr(said.after, "EUR").times(-1 if said.is_pause else 1)
            assert total((delta.mrr for delta in said.deltas), "EUR") == changed

    @invariant()
    def no_line_changes_while_the_contract_rests(self) -> None:
        found = self.found()
        for each in self.everybody.changes:
            rests = [one.paused_by for one in found.rests if one.holds_at(each.effective_at)]
            is_of_lines = bool(each.lines) and each.lines != each.contract.lines
            agreed_after = [one.id for one in self.everybody.changes].index(each.id)
            done_before = {one.id for one in self.everybody.changes[:agreed_after]}
            assert not (is_of_lines and not each.at_period_end and done_before.intersection(rests))

    @invariant()
    def what_rests_brings_no_revenue(self) -> None:
        found = self.found()
        shown = timeline(self.bench.records, found, self.clock.now)
        moments = [each.since for each in shown.versions]
        assert moments == sorted(moments)
        for each in shown.versions:
            assert each.mrr == mrr(each.lines if each.state == "active" else (), "EUR")
            assert (each.state == "paused") == (bool(each.lines) and found.rests_at(each.since))

    @invariant()
    def each_has_the_contract_from_who_had_it(self) -> None:
        found, made = self.found(), handovers(self.bench.records.versions(self.bench.contract_id))
        moves = [terms for each in made if (terms := each.preview.transfer)]
        had = [BUYER.id, *(each.customer_id for each in moves)]
        assert [each.former_id for each in moves] == had[:-1]
        assert found.contract.customer_id == (had[-2] if found.handover else had[-1])
        assert found.contract.term_months in (0, ONE_YEAR)
        for each in made:
            said = each.preview
            assert mrr(said.before, "EUR") == mrr(said.after, "EUR")
            assert [line.terms for line in said.before] == [line.terms for line in said.after]
            assert [delta.contract_value for delta in said.deltas] in ([None], [Money(0, "EUR")])
            assert (said.ends_on, said.ends_at) == (None, None)
        shown = timeline(self.bench.records, found, self.clock.now)
        for each in shown.versions:
            mine = [terms.customer_id for one, terms in zip(made, moves, strict=True) if one.since <= each.since]
            assert each.customer_id == (mine or [BUYER.id])[-1] or each.since > self.clock.now

    @invariant()
    def one_at_a_time(self) -> None:
        on_the_way = [key for key in self.ids if self.bench.of(key).state in ("provisioning", "applying")]
        assert len(on_the_way) <= 1

    def teardown(self) -> None:
        """Let all platforms work, and everybody do what is to be done: nothing waits for ever."""
        try:
            self.everybody.target, self.everybody.away, self.everybody.status = "works", False, 200
            for _ in range(4 + 3 * len(self.ids)):
                for key in self.ids:
                    self.bench.run(key)
                self.deliver()
                for case in self.cases():
                    allowed = self.bench.runs.allowed(case)
                    if allowed:
                        self.bench.act(case, next(each for each in (*END_WITH, *allowed) if each in allowed))
                self.clock.now = max(self.clock.now, LAST)
            left = [each for each in map(self.bench.of, self.ids) if each.state not in ENDED]
            assert [each for each in left if each.state != "scheduled"] == []
            # what comes after a change for the end of the period counts from then on at the earliest
            assert [each for each in left if each.effective_at is None or each.effective_at < LAST] == []
            self.one_thing_of_each()
            self.the_versions_follow_each_other()
            self.the_service_is_as_the_contract_is()
            self.each_has_the_contract_from_who_had_it()
            before = Money(29950, "EUR")
            assert before + self._all_deltas() == mrr(self.bench.lines(), "EUR")
        finally:
            self.open.close()

    def the_service_is_as_the_contract_is(self) -> None:
        """Check that the target has suspended what rests, and nothing else, once it has heard all."""
        found = self.found()
        is_suspended = (self.everybody.suspensions or [False])[-1]
        assert found.contract.state == "cancelled" or is_suspended == found.rests_at(self.clock.now)
        holder = (self.everybody.holders or [BUYER.id])[-1]
        assert self.left_alone or found.is_over or holder == found.contract.customer_id

    def _all_deltas(self) -> Money:
        """Return what all changes of lines are worth: a rest changes none."""
        made = self.bench.records.versions(self.bench.contract_id)
        of_lines = (each.preview for each in made if not each.is_future and not is_of_rest(each.preview))
        return total((delta.mrr for each in of_lines for delta in each.deltas), "EUR")


ONE_YEAR = 12
"""Months of the term that was sold."""


def is_of_rest(said: AmendmentPreview) -> bool:
    """Return whether a change lets a contract rest, takes it up, or takes a pause back before that has begun."""
    takes_back = said.before == said.after and [each.action for each in said.deltas] == ["reverse"]
    return said.is_pause or said.is_resumption or takes_back


END_WITH = ("approve", "compensate")
"""What is done about a case in the end: what can be is approved, what cannot be carried out is given up."""


@pytest.mark.parametrize("examples", [12, pytest.param(100, marks=pytest.mark.long)])
def test_whatever_is_asked_of_a_contract_it_ends_in_order(empty_tables: Path, examples: int) -> None:
    Changes.tables = empty_tables
    run_state_machine_as_test(
        Changes,
        settings=settings(
            max_examples=examples,
            stateful_step_count=20,
            derandomize=True,
            deadline=None,
            phases=(Phase.generate,),  # to find the smallest example takes minutes: add that phase to look into a fault
        ),
    )
