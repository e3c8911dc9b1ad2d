"""Contracts of a year whose term ends, in virtual time, under a policy of their selling company."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

from canonical.amendments import ends_on
from canonical.orders import Order, Page
from canonical.renewals import Renewal
from policies.catalogue.model import SHIPPED
from sandbox.salesperson import SaleLine, close_deal, open_deal
from tests.support.amending import contract_of
from tests.support.environment import Environment
from tests.support.platforms import wait_until

LINES = (SaleLine("PLATFORM", 1), SaleLine("SEAT", 10))
POLICY = "\n[renewals.DE01]\nmode = '{}'\nnotice_days = 60\nuplift_percent = 5\ngrace_days = 14\n"


def governed(folder: Path, templates: Path, mode: str) -> Environment:
    """Return an environment in virtual time, of which DE01 renews in a mode."""
    path = folder / "catalogue.toml"
    path.write_text(SHIPPED.read_text() + POLICY.format(mode))
    variables = {"TIERGATE_GOVERNANCE_CATALOGUE": str(path)}
    return Environment(folder, templates, variables=variables, virtual_time=True)


def sold(environment: Environment, name: str) -> Order:
    """Return the paid order of a contract of a year, which the CRM has too."""
    sale = environment.sale(name, lines=LINES)
    _, deal = open_deal(environment.crm, sale, environment.wait(timedelta()).date())
    close_deal(environment.crm, deal)
    order = environment.order_in(deal, "active")
    environment.settled(order)
    query = f"SELECT Id FROM Contract WHERE TiergateContract__c = '{contract_of(order).id}'"
    wait_until(lambda: environment.crm.query(query), 20, "the contract in the CRM")
    return order


def term_of(order: Order) -> date:
    until = ends_on(contract_of(order))
    assert until
    return until


def go_to(environment: Environment, day: date) -> None:
    """Let the time pass until noon of a day, in UTC."""
    now = environment.wait(timedelta())
    environment.wait(timedelta(days=(day - now.date()).days, hours=12 - now.hour))


def renewal_in(environment: Environment, order: Order, *states: str) -> Renewal:
    """Return the renewal of a contract once it is in one of some states."""
    path = f"/sales/v1/renewals?customer_id={order.customer_id}"

    def look() -> Renewal | None:
        found: Page[Renewal] = environment.channels.get("sales-app", path, Page[Renewal])
        return next((each for each in found.items if each.state in states), None)

    return wait_until(look, 60, f"the renewal of {order.name} in {states}")


def invoices(environment: Environment, order: Order) -> list[Any]:
    return list(environment.stripe.v1.invoices.list({"customer": contract_of(order).references["customer"]}).data)
