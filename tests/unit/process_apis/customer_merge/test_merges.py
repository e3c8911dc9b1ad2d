"""A merge as a record: seen once, decided once, shown to those who may see it, and undone when its account is back."""

from __future__ import annotations

import msgspec
import pytest

from canonical.cases import Case, Finding
from canonical.customer_merges import CustomerMergeSummary, LeadChoice, Receivable
from canonical.event_log import ReplayRequest
from canonical.events import CUSTOMER_CHANGED, Event
from canonical.faults import PlatformFault, Rejected, Unavailable
from canonical.money import Money
from canonical.process_events import CUSTOMER_MERGE_EVENTS
from canonical.states import IllegalTransition
from policies.identity.authentication import Principal
from policies.problems import ProblemError
from process_apis import account_merges, customer_merge, customer_sync
from process_apis.events.event_log import EventLog
from process_apis.records import cross_references, customers
from process_apis.records.cases import Cases
from process_apis.records.customer_merges import LOOKED_AFTER, LOOKS, CustomerMerges
from process_apis.runtime.engine import Engine
from tests.support.merge_bench import CRM, EVERYBODY, FIRST, LEFT, LOSER, SECOND, Books
from tests.support.process_context import TestClock

SOMEBODY_ELSE = msgspec.structs.replace(EVERYBODY, subject="lee@tiergate.example")


@pytest.fixture
def two(books: Books) -> Books:
    """Return the books after the accounts of two customers became one."""
    books.customer(SECOND, LEFT, legal_entity="FR01")
    books.org.merge(LOSER, LEFT)
    books.sync(FIRST)
    return books


def states(books: Books, merge: CustomerMergeSummary) -> list[str]:
    return [each.state for each in books.records.history(merge.id)]


def may_see(*entities: str, partner: str = "") -> Principal:
    return msgspec.structs.replace(EVERYBODY, entities=frozenset(entities), partner=partner)


def cut_short(*_: object, **__: object) -> None:
    raise Unavailable("crm", "cut short")


def stopped(books: Books) -> None:
    """Follow the first customer in a run that is cut short."""
    customers.expect_change(books.context.database, FIRST, "cor_1", books.context.clock())
    assert customer_sync.follow(books.context, FIRST) == "stopped"


# ---- one record for each merge


@pytest.mark.parametrize("first", ["deal", "feed"])
def test_a_merge_is_one_record_whether_a_deal_or_the_feed_sees_it_first(books: Books, first: str) -> None:
    books.org.merge(LOSER, LEFT)
    if first == "deal":
        assert books.sell(LEFT) == FIRST

    for _ in range(3):
        books.sync(FIRST)

    merge = books.one()
    assert (merge.state, merge.merged_account_id, merge.account_id) == ("taken_over", LOSER, LEFT)
    assert (merge.customer_id, merge.other_customer_id, merge.leading_customer_id) == (FIRST, "", FIRST)
    assert (merge.actions, states(books, merge)) == ((), ["taken_over"])


def test_a_chain_of_merges_is_a_record_for_each(two: Books) -> None:
    two.org.add("001T")
    two.customer("cus_third", "001T")
    two.org.merge(LEFT, "001T")

    for each in (FIRST, SECOND, "cus_third", SECOND):
        two.sync(each)

    found = [(each.merged_account_id, each.customer_id, each.other_customer_id) for each in two.merges()]
    assert found == [(LOSER, FIRST, SECOND), (LEFT, SECOND, "cus_third")]
    assert {each.leading_customer_id for each in two.merges()} == {"cus_third"}
    assert [len(two.cases(each)) for each in (FIRST, SECOND, "cus_third")] == [1, 1, 0]

    two.choose(two.merges()[0].id, "switch")
    assert {each.leading_customer_id for each in two.merges()} == {FIRST}
    assert two.of("001T") == FIRST


def test_a_run_that_ends_between_the_record_and_its_case_opens_the_case_the_next_time(two: Books) -> None:
    (case,) = two.cases(FIRST)
    two.context.cases.close(case, "as if it had never been opened")

    two.sync(FIRST)

    assert [each.input[account_merges.MERGE] for each in two.cases(FIRST)] == [two.one().id]


# ---- who leads


