"""Bad input stops before anything is created; a case says which field, why, and whose it is."""

from __future__ import annotations

from typing import Any

import pytest

from canonical.ids import utc_now
from canonical.orders import Order
from sandbox.salesperson import SaleLine, close_deal, open_deal
from tests.support.environment import Environment
from tests.support.platforms import THREE_LINES, wait_until

NOTHING = {
    "crm.contracts": 0,
    "billing.customers": 0,
    "billing.schedules": 0,
    "billing.subscriptions": 0,
    "billing.invoices": 0,
    "billing.charges": 0,
    "erp.customers": 0,
    "erp.posted_invoices": 0,
    "erp.payments": 0,
}


def stopped(environment: Environment, deal: str) -> Order:
    return environment.order_in(deal, "on_hold")


@pytest.mark.parametrize(
    ("name", "changes", "field", "reason", "team"),
    [
        ("No Entity", {"legal_entity": None}, "deal.legal_entity", "cannot be determined", "finance"),
        ("Odd Entity", {"legal_entity": "XX99"}, "deal.legal_entity", "no legal entity XX99", "finance"),
        ("Bad Tax", {"tax_number": "DE123456789"}, "deal.account.tax_number", "not a valid tax number", "finance"),
        (
            "Swiss Francs",
            {"currency": "CHF"},
            "deal.lines[0].listed",
            "no price for PLATFORM",
            "sales",
        ),
        ("No Money", {"currency": "XYZ"}, "deal.currency", "not an ISO 4217", "sales"),
        ("Nowhere", {"country": "ZZ", "tax_number": None}, "deal.account.address.country", "not an ISO 3166", "sales"),
        (
            "Minus",
            {"lines": (*THREE_LINES[:2], SaleLine("SUPPORT", -3))},
            "deal.lines[2].quantity",
            "-3",
            "sales",
        ),
        ("Half", {"lines": (SaleLine("SEAT", 2.5),)}, "deal.lines[0].quantity", "2.5", "sales"),
        (
            "Tenth Cent",
            {"lines": (SaleLine("SEAT", 1, 0.001),)},
            "deal.lines[0].unit_price",
            "less than",
            "sales",
        ),
        ("Empty", {"lines": ()}, "deal.lines", "no lines", "sales"),
    ],
)
def test_a_case_names_field_reason_and_team_and_nothing_is_created(
    environment: Environment, name: str, changes: dict[str, Any], field: str, reason: str, team: str
) -> None:
    account, deal = environment.sell(environment.sale(name, **changes))

    order = stopped(environment, deal)

    cases = {each.field: each for each in environment.cases_of(order.id)}
    assert field in cases
    assert reason in cases[field].reason
    assert (cases[field].team, cases[field].kind, cases[field].state) == (team, "deal_invalid", "open")
    assert "retry" in cases[field].actions
    assert environment.counted(order) == NOTHING
    assert environment.in_erp("party.party", ("name", "=", f"{name} GmbH")) == []
    assert environment.crm.query(f"SELECT Id FROM Contract WHERE AccountId = '{account}'") == []


def test_an_unknown_product_is_a_case_for_sales(environment: Environment) -> None:
    product = environment.crm.create(
        "Product2", Name="Ghost", ProductCode="GHOST", IsActive=True, BillingInterval__c="year"
    )
    price_list = environment.crm.query("SELECT Id FROM Pricebook2 LIMIT 1")[0]["Id"]
    environment.crm.create(
        "PricebookEntry",
        Pricebook2Id=price_list,
        Product2Id=product,
        UnitPrice=5,
        CurrencyIsoCode="EUR",
        IsActive=True,
    )
    _, deal = environment.sell(environment.sale("Ghost Buyer", lines=(SaleLine("SEAT", 1), SaleLine("GHOST", 1))))

    order = stopped(environment, deal)

    (case,) = environment.cases_of(order.id)
    assert (case.field, case.team) == ("deal.lines[1].sku", "sales")
    assert "GHOST" in case.reason
    assert environment.counted(order) == NOTHING


