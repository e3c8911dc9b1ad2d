"""What we write to the CRM comes back as a change, and is recognised: writes stay equal to changes, and nothing goes
round."""

from __future__ import annotations

from pathlib import Path

import pytest

from canonical.events import CUSTOMER_CHANGED
from canonical.parties import AccountSync
from tests.end_to_end.scenarios.test_a_customer_changes import events_of, followed, in_billing, taken_in
from tests.integration.connectors.test_salesforce_feed import Watching, watch
from tests.support.environment import Environment
from tests.support.platforms import wait_until

CUSTOMERS = 50


@pytest.mark.parametrize("rounds", [2, pytest.param(20, marks=pytest.mark.long)])
def test_each_change_is_reported_once_and_none_of_our_as_many_writes(tmp_path: Path, rounds: int) -> None:
    async def case(watching: Watching) -> None:
        accounts = {await watching.customer(f"Buyer {each}", f"cus_{each}"): f"cus_{each}" for each in range(CUSTOMERS)}
        await watching.look()
        assert watching.taken.of(CUSTOMER_CHANGED) == []
        written = 0
        for number in range(rounds):
            for account in accounts:
                watching.org.change("Account", account, Name=f"Renamed {number}")
            await watching.look()
            for account, customer in accounts.items():
                revision = (await watching.account(account)).revision
                await watching.bench.call(
                    lambda account=account, customer=customer, revision=revision: watching.bench.connector.put_followed(
                        account, AccountSync(customer, revision)
                    )
                )
                written += 1
            await watching.look()  # at what was just written

        assert written == CUSTOMERS * rounds
        assert len(watching.taken.offered) == written
        assert len({each.id for each in watching.taken.offered}) == written
        assert {each: watching.taken.of(CUSTOMER_CHANGED).count(each) for each in accounts.values()} == dict.fromkeys(
            accounts.values(), rounds
        )

    watch(tmp_path, case)


def test_a_hundred_changes_of_a_customer_are_as_many_runs_as_events_and_then_it_is_quiet(
    environment: Environment,
) -> None:
    account, deal = environment.sell(environment.sale("Round And Round"))
    order = environment.order_in(deal, "active")
    environment.shown(deal, "active")
    taken_in(environment, account)
    runs = "SELECT run FROM customers WHERE id = ?"
    events, run = events_of(environment, order.customer_id), environment.record(runs, order.customer_id)

    for number in range(100):
        environment.crm.update("Account", account, Name=f"Round {number} GmbH")
    wait_until(lambda: in_billing(environment, order.customer_id).name == "Round 99 GmbH", 40, "the last name")
    wait_until(lambda: followed(environment, account), 20, "the customer is synced")
    taken_in(environment, account)
    before = events_of(environment, order.customer_id)
    environment.crm.update("Account", account, Description="what nobody else needs to know")
    taken_in(environment, account)

    assert 1 <= before - events <= 100
    assert environment.record(runs, order.customer_id) - run == before - events
    assert events_of(environment, order.customer_id) == before
