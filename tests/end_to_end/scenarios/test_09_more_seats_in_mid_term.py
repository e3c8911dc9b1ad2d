"""Seats are added while the activation still runs, and in mid-term: the change waits its turn, is prorated once, and
every system says the same."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from canonical.amendments import Amendment, AmendmentPreview, ContractTimeline
from canonical.orders import Order
from sandbox.salesperson import SaleLine
from tests.support.environment import Environment
from tests.support.platforms import wait_until

SEATS = (SaleLine("PLATFORM", 1), SaleLine("SEAT", 10))


def seat_line(order: Order) -> str:
    return next(each.line.id for each in order.lines if each.line.sku == "SEAT")


def contract_of(order: Order) -> str:
    assert order.plan
    return order.plan.contract.id


def quantity(order: Order, wanted: int) -> dict[str, Any]:
    return {"actions": [{"action": "quantity", "line": seat_line(order), "quantity": str(wanted)}]}


def amend(environment: Environment, order: Order, body: dict[str, Any], key: str) -> Amendment:
    path = f"/sales/v1/contracts/{contract_of(order)}/amendments"
    return environment.channels.post("sales-app", path, body, Amendment, key=key)


def amendment_in(environment: Environment, found: Amendment, *states: str, seconds: float = 60.0) -> Amendment:
    def look() -> Amendment | None:
        state = environment.record("SELECT state FROM amendments WHERE id = ?", found.id)
        if state not in states:
            return None
        return environment.channels.get("sales-app", f"/sales/v1/amendments/{found.id}", Amendment)

    return wait_until(look, seconds, f"the amendment {found.id} in {states}")


def test_seats_that_are_added_while_the_activation_runs_wait_for_it_and_are_prorated_once(
    environment: Environment,
) -> None:
    environment.behave(sku="SEAT", milliseconds=5000)
    _, deal = environment.sell(environment.sale("More Seats At Once", lines=SEATS))
    order = environment.order_in(deal, "provisioning")

    asked = amend(environment, order, quantity(order, 15), "more-seats-at-once")
    again = amend(environment, order, quantity(order, 15), "more-seats-at-once")
    assert again.id == asked.id
    waiting = wait_until(
        lambda: environment.record("SELECT blocked_reason FROM amendments WHERE id = ?", asked.id) or None, 20
    )
    assert waiting == "the contract's activation: its order is provisioning"

    environment.behave(sku="SEAT")
    done = amendment_in(environment, asked, "applied")

    agrees_everywhere(environment, environment.order_in(deal, "active"), done)


def agrees_everywhere(environment: Environment, order: Order, done: Amendment) -> None:
    """Check billing, the ERP, the CRM and our own records for ten seats that became fifteen."""
    assert order.plan
    assert done.preview
    contract = order.plan.contract
    subscription = environment.stripe.v1.subscriptions.retrieve(contract.references["subscription"])
    assert sorted(each.quantity or 0 for each in subscription["items"].data) == [1, 15]

    customer = contract.references["customer"]
    (extra,) = [
        each for each in environment.stripe.v1.invoices.list({"customer": customer}).data if each.id in done.invoices
    ]
    (previewed,) = done.preview.invoices
    assert (extra.total, extra.subtotal) == (previewed.total.amount, (previewed.total - previewed.tax).amount)
    assert all(each.explained for each in done.preview.explanations)

    def booked() -> Any:
        found = [each for each in environment.channels.postings(contract.id) if each.invoice_id == extra.id]
        return found if found and all(each.state == "posted" for each in found) else None

    postings = wait_until(booked, 60, f"the postings of {extra.id}")
    (invoice,) = [each for each in postings if each.kind == "invoice"]
    assert (invoice.amount, invoice.tax) == (previewed.total, previewed.tax)
    assert environment.shown(order.deal_id, "active")["TiergateDetail__c"].startswith("Seat 10 → 15 from ")

    timeline = environment.channels.get("sales-app", f"/sales/v1/contracts/{contract.id}", ContractTimeline)
    assert [each.mrr.amount for each in timeline.versions] == [50_000 + 10 * 2_000, 50_000 + 15 * 2_000]
    assert sum(each.mrr.amount for each in timeline.versions[1].deltas) == 5 * 2_000
    assert timeline.pending == ()


def test_a_preview_says_what_then_happens_and_changes_nothing(environment: Environment) -> None:
    order = environment.paid_order(environment.sale("Previewed Seats", lines=SEATS))
    assert order.plan
    path = f"/sales/v1/contracts/{contract_of(order)}/amendments/preview"
    body = quantity(order, 15)

    said: AmendmentPreview = environment.channels.post("sales-app", path, body, AmendmentPreview)

    invoices = environment.stripe.v1.invoices.list({"customer": order.plan.contract.references["customer"]}).data
    assert len(invoices) == 1
    assert said.differences == ()
    assert [each.total for each in said.postings] == [each.total for each in said.invoices]
    assert said.invoices[0].total.amount > 0
    timeline = environment.channels.get("sales-app", f"/sales/v1/contracts/{contract_of(order)}", ContractTimeline)
    assert len(timeline.versions) == 1


@pytest.mark.parametrize(
    ("action", "status", "problem"),
    [
        ({"action": "quantity", "line": "nothing", "quantity": "5"}, 422, "change-refused"),
        ({"action": "quantity", "line": "nothing", "quantity": "many"}, 422, "invalid-request"),
        ({"action": "double", "line": "nothing"}, 422, "invalid-request"),
    ],
)
def test_a_change_that_cannot_be_is_refused_with_a_problem_of_its_own(
    environment: Environment, action: dict[str, str], status: int, problem: str
) -> None:
    found = environment.orders()
    order = next(environment.channels.order(each.id) for each in found if each.state == "active")
    headers = environment.channels.headers("sales-app") | {"idempotency-key": f"refused-{action['action']}-{status}"}

    url = f"{environment.channels.url}/sales/v1/contracts/{contract_of(order)}/amendments"
    answer = httpx.post(url, headers=headers, json={"actions": [action]})

    assert (answer.status_code, answer.json()["type"]) == (status, f"/problems/{problem}")
