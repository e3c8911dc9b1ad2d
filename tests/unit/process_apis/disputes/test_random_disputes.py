"""Banks decide, billing tells in any order and again, people act, processes die: a record comes to what billing has."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import ExitStack, suppress
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from canonical.disputes import DisputeAct
from canonical.events import DISPUTE_CHANGED, DISPUTE_CLOSED, DISPUTE_OPENED, PAYMENT_REINSTATED, PAYMENT_REVERSED
from canonical.states import DISPUTE_TRANSITIONS, BilledDisputeState, DisputeState
from policies.problems import ProblemError
from tests.support.answering_layer import answering
from tests.support.dispute_bench import UNTIL, Bank, DisputeBench
from tests.support.process_context import TestClock, context_over
from tests.unit.process_apis.test_cancelled_invoices import Killed, before_statement, dies

REPORTED = st.sampled_from((DISPUTE_OPENED, DISPUTE_CHANGED, DISPUTE_CLOSED, PAYMENT_REVERSED, PAYMENT_REINSTATED))
DECIDED: st.SearchStrategy[BilledDisputeState] = st.sampled_from(("open", "answered", "won", "lost", "closed"))
STATEMENTS = 40
"""So many statements a look has at the most: it may die before any of them."""


class Disputing(RuleBasedStateMachine):
    """One dispute that goes on at its bank while billing tells of it, people act, and looks are cut short."""

    tables: Path

    def __init__(self) -> None:
        super().__init__()
        self._stack = ExitStack()
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        self.bank = Bank()
        system = self._stack.enter_context(answering(lambda method, path, _: self.bank.answer(method, path)))
        url = f"sqlite:///{shutil.copy(self.tables, folder)}"
        self._clock = TestClock()
        context = self._stack.enter_context(context_over(url, self._clock, system))
        self.bench = DisputeBench(self._stack, context, self.bank)
        self.accepted = False

    @initialize(state=st.sampled_from(("inquired", "open", "lost")))
    def a_dispute_begins(self, state: BilledDisputeState) -> None:
        self.bank.open(state=state)
        self.bench.report()

    @rule(state=DECIDED)
    def the_bank_goes_on(self, state: BilledDisputeState) -> None:
        present = self.bank.disputes["du_1"].state
        if state in DISPUTE_TRANSITIONS[present] and not (present == "inquired" and state == "won"):
            again = timedelta(days=len(self.bank.done)) if state == "open" else timedelta(0)
            self.bank.decide("du_1", state, UNTIL + again)

    @rule(kind=REPORTED, times=st.integers(1, 2))
    def billing_reports(self, kind: str, times: int) -> None:
        for _ in range(times):
            self.bench.report(kind)

    @rule()
    def it_is_read(self) -> None:
        self.bench.look()

    @rule(number=st.integers(0, STATEMENTS))
    def a_look_is_cut_short(self, number: int) -> None:
        with suppress(Killed), before_statement(self.bench.context.database, number, dies):
            self.bench.disputing.look("du_1")

    @rule(action=st.sampled_from(("answer", "accept")))
    def people_act(self, action: DisputeAct) -> None:
        with suppress(ProblemError):
            self.bench.act(action)

    @precondition(lambda self: self.bank.fault is None)
    @rule()
    def billing_goes_away(self) -> None:
        self.bank.fault = 503, "platform-unavailable"

    @precondition(lambda self: self.bank.fault is not None)
    @rule()
    def billing_comes_back(self) -> None:
        self.bank.fault = None

    def teardown(self) -> None:
        """Let all come to rest, and hold the record against what billing has."""
        try:
            if self.bank.disputes:
                self.bank.fault = None
                self.bench.report(DISPUTE_CHANGED)
                self.bench.look()
                self.agrees()
        finally:
            self._stack.close()

    def agrees(self) -> None:
        found, there = self.bench.record(), self.bank.disputes["du_1"]
        assert (found.state, found.amount, found.fees) == (there.state, there.amount, there.fees)
        assert found.doing is None
        reached: list[DisputeState] = [each.state for each in found.history if each.asked is None]
        for former, state in pairwise(reached):
            assert former == state or state in DISPUTE_TRANSITIONS[former]
        expected = [self.bench.context.postings.find("fee", each.id) for each in there.fees]
        assert None not in expected
        assert len(set(self.bank.done)) <= 2
        asked = [each for each in self.bench.cases("open") if each.field == "du_1"]
        assert len(asked) == (0 if self.bench.is_over() else 1)


def test_a_record_comes_to_what_billing_has_whatever_happens(empty_tables: Path) -> None:
    Disputing.tables = empty_tables
    phases = (Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink)
    of = settings(max_examples=25, stateful_step_count=20, deadline=None, phases=phases)
    run_state_machine_as_test(Disputing, settings=of)
