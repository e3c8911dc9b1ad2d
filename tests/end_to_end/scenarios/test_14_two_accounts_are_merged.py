"""Two accounts are merged in the CRM: nothing that was sold to either is lost, and nobody rekeys anything."""

from __future__ import annotations

from typing import Any

from canonical.cases import Case
from canonical.customer_merges import CustomerMerge, CustomerMergeSummary
from canonical.orders import Order, Page
from tests.end_to_end.scenarios.test_a_customer_changes import followed, in_billing, in_erp
from tests.support.environment import Environment
from tests.support.partners import NORD, Partner
from tests.support.platforms import wait_until

SLOWLY = 3000
"""Milliseconds in which the accounts are merged."""


def contracts(environment: Environment, order: Order) -> list[str]:
    """Return the accounts of an order's contract in the CRM."""
    assert order.plan
    query = f"SELECT AccountId FROM Contract WHERE TiergateContract__c = '{order.plan.contract.id}'"
    return [each["AccountId"] for each in environment.crm.query(query)]


def mark(environment: Environment, account: str) -> str:
    (row,) = environment.crm.query(f"SELECT TiergateCustomer__c FROM Account WHERE Id = '{account}'")
    return str(row["TiergateCustomer__c"])


def open_cases(environment: Environment, *subjects: str) -> list[Case]:
    return [each for subject in subjects for each in environment.cases_of(subject) if each.state == "open"]


def merge_of(environment: Environment, account: str, state: str, client: str = "sales-app") -> CustomerMergeSummary:
    """Return the newest record of an account that was merged, once it is in a state."""
    path = f"/{client.removesuffix('-app')}/v1/customer-merges?state={state}"

    def look() -> CustomerMergeSummary | None:
        found: Page[CustomerMergeSummary] = environment.channels.get(client, path, Page[CustomerMergeSummary])
        return next((each for each in found.items if each.merged_account_id == account), None)

    return wait_until(look, 20, f"a merge of {account} that is {state}")


def test_an_account_that_never_bought_takes_over_the_customer(environment: Environment) -> None:
    sale = environment.sale("Merged Away")
    account, first = environment.sell(sale)
    order = environment.order_in(first, "active")
    environment.shown(first, "active")
    left = environment.crm.create(
        "Account",
        Name="Left Over GmbH",
        BillingStreet="Allee 3",
        BillingCity="Hamburg",
        BillingCountryCode="DE",
        VatNumber__c=sale.tax_number,
        PaymentMethod__c="pm_card_visa",
        Partner__c=NORD,
    )

    environment.merge(account, into=left)
    _, second = environment.sell(sale, left)
    wait_until(lambda: in_billing(environment, order.customer_id).name == "Left Over GmbH", 20, "the name in billing")
    wait_until(lambda: mark(environment, left) == order.customer_id, 20, "the mark of the account that is left")
    again = environment.order_in(second, "active")

    environment.settled(order)
    environment.settled(again)
    assert again.customer_id == order.customer_id
    assert in_billing(environment, order.customer_id).address.line1 == "Allee 3"
    assert in_erp(environment, order.customer_id).name == "Left Over GmbH"
    assert contracts(environment, order) == contracts(environment, again) == [left]
    assert Partner(environment).call("GET", f"/partners/v2/orders/{order.id}").status_code == 200
    assert open_cases(environment, order.id, again.id, order.customer_id) == []


