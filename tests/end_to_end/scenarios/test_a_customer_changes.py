"""What the CRM changes of a customer is followed everywhere, once, and our own writing sets nothing going round; who is
erased there, and then here, does not come back."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from canonical.cases import Case
from canonical.ids import utc_now
from canonical.orders import Order
from process_apis.records.database import open_database
from sandbox.salesperson import close_deal, open_deal
from tests.integration.process_apis.test_erasure import columns_with
from tests.support.environment import Environment
from tests.support.platforms import wait_until
from tiergate.cli.main import cli

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


def test_a_person_is_erased_beside_the_layers_and_the_order_goes_on(environment: Environment) -> None:
    name, mail = "Robin Weggang", "robin.weggang@example.org"
    account, deal = open_deal(environment.crm, environment.sale("Without Robin"), utc_now().date())
    (contact,) = environment.crm.query(f"SELECT Id FROM Contact WHERE AccountId = '{account}'")
    environment.crm.update("Contact", contact["Id"], FirstName="Robin", LastName="Weggang", Email=mail)
    environment.crm.update("Opportunity", deal, Name=f"seats for {name}")
    close_deal(environment.crm, deal)
    order = environment.order_in(deal, "active")
    environment.settled(order)
    environment.shown(deal, "active")
    first = tiergate(environment, "show", mail)

    # first who owns it, in the words of the command
    assert f"salesforce (sales operations) owns customer.contact: account {account}" in first
    assert f"owns deal.name: deal {deal}" in first
    changed = events_of(environment, order.customer_id)
    environment.crm.update("Contact", contact["Id"], FirstName="", LastName="unknown", Email=None)
    wait_until(lambda: events_of(environment, order.customer_id) > changed, 20, "the change of the contact")
    wait_until(lambda: not in_billing(environment, order.customer_id).email, 20, "no mail in billing")
    wait_until(lambda: followed(environment, account), 20)
    erased = tiergate(environment, "erase", mail, "--reason", f"{name} asked", "--yes")
    again = tiergate(environment, "erase", mail, "--reason", "again", "--yes")

    assert "erased: " in erased
    assert f"nothing is stored of {mail}" in again
    assert f"nothing is stored of {mail}" in tiergate(environment, "show", mail)
    assert columns_with(records_of(environment), mail, name) == []
    read = environment.channels.order(order.id)
    assert (read.state, read.history, read.plan and read.plan.contract.references) == (
        "active",
        order.history,
        order.plan and order.plan.contract.references,
    )
    assert read.name.startswith("seats for erased-")
    environment.crm.update("Opportunity", deal, StageName="Closed Lost")
    environment.crm.update("Account", account, BillingCity="Köln")
    (case,) = wait_until(lambda: environment.cases_of(order.id), 20, "a case about the loss")
    wait_until(lambda: in_billing(environment, order.customer_id).address.city == "Köln", 20, "the city in billing")
    wait_until(lambda: followed(environment, account), 20)
    assert case.kind == "deal_changed"
    assert columns_with(records_of(environment), mail, name) == []


def tiergate(environment: Environment, *arguments: str) -> str:
    """Run `tiergate person` as who runs the layers, and return what it said."""
    words = ["person", *arguments, "--config", str(environment.sandbox.config)]
    done = CliRunner().invoke(cli, words, catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    return done.stdout


def records_of(environment: Environment) -> sa.Engine:
    return open_database(environment.settings.process_database())
