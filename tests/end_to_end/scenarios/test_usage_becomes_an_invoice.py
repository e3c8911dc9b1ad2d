"""What was used in a period is on its invoice once, and in the books, whatever is killed on the way."""

from __future__ import annotations

import json
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from canonical.orders import Order
from policies.catalogue.model import SHIPPED
from tests.support.amending import contract_of
from tests.support.environment import Environment
from tests.support.platforms import wait_until
from tests.support.renewing import sold

METERS = '\n[meters.seat_hours]\nsku = "SEAT"\nunit = "hour"\naggregation = "sum"\n'
STATE = "SELECT state FROM usage_periods WHERE contract_id = ?"
CENTS = 3


@pytest.fixture
def metered(tmp_path: Path, templates: Path) -> Generator[Environment]:
    catalogue = tmp_path / "catalogue.toml"
    catalogue.write_text(SHIPPED.read_text() + METERS)
    variables = {"TIERGATE_GOVERNANCE_CATALOGUE": str(catalogue)}
    environment = Environment(tmp_path, templates, variables=variables, virtual_time=True)
    yield environment
    environment.stop()


def charged_by_use(environment: Environment, order: Order) -> datetime:
    """Let billing charge the contract by the hours of its seats, too. Return the end of the period that runs."""
    api, subscription = environment.stripe.v1, contract_of(order).references["subscription"]
    meter: Any = {"display_name": "Hours", "event_name": "hours", "default_aggregation": {"formula": "sum"}}
    recurring = {"interval": "year", "usage_type": "metered", "meter": api.billing.meters.create(meter).id}
    price: Any = {"product": "SEAT", "currency": "eur", "unit_amount": CENTS, "recurring": recurring}
    changed: Any = {"items": [{"price": api.prices.create(price).id}]}
    item = api.subscriptions.update(subscription, changed)["items"].data[0]
    return datetime.fromtimestamp(item.current_period_end, UTC)


def use(environment: Environment, order: Order, hours: str) -> None:
    said = {"contract_id": contract_of(order).id, "meter": "seat_hours", "quantity": hours}
    record = said | {"id": f"hours-{hours}", "at": environment.wait(timedelta()).isoformat()}
    url, headers = environment.sandbox.url("experience"), environment.channels.headers("sales-app")
    typed = headers | {"content-type": "application/x-ndjson"}
    answer = httpx.post(f"{url}/sales/v1/usage", content=json.dumps(record), headers=typed)
    assert answer.json()["taken"] == 1


def with_usage(environment: Environment, order: Order) -> list[str]:
    """Return the ids of the issued invoices with a line for 150 hours, once for each such line."""
    rows = environment.stripe.v1.invoices.list({"customer": contract_of(order).references["customer"]}).data
    issued = [each for each in rows if each.status != "draft"]
    return [str(each.id) for each in issued for line in each.lines.data if line.amount == 150 * CENTS]


def test_usage_is_on_the_invoice_of_its_period_once_and_in_the_books(metered: Environment) -> None:
    order = sold(metered, "Used by the hour")
    contract = contract_of(order).id
    ends_at = charged_by_use(metered, order)
    for hours in ("100", "50"):
        use(metered, order, hours)

    metered.fault("billing", kind="late", matching="meter_events", milliseconds=2000)
    metered.wait(ends_at - metered.wait(timedelta()) + timedelta(minutes=20))
    wait_until(lambda: metered.faults_left("billing") == 0, 60, "the event is at billing, and its answer is not here")
    metered.kill_and_start("process")
    metered.wait(timedelta(minutes=3))
    wait_until(lambda: metered.record(STATE, contract) == "handed_over", 60, "the handover")
    metered.wait(timedelta(hours=2))

    (invoice,) = wait_until(lambda: with_usage(metered, order), 30, "the invoice with what was used")

    posted = "SELECT state FROM postings WHERE kind = 'invoice' AND invoice_id = ?"
    wait_until(lambda: metered.record(posted, invoice) == "posted", 60, "the invoice in the books")