def test_two_customers_go_on_under_one_account(environment: Environment) -> None:
    sale, other = environment.sale("First Of Two"), environment.sale("Second Of Two")
    account, first = environment.sell(sale)
    left, second = environment.sell(other)
    gone, kept = environment.order_in(first, "active"), environment.order_in(second, "active")
    for deal in (first, second):
        environment.shown(deal, "active")
    environment.behave(sku="SEAT", milliseconds=SLOWLY)
    _, late = environment.sell(sale, account)
    environment.order_in(late, "provisioning")

    environment.merge(account, into=left, TiergateCustomer__c=gone.customer_id)

    def asked() -> Case | None:
        found = open_cases(environment, gone.customer_id)
        return next((each for each in found if each.kind == "duplicate_customer"), None)

    case = wait_until(asked, 20, "a case about two customers")
    assert (case.kind, case.team, case.actions) == ("duplicate_customer", "sales", ("retry", "skip"))
    wait_until(lambda: in_billing(environment, gone.customer_id).name == other.buyer, 20, "the name in billing")
    sold = environment.order_in(late, "active")
    environment.shown(late, "active")
    environment.settled(sold)
    _, new = environment.sell(other, left)
    bought = environment.order_in(new, "active")
    environment.settled(bought)
    assert (sold.customer_id, bought.customer_id) == (gone.customer_id, kept.customer_id)
    assert contracts(environment, gone) == contracts(environment, sold) == contracts(environment, kept) == [left]
    wait_until(lambda: mark(environment, left) == kept.customer_id, 20, "the mark of the one that gets new deals")
    assert in_erp(environment, gone.customer_id).name == in_erp(environment, kept.customer_id).name == other.buyer

    environment.act(case.id, "retry")
    wait_until(lambda: mark(environment, left) == gone.customer_id, 20, "the mark of the one that was chosen")
    environment.crm.update("Account", left, Name="One Name GmbH")
    for customer in (gone.customer_id, kept.customer_id):
        wait_until(lambda of=customer: in_erp(environment, of).name == "One Name GmbH", 20, f"the name of {customer}")
    wait_until(lambda: followed(environment, left), 20)
    _, last = environment.sell(other, left)
    assert environment.order_in(last, "active").customer_id == gone.customer_id
    subjects: list[Any] = [gone.customer_id, kept.customer_id, gone.id, kept.id, sold.id, bought.id]
    assert {(each.kind, each.field) for each in open_cases(environment, *subjects)} == {
        ("customer_tax_changed", "customer.tax_number")
    }


def test_a_merge_is_decided_by_its_record_and_undone_with_its_account(environment: Environment) -> None:
    sale, other = environment.sale("Restored One"), environment.sale("Restored Two")
    account, first = environment.sell(sale)
    left, second = environment.sell(other)
    gone, kept = environment.order_in(first, "active"), environment.order_in(second, "active")
    for order in (gone, kept):
        environment.shown(order.deal_id, "active")
        environment.settled(order)
    environment.merge(account, into=left)
    asked = merge_of(environment, account, "asked")
    assert (asked.customer_id, asked.other_customer_id) == (gone.customer_id, kept.customer_id)

    path = f"/sales/v1/customer-merges/{asked.id}"
    decided: CustomerMergeSummary = environment.channels.post(
        "sales-app", f"{path}/actions", {"action": "keep", "reason": "it is the one we bill"}, CustomerMergeSummary
    )
    read: CustomerMerge = environment.channels.get("finance-app", path.replace("/sales/", "/finance/"), CustomerMerge)

    assert (decided.state, decided.leading_customer_id, decided.actions) == ("kept", kept.customer_id, ("switch",))
    kinds = {each.kind for each in open_cases(environment, gone.customer_id, kept.customer_id)}
    assert kinds <= {"customer_tax_changed"}  # they have a tax number each
    assert [step.state for step in read.history] == ["asked", "kept"]
    contracts_of = [[each.id for each in customer.contracts] for customer in read.customers]
    assert contracts_of == [[order.plan.contract.id] for order in (gone, kept) if order.plan]
    assert [each.receivables[0].legal_entity for each in read.customers] == ["DE01", "DE01"]

    wait_until(lambda: in_billing(environment, gone.customer_id).name == other.buyer, 20, "the name in billing")
    environment.restore(account)
    merge_of(environment, account, "undone")
    wait_until(lambda: in_billing(environment, gone.customer_id).name == sale.buyer, 20, "its own name in billing")
    wait_until(lambda: followed(environment, account), 20)
    _, third = environment.sell(sale, account)
    _, fourth = environment.sell(other, left)
    again = [environment.order_in(each, "active").customer_id for each in (third, fourth)]
    assert again == [gone.customer_id, kept.customer_id]
    assert (mark(environment, account), mark(environment, left)) == (gone.customer_id, kept.customer_id)
    assert in_erp(environment, gone.customer_id).name == sale.buyer