@pytest.mark.parametrize(("action", "state", "leads"), [("skip", "kept", SECOND), ("retry", "switched", FIRST)])
def test_the_case_and_the_record_are_decided_together_by_the_case(
    two: Books, action: str, state: str, leads: str
) -> None:
    assert (two.one().state, two.one().actions) == ("asked", ("keep", "switch"))

    two.act(two.cases(FIRST)[0], action)

    merge = two.one()
    assert (merge.state, merge.leading_customer_id, merge.decided_by) == (state, leads, EVERYBODY.subject)
    assert two.cases(FIRST) == []
    last = two.records.history(merge.id)[-1]
    assert (last.state, last.by, last.reason, last.at) == (state, EVERYBODY.subject, "said so", merge.decided_at)


@pytest.mark.parametrize(("choice", "state", "leads"), [("keep", "kept", SECOND), ("switch", "switched", FIRST)])
def test_the_case_and_the_record_are_decided_together_by_the_record(
    two: Books, choice: LeadChoice, state: str, leads: str
) -> None:
    merge = two.choose(two.one().id, choice)

    assert two.choose(merge.id, choice) == merge
    assert (merge.state, merge.leading_customer_id, merge.decided_by) == (state, leads, EVERYBODY.subject)
    assert (two.of(LEFT), two.cases(FIRST)) == (leads, [])
    assert states(two, merge) == ["asked", state]


