"""A whole day of events is replayed: a dry run says that nothing changes, and nothing changes on any platform. Nor does
it when the sources themselves offer all of it again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from canonical.event_log import LoggedEvent, ReplayPlan
from canonical.faults import Rejected
from canonical.lineage import Lineage
from canonical.orders import Order, Page
from canonical.process_events import SOURCE
from process_apis.records.database import open_database, postings
from tests.end_to_end.scenarios.test_02_the_same_close_five_times import offer
from tests.support.environment import Environment
from tests.support.platforms import EXACTLY_ONE, wait_until

TIERGATE = str(Path(sys.executable).with_name("tiergate"))
CLIENT = "platform-team"
DAY = {"since": "2026-01-01T00:00:00Z", "until": "2100-01-01T00:00:00Z"}


@pytest.fixture(scope="module")
def sold(running: Environment) -> Order:
    """Sell a deal, let the CRM change the customer, and return the order once all has settled."""
    running.calm()
    account, deal = running.sell(running.sale("Day By Day"))
    order = running.order_in(deal, "active")
    running.settled(order)
    running.shown(deal, "active")
    running.crm.update("Account", account, Name="Day After Day GmbH")
    synced = "SELECT next_attempt_at IS NULL AND run > 0 FROM customers WHERE id = ?"
    wait_until(lambda: running.record(synced, order.customer_id), 30, "the change of the customer")
    return order


def state_of(environment: Environment, order: Order) -> tuple[Any, ...]:
    """Return what the platforms and our tables have, but for the log's own notes."""
    tables = ("orders", "order_states", "postings", "cases", "events", "customers")
    rows = [environment.record(f"SELECT count(*) FROM {each}") for each in tables]
    changes = len(environment.stripe.v1.events.list({"limit": 100}).data)
    stamps = environment.crm.query("SELECT SystemModstamp FROM Opportunity ORDER BY Id")
    moves = len(environment.rows_in_erp("account.move", ["id"]))
    parties = environment.rows_in_erp("party.party", ["id", "write_date"])
    return rows, changes, stamps, moves, parties, environment.counted(order)


def replay(environment: Environment, **wanted: Any) -> ReplayPlan:
    return environment.channels.post(CLIENT, "/operations/v1/replays", DAY | wanted, ReplayPlan)


def test_a_dry_run_says_that_nothing_changes_and_nothing_does(environment: Environment, sold: Order) -> None:
    before = state_of(environment, sold)

    dry = replay(environment)
    done = replay(environment, go=True)

    assert dry.events >= 7
    assert {each.subscriber for each in dry.shares} >= {"accounting", "change_feeds", "customer_sync", "fulfilment"}
    assert [(plan.missing, plan.begun, plan.erased) for plan in (dry, done)] == [(0, False, 0)] * 2
    assert state_of(environment, sold) == before
    assert environment.counted(sold) == EXACTLY_ONE


def test_what_is_lost_is_made_by_a_replay_and_found_on_the_platforms(environment: Environment, sold: Order) -> None:
    invoice = sold.plan.contract.references["invoice"] if sold.plan else ""
    before = environment.counted(sold)
    with open_database(environment.settings.process_database()).begin() as connection:
        connection.execute(postings.delete().where(postings.c.invoice_id == invoice))
        for table in ("operation_outputs", "workflow_status"):  # nor was it ever worked on
            of_runs = sa.text(f"DELETE FROM {table} WHERE workflow_uuid LIKE :runs")
            connection.execute(of_runs, {"runs": f"%:{invoice}:%"})

    dry = replay(environment, subject=invoice)
    begun = tiergate(environment, "events", "replay", "--object", invoice, "--go")
    environment.settled(sold)

    assert [(each.subscriber, each.missing) for each in dry.shares] == [
        ("accounting", 1),
        ("accounting", 1),
        ("dunning", 0),
    ]
    assert "2 of 2 were replayed" in begun
    assert environment.counted(sold) == before


def test_all_that_the_sources_offer_again_changes_nothing_but_the_customer_is_read_once_more(
    environment: Environment, sold: Order
) -> None:
    before = environment.counted(sold)
    page: Page[LoggedEvent] = environment.channels.get(CLIENT, "/operations/v1/events?limit=100", Page[LoggedEvent])
    of_order = [each.event for each in reversed(page.items) if each.event.source != SOURCE]

    again = [offer(environment, each) for each in of_order]
    synced = "SELECT count(*) FROM customers WHERE next_attempt_at IS NOT NULL"
    wait_until(lambda: environment.record(synced) == 0, 30, "the customers are synced")
    environment.settled(sold)

    assert again == [False] * len(of_order)
    with pytest.raises(Rejected, match="may not enter the log"):
        offer(environment, next(each.event for each in page.items if each.event.source == SOURCE))
    assert environment.counted(sold) == before
    assert [each.kind for each in environment.cases_of(sold.id)] == []


def test_the_order_is_followed_from_the_deal_to_the_books(environment: Environment, sold: Order) -> None:
    assert sold.plan
    invoice, account = sold.plan.contract.references["invoice"], sold.plan.account_id
    number = environment.record("SELECT number FROM postings WHERE id = ? AND kind = 'invoice'", invoice)
    in_billing = sold.plan.customer.references["stripe"]

    found: Lineage = environment.channels.get(CLIENT, f"/operations/v1/lineage/{sold.id}", Lineage)
    others = [
        environment.channels.get(CLIENT, f"/operations/v1/lineage/{each}", Lineage)
        for each in (sold.deal_id, invoice, in_billing, account, sold.plan.contract.id)
    ]
    shown = tiergate(environment, "lineage", sold.id)

    words = [each.words for each in found.entries]
    for expected in (
        f"the deal {sold.deal_id} was closed as won, as revision 1",
        f"the invoice {invoice} was issued",
        f"the invoice {invoice} was paid in full",
    ):
        assert expected in words
    assert any(each.startswith(f"the invoice {invoice} is booked as number {number}: ") for each in words)
    assert [each.at for each in found.entries] == sorted(each.at for each in found.entries)
    assert all(each.entries for each in others)
    assert {sold.correlation_id} <= {each.correlation_id for each in found.entries}
    assert f"the invoice {invoice} was paid in full" in " ".join(shown.split())
    assert [line for line in shown.splitlines() if len(line) > 100] == []


def tiergate(environment: Environment, *arguments: str) -> str:
    """Run a command as who runs the layers, and return what it said."""
    command = [TIERGATE, *arguments, "--config", str(environment.sandbox.config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False, cwd=Path.cwd())
    assert done.returncode == 0, done.stderr
    return done.stdout
