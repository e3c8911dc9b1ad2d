"""Merges, restores, deals, decisions and replays in any order: no customer is lost, and each account has its own."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from canonical.cases import Case
from canonical.states import CUSTOMER_MERGE_TRANSITIONS, CustomerMergeState
from process_apis import customer_sync
from process_apis.records import cross_references, customers
from process_apis.records.customer_merges import ENDED
from tests.support.merge_bench import CRM, Books
from tests.support.process_context import TestClock, context_over

ACCOUNTS = tuple(f"001{each}" for each in "ABCD")


class Merging(RuleBasedStateMachine):
    """A CRM in which people merge and restore accounts while others sell, and customers are followed now and then."""

    tables: Path

    def __init__(self) -> None:
        super().__init__()
        self._stack = ExitStack()
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        self._clock = TestClock()
        url = f"sqlite:///{shutil.copy(self.tables, folder)}"
        context = self._stack.enter_context(context_over(url, self._clock))
        self.books = Books(context)
        self.books.org.accounts.clear()
        for each in ACCOUNTS:
            self.books.org.add(each)
        self.homes: dict[str, str] = {}
        """The account by which each customer has bought first."""
        self.sold: dict[str, set[str]] = {}
        self.stayed: set[str] = set()
        """Customers of which people said that they stay, whatever their account does."""
        self.times: Counter[str] = Counter()
        """How often each account was merged."""
        self.restored = 0
        self.unseen = False
        """Whether an account is back that nobody has reported yet."""
        self.overtaken = False
        """Whether accounts were merged while that was so: then what was their own before cannot be known any more."""

    def teardown(self) -> None:
        self._stack.close()

    # ---- what people do in the CRM, each of it seen at once or later

    @initialize(buyers=st.sets(st.sampled_from(ACCOUNTS), min_size=1))
    def begin(self, buyers: set[str]) -> None:
        for each in sorted(buyers):
            self._sell(each)

    @precondition(lambda self: len(self.books.org.present) > 1)
    @rule(data=st.data(), seen=st.booleans())
    def merge(self, data: st.DataObject, *, seen: bool) -> None:
        loser, into = data.draw(st.permutations(self.books.org.present))[:2]
        self.books.org.merge(loser, into)
        self.overtaken |= self.unseen
        self.times[loser] += 1
        if seen:
            self.settle()

    @precondition(lambda self: self.books.org.into)
    @rule(data=st.data(), seen=st.booleans())
    def restore(self, data: st.DataObject, *, seen: bool) -> None:
        self.restored += 1
        self.unseen = True
        self.books.org.restore(data.draw(st.sampled_from(sorted(self.books.org.into))))
        if seen:
            self.settle()

    @rule(data=st.data())
    def sell(self, data: st.DataObject) -> None:
        self._sell(data.draw(st.sampled_from(self.books.org.present)))

    def _sell(self, account: str) -> None:
        self._clock.move(1)
        buyer = self.books.sell(account)
        self.homes.setdefault(buyer, account)
        self.sold.setdefault(buyer, set()).add(account)

    # ---- what is seen of it, however late and however often

    @rule(data=st.data())
    def follow(self, data: st.DataObject) -> None:
        one = data.draw(st.sampled_from(sorted(self.homes)))
        self._clock.move(1)
        customers.expect_change(self.books.context.database, one, "cor_1", self._clock())
        assert customer_sync.follow(self.books.context, one) == "done"

    @rule()
    def settle(self) -> None:
        """Follow everybody until nothing changes, and look whether all is where it belongs."""
        before = None
        for _ in range(12):
            for each in sorted(self.homes):
                self._clock.move(1)
                customers.expect_change(self.books.context.database, each, "cor_1", self._clock())
                assert customer_sync.follow(self.books.context, each) == "done"
            now = self._everything()
            if now == before:
                break
            before = now
        else:
            raise AssertionError("it never settles")
        self.unseen = False
        self._belongs()

    # ---- what people decide here

    @precondition(lambda self: self._asked())
    @rule(back=st.booleans(), data=st.data())
    def answer(self, data: st.DataObject, *, back: bool) -> None:
        case = data.draw(st.sampled_from(self._asked()))
        if case.kind == "merge_undone" and not back:
            self.stayed.add(case.subject)
        self.books.act(case, "retry" if back else "skip")

    def _asked(self) -> list[Case]:
        """Return the cases on which people may act now: whether a merge was undone comes first."""
        found = [case for each in sorted(self.homes) for case in self.books.cases(each)]
        first = {case.subject for case in found if case.kind == "merge_undone"}
        return [case for case in found if case.kind == "merge_undone" or case.subject not in first]

    @precondition(lambda self: any(each.actions for each in self.books.merges()))
    @rule(data=st.data())
    def choose(self, data: st.DataObject) -> None:
        merge = data.draw(st.sampled_from([each for each in self.books.merges() if each.actions]))
        self.books.choose(merge.id, data.draw(st.sampled_from(merge.actions)))

    # ---- what holds at any time

    @invariant()
    def a_merge_is_one_record(self) -> None:
        """Take a merge that is seen again for the same, but for accounts that came back, or one in between that did."""
        of = Counter(each.merged_account_id for each in self.books.merges())
        standing = Counter(each.merged_account_id for each in self.books.merges() if each.state not in ENDED)
        assert all(count <= self.times[each] + self.restored for each, count in of.items()), (of, self.times)
        assert max(standing.values(), default=0) <= 1

    @invariant()
    def a_history_is_one_of_the_table(self) -> None:
        for each in self.books.merges():
            states: list[CustomerMergeState] = [step.state for step in self.books.records.history(each.id)]
            assert states[-1] == each.state
            for former, later in pairwise(states):
                assert former == later or later in CUSTOMER_MERGE_TRANSITIONS[former]

    @invariant()
    def a_question_is_a_case(self) -> None:
        for each in self.books.merges():
            kinds = [case.kind for case in self.books.cases(each.customer_id)]
            if each.state == "asked":
                comes = customers.expected_change(self.books.context.database, each.customer_id)
                assert "duplicate_customer" in kinds or comes
            answered = self.books.records.row(each.id).answer
            assert not (each.state == "in_question" and not answered) or "merge_undone" in kinds

    def _everything(self) -> object:
        shown = [(each.id, each.state, each.leading_customer_id) for each in self.books.merges()]
        return shown, sorted((each, self._account(each)) for each in self.homes)

    def _account(self, customer_id: str) -> str:
        return self.books.seen(customer_id).references[CRM]

    def _belongs(self) -> None:
        org, database = self.books.org, self.books.context.database
        ids = cross_references.known(database, "cus", CRM, tuple(org.present))
        in_question = {each.account_in_question for each in self.books.merges() if each.state == "in_question"}
        own = [ids[each] for each in org.present if each in ids and each not in in_question]
        assert len(own) == len(set(own)), f"two accounts are one customer: {ids}"
        for each in self.homes:
            account = self._account(each)
            if account in in_question:
                continue  # it waits for what people say about that
            assert account in org.present, f"{each} is under {account}, which is gone"
            leads = customers.shares_with(database, each) or each
            assert ids[account] == leads == self.books.of(account), f"{account} is {ids}, and {each} says {leads}"
            assert self._account(leads) == account
            home = self.homes[each]
            moved = self.overtaken or self.sold[each] != {home} or each in self.stayed
            assert moved or account == org.left(home), f"{each} belongs to {org.left(home)}, and is under {account}"


def test_no_customer_is_lost_and_each_account_has_its_own(empty_tables: Path) -> None:
    Merging.tables = empty_tables
    run_state_machine_as_test(
        Merging,
        settings=settings(
            max_examples=20,
            stateful_step_count=25,
            derandomize=True,
            deadline=None,
            phases=(Phase.generate,),  # to find the smallest example takes minutes: add that phase to look into a fault
        ),
    )
