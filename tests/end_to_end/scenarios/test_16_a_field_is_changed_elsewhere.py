"""A field is changed in a system that does not own it: our own write is refused, somebody else's is reported with the
owner's value and repaired when asked, and another look finds nothing."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

import httpx
import pytest

from canonical.drift import Drift
from canonical.orders import Order, Page
from policies.problems import ProblemError
from system_apis.billing.stripe.client import at
from tests.support.environment import Environment
from tests.support.platforms import wait_until
from tiergate.dev.platform_views import billing_of, erp_of

DESK = "support-desk"


@pytest.fixture(scope="module")
def order(running: Environment) -> Order:
    """Return an order that is active, and that the CRM shows."""
    running.calm()
    _, deal = running.sell(running.sale("Elsewhere"))
    order = running.order_in(deal, "active")
    running.shown(deal, "active")
    wait_until(lambda: running.record("SELECT crm_status FROM orders WHERE id = ?", order.id) == "active", 10)
    assert checked_now(running, order.customer_id) == []
    return order


def checked_now(environment: Environment, record: str) -> list[Drift]:
    """Have a record checked now. Return the differences."""
    page: Page[Drift] = environment.channels.post(DESK, f"/support/v1/drift-looks/{record}", None, Page[Drift])
    return list(page.items)


def repaired(environment: Environment, found: Drift) -> Drift:
    return environment.channels.post(DESK, f"/support/v1/drifts/{found.id}/repair", None, Drift)


def read(environment: Environment, found: Drift) -> Drift:
    return environment.channels.get(DESK, f"/support/v1/drifts/{found.id}", Drift)


def in_billing(environment: Environment, order: Order) -> Any:
    assert order.plan
    return environment.stripe.v1.customers.retrieve(order.plan.contract.references["customer"])


def in_erp(environment: Environment, order: Order) -> Any:
    (found,) = environment.in_erp("party.party", ("code", "=", order.customer_id))
    return found


def seen(found: list[Drift]) -> list[tuple[str, str, str, str, str, str]]:
    return sorted((each.field, each.owner, each.owner_value, each.system, each.value, each.state) for each in found)


def test_our_own_write_of_a_field_that_is_not_ours_is_refused(environment: Environment, order: Order) -> None:
    async def write_to_both() -> None:
        async with billing_of(environment.sandbox) as billing:
            with pytest.raises(ProblemError) as refused:
                await billing.post(at("customers", in_billing(environment, order).id), "key", balance=100)
            assert (refused.value.problem.name, refused.value.problem.status) == ("not-owned", HTTPStatus.FORBIDDEN)
        async with erp_of(environment.sandbox) as (erp, _):
            with pytest.raises(ProblemError) as refused:
                await erp.call("model.party.party.write", [in_erp(environment, order).id], {"lang": 1})
            assert refused.value.problem.name == "not-owned"

    asyncio.run(write_to_both())
    assert in_billing(environment, order).balance == 0


def test_a_change_in_billing_is_found_by_its_event_and_repaired_when_asked(
    environment: Environment, order: Order
) -> None:
    customer = in_billing(environment, order)
    environment.stripe.v1.customers.update(
        customer.id, {"name": "Other GmbH", "address": {"line1": "Nowhere 1", "line2": "back yard"}}
    )

    def reported() -> list[Drift]:
        path = f"/support/v1/drifts?state=open&customer_id={order.customer_id}"
        page: Page[Drift] = environment.channels.get(DESK, path, Page[Drift])
        return list(page.items) if len(page.items) == 2 else []

    address, name = sorted(wait_until(reported, 20, "two drifts"), key=lambda each: each.field)
    assert (name.field, name.owner, name.owner_value) == ("customer.name", "crm", customer.name)
    assert (name.system, name.value, name.subject) == ("stripe", "Other GmbH", order.customer_id)
    assert (address.field, address.value[:21]) == ("customer.address", "Nowhere 1, back yard,")
    again = checked_now(environment, order.customer_id)
    assert [(each.id, each.since) for each in sorted(again, key=lambda each: each.field)] == [
        (address.id, address.since),
        (name.id, name.since),
    ]

    done = repaired(environment, name)

    assert (done.state, done.settled_by, done.since) == ("repaired", DESK, name.since)
    assert in_billing(environment, order).name == customer.name
    assert in_billing(environment, order).address.line1 == "Nowhere 1"  # that one nobody has asked for
    assert repaired(environment, name) == done
    assert repaired(environment, address).state == "repaired"
    kept = in_billing(environment, order).address
    assert (kept.line1, kept.line2 or "", kept.city) == (customer.address.line1, "", customer.address.city)
    assert checked_now(environment, order.customer_id) == []


def test_a_change_in_the_erp_is_reported_and_repaired(environment: Environment, order: Order) -> None:
    party = in_erp(environment, order)
    name, (mail,) = party.name, [each for each in party.contact_mechanisms if each.type == "email"]
    owned = mail.value
    party.name, mail.value = "Renamed in the books", "books@example.com"
    party.save()

    found = {each.field: each for each in checked_now(environment, order.customer_id)}

    assert seen(list(found.values())) == [
        ("customer.contact", "crm", owned, "tryton", "books@example.com", "open"),
        ("customer.name", "crm", name, "tryton", "Renamed in the books", "open"),
    ]
    assert [repaired(environment, each).state for each in found.values()] == ["repaired", "repaired"]
    now = in_erp(environment, order)
    assert (now.name, [each.value for each in now.contact_mechanisms]) == (name, [owned])
    assert checked_now(environment, order.customer_id) == []


def test_the_books_own_the_tax_number_that_billing_has_a_copy_of(environment: Environment, order: Order) -> None:
    customer = in_billing(environment, order)
    (number,) = environment.stripe.v1.customers.tax_ids.list(customer.id).data
    environment.stripe.v1.customers.tax_ids.delete(customer.id, number.id)

    (found,) = checked_now(environment, order.customer_id)

    assert seen([found]) == [("customer.tax_number", "erp", number.value, "stripe", "", "open")]
    assert repaired(environment, found).state == "repaired"
    assert [each.value for each in environment.stripe.v1.customers.tax_ids.list(customer.id).data] == [number.value]
    assert checked_now(environment, order.customer_id) == []


def test_a_field_of_billing_that_is_changed_in_the_crm_is_reported_and_repaired(
    environment: Environment, order: Order
) -> None:
    assert order.plan
    contract = order.plan.contract
    (row,) = environment.crm.query(f"SELECT Id, StartDate FROM Contract WHERE TiergateContract__c = '{contract.id}'")
    environment.crm.update("Contract", row["Id"], ContractTerm=36, StartDate="2026-01-01")

    start, term = sorted(checked_now(environment, contract.id), key=lambda each: each.field)

    assert seen([term]) == [("contract.term_months", "billing", "12", "salesforce", "36", "open")]
    assert (start.field, start.owner_value, start.value) == ("contract.starts_on", row["StartDate"], "2026-01-01")
    assert (term.subject, term.customer_id) == (contract.id, order.customer_id)
    assert repaired(environment, term).state == "repaired"
    kept = "SELECT StartDate, ContractTerm, Status FROM Contract"
    (now,) = environment.crm.query(f"{kept} WHERE Id = '{row['Id']}'")
    assert (now["StartDate"], now["ContractTerm"], now["Status"]) == ("2026-01-01", 12, "Activated")
    assert repaired(environment, start).state == "repaired"
    (now,) = environment.crm.query(f"{kept} WHERE Id = '{row['Id']}'")
    assert (now["StartDate"], now["ContractTerm"]) == (row["StartDate"], 12)
    assert checked_now(environment, contract.id) == []


def test_what_is_accepted_stays_until_a_side_changes_and_a_changed_owner_is_never_overruled(
    environment: Environment, order: Order
) -> None:
    customer = in_billing(environment, order)
    assert order.plan
    account, owned = order.plan.account_id, customer.name
    environment.stripe.v1.customers.update(customer.id, {"name": "Trading Name"})
    (found,) = checked_now(environment, order.customer_id)
    body = {"reason": "its invoices need it"}

    accepted = environment.channels.post(DESK, f"/support/v1/drifts/{found.id}/acceptance", body, Drift)

    assert (accepted.state, accepted.reason, accepted.settled_by) == ("accepted", "its invoices need it", DESK)
    assert [each.state for each in checked_now(environment, order.customer_id)] == ["accepted"]
    environment.stripe.v1.customers.update(customer.id, {"name": "Another Name"})
    assert seen(checked_now(environment, order.customer_id)) == [
        ("customer.name", "crm", owned, "stripe", "Another Name", "open")
    ]

    environment.crm.update("Account", account, Name="Owner's New Name")
    wait_until(lambda: in_billing(environment, order).name == "Owner's New Name", 20, "the CRM's name in billing")

    def is_over() -> bool:
        answer = repair(environment, found)
        return answer.status_code == HTTPStatus.OK and answer.json()["state"] == "gone"

    wait_until(is_over, 20, "a drift that is gone once the owner's change was followed")
    assert read(environment, found).state == "gone"
    assert in_billing(environment, order).name == "Owner's New Name"


def repair(environment: Environment, found: Drift) -> httpx.Response:
    url = f"{environment.sandbox.url('experience')}/support/v1/drifts/{found.id}/repair"
    answer = httpx.post(url, headers=environment.channels.headers(DESK))
    assert answer.status_code in {HTTPStatus.OK, HTTPStatus.CONFLICT}, answer.text
    return answer