def test_a_parent_that_is_its_own_ancestor_is_a_case_for_sales(environment: Environment) -> None:
    account, deal = open_deal(environment.crm, environment.sale("Circle", parent="Round Holding"), utc_now().date())
    parent = environment.crm.query(f"SELECT ParentId FROM Account WHERE Id = '{account}'")[0]["ParentId"]
    environment.crm.update("Account", parent, ParentId=account)
    close_deal(environment.crm, deal)

    order = stopped(environment, deal)

    (case,) = environment.cases_of(order.id)
    assert (case.field, case.reason, case.team) == (
        "deal.account.ancestors",
        "the account is its own ancestor",
        "sales",
    )


def test_every_finding_is_told_at_once(environment: Environment) -> None:
    _, deal = environment.sell(
        environment.sale("Many", legal_entity=None, tax_number="DE1", lines=(SaleLine("SEAT", -1),))
    )

    order = stopped(environment, deal)

    fields = {each.field for each in environment.cases_of(order.id)}
    assert fields == {"deal.legal_entity", "deal.account.tax_number", "deal.lines[0].quantity"}


def test_the_salesperson_sees_why_and_a_mended_deal_goes_on_when_retried(environment: Environment) -> None:
    _, deal = environment.sell(environment.sale("Fixed", legal_entity=None))
    order = stopped(environment, deal)
    assert "legal entity" in environment.shown(deal, "on_hold")["TiergateDetail__c"]

    environment.crm.update("Opportunity", deal, LegalEntity__c="DE01")
    (case,) = environment.cases_of(order.id)
    resolved = environment.act(case.id, "retry")

    assert resolved.state == "resolved"
    environment.settled(environment.order_in(deal, "active"))


def test_a_status_that_the_crm_refused_is_no_trouble_any_more_when_a_later_one_is_shown(
    environment: Environment,
) -> None:
    environment.fault(
        "crm", kind="status", status=400, times=0, matching='TiergateStatus__c":'
    )  # written, not asked for
    _, deal = environment.sell(environment.sale("Refused Once", legal_entity=None))
    order = stopped(environment, deal)

    def refusal() -> str:
        return "".join(each.state for each in environment.cases_of(order.id) if each.kind == "status_not_shown")

    wait_until(lambda: refusal() == "open", 20, "a case for what the CRM refused")
    environment.calm()

    environment.crm.update("Opportunity", deal, LegalEntity__c="DE01")
    (case,) = [each for each in environment.cases_of(order.id) if each.kind == "deal_invalid"]
    environment.act(case.id, "retry")
    environment.settled(environment.order_in(deal, "active"))

    wait_until(lambda: refusal() == "resolved", 20, "the case closed by itself")


def test_a_second_account_with_the_tax_number_of_a_customer_needs_a_word(environment: Environment) -> None:
    sale = environment.sale("Original")
    _, first = environment.sell(sale)
    environment.order_in(first, "active")
    _, second = environment.sell(environment.sale("Copy", tax_number=sale.tax_number))

    order = stopped(environment, second)
    (case,) = environment.cases_of(order.id)
    assert (case.kind, case.field, case.team) == ("duplicate_customer", "deal.account.tax_number", "sales")

    environment.act(case.id, "skip", "a branch office with books of its own")
    environment.order_in(second, "active")


def test_the_findings_of_one_deal_are_one_trouble_and_trying_again_resolves_them_all(environment: Environment) -> None:
    _, deal = environment.sell(environment.sale("Many Fixed", legal_entity=None, lines=(SaleLine("SEAT", -1),)))
    order = stopped(environment, deal)
    first, second = environment.cases_of(order.id)

    environment.crm.update("Opportunity", deal, LegalEntity__c="DE01")
    environment.act(first.id, "retry")

    remaining = wait_until(lambda: [each for each in environment.cases_of(order.id) if each.state == "open"])
    assert {each.state for each in environment.cases_of(order.id) if each.id in (first.id, second.id)} == {"resolved"}
    assert [each.field for each in remaining] == ["deal.lines[0].quantity"]


def test_an_order_that_is_given_up_has_no_open_case(environment: Environment) -> None:
    _, deal = environment.sell(environment.sale("Given Up Early", legal_entity=None, lines=(SaleLine("SEAT", -1),)))
    order = stopped(environment, deal)
    (case, _) = environment.cases_of(order.id)

    environment.act(case.id, "compensate", "the deal is off")

    environment.order_in(deal, "cancelled")
    closed = {(each.state, each.resolution.partition(": ")[2]) for each in environment.cases_of(order.id)}
    assert closed == {("resolved", "the deal is off")}