def test_who_decided_is_kept_with_the_decision_though_nothing_after_it_is_done(
    two: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(account_merges, "close_what_is_settled", cut_short)
        with pytest.raises(Unavailable):
            two.choose(two.one().id, "keep")
    two.choose(two.one().id, "switch", SOMEBODY_ELSE)

    history = two.records.history(two.one().id)
    assert [(each.state, each.by, each.reason) for each in history[1:]] == [
        ("kept", EVERYBODY.subject, "they buy by it"),
        ("switched", SOMEBODY_ELSE.subject, "they buy by it"),
    ]


def test_who_answers_is_kept_with_the_answer_though_nothing_after_it_is_done(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    (case,) = asked_about(books).cases(FIRST)
    with monkeypatch.context() as patched:
        patched.setattr(Cases, "close", cut_short)
        patched.setattr(customers, "expect_change", cut_short)
        with pytest.raises(Unavailable):
            books.act(case, "retry")

    last = books.records.history(books.one().id)[-1]
    assert (last.state, last.by, last.reason) == ("in_question", EVERYBODY.subject, "said so")


def test_a_case_does_not_change_what_somebody_else_has_decided_meanwhile(
    two: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    (case,) = two.cases(FIRST)
    with monkeypatch.context() as patched:
        patched.setattr(account_merges, "close_what_is_settled", cut_short)
        with pytest.raises(Unavailable):
            two.choose(two.one().id, "keep", SOMEBODY_ELSE)

    with pytest.raises(ProblemError) as raised:
        two.act(case, "retry")

    assert (raised.value.problem.status, two.one().state, two.one().decided_by) == (409, "kept", SOMEBODY_ELSE.subject)
    assert (two.of(LEFT), two.cases(FIRST)) == (SECOND, [])


def test_of_two_who_decide_a_case_at_once_the_second_hears_of_the_first(
    two: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    (case,) = two.cases(FIRST)
    standing = two.records.standing(FIRST)
    two.choose(two.one().id, "keep", SOMEBODY_ELSE)

    def as_it_was_read_before(*_: object) -> object:
        return standing

    with monkeypatch.context() as patched:
        patched.setattr(CustomerMerges, "standing", as_it_was_read_before)
        with pytest.raises(IllegalTransition, match="asks nothing any more"):
            account_merges.decide(two.context, case, "switch", EVERYBODY.subject, "")

    assert (two.one().state, two.one().decided_by) == ("kept", SOMEBODY_ELSE.subject)


def test_a_case_that_is_decided_as_it_was_decided_already_closes(two: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    (case,) = two.cases(FIRST)
    with monkeypatch.context() as patched:
        patched.setattr(Cases, "close", cut_short)
        with pytest.raises(Unavailable):
            two.act(case, "retry")

    two.act(case, "retry")

    assert (two.one().state, two.cases(FIRST), len(states(two, two.one()))) == ("switched", [], 2)


def test_what_was_chosen_can_be_chosen_otherwise_later(two: Books) -> None:
    merge = two.choose(two.one().id, "switch")
    assert merge.actions == ("keep",)

    merge = two.choose(merge.id, "keep")

    assert (merge.state, merge.leading_customer_id, two.of(LEFT)) == ("kept", SECOND, SECOND)
    two.sync(FIRST)
    assert two.org.marks[LEFT] == SECOND


def test_a_merge_of_one_customer_leaves_nothing_to_choose(books: Books) -> None:
    books.org.merge(LOSER, LEFT)
    books.sync(FIRST)

    with pytest.raises(ProblemError) as raised:
        books.choose(books.one().id, "switch")

    assert (raised.value.problem.status, books.of(LEFT)) == (409, FIRST)


def test_a_case_that_was_opened_before_there_were_records_is_decided_like_any_other(two: Books) -> None:
    (case,) = two.cases(FIRST)
    two.context.cases.close(case, "")
    given = {name: value for name, value in case.input.items() if name != account_merges.MERGE}
    finding = Finding(case.field, case.reason)
    older = two.context.cases.open(case.kind, FIRST, finding, case.actions, correlation_id="", given=given)

    two.act(older, "retry")

    assert (two.one().state, two.one().leading_customer_id) == ("switched", FIRST)


# ---- who sees it


def test_a_merge_is_seen_by_those_who_may_see_either_customer_and_by_no_partner(two: Books) -> None:
    merge = two.one()

    for who in (may_see("DE01"), may_see("FR01"), EVERYBODY):
        assert two.merges(who) == [merge]
    for who in (may_see("US01"), may_see("DE01", partner="nord"), may_see("*", partner="nord")):
        assert two.merges(who) == []
        with pytest.raises(ProblemError) as raised:
            two.overview.read(merge.id, who)
        assert raised.value.problem.status == 404
        with pytest.raises(ProblemError) as raised:
            two.choose(merge.id, "switch", who)
        assert raised.value.problem.status == 404


def test_the_events_of_a_merge_are_seen_by_those_who_may_see_either_customer_and_by_no_partner(two: Books) -> None:
    log = EventLog(two.context.database, two.context.clock, [], 90)

    def seen(who: Principal) -> list[str]:
        return [each.event.type for each in log.page(who, ReplayRequest(subject=two.one().id)).items]

    for who in (may_see("DE01"), may_see("FR01"), EVERYBODY):
        assert seen(who) == [CUSTOMER_MERGE_EVENTS["asked"]]
    for who in (may_see("US01"), may_see("DE01", partner="nord"), may_see("*", partner="nord")):
        assert seen(who) == []


def test_merges_are_listed_by_state_and_by_either_customer_in_pages(books: Books) -> None:
    for number in range(5):
        account = f"001X{number}"
        books.org.add(account)
        books.customer(f"cus_{number}", account)
        books.org.merge(account, LEFT)
        books.sync(f"cus_{number}")
    everybody, page = EVERYBODY, books.records.page

    first = page(everybody, None, None, None, 2)
    second = page(everybody, None, None, first.next_cursor, 10)

    assert [each.customer_id for each in (*first.items, *second.items)] == [f"cus_{each}" for each in (4, 3, 2, 1, 0)]
    assert [each.customer_id for each in page(everybody, "taken_over", None, None, 10).items] == ["cus_0"]
    assert len(page(everybody, "asked", "cus_0", None, 10).items) == 4  # it is the other one of each
    assert [each.customer_id for each in page(everybody, None, "cus_3", None, 10).items] == ["cus_3"]


def test_a_merge_shows_what_each_customer_has_as_far_as_the_caller_may_see_it(two: Books) -> None:
    context = two.context
    for each, seller in ((FIRST, "DE01"), (SECOND, "FR01")):
        customers.refer(context.database, each, "tryton", f"party of {each} in {seller}")
    two.choose(two.one().id, "switch")
    two.sell(LEFT)
    two.choose(two.one().id, "keep")
    two.sell(LEFT, "FR01")
    two.org.owed = {FIRST: 700, SECOND: 300}
    opened = context.cases.open(
        "credit_limit",
        "ord_1",
        Finding("x", "y"),
        ("approve",),
        correlation_id="",
        legal_entity="DE01",
        customer_id=FIRST,
    )

    all_of_it = two.overview.read(two.one().id, EVERYBODY)
    german = two.overview.read(two.one().id, may_see("DE01"))

    first, second = all_of_it.customers
    assert (first.customer_id, first.leads, second.customer_id, second.leads) == (FIRST, False, SECOND, True)
    assert first.receivables == (Receivable("DE01", Money(700, "EUR"), Money(1000, "EUR")),)
    assert second.receivables == (Receivable("FR01", Money(300, "EUR"), Money(1000, "EUR")),)
    assert [each.state for each in (*first.open_orders, *second.open_orders)] == ["received", "received"]
    assert first.open_cases == (opened.id,)
    assert (all_of_it.actions, [each.state for each in all_of_it.history]) == (
        ("switch",),
        ["asked", "switched", "kept"],
    )
    assert german.customers[0] == first
    assert (german.customers[1].receivables, german.customers[1].open_orders) == ((), ())


# ---- accounts that are alive again


def test_a_customer_that_was_taken_over_goes_back_to_its_account(books: Books) -> None:
    books.org.merge(LOSER, LEFT)
    books.sync(FIRST)
    books.org.restore(LOSER)

    books.sync(FIRST)

    assert (books.seen(FIRST).name, books.seen(FIRST).references[CRM]) == (f"Name of {LOSER}", LOSER)
    assert states(books, books.one()) == ["taken_over", "undone"]
    assert books.sell(LOSER) == FIRST
    other = books.sell(LEFT)
    assert other != FIRST
    assert books.org.marks == {LOSER: FIRST, LEFT: other}
    assert books.cases(FIRST) == []


@pytest.mark.parametrize("choice", ["", "keep", "switch"])
def test_two_customers_have_their_own_accounts_again_whoever_leads(two: Books, choice: str) -> None:
    if choice:
        two.choose(two.one().id, "keep" if choice == "keep" else "switch")
        two.sync(FIRST)
    two.org.restore(LOSER)

    two.sync(FIRST)

    assert (two.of(LOSER), two.of(LEFT)) == (FIRST, SECOND)
    assert two.org.billed == {FIRST: f"Name of {LOSER}", SECOND: f"Name of {LEFT}"}
    assert two.org.marks == {LOSER: FIRST, LEFT: SECOND}
    assert (two.one().state, two.one().actions, two.cases(FIRST)) == ("undone", (), [])
    assert customers.with_its_account(two.context.database, FIRST) == [FIRST]


@pytest.mark.parametrize("at", ["put_account_sync", "go_back"])
def test_a_customer_that_was_on_its_way_back_when_it_was_cut_short_goes_back_the_next_time(
    books: Books, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    books.org.merge(LOSER, LEFT)
    books.sync(FIRST)
    books.org.restore(LOSER)

    with monkeypatch.context() as patched:
        patched.setattr(books.org if at == "put_account_sync" else CustomerMerges, at, cut_short)
        stopped(books)
    assert (books.one().state, books.of(LEFT), books.of(LOSER)) == ("taken_over", FIRST, FIRST)

    books.sync(FIRST)

    assert (books.one().state, books.of(LOSER)) == ("undone", FIRST)
    assert books.of(LEFT) == books.org.marks[LEFT] != FIRST


def test_those_who_stay_are_looked_after_though_the_run_ends_when_the_customer_has_gone_back(
    two: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    two.choose(two.one().id, "switch")
    two.sync(FIRST)
    two.org.restore(LOSER)
    with monkeypatch.context() as patched:
        patched.setattr(account_merges, "close_what_is_settled", cut_short)
        stopped(two)
    assert two.one().state == "undone"

    assert customers.expected_change(two.context.database, SECOND)
    two.sync(FIRST)
    assert two.org.marks == {LOSER: FIRST, LEFT: SECOND}


def test_those_whom_a_choice_concerns_are_looked_after_though_nothing_after_it_is_done(
    two: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(account_merges, "close_what_is_settled", cut_short)
        patched.setattr(customers, "expect_change", cut_short)
        with pytest.raises(Unavailable):
            two.choose(two.one().id, "switch")

    assert all(customers.expected_change(two.context.database, each) for each in (FIRST, SECOND))


def test_an_account_that_is_merged_the_other_way_round_has_a_customer_of_its_own_once_it_is_restored(
    books: Books,
) -> None:
    books.org.merge(LOSER, LEFT)
    books.sync(FIRST)
    books.org.restore(LOSER)
    books.org.merge(LEFT, LOSER)
    books.sync(FIRST)
    books.org.restore(LEFT)

    books.sync(FIRST)

    assert books.sell(LOSER) == FIRST
    assert books.sell(LEFT) != FIRST


def test_an_account_that_is_merged_again_is_another_merge(books: Books) -> None:
    books.org.merge(LOSER, LEFT)
    books.sync(FIRST)
    books.org.restore(LOSER)
    books.sync(FIRST)

    books.org.merge(LOSER, LEFT)
    books.sync(FIRST)
    books.sync(FIRST)

    assert [each.state for each in books.merges()] == ["undone", "taken_over"]
    assert len({each.id for each in books.merges()}) == 2


def asked_about(books: Books) -> Books:
    """Let the account that took a customer over sell something, before the merged one is restored."""
    books.org.merge(LOSER, LEFT)
    books.sync(FIRST)
    books.sell(LEFT)
    books.org.restore(LOSER)
    books.sync(FIRST)
    return books


def test_a_customer_to_whom_both_accounts_have_sold_is_a_question(books: Books) -> None:
    (case,) = asked_about(books).cases(FIRST)

    assert (case.kind, case.team, case.actions) == ("merge_undone", "sales", ("retry", "skip"))
    assert f"has sold by {LEFT} since" in case.reason
    assert (books.one().state, books.one().account_in_question) == ("in_question", LOSER)
    books.sync(FIRST)
    assert books.cases(FIRST) == [case]


def test_the_customer_goes_back_when_people_say_so(books: Books) -> None:
    books.act(asked_about(books).cases(FIRST)[0], "retry")

    books.sync(FIRST)

    merge = books.one()
    assert (merge.state, merge.decided_by, books.cases(FIRST)) == ("undone", EVERYBODY.subject, [])
    assert (books.of(LOSER), books.seen(FIRST).references[CRM]) == (FIRST, LOSER)
    assert books.sell(LEFT) != FIRST


def test_the_customer_stays_when_people_say_so_and_the_account_gets_one_of_its_own(books: Books) -> None:
    books.act(asked_about(books).cases(FIRST)[0], "skip")

    for _ in range(2):
        books.sync(FIRST)

    assert (books.one().state, books.cases(FIRST)) == ("stayed", [])
    assert (books.of(LEFT), books.seen(FIRST).references[CRM]) == (FIRST, LEFT)
    other = books.sell(LOSER)
    assert other != FIRST
    assert books.org.marks == {LEFT: FIRST, LOSER: other}


def test_nothing_is_in_question_without_a_case_when_the_run_that_asks_is_cut_short(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    books.org.merge(LOSER, LEFT)
    books.sync(FIRST)
    books.sell(LEFT)
    books.org.restore(LOSER)
    with monkeypatch.context() as patched:
        patched.setattr(Cases, "open", cut_short)
        stopped(books)

    assert books.one().state == "taken_over"
    books.sync(FIRST)
    assert (books.one().state, [each.kind for each in books.cases(FIRST)]) == ("in_question", ["merge_undone"])


@pytest.mark.parametrize("action", ["", "retry", "skip"])
def test_the_case_of_a_question_that_is_over_closes_though_the_run_before_was_cut_short(
    books: Books, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    (case,) = asked_about(books).cases(FIRST)
    with monkeypatch.context() as patched:
        if action:
            patched.setattr(Cases, "close", cut_short)
            with pytest.raises(Unavailable):
                books.act(case, action)
        else:
            books.org.merge(LOSER, LEFT)
        patched.setattr(account_merges, "close_what_is_settled", cut_short)
        stopped(books)
    assert case in books.cases(FIRST)

    books.sync(FIRST)

    assert books.one().state == {"": "taken_over", "retry": "undone", "skip": "stayed"}[action]
    assert books.cases(FIRST) == []


def test_a_question_is_over_when_the_account_is_merged_again(books: Books) -> None:
    asked_about(books)
    books.org.merge(LOSER, LEFT)

    books.sync(FIRST)

    assert (books.one().state, books.cases(FIRST)) == ("taken_over", [])
    assert states(books, books.one()) == ["taken_over", "in_question", "taken_over"]


def test_who_leads_is_not_chosen_while_it_is_asked_whether_the_merge_was_undone(two: Books) -> None:
    two.org.restore(LOSER)
    two.choose(two.one().id, "switch")
    two.sell(LEFT)
    two.sync(FIRST)

    assert two.one().state == "in_question"
    with pytest.raises(ProblemError) as raised:
        two.choose(two.one().id, "keep")
    assert raised.value.problem.status == 409


def test_an_account_in_between_that_is_alive_again_takes_the_customer(books: Books) -> None:
    books.org.add("001M")
    books.org.merge(LOSER, "001M")
    books.org.merge("001M", LEFT)
    books.sync(FIRST)
    books.org.restore("001M")

    books.sync(FIRST)

    assert (books.of("001M"), books.seen(FIRST).references[CRM]) == (FIRST, "001M")
    assert books.sell(LEFT) != FIRST
    assert [(each.state, each.account_id) for each in books.merges()] == [("undone", LEFT), ("taken_over", "001M")]


def changed(books: Books, account: str) -> None:
    """Let the CRM say that an account which names the first customer was changed."""
    reactions = customer_merge.capability(books.context, Nothing()).reactions
    about = {"id": "1", "source": f"crm/{CRM}", "type": CUSTOMER_CHANGED, "subject": FIRST}
    event = Event(**about, time=books.context.clock(), data={"account": account})
    reactions[CUSTOMER_CHANGED](event, "cor_1")


class Nothing(Engine):
    """An engine that is asked for nothing."""

    def __init__(self) -> None:
        pass


@pytest.mark.parametrize(("action", "account"), [("retry", "001N"), ("skip", LEFT)])
def test_a_customer_that_people_split_off_to_another_account_is_a_question(
    two: Books, action: str, account: str
) -> None:
    two.act(two.cases(FIRST)[0], "skip")
    two.org.add("001N")
    changed(two, "001N")
    two.sync(FIRST)
    (case,) = two.cases(FIRST)
    assert "never was its account" in case.reason

    two.act(case, action)
    changed(two, "001N")
    two.sync(FIRST)

    assert (two.cases(FIRST), two.seen(FIRST).references[CRM], two.of(LEFT)) == ([], account, SECOND)
    assert (two.sell("001N") == FIRST) is (action == "retry")
    assert two.one().state == ("undone" if action == "retry" else "kept")


def split_off_and_sold(books: Books) -> tuple[Case, str]:
    """Let people split the first customer off to another account, which sells before anybody has answered; return the
    case that asks, and the customer of that deal."""
    books.act(books.cases(FIRST)[0], "skip")
    books.org.add("001N")
    books.org.marks["001N"] = FIRST
    changed(books, "001N")
    books.sync(FIRST)
    (case,) = books.cases(FIRST)
    return case, books.sell("001N", "FR01")


def test_an_account_that_has_sold_before_the_answer_is_marked_with_its_own_customer(two: Books) -> None:
    case, other = split_off_and_sold(two)

    two.act(case, "skip")
    two.sync(FIRST)

    assert two.of("001N") == two.org.marks["001N"] == other != FIRST
    assert (two.one().state, two.cases(FIRST), two.seen(FIRST).references[CRM]) == ("kept", [], LEFT)


def test_a_customer_does_not_go_to_an_account_that_has_sold_to_another_one_before_the_answer(two: Books) -> None:
    case, other = split_off_and_sold(two)

    two.act(case, "retry")
    for _ in range(2):
        two.sync(FIRST)

    (again,) = two.cases(FIRST)
    assert (again.kind, again.actions, two.one().state) == ("merge_undone", ("skip",), "in_question")
    assert other in again.reason
    assert (two.of("001N"), two.seen(FIRST).references[CRM]) == (other, LEFT)
    two.act(again, "skip")
    two.sync(FIRST)
    assert (two.one().state, two.cases(FIRST), two.org.marks["001N"]) == ("kept", [], other)


def test_a_case_that_says_why_a_customer_cannot_go_is_there_though_the_answer_closes_its_own_case_late(
    two: Books,
) -> None:
    case, _ = split_off_and_sold(two)
    account_merges.answer(two.context, case, account_merges.BACK, EVERYBODY.subject, "")

    two.sync(FIRST)
    two.context.cases.close(case, "retry")

    assert [each.actions for each in two.cases(FIRST)] == [("skip",)]


def test_an_account_that_is_known_is_no_question_whatever_it_says(two: Books) -> None:
    two.act(two.cases(FIRST)[0], "skip")
    for account in (LEFT, LOSER):
        changed(two, account)

    two.sync(FIRST)

    assert (two.cases(FIRST), two.one().state) == ([], "kept")


def test_a_merge_is_looked_at_each_day_for_as_long_as_it_can_be_undone(two: Books, clock: TestClock) -> None:
    def looks() -> list[str]:
        return [row.customer_id for row in two.records.due_looks()]

    assert looks() == []
    clock.move(LOOKS.total_seconds())
    assert (looks(), looks()) == ([FIRST], [])
    later: list[str] = []
    for _ in range(40):
        clock.move(LOOKS.total_seconds())
        later += looks()
    assert len(later) == LOOKED_AFTER // LOOKS - 1


def test_what_the_poll_looks_at_finds_an_account_that_nobody_has_told_of(two: Books, clock: TestClock) -> None:
    two.org.restore(LOSER)
    clock.move(LOOKED_AFTER.total_seconds())  # the last time

    assert looked(two)
    two.sync(FIRST)
    assert two.one().state == "undone"


def looked(books: Books) -> bool:
    """Do what the poll does, and return whether the first customer is to be looked after for it."""
    for job in customer_merge.capability(books.context, Nothing()).periodic_jobs:
        job()
    return customers.expected_change(books.context.database, FIRST) is not None


def test_a_look_that_finds_all_as_it_was_seen_has_nobody_looked_after(two: Books, clock: TestClock) -> None:
    two.choose(two.one().id, "keep")
    two.sync(FIRST)
    clock.move(LOOKS.total_seconds())

    assert not looked(two)


def test_a_question_is_looked_at_for_being_over_alone(books: Books, clock: TestClock) -> None:
    asked_about(books)
    clock.move(LOOKS.total_seconds())
    assert not looked(books)
    books.org.merge(LOSER, LEFT)
    clock.move(LOOKS.total_seconds())

    assert looked(books)
    books.sync(FIRST)
    assert (books.one().state, books.cases(FIRST)) == ("taken_over", [])


def test_an_account_that_people_said_is_another_customers_is_not_found_each_day(two: Books, clock: TestClock) -> None:
    case, _ = split_off_and_sold(two)
    two.act(case, "skip")
    two.sync(FIRST)
    clock.move(LOOKS.total_seconds())

    assert not looked(two)


@pytest.mark.parametrize("fault", [Unavailable, Rejected])
def test_a_look_at_what_cannot_be_read_is_done_again_soon_or_told_to_people(
    two: Books, clock: TestClock, monkeypatch: pytest.MonkeyPatch, fault: type[PlatformFault]
) -> None:
    def refuse(*_: object) -> None:
        raise fault("crm", "it cannot be read")

    two.org.restore(LOSER)
    clock.move(LOOKS.total_seconds())
    with monkeypatch.context() as patched:
        patched.setattr(two.org, "account", refuse)
        assert looked(two) == (fault is Rejected)
    clock.move(LOOKS.total_seconds() / 24)

    assert looked(two)


def test_an_account_whose_customer_is_elsewhere_does_not_take_it_over(books: Books) -> None:
    books.org.merge(LOSER, LEFT)
    books.sync(FIRST)
    books.org.add("001N")
    cross_references.move(books.context.database, "cus", CRM, "001O", None, FIRST)
    books.org.accounts["001O"] = books.org.accounts[LOSER]
    books.org.merge("001O", "001N")

    assert books.of("001N") != FIRST
