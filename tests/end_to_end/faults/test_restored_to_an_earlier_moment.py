"""The layers are restored to a moment before the last sales: the platforms are ahead of them, nothing is doubled, and
nothing is lost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import CliRunner, Result

from canonical.orders import Order
from policies.audit.records import sealing_key
from policies.audit.verify import export, verify
from tests.support.environment import Environment
from tests.support.partners import NORD, Partner
from tests.support.platforms import EXACTLY_ONE, wait_until
from tiergate.cli.main import cli
from tiergate.dev.layers import LAYERS
from tiergate.dev.processes import stop_all

KEY = "placed-after-the-backup"


def run(environment: Environment, *arguments: str | Path) -> Result:
    """Run a command as the administrator of the layers' machine."""
    words = [*map(str, arguments), "--config", str(environment.sandbox.config)]
    return CliRunner().invoke(cli, words, catch_exceptions=False)


def everything(environment: Environment) -> dict[str, int]:
    """Return how much there is of what we create, on all platforms together."""
    billing = environment.stripe.v1
    every: dict[str, Sequence[object]] = {
        "customers": list(billing.customers.list({"limit": 100}).auto_paging_iter()),
        "schedules": list(billing.subscription_schedules.list({"limit": 100}).auto_paging_iter()),
        "subscriptions": list(billing.subscriptions.list({"limit": 100, "status": "all"}).auto_paging_iter()),
        "invoices": list(billing.invoices.list({"limit": 100}).auto_paging_iter()),
        "charges": list(billing.charges.list({"limit": 100}).auto_paging_iter()),
        "parties": environment.rows_in_erp("party.party", ["id"]),
        "posted": environment.rows_in_erp("account.invoice", ["id"], ("state", "in", ["posted", "paid"])),
        "moves": environment.rows_in_erp("account.move", ["id"]),
        "deals": list(environment.crm.query("SELECT Id FROM Opportunity")),
        "contracts": list(environment.crm.query("SELECT Id FROM Contract")),
    }
    return {name: len(found) for name, found in every.items()}


class Sold(NamedTuple):
    """The orders before the restore, by what was special about each, and what the platforms had of all."""

    orders: dict[str, Order]
    jobs: dict[str, int]
    everything: dict[str, int]


@pytest.fixture(scope="module")
def restored(running: Environment, tmp_path_factory: pytest.TempPathFactory) -> tuple[Environment, Sold]:
    """Sell before a backup, while it is made and after it; then restore it and start the layers again."""
    environment, backup = running, tmp_path_factory.mktemp("backups") / "first"
    environment.calm()
    before = environment.paid_order(environment.sale("Sold Before", partner=NORD))
    environment.behave(sku="*", outcome="succeed", milliseconds=3000)
    _, under_way = environment.sell(environment.sale("Under Way"))
    environment.order_in(under_way, "provisioning")
    done = run(environment, "backup", backup)
    assert done.exit_code == 0, done.stderr
    environment.calm()
    _, after = environment.sell(environment.sale("Sold After"))
    placed = Partner(environment).place(before.customer_id, KEY).json()["id"]
    deals = {"under way": under_way, "after": after, "placed": environment.channels.order(placed).deal_id}
    orders = {name: environment.order_in(deal, "active") for name, deal in deals.items()} | {"before": before}
    for each in orders.values():
        environment.settled(each)
    wait_until(lambda: environment.shown(after, "active"), 10)
    sold = Sold(orders, {each.id: len(environment.jobs(each.id)) for each in orders.values()}, everything(environment))

    stop_all(environment.children[each] for each in LAYERS)
    done = run(environment, "restore", backup, "--move-aside")
    assert done.exit_code == 0, done.stderr
    assert environment.record("SELECT COUNT(*) FROM orders WHERE deal_id = ?", after) == 0
    for each in LAYERS:
        environment.start(each)
    return environment, sold


def test_every_order_comes_to_the_same_end_with_the_same_records_and_nothing_twice(
    restored: tuple[Environment, Sold],
) -> None:
    environment, sold = restored

    again = {name: environment.order_in(each.deal_id, "active") for name, each in sold.orders.items()}
    for each in again.values():
        environment.settled(each)

    assert {name: each.id for name, each in again.items()} == {name: each.id for name, each in sold.orders.items()}
    for name, each in again.items():
        first = sold.orders[name]
        assert each.plan is not None
        assert first.plan is not None
        assert each.plan.contract.references == first.plan.contract.references
        assert each.customer_id == first.customer_id
    assert environment.counted(again["after"]) == environment.counted(again["under way"]) == EXACTLY_ONE
    assert everything(environment) == sold.everything
    assert {each.id: len(environment.jobs(each.id)) for each in again.values()} == sold.jobs


def test_the_same_key_is_the_same_order(restored: tuple[Environment, Sold]) -> None:
    environment, sold = restored
    environment.order_in(sold.orders["placed"].deal_id, "active")

    answer = Partner(environment).place(sold.orders["before"].customer_id, KEY)

    assert answer.json()["id"] == sold.orders["placed"].id
    assert everything(environment) == sold.everything


def test_what_an_order_shows_in_the_crm_is_what_it_was(restored: tuple[Environment, Sold]) -> None:
    environment, sold = restored

    shown = environment.shown(sold.orders["after"].deal_id, "active")

    assert shown["TiergateOrder__c"] == sold.orders["after"].id


def test_the_audit_logs_are_whole_and_say_that_the_rest_was_restored(restored: tuple[Environment, Sold]) -> None:
    environment, _ = restored
    key = sealing_key(environment.settings.audit_key())
    for layer in LAYERS:
        files = environment.settings.audit_files(layer)

        _, broken = verify(files, key)

        assert broken == []
        of_restores = [each for each in export([files], None, None, None) if b'"operation":"restore_backup"' in each]
        assert len(of_restores) == 1
