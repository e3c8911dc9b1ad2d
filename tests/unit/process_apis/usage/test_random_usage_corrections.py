"""Whatever records come and are made void after a period was charged, and whatever people decide and billing refuses:
what is charged, what was rejected, and what is proposed come to what the records come to, and nothing is charged
twice."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import ExitStack, suppress
from decimal import Decimal
from pathlib import Path
from threading import get_ident
from typing import ClassVar, Literal

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from sqlalchemy import event

from canonical.faults import Rejected, Unavailable
from policies.problems import ProblemError
from process_apis.records.usage_corrections import ENDED
from tests.support.process_context import TestClock
from tests.support.usage_bench import SENDER
from tests.support.usage_correction_bench import UsageCorrectionBench, usage_correction_bench

ANSWERS = [None, None, Rejected("billing", "no", field="price"), Unavailable("billing", "away")]
QUANTITY = st.integers(0, 20)


class Killed(BaseException):
    """The process is gone."""


class OnePeriod(RuleBasedStateMachine):
    """One period that is charged, of which anything may come at any time."""

    tables: ClassVar[Path]

    def __init__(self) -> None:
        super().__init__()
        self._stack = ExitStack()
        self.it: UsageCorrectionBench
        self.sent: dict[str, int] = {}
        self.by_hand = Decimal(0)

    @initialize(quantity=st.integers(0, 60))
    def charged(self, quantity: int) -> None:
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        shutil.copy(self.tables, folder / "process.sqlite")
        url = f"sqlite:///{folder / 'process.sqlite'}"
        self.it = self._stack.enter_context(usage_correction_bench(folder, url, TestClock()))
        self.it.charge(str(quantity))
        self.sent["first"] = quantity

    def teardown(self) -> None:
        if hasattr(self, "it"):
            self.it.billing.refusal = None
            self.settled()
        self._stack.close()

    # ---- what comes

    @rule(quantity=QUANTITY)
    def record(self, quantity: int) -> None:
        key = f"late-{len(self.sent)}"
        self.sent[key] = quantity
        self.it.send(key, str(quantity))

    @rule(place=st.integers(0, 30))
    def void(self, place: int) -> None:
        key = list(self.sent)[place % len(self.sent)]
        self.sent[key] = 0
        self.it.void(key)

    @rule(place=st.integers(0, 30))
    def repeated(self, place: int) -> None:
        key = list(self.sent)[place % len(self.sent)]
        if key != "first" and self.sent[key]:
            self.it.send(key, str(self.sent[key]))

    @rule(quantity=QUANTITY)
    def record_while_billing_is_at_it(self, quantity: int) -> None:
        def meanwhile() -> None:
            self.it.billing.meanwhile = lambda: None
            self.record(quantity)

        self.it.billing.meanwhile = meanwhile

    # ---- what is done

    @rule(decision=st.sampled_from(["approve", "approve", "reject"]), stale=st.sampled_from([False, False, True]))
    def decide(self, decision: Literal["approve", "reject"], stale: bool) -> None:  # noqa: FBT001
        if self.it.all():
            with suppress(ProblemError):
                self.it.decide(decision, revision=self.it.last.revision - 1 if stale else None)
                assert not stale

    @rule()
    def decide_own(self) -> None:
        if self.it.all():
            with suppress(ProblemError):
                self.it.decide("approve", by=SENDER)
                raise AssertionError

    @rule(rounds=st.integers(1, 3))
    def look(self, rounds: int) -> None:
        self.it.look(rounds)

    @rule(place=st.integers(0, 4))
    def kill(self, place: int) -> None:
        left, own = [place], get_ident()

        def commit(_: object) -> None:
            if get_ident() != own:  # what others send meanwhile is of a process that lives
                return
            left[0] -= 1
            if left[0] < 0:
                raise Killed

        database = self.it.context.database
        event.listen(database, "commit", commit)
        try:
            with suppress(Killed):
                for row in self.it.agenda.due(10):
                    self.it.correcting.go_on(row.id)
        finally:
            event.remove(database, "commit", commit)

    @rule(
        refusal=st.sampled_from([None, None, Rejected("billing", "no", field="price"), Unavailable("billing", "away")])
    )
    def billing_answers(self, refusal: Rejected | Unavailable | None) -> None:
        self.it.billing.refusal = refusal

    @rule(action=st.sampled_from(["retry", "retry", "skip"]))
    def act(self, action: Literal["retry", "skip"]) -> None:
        if any(each.kind == "usage_correction_refused" for each in self.it.cases()) and self.it.last.state == "on_hold":
            if action == "skip":
                self.by_hand += self.it.last.difference
            self.it.act(action)

    # ---- what holds

    def settled(self) -> None:
        """Let all that is due be done, what was approved too that billing has refused before, and hold what is charged
        and open against the records: of one that is approved the quantity stays until it has ended."""
        self.it.look(30)
        if self.it.last_is_held_after_approval():
            self.act("retry")
            self.it.look(30)
        billing, found = self.it.billing, self.it.all()
        (open_one,) = [each for each in found if each.state not in ENDED] or [None]
        states = [each.state for each in found]
        assert [each for each in states[:-1] if each not in ENDED] == []
        assert self.it.billing.handed_over is not None
        done = sum((each.difference for each in found if each.state == "carried_out"), Decimal(0))
        assert billing.charged == billing.handed_over.quantity + done  # pyright: ignore[reportOptionalMemberAccess]
        assert len(billing.more) + len(billing.credited) == states.count("carried_out")
        charged, waived = billing.charged + self.by_hand, Decimal(0)
        for each in found:
            if each.state == "rejected":
                waived = each.quantity - each.charged
        total, proposed = Decimal(sum(self.sent.values())), open_one.difference if open_one else Decimal(0)
        left = total - charged - proposed
        assert min(waived, 0) <= left <= max(waived, 0)
        if not any(each.state == "rejected" for each in found):
            assert left == 0
        kinds = {each.kind for each in self.it.cases()}
        assert kinds <= {"usage_correction_proposed", "usage_correction_refused", "correction_refused"}
        assert bool(kinds) == (open_one is not None), (kinds, states)


def test_what_is_charged_and_proposed_is_what_the_records_come_to(empty_tables: Path) -> None:
    OnePeriod.tables = empty_tables
    run_state_machine_as_test(
        OnePeriod,
        settings=settings(
            max_examples=40,
            stateful_step_count=25,
            deadline=None,
            phases=(Phase.generate,),
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
