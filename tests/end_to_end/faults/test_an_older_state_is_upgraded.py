"""The state of an earlier version, with work in the middle of everything, is started with the present code and
finished."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import closing
from functools import partial
from pathlib import Path

import msgspec
import pytest

from canonical.parties import Customer
from policies.catalogue.check import load
from policies.outbound.layer_client import LayerClient
from process_apis.system_client import Platforms
from tests.support.environment import Environment
from tests.support.platforms import EXACTLY_ONE, german_vat, wait_until
from tests.support.recorded_states import STATES
from tiergate import composition


@pytest.fixture(params=sorted(STATES.glob("state-*")), ids=lambda path: path.name)
def recorded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, templates: Path
) -> Generator[Environment]:
    """Start the platforms and the layers as they were recorded. The process layer is not started yet."""
    environment = Environment(tmp_path_factory.mktemp("recorded"), templates, recorded=request.param)
    try:
        tell_the_erp_of_its_customers(environment)
        environment.calm()
        yield environment
    finally:
        environment.stop()


def tell_the_erp_of_its_customers(environment: Environment) -> None:
    issuer, client = composition.issuer(environment.settings), load().clients["process-layer"]
    token = partial(issuer.token, "process-layer", client)
    platforms = Platforms(LayerClient(environment.sandbox.url("system"), "system", token, 30))
    with closing(sqlite3.connect(environment.folder / "process.sqlite")) as connection:
        for (document,) in connection.execute("SELECT document FROM customers"):
            platforms.put_erp_customer(msgspec.json.decode(document, type=Customer))


def test_every_order_of_an_older_state_is_finished_with_exactly_one_of_everything(recorded: Environment) -> None:
    environment = recorded
    deals = {each["Name"].split()[0]: each["Id"] for each in environment.crm.query("SELECT Id, Name FROM Opportunity")}
    assert len(deals) == environment.record("SELECT COUNT(*) FROM orders")

    environment.start("process")

    correct_the_tax_number(environment, deals.pop("Held"))
    for deal in deals.values():
        environment.settled(environment.order_in(deal, "active"), 90)
    (renamed,) = wait_until(
        lambda: environment.in_erp("party.party", ("name", "=", "Waiting Renamed GmbH")), 40, "its name"
    )
    assert renamed.code == environment.order_of(deals["Waiting"]).customer_id
    assert {name: environment.counted(environment.order_of(deal)) for name, deal in deals.items()} == dict.fromkeys(
        deals, EXACTLY_ONE
    )
    assert environment.record("SELECT COUNT(*) FROM workflow_status WHERE status <> 'SUCCESS'") == 0


def correct_the_tax_number(environment: Environment, deal: str) -> None:
    order = environment.order_in(deal, "on_hold")
    (row,) = environment.crm.query(f"SELECT AccountId FROM Opportunity WHERE Id = '{deal}'")
    environment.crm.update("Account", row["AccountId"], VatNumber__c=german_vat("Held"))
    (case,) = environment.cases_of(order.id)
    environment.act(case.id, "retry")
