"""A company connects billing and an ERP in which its customers are: each goes on as the record that it was."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from canonical.cases import Case
from canonical.ids import utc_now
from sandbox.salesperson import close_deal, open_deal
from tests.support.environment import Environment
from tests.support.platforms import wait_until


def in_erp(environment: Environment, name: str, code: str, number: str = "") -> str:
    """Return the id of a party that the company has made, in Bonn."""
    party: dict[str, Any] = {"name": name, "code": code, "addresses": [["create", [{"city": "Bonn"}]]]}
    if number:
        party["identifiers"] = [["create", [{"type": "eu_vat", "code": number}]]]
    (made,) = environment.erp.get_proxy("party.party").create([party], environment.erp.context)
    return str(made)


def in_billing(environment: Environment, name: str, number: str = "") -> str:
    """Return the id of a customer that the company has made in Stripe, in Bonn."""
    params: Any = {"name": name, "address": {"city": "Bonn"}}
    if number:
        params["tax_id_data"] = [{"type": "eu_vat", "value": number}]
    return environment.stripe.v1.customers.create(params).id


def billed(environment: Environment, name: str) -> list[str]:
    found = environment.stripe.v1.customers.search({"query": f'name:"{name}"'})
    return [each.id for each in found.data]


def owes(environment: Environment, party: str, amount: Decimal) -> None:
    """Let a party owe what the company has booked by hand."""
    context = environment.erp.context
    book = {name: environment.erp.get_proxy(f"account.{name}") for name in ("account", "journal", "move")}
    today = utc_now().date()

    def first(name: str, *domain: Any) -> int:
        return book[name].search([list(each) for each in domain], 0, 1, None, context)[0]

    claim = {"account": first("account", ("type.receivable", "=", True), ("party_required", "=", True))}
    claim |= {"debit": amount, "credit": Decimal(0), "party": int(party)}
    (sold,) = environment.in_erp("product.category", ("name", "=", "Subscriptions"))
    gain = {"account": sold.account_revenue.id, "debit": Decimal(0), "credit": amount}
    move = {"journal": first("journal", ("type", "=", "general")), "date": today, "lines": [["create", [claim, gain]]]}
    book["move"].post(book["move"].create([move], context), context)


def question(environment: Environment, order_id: str, platform: str) -> Case:
    """Return the open case that asks about a record of a platform, once there is one."""

    def look() -> Case | None:
        cases = environment.cases_of(order_id)
        return next((each for each in cases if each.state == "open" and f".{platform}=" in each.field), None)

    return wait_until(look, 20, f"a question about {platform}")


def test_a_customer_with_its_tax_number_in_both_goes_on_as_these_records_and_nobody_is_asked(
    environment: Environment,
) -> None:
    sale = environment.sale("There Already")
    number = str(sale.tax_number)
    party, customer = in_erp(environment, "Old Name", "C-0815", number), in_billing(environment, sale.buyer, number)
    account, first = open_deal(environment.crm, sale, utc_now().date())
    _, second = open_deal(environment.crm, sale, utc_now().date(), account)
    environment.fault("billing", kind="drop", matching=f"customers/{customer}")
    environment.fault("erp", kind="drop", matching="party.party.write")

    for deal in (first, second):
        close_deal(environment.crm, deal)

    for deal in (first, second):
        order = environment.order_in(deal, "active")
        environment.settled(order)
        assert order.plan
        assert order.plan.customer.references == {"salesforce": account, "stripe": customer, "tryton": party}
        assert environment.cases_of(order.id) == []
    fields = ["code", "name"]
    found = environment.rows_in_erp("party.party", fields, ("identifiers.code", "=", number))
    assert [(str(each["id"]), each["code"], each["name"]) for each in found] == [(party, "C-0815", sale.buyer)]
    assert billed(environment, sale.buyer) == [customer]


def test_one_with_the_same_name_alone_is_a_question_that_is_asked_once(environment: Environment) -> None:
    sale = environment.sale("Perhaps There")
    party, customer = in_erp(environment, sale.buyer, "C-4711"), in_billing(environment, sale.buyer)
    account, first = environment.sell(sale)
    order = environment.order_in(first, "on_hold")

    asked = question(environment, order.id, "tryton")  # before its credit is reviewed
    assert (asked.kind, asked.team) == ("duplicate_customer", "sales")
    assert all(each in asked.reason for each in (party, sale.buyer, "Bonn", "Retry: it is", "Skip: it is not"))
    environment.act(asked.id, "skip", "another company of that name")
    asked = question(environment, order.id, "stripe")
    assert customer in asked.reason
    assert billed(environment, sale.buyer) == [customer]
    environment.act(asked.id, "retry")

    order = environment.order_in(first, "active")
    environment.settled(order)
    _, second = environment.sell(sale, account)
    again = environment.order_in(second, "active")
    assert order.plan
    assert again.plan
    assert order.plan.customer.references == again.plan.customer.references
    assert order.plan.customer.references["stripe"] == customer
    assert order.plan.customer.references["tryton"] != party
    assert environment.cases_of(again.id) == []


def test_what_a_customer_owes_there_counts_in_its_first_credit_review(environment: Environment) -> None:
    sale = environment.sale("Owes There")
    party = in_erp(environment, "Old Name", "C-0042", str(sale.tax_number))
    owes(environment, party, Decimal(15_000))
    (record,) = environment.in_erp("party.party", ("id", "=", int(party)))
    record.credit_limit_amount = Decimal(20_000)
    record.save()

    _, deal = environment.sell(sale)

    (case,) = environment.cases_of(environment.order_in(deal, "awaiting_approval").id)
    assert case.kind == "credit_limit"
    assert case.reason.startswith("15,000.00 EUR owed and ")
    environment.decide(case.id, "approve")
    order = environment.order_in(deal, "active")
    assert order.plan
    assert order.plan.customer.references["tryton"] == party
