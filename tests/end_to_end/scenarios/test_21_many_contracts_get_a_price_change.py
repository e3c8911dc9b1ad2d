"""The price of a product goes up for many contracts at once: shown, approved once, paused, killed in the middle, gone
on with, and taken back. No contract is changed twice, and none in part."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import httpx

from canonical.mass_changes import MassChange, MassChangeItem, MassItemState
from canonical.orders import Order, Page
from sandbox.salesperson import SaleLine
from tests.support.amending import contract_of, line_of, timeline
from tests.support.environment import Environment
from tests.support.platforms import wait_until

ACCOUNTS, DEALS = 4, 6
PATH = "/sales/v1/mass-changes"
CENT = Decimal("0.01")


def sold(environment: Environment) -> list[Order]:
    """Sell many contracts, several to each of some customers, and wait until all are active."""
    deals: list[str] = []
    for account in range(ACCOUNTS):
        sale = environment.sale(f"Many Contracts {account}", lines=(SaleLine("SEAT", 2), SaleLine("PLATFORM", 1)))
        account_id, deal = environment.sell(sale)
        environment.order_in(deal, "active")
        deals += [deal, *(environment.sell(sale, account_id)[1] for _ in range(DEALS - 1))]
    return [environment.order_in(each, "active", seconds=120) for each in deals]


def planned(environment: Environment, orders: list[Order], key: str) -> MassChange:
    """Ask for seats that cost five percent more, and wait until that is shown."""
    body: dict[str, Any] = {
        "sku": "SEAT",
        "legal_entity": "DE01",
        "price": {"by": "percentage", "basis_points": 500},
        "customers": sorted({each.customer_id for each in orders}),
    }
    asked = environment.channels.post("sales-app", PATH, body, MassChange, key=key)
    return in_state(environment, asked.id, "previewed")


def found(environment: Environment, mass_change_id: str) -> MassChange:
    return environment.channels.get("sales-app", f"{PATH}/{mass_change_id}", MassChange)


def in_state(environment: Environment, mass_change_id: str, state: str, seconds: float = 180) -> MassChange:
    def look() -> MassChange | None:
        if environment.record("SELECT state FROM mass_changes WHERE id = ?", mass_change_id) != state:
            return None
        return found(environment, mass_change_id)

    return wait_until(look, seconds, f"the mass change {mass_change_id} in {state}")


def act(environment: Environment, mass_change_id: str, action: str) -> MassChange:
    return environment.channels.post("sales-app", f"{PATH}/{mass_change_id}/actions", {"action": action}, MassChange)


def approve(environment: Environment, mass_change_id: str) -> None:
    (case,) = [each for each in environment.cases_of(mass_change_id) if each.state == "open"]
    assert case.team == "finance"
    environment.decide(case.id, "approve", "the prices of the year", on_behalf_of="kim@finance.example")


def counted(environment: Environment, mass_change_id: str) -> dict[MassItemState, int]:
    return {each.state: each.contracts for each in found(environment, mass_change_id).counts}


def items(environment: Environment, mass_change_id: str) -> list[MassChangeItem]:
    page = environment.channels.get("sales-app", f"{PATH}/{mass_change_id}/items?limit=100", Page[MassChangeItem])
    return list(page.items)


def price(order: Order) -> Decimal:
    return next(each.line.terms.unit_price for each in order.lines if each.line.sku == "SEAT")


def changes_of(environment: Environment, order: Order) -> list[str]:
    """Return the changes that billing has made of a contract, by the ids that it was given."""
    names = contract_of(order).references
    metadata = environment.stripe.v1.subscriptions.retrieve(names["subscription"]).metadata
    return metadata["tiergate_changes"].split() if "tiergate_changes" in metadata else []


def test_many_contracts_get_a_new_price_each_once_and_whole_whatever_happens_in_between(
    environment: Environment,
) -> None:
    orders = sold(environment)
    change = planned(environment, orders, "prices-of-many")
    (worth,) = change.revenue
    assert (worth.contracts, worth.delta.amount > 0) == (len(orders), True)
    assert [(each.state, each.contracts) for each in change.counts] == [("to_do", len(orders))]
    assert planned(environment, orders, "prices-of-many").id == change.id

    act(environment, change.id, "submit")
    refused = httpx.post(
        f"{environment.channels.url}/finance/v1/cases/{environment.cases_of(change.id)[0].id}/approval",
        headers=environment.channels.headers("sales-app"),
        json={"decision": "approve"},
    )
    assert refused.status_code == 403
    environment.fault("billing", kind="slow", milliseconds=100, times=0)
    approve(environment, change.id)

    wait_until(lambda: counted(environment, change.id).get("changed", 0) >= 3, 60, "some are changed")
    environment.kill("process")
    environment.start("process")
    act(environment, change.id, "pause")
    wait_until(lambda: not counted(environment, change.id).get("on_its_way"), 120, "nothing is on its way")
    paused = counted(environment, change.id)
    assert set(paused) == {"changed", "to_do"}
    assert found(environment, change.id).state == "paused"
    untouched = {each.contract_id for each in items(environment, change.id) if each.state == "to_do"}
    assert all(not changes_of(environment, each) for each in orders if contract_of(each).id in untouched)

    environment.kill_and_start("process")
    act(environment, change.id, "resume")
    done = in_state(environment, change.id, "done")

    assert [(each.state, each.contracts) for each in done.counts] == [("changed", len(orders))]
    amendments = {each.contract_id: each.amendment_id for each in items(environment, change.id)}
    for order in orders:
        contract = contract_of(order).id
        assert changes_of(environment, order) == [amendments[contract]]
        after = timeline(environment, order).versions[-1].lines
        dearer = (price(order) * Decimal("1.05")).quantize(CENT, ROUND_HALF_UP)
        assert {each.sku: each.terms.unit_price for each in after}["SEAT"] == dearer
        assert len(after) == len(order.lines) == 2
        assert line_of(order, "SEAT") in {each.id for each in after}
        assert len(timeline(environment, order).versions) == 2

    act(environment, change.id, "undo")
    approve(environment, change.id)
    undone = in_state(environment, change.id, "done")

    assert (undone.undoing, [(each.state, each.contracts) for each in undone.counts]) == (
        True,
        [("undone", len(orders))],
    )
    for order in orders:
        after = timeline(environment, order).versions[-1].lines
        assert {each.sku: each.terms.unit_price for each in after}["SEAT"] == price(order)
        assert len(changes_of(environment, order)) == 2
