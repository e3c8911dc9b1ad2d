"""Seats are added while the activation still runs: the change waits its turn, is prorated once, and every system says
the same."""

from __future__ import annotations

import httpx
import pytest

from sandbox.salesperson import SaleLine
from tests.support.amending import (
    agrees_everywhere,
    amend,
    amendment_in,
    contract_of,
    extra_invoice,
    preview,
    quantity,
    timeline,
)
from tests.support.environment import Environment
from tests.support.platforms import wait_until

SEATS = (SaleLine("PLATFORM", 1), SaleLine("SEAT", 10))


def test_seats_that_are_added_while_the_activation_runs_wait_for_it_and_are_prorated_once(
    environment: Environment,
) -> None:
    environment.behave(sku="SEAT", milliseconds=5000)
    _, deal = environment.sell(environment.sale("More Seats At Once", lines=SEATS))
    order = environment.order_in(deal, "provisioning")

    asked = amend(environment, order, quantity(order, "SEAT", 15), "more-seats-at-once")
    again = amend(environment, order, quantity(order, "SEAT", 15), "more-seats-at-once")
    assert again.id == asked.id
    waiting = wait_until(
        lambda: environment.record("SELECT blocked_reason FROM amendments WHERE id = ?", asked.id) or None, 20
    )
    assert waiting == "the contract's activation: its order is provisioning"

    environment.behave(sku="SEAT")
    done = amendment_in(environment, asked, "applied")

    order = environment.order_in(deal, "active")
    agrees_everywhere(environment, order, done)
    subscription = environment.stripe.v1.subscriptions.retrieve(contract_of(order).references["subscription"])
    assert sorted(each.quantity or 0 for each in subscription["items"].data) == [1, 15]
    assert environment.shown(deal, "active")["TiergateDetail__c"].startswith("Seat 10 → 15 from ")
    shown = timeline(environment, order)
    assert [each.mrr.amount for each in shown.versions] == [50_000 + 10 * 2_000, 50_000 + 15 * 2_000]
    assert sum(each.mrr.amount for each in shown.versions[1].deltas) == 5 * 2_000
    assert shown.pending == ()


def test_a_preview_says_what_then_happens_and_changes_nothing(environment: Environment) -> None:
    order = environment.paid_order(environment.sale("Previewed Seats", lines=SEATS))

    said = preview(environment, order, quantity(order, "SEAT", 15))

    customer = contract_of(order).references["customer"]
    assert len(environment.stripe.v1.invoices.list({"customer": customer}).data) == 1
    assert said.differences == ()
    assert [each.total for each in said.postings] == [each.total for each in said.invoices]
    assert said.invoices[0].total.amount > 0
    assert len(timeline(environment, order).versions) == 1


def test_a_line_that_ends_at_once_is_credited_and_the_rest_goes_on(environment: Environment) -> None:
    lines = (SaleLine("PLATFORM", 1), SaleLine("SEAT", 3))
    order = environment.paid_order(environment.sale("Fewer Lines", lines=lines))
    seat = quantity(order, "SEAT", 1)["actions"][0]["line"]

    asked = amend(environment, order, {"actions": [{"action": "remove", "line": seat}]}, "a-line-ends")
    waiting = amendment_in(environment, asked, "awaiting_approval")
    (case,) = environment.cases_of(asked.id)
    assert (case.kind, case.team) == ("amendment_approval", "finance")
    assert waiting.preview
    assert case.reason.startswith(
        f"a credit of {-(waiting.preview.invoices[0].total - waiting.preview.invoices[0].tax)}"
    )
    environment.decide(case.id, "approve", "they were oversold", on_behalf_of="kim@finance.example")
    done = amendment_in(environment, asked, "applied")

    agrees_everywhere(environment, order, done)
    assert extra_invoice(environment, order, done).total < 0
    subscription = environment.stripe.v1.subscriptions.retrieve(contract_of(order).references["subscription"])
    assert [each.quantity for each in subscription["items"].data] == [1]
    assert subscription.status == "active"
    wait_until(lambda: environment.record("SELECT next_attempt_at FROM amendments WHERE id = ?", asked.id) is None, 20)
    assert [each["quantity"] for each in environment.jobs(order.id) if each["line_id"] == seat] == ["3", "0"]


def test_a_contract_that_is_cancelled_at_once_ends_everywhere(environment: Environment) -> None:
    order = environment.paid_order(environment.sale("Cancelled Contract", lines=(SaleLine("SEAT", 1),)))

    asked = amend(environment, order, {"actions": [{"action": "cancel"}]}, "the-end")
    done = amendment_in(environment, asked, "applied")

    agrees_everywhere(environment, order, done)
    subscription = environment.stripe.v1.subscriptions.retrieve(contract_of(order).references["subscription"])
    assert subscription.status == "canceled"
    wait_until(lambda: {each["state"] for each in environment.jobs(order.id)} == {"removed"}, 20)
    assert environment.shown(order.deal_id, "active")["TiergateDetail__c"].startswith("ended from ")
    headers = environment.channels.headers("sales-app") | {"idempotency-key": "after-the-end"}
    url = f"{environment.channels.url}/sales/v1/contracts/{contract_of(order).id}/amendments"
    refused = httpx.post(url, headers=headers, json=quantity(order, "SEAT", 2))
    assert (refused.status_code, refused.json()["type"]) == (409, "/problems/contract-over")


@pytest.mark.parametrize(
    ("action", "problem"),
    [
        ({"action": "quantity", "line": "nothing", "quantity": "5"}, "change-refused"),
        ({"action": "quantity", "line": "nothing", "quantity": "many"}, "invalid-request"),
        ({"action": "double", "line": "nothing"}, "invalid-request"),
    ],
)
def test_a_change_that_cannot_be_is_refused_with_a_problem_of_its_own(
    environment: Environment, action: dict[str, str], problem: str
) -> None:
    orders = map(environment.channels.order, (each.id for each in environment.orders() if each.state == "active"))
    order = next(each for each in orders if each.lines and len(timeline(environment, each).versions) == 1)
    headers = environment.channels.headers("sales-app") | {"idempotency-key": f"refused-{problem}-{action['action']}"}

    url = f"{environment.channels.url}/sales/v1/contracts/{contract_of(order).id}/amendments"
    answer = httpx.post(url, headers=headers, json={"actions": [action]})

    assert (answer.status_code, answer.json()["type"]) == (422, f"/problems/{problem}")
