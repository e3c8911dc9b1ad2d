"""Accounts that are merged in the CRM: the one that is left takes over the customer, or two customers share it."""

from __future__ import annotations

import msgspec
import pytest

from canonical.cases import Finding
from canonical.parties import Account, Address
from process_apis import customer_sync, onboarding
from process_apis.change_feeds import ChangeFeeds
from process_apis.records import customers
from tests.support.merge_bench import CRM, FIRST, LEFT, LOSER, SECOND, Books
from tests.support.process_context import SOMEBODY, accepted_order


@pytest.mark.parametrize("known_before", [False, True])
def test_the_account_that_is_left_takes_over_the_customer_by_itself(books: Books, *, known_before: bool) -> None:
    if known_before:  # as the parent of a customer, or in a deal that was given up
        assert books.of(LEFT) not in (FIRST, "")
    books.org.merge(LOSER, LEFT)

    books.sync(FIRST)

    assert (books.seen(FIRST).name, books.seen(FIRST).references[CRM]) == (f"Name of {LEFT}", LEFT)
    assert books.org.billed == {FIRST: f"Name of {LEFT}"}
    assert books.org.marks == {LEFT: FIRST}
    assert books.of(LEFT) == FIRST
    assert books.cases(FIRST) == []


def test_a_deal_that_comes_before_the_merge_is_seen_is_one_of_the_customer(books: Books) -> None:
    books.org.merge(LOSER, LEFT)

    assert books.of(LEFT) == FIRST


def test_a_case_of_the_customer_closes_when_the_account_that_is_left_can_be_followed(books: Books) -> None:
    gone = books.org.accounts.pop(LOSER)
    customers.expect_change(books.context.database, FIRST, "cor_1", books.context.clock())
    assert customer_sync.follow(books.context, FIRST) == "stopped"
    assert [each.kind for each in books.cases(FIRST)] == ["customer_not_followed"]

    books.org.merge(gone.id, LEFT)
    books.sync(FIRST)

    assert books.cases(FIRST) == []


def test_orders_whose_state_could_not_be_shown_are_shown_at_the_account_that_is_left(books: Books) -> None:
    context = books.context
    order_id = accepted_order(context, "first", "validating", "on_hold")
    context.orders.change(order_id, crm_status="on_hold", customer_id=FIRST)
    finding = Finding("crm", "gone", "crm")
    context.cases.open("status_not_shown", order_id, finding, ("retry",), correlation_id="cor_1", customer_id=FIRST)
    books.org.merge(LOSER, LEFT)

    books.sync(FIRST)

    assert [each.id for each in context.orders.status_not_in_crm()] == [order_id]


def test_two_customers_go_on_under_one_account_and_a_person_may_say_which_gets_new_deals(books: Books) -> None:
    books.customer(SECOND, LEFT)
    books.org.merge(LOSER, LEFT)

    books.sync(FIRST)
    books.sync(FIRST)

    assert books.org.billed == dict.fromkeys((FIRST, SECOND), f"Name of {LEFT}")
    assert books.org.marks == {LEFT: SECOND}
    assert (books.of(LEFT), books.seen(FIRST).references[CRM]) == (SECOND, LEFT)
    (case,) = books.cases(FIRST)
    assert (case.kind, case.team, case.actions) == ("duplicate_customer", "sales", ("retry", "skip"))
    assert all(
        each in case.reason for each in (LEFT, SECOND, "Skip: it stays so.", f"Retry: new deals are those of {FIRST}")
    )

    books.act(case, "retry")
    books.sync(SECOND)

    assert (books.of(LEFT), books.org.marks) == (FIRST, {LEFT: FIRST})
    assert books.cases(FIRST) == books.cases(SECOND) == []
    assert customers.with_its_account(books.context.database, SECOND) == [FIRST, SECOND]


def test_what_a_person_has_said_is_not_asked_again(books: Books) -> None:
    books.customer(SECOND, LEFT)
    books.org.merge(LOSER, LEFT)
    books.sync(FIRST)
    (case,) = books.cases(FIRST)

    books.act(case, "skip")
    books.sync(FIRST)

    assert books.cases(FIRST) == []
    assert books.of(LEFT) == SECOND
    assert books.org.marks == {LEFT: SECOND}


def test_customers_that_share_an_account_move_on_together(books: Books) -> None:
    books.customer(SECOND, LEFT)
    books.org.merge(LOSER, LEFT)
    books.sync(FIRST)
    books.org.accounts["001T"] = Account("001T", "Third", Address(country="DE"))
    books.org.merge(LEFT, "001T")

    for each in customers.with_its_account(books.context.database, SECOND):
        books.sync(each)

    assert books.org.billed == dict.fromkeys((FIRST, SECOND), "Third")
    assert (books.of("001T"), books.org.marks["001T"]) == (SECOND, SECOND)


def test_the_partner_of_the_account_that_is_left_sees_what_was_sold_to_both(books: Books) -> None:
    books.customer(SECOND, LEFT)
    order_id = accepted_order(books.context, "first")
    books.context.orders.change(order_id, customer_id=FIRST, partner="nord")
    left = books.org.accounts[LEFT]
    books.org.accounts[LEFT] = msgspec.structs.replace(left, partner="sued")
    books.org.merge(LOSER, LEFT)

    books.sync(FIRST)

    def sees(partner: str) -> bool:
        principal = msgspec.structs.replace(SOMEBODY, partner=partner)
        return customers.visible(books.context.database, FIRST, principal) is not None

    assert (sees("nord"), sees("sued")) == (False, True)


def test_an_order_of_an_account_that_was_merged_before_it_bought_is_the_other_customers(books: Books) -> None:
    order_id = accepted_order(books.context, "new", "validating", "credit_review", "onboarding")
    made = books.context.orders.get(order_id).plan
    assert made
    buyer = msgspec.structs.replace(made.customer, references={CRM: "001N"}, crm=CRM)
    books.org.accounts["001N"] = Account("001N", "New", Address(country="DE"))
    books.org.merge("001N", LOSER)

    plan = onboarding.refreshed_plan(books.context, msgspec.structs.replace(made, customer=buyer))

    assert (plan.customer.id, plan.contract.customer_id, plan.customer.references[CRM]) == (FIRST, FIRST, LOSER)


def test_a_record_that_could_not_be_read_is_read_as_the_account_that_is_left(books: Books) -> None:
    books.org.merge(LOSER, LEFT)
    opened = books.context.cases.open(
        "record_not_read",
        LOSER,
        Finding("record", "unreadable", "crm"),
        ("retry",),
        correlation_id="cor_1",
        given={"crm": CRM, "record": "account"},
    )

    ChangeFeeds(books.context).act(opened, "retry")()

    assert customers.expected_change(books.context.database, FIRST)


def test_a_branch_that_is_synced_before_its_merged_parent_has_the_parent_that_goes_on(books: Books) -> None:
    books.customer(SECOND, "001B")
    books.org.accounts["001B"] = Account("001B", "Branch", Address(country="DE"), ancestors=(LEFT,))
    books.org.merge(LOSER, LEFT)

    books.sync(SECOND)

    assert books.seen(SECOND).parent_id == FIRST


def test_a_parent_that_cannot_be_read_stops_no_branch(books: Books) -> None:
    books.customer(SECOND, "001B")
    books.org.accounts["001B"] = Account("001B", "Branch", Address(country="DE"), ancestors=("001G",))

    books.sync(SECOND)
    given = books.seen(SECOND).parent_id
    books.sync(SECOND)

    assert given is not None
    assert books.seen(SECOND).parent_id == given
