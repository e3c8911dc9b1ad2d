"""A change of a contract is taken back by a change of its own: billing credits it as it was previewed, the books keep
both, and every system has the contract as it was."""

from __future__ import annotations

import httpx

from canonical.amendments import Amendment
from sandbox.salesperson import SaleLine
from tests.support.amending import amend, amendment_in, booked, contract_of, line_of, quantity, timeline
from tests.support.environment import Environment
from tests.support.platforms import wait_until


def carried_out(environment: Environment, asked: Amendment) -> Amendment:
    """Return an amendment once it is applied, which somebody approves where that is needed."""
    found = amendment_in(environment, asked, "applied", "awaiting_approval")
    if found.state == "awaiting_approval":
        (case,) = environment.cases_of(asked.id)
        environment.decide(case.id, "approve", "it was a mistake", on_behalf_of="kim@finance.example")
    return amendment_in(environment, asked, "applied")


def reversal(amendment: Amendment) -> dict[str, list[dict[str, str]]]:
    return {"actions": [{"action": "reverse", "amendment": amendment.id}]}


def test_a_line_that_ended_by_mistake_comes_back_under_its_own_id_and_both_are_in_the_books(
    environment: Environment,
) -> None:
    lines = (SaleLine("PLATFORM", 1), SaleLine("SEAT", 3))
    order = environment.paid_order(environment.sale("Reversed Change", lines=lines))
    seat = line_of(order, "SEAT")
    ended = carried_out(
        environment, amend(environment, order, {"actions": [{"action": "remove", "line": seat}]}, "ended")
    )

    done = carried_out(environment, amend(environment, order, reversal(ended), "reversed"))

    for each in (ended, done):
        assert each.preview
        (previewed,), (issued,) = each.preview.invoices, each.invoices
        posting = booked(environment, order, issued)
        assert environment.stripe.v1.invoices.retrieve(issued).total == previewed.total.amount
        assert (posting.amount, posting.tax) == (previewed.total, previewed.tax)
        assert all(part.explained for part in each.preview.explanations)
    subscription = environment.stripe.v1.subscriptions.retrieve(contract_of(order).references["subscription"])
    assert sorted(each.quantity or 0 for each in subscription["items"].data) == [1, 3]
    shown = timeline(environment, order)
    assert shown.present
    assert shown.present.lines == shown.versions[0].lines
    assert sum(each.mrr.amount for version in shown.versions for each in version.deltas) == 0
    assert [each["quantity"] for each in environment.jobs(order.id) if each["line_id"] == seat] == ["3", "0", "3"]

    headers = environment.channels.headers("sales-app") | {"idempotency-key": "reversed-twice"}
    url = f"{environment.channels.url}/sales/v1/contracts/{contract_of(order).id}/amendments"
    again = httpx.post(url, headers=headers, json=reversal(ended))
    assert (again.status_code, again.json()["type"]) == (422, "/problems/change-refused")
    assert again.json()["errors"][0]["reason"] == f"Seat was changed again with {done.id}: reverse that one first"


def test_an_end_with_the_period_is_taken_back_in_time_and_everything_goes_on(environment: Environment) -> None:
    order = environment.paid_order(environment.sale("Stays After All", lines=(SaleLine("SEAT", 1),)))
    body = {"actions": [{"action": "cancel"}], "effective": "period_end"}
    ended = carried_out(environment, amend(environment, order, body, "leaves"))
    name = contract_of(order).references["subscription"]
    assert environment.stripe.v1.subscriptions.retrieve(name).cancel_at_period_end

    done = carried_out(environment, amend(environment, order, reversal(ended), "stays"))

    assert (done.invoices, done.effective_at) == ((), ended.effective_at)
    subscription = environment.stripe.v1.subscriptions.retrieve(name)
    assert (subscription.status, subscription.cancel_at_period_end) == ("active", False)
    assert environment.record("SELECT next_attempt_at FROM amendments WHERE id = ?", ended.id) is None
    assert [each["state"] for each in environment.jobs(order.id)] == ["provisioned"]
    more = amend(environment, order, quantity(order, "SEAT", 2), "more-after-all")
    assert len(amendment_in(environment, more, "applied").invoices) == 1
    wait_until(lambda: len(environment.jobs(order.id)) == 2, 20, "the second seat")
