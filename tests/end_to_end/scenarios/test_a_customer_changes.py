"""What the CRM changes of a customer is followed everywhere, once, and our own writing sets nothing going round."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from canonical.cases import Case
from canonical.orders import Order
from tests.support.environment import Environment
from tests.support.platforms import wait_until

CHANGED = "com.tiergate.crm.customer.changed.v1"


@pytest.fixture(scope="module")
def bought(running: Environment) -> tuple[str, Order]:
    """Return the account of a customer whose first order is active and shown in the CRM."""
    running.calm()
    account, deal = running.sell(running.sale("Changing"))
    order = running.order_in(deal, "active")
    running.shown(deal, "active")
    taken_in(running, account)  # which holds what the order has just written there
    assert events_of(running, order.customer_id) == 0
    return account, order


def events_of(environment: Environment, customer_id: str) -> int:
    """Return how many events about a customer were taken in."""
    return int(environment.record("SELECT COUNT(*) FROM events WHERE type = ? AND subject = ?", CHANGED, customer_id))


def in_billing(environment: Environment, customer_id: str) -> Any:
    (found,) = environment.stripe.v1.customers.search({"query": f"metadata['tiergate_id']:'{customer_id}'"}).data
    return found


def in_erp(environment: Environment, customer_id: str) -> Any:
    (found,) = environment.in_erp("party.party", ("code", "=", customer_id))
    return found


def followed(environment: Environment, account: str) -> bool:
    (row,) = environment.crm.query(f"SELECT TiergateCustomer__c FROM Account WHERE Id = '{account}'")
    return not environment.record("SELECT next_attempt_at FROM customers WHERE id = ?", row["TiergateCustomer__c"])


def taken_in(environment: Environment, account: str) -> None:
    """Wait until the change feed has taken in all that happened to the account until now."""
    (row,) = environment.crm.query(f"SELECT SystemModstamp FROM Account WHERE Id = '{account}'")
    changed, cursor = datetime.fromisoformat(row["SystemModstamp"]), environment.folder / "cursors" / "salesforce"
    wait_until(lambda: datetime.fromisoformat(cursor.read_text()) >= changed, 20, "a look at the account")


def test_a_new_name_address_and_contact_reach_billing_and_the_erp(
    environment: Environment, bought: tuple[str, Order]
) -> None:
    account, order = bought
    (contact,) = environment.crm.query(f"SELECT Id FROM Contact WHERE AccountId = '{account}'")

    environment.crm.update("Account", account, Name="Umbenannt GmbH", BillingStreet="Neue Straße 7", BillingCity="Köln")
    wait_until(lambda: in_billing(environment, order.customer_id).name == "Umbenannt GmbH", 20, "the name in billing")
    environment.crm.update("Contact", contact["Id"], Email="new@example.com")
    wait_until(lambda: in_billing(environment, order.customer_id).email == "new@example.com", 20, "the mail in billing")
    wait_until(lambda: followed(environment, account), 20)

    customer, party = in_billing(environment, order.customer_id), in_erp(environment, order.customer_id)
    assert (customer.address.line1, customer.address.city) == ("Neue Straße 7", "Köln")
    (address,) = party.addresses
    assert (party.name, address.street, address.city) == ("Umbenannt GmbH", "Neue Straße 7", "Köln")
    assert [each.value for each in party.contact_mechanisms] == ["new@example.com"]
    seen: dict[str, Any] = environment.channels.get("support-desk", f"/support/v1/customers/{order.customer_id}", dict)
    assert (seen["customer"]["name"], seen["customer"]["contact"]["email"]) == ("Umbenannt GmbH", "new@example.com")


def test_our_own_writing_comes_back_as_no_event(environment: Environment, bought: tuple[str, Order]) -> None:
    account, order = bought
    before = events_of(environment, order.customer_id)

    environment.crm.update("Account", account, Name="Once More GmbH")
    wait_until(lambda: in_erp(environment, order.customer_id).name == "Once More GmbH", 20)
    wait_until(lambda: followed(environment, account), 20)
    environment.crm.update("Account", account, Description="what nobody else needs to know")
    taken_in(environment, account)

    assert events_of(environment, order.customer_id) == before + 1


def test_a_name_that_is_changed_and_changed_back_is_followed_each_time(
    environment: Environment, bought: tuple[str, Order]
) -> None:
    account, order = bought
    name_before = in_billing(environment, order.customer_id).name
    before = events_of(environment, order.customer_id)

    for name in ("There GmbH", name_before, "There GmbH", name_before):
        environment.crm.update("Account", account, Name=name)
        wait_until(lambda wanted=name: in_billing(environment, order.customer_id).name == wanted, 20, name)
        wait_until(lambda: followed(environment, account), 20)

    assert events_of(environment, order.customer_id) == before + 4


def test_a_change_while_the_erp_is_away_is_followed_when_it_is_back(
    environment: Environment, bought: tuple[str, Order]
) -> None:
    account, order = bought
    environment.fault("erp", kind="status", status=503, times=0)

    environment.crm.update("Account", account, Name="Patient Rename GmbH")
    wait_until(lambda: environment.record("SELECT attempts FROM customers WHERE id = ?", order.customer_id), 30)
    environment.calm()

    wait_until(lambda: in_erp(environment, order.customer_id).name == "Patient Rename GmbH", 30)
    assert [case.kind for case in environment.cases_of(order.customer_id) if case.state == "open"] == []


def test_another_country_is_for_finance_to_decide(environment: Environment, bought: tuple[str, Order]) -> None:
    account, order = bought

    environment.crm.update("Account", account, BillingCountryCode="AT", VatNumber__c="ATU12345675")

    def reported() -> list[Case]:
        found = [each for each in environment.cases_of(order.customer_id) if each.kind == "customer_tax_changed"]
        return found if len(found) == 2 else []

    cases = wait_until(reported)
    assert {case.field for case in cases} == {"customer.address.country", "customer.tax_number"}
    assert {(case.team, case.actions) for case in cases} == {("finance", ("skip",))}
