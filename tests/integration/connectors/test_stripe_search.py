"""The stand-in searches customers as Stripe does, and refuses what Stripe does not understand."""

from __future__ import annotations

import pytest
import stripe

from tests.support.stripe_account import StripeAccount


@pytest.fixture
def account(tmp_path_factory: pytest.TempPathFactory) -> StripeAccount:
    made = StripeAccount(tmp_path_factory.mktemp("stripe"))
    made.api.v1.customers.create({"name": 'The "Best" Ltd', "email": "Amy@example.com", "metadata": {"key": "Value"}})
    made.api.v1.customers.create({"name": "Else", "email": "else@example.com"})
    return made


@pytest.mark.parametrize(
    "query",
    [
        'name:"the \\"best\\" ltd"',
        "name:'the \"best\" ltd'",
        'email:"amy@EXAMPLE.com" AND metadata["key"]:"value"',
        "email~'amy@' created>0",
        'metadata["key"]:"value" or phone:"030"',
        '-metadata["key"]:null',
        '-email:"else@example.com" and phone:NULL',
    ],
)
def test_a_query_finds_the_customers_that_all_or_one_of_its_clauses_hold_for(
    account: StripeAccount, query: str
) -> None:
    found = account.api.v1.customers.search({"query": query, "expand": ["data.tax_ids"]}).data

    assert [each.email for each in found] == ["Amy@example.com"]


@pytest.mark.parametrize(
    "query",
    [
        "",
        "Best",
        'name:"a" AND email:"b" OR phone:"c"',
        'name:"open',
        'name>"a"',
        'email~"ab"',
        'metadata["key"]~"val"',
        'created:"yesterday"',
        'tax_id:"DE136695976"',
        " AND ".join(['name:"a"'] * 11),
    ],
)
def test_a_query_that_stripe_does_not_understand_is_refused(account: StripeAccount, query: str) -> None:
    with pytest.raises(stripe.InvalidRequestError, match=r"query|search"):
        account.api.v1.customers.search({"query": query})


def test_a_search_has_pages(account: StripeAccount) -> None:
    first = account.api.v1.customers.search({"query": "created>0", "limit": 1})

    assert first.has_more
    assert [each.email for each in first.auto_paging_iter()] == ["else@example.com", "Amy@example.com"]
