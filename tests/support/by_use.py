"""Contracts whose seats are charged by the hour, sold through the CRM in virtual time."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from canonical.orders import Order
from policies.catalogue.model import SHIPPED
from sandbox.salesperson import SaleLine, close_deal, open_deal
from tests.support.amending import contract_of
from tests.support.environment import Environment
from tests.support.platforms import wait_until

CENTS = 3
METERS = '\n[meters.seat_hours]\nsku = "SEAT"\nunit = "hour"\naggregation = "sum"\n'
HANDED_OVER = "SELECT state FROM usage_periods WHERE contract_id = ? ORDER BY starts_at DESC LIMIT 1"


def metering(folder: Path, templates: Path) -> Environment:
    """Return an environment in virtual time, in which seats are charged by the hour."""
    catalogue = folder / "catalogue.toml"
    catalogue.write_text(SHIPPED.read_text() + METERS)
    variables = {"TIERGATE_GOVERNANCE_CATALOGUE": str(catalogue)}
    return Environment(folder, templates, variables=variables, virtual_time=True)


def closed(environment: Environment, name: str, *lines: SaleLine) -> str:
    """Sell a contract of a year through the CRM, with the hours of seats at three cents each, and with other lines.
    Return the deal."""
    sale = environment.sale(name, lines=(*lines, SaleLine("SEAT", 1, CENTS / 100)))
    _, deal = open_deal(environment.crm, sale, environment.wait(timedelta()).date())
    close_deal(environment.crm, deal)
    return deal


def charged_by_use(environment: Environment, name: str, *lines: SaleLine) -> Order:
    """Return the order of such a contract, which the CRM has too."""
    order = environment.order_in(closed(environment, name, *lines), "active")
    record_of(environment, order)
    return order


def record_of(environment: Environment, order: Order) -> str:
    """Return the CRM's own id of the contract of an order."""
    query = f"SELECT Id FROM Contract WHERE TiergateContract__c = '{contract_of(order).id}'"
    return str(wait_until(lambda: environment.crm.query(query), 20, "the contract in the CRM")[0]["Id"])


def items(environment: Environment, order: Order) -> list[Any]:
    """Return the items of what bills a contract."""
    key = contract_of(order).references["subscription"]
    return list(environment.stripe.v1.subscriptions.retrieve(key)["items"].data)


def end_of_period(environment: Environment, order: Order) -> datetime:
    return datetime.fromtimestamp(items(environment, order)[0].current_period_end, UTC)


def hour_prices(environment: Environment, order: Order) -> list[int]:
    """Return what an hour costs, in cents, of each item that is charged by use."""
    found = [each for each in items(environment, order) if each.price.recurring.usage_type == "metered"]
    assert all("quantity" not in each for each in found)
    return [each.price.unit_amount or 0 for each in found]


def use(environment: Environment, order: Order, hours: str) -> None:
    said = {"contract_id": contract_of(order).id, "meter": "seat_hours", "quantity": hours}
    record = said | {"id": f"hours-{hours}", "at": environment.wait(timedelta()).isoformat()}
    url, headers = environment.sandbox.url("experience"), environment.channels.headers("sales-app")
    typed = headers | {"content-type": "application/x-ndjson"}
    answer = httpx.post(f"{url}/sales/v1/usage", content=json.dumps(record), headers=typed)
    assert answer.json()["taken"] == 1, answer.text


def until(environment: Environment, moment: datetime, *, after: timedelta) -> None:
    """Let the time pass until some time after a moment."""
    environment.wait(moment - environment.wait(timedelta()) + after)


def billed(environment: Environment, order: Order, ends_at: datetime) -> None:
    """Let a period be handed over and its invoice be issued, and what waited for that go on."""
    until(environment, ends_at, after=timedelta(minutes=20))
    contract = contract_of(order).id
    wait_until(lambda: environment.record(HANDED_OVER, contract) == "handed_over", 60, "the handover")
    environment.wait(timedelta(hours=2))
    customer = contract_of(order).references["customer"]
    drafts: Any = {"customer": customer, "status": "draft"}
    wait_until(lambda: not environment.stripe.v1.invoices.list(drafts).data, 30, "the invoice is issued")
    environment.wait(timedelta(minutes=15))


def invoices_of(environment: Environment, order: Order, amount: int) -> list[str]:
    """Return the ids of the issued invoices with a line of an amount, once for each such line."""
    rows = environment.stripe.v1.invoices.list({"customer": contract_of(order).references["customer"]}).data
    issued = [each for each in rows if each.status != "draft"]
    return [str(each.id) for each in issued for line in each.lines.data if line.amount == amount]


def posted(environment: Environment, invoice: str) -> None:
    query = "SELECT state FROM postings WHERE kind = 'invoice' AND invoice_id = ?"
    wait_until(lambda: environment.record(query, invoice) == "posted", 60, "the invoice in the books")
